"""The commands that make a cache, its heads and a report again, from what the files tell."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence

from featx.backbones.spec import PENULTIMATE
from featx.cache.format import EmbeddingInfo
from featx.cache.label_columns import read_labels
from featx.cache.reader import Cache
from featx.core.address import name_location
from featx.core.typing import PathLike
from featx.heads.head import Head
from featx.heads.target_head import TargetHead
from featx.images.decode import DECODERS

Command = tuple[str, str]
"""What a command does, and the command."""


def write_command(*words: object) -> str:
    """Write a featx command as a shell takes it.

    Parameters
    ----------
    *words : object
        Words of the command.

    Examples
    --------
    >>> write_command("info", "my photos.h5")
    "featx info 'my photos.h5'"
    """
    return shlex.join(["featx", *map(str, words)])


def list_commands(
    cache: Cache,
    heads: Mapping[str, Head],
    output: PathLike,
    *,
    options: Sequence[str] = (),
) -> list[Command]:
    """List the commands that make everything on the page again, in their order.

    Parameters
    ----------
    cache : Cache
        Open cache.
    heads : mapping of str to Head
        Heads by their paths.
    output : path
        The page.
    options : sequence of str
        Further words of the last command.
    """
    path = name_location(cache.path)
    infos = [cache.get_info(name) for name in cache.embeddings]
    commands = [
        (f"Embed the images: {info.name}", _write_extract(cache, info, path))
        for info in infos
        if not info.fingerprint.is_imported
    ]
    commands += _list_said(cache, path)
    commands += [
        (f"Fit {name}", _write_fit(head, name)) for name, head in heads.items() if _is_fitted(head)
    ]
    commands.append(
        ("Write this page", write_command("report", path, *heads, "-o", output, *options))
    )
    return commands


def _list_said(cache: Cache, path: str) -> list[Command]:
    """Say that people recorded labels or splits, which no command makes again by itself."""
    if not cache.has_history:
        return []
    notes = read_labels(cache).recorded.records["note"].names
    how = "; ".join(note for note in notes if note)
    told = f" (splits: {how})" if how else ""
    text = f"Labels or splits were recorded then{told}: the history of the cache has who and when"
    return [(text, write_command("info", path))]


def _write_extract(cache: Cache, info: EmbeddingInfo, path: str) -> str:
    """Write the command that makes an embedding."""
    made, origin = info.fingerprint, info.provenance.origin
    sources = [cache.source] if os.path.exists(cache.source) else cache.source.split(", ")
    words = ["extract", *sources, "-o", path, "--backbone", made.backbone]
    words += ["--weights", origin.weights]
    words += _write_options(
        {
            "--layers": made.layer if made.layer != PENULTIMATE else None,
            "--preprocess": origin.preprocess_from
            if origin.preprocess_from != origin.weights
            else None,
            "--size": origin.size,
            "--precision": made.precision if made.precision != "fp32" else None,
            "--decode": "fast" if made.decoder == DECODERS["fast"] else None,
            "--dtype": "float16" if cache.get_dtype(info.name) == "float16" else None,
            "--embedding": info.name if len(cache.embeddings) > 1 else None,
        }
    )
    return write_command(*words)


def _is_fitted(head: Head) -> bool:
    """Tell whether `featx fit-head` made a head: fine-tuning makes other ones, with weights."""
    return not head.fitted_on.fine_tuned


def _write_fit(head: Head, name: str) -> str:
    """Write the command that fits a head."""
    words = ["fit-head", head.fitted_on.cache, "-o", name, "--split", head.fitted_on.split]
    for one in head.embeddings:
        words += ["--embedding", one.name]
    if isinstance(head, TargetHead):
        for column in head.target.columns if head.target.columns != ("label",) else ():
            words += ["--target", column]
        return write_command(*words)
    search = head.cross_validation
    is_chosen = search is not None and len(search.strengths) > 1
    strength = next(iter(head.params.values()), None)
    weights: object = head.class_weight
    if isinstance(weights, Mapping):
        weights = ",".join(f"{label}={weight:g}" for label, weight in weights.items())
    scaling = head.options.get("scaling")
    words += ["--kind", head.kind]
    words += _write_options(
        {
            "--C": None if is_chosen or strength is None else f"{strength:g}",
            "--class-weight": weights,
            "--scaling": scaling if scaling != "standard" else None,
            "--pca": head.options.get("pca"),
        }
    )
    return write_command(*words)


def _write_options(options: Mapping[str, object]) -> Iterable[str]:
    """Write the options that have a value."""
    for flag, value in options.items():
        if value is not None:
            yield from (flag, str(value))
