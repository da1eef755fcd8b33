"""The commands that make a cache, its heads and a report again, from what the files tell."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from featx.backbones.spec import PENULTIMATE
from featx.cache.format import EmbeddingInfo
from featx.cache.label_columns import read_labels
from featx.cache.reader import Cache
from featx.core.typing import PathLike
from featx.heads.head import Head
from featx.heads.target_head import TargetHead
from featx.images.decode import DECODERS
from featx.report.locations import list_cache_paths, shorten_path, split_paths

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
    return shlex.join(["featx", *(shorten_path(str(word)) for word in words)])


def list_commands(
    cache: Cache,
    heads: Mapping[str, Head],
    output: PathLike,
    *,
    options: Sequence[str] = (),
) -> list[Command]:
    """List the commands that make everything on the page again, in their order.

    Of caches that are one by a list of paths, which `featx report` does not take, the last command
    is left out.

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
    paths = list_cache_paths(cache)
    parts = zip(cache.members, paths, strict=True) if len(paths) > 1 else [(cache, paths[0])]
    commands = [
        (f"Embed the images: {name}", write_extract(part, part.get_info(name), path))
        for part, path in parts
        for name in part.embeddings
        if not part.get_info(name).fingerprint.is_imported
    ]
    commands += _list_said(cache, paths)
    commands += [
        (f"Fit {Path(name).name}", _write_fit(head, name, cache))
        for name, head in heads.items()
        if _is_fitted(head)
    ]
    words = [*heads, "-o", output, *options]
    if len(paths) == 1:
        commands.append(("Write this page", write_command("report", paths[0], *words)))
    return commands


def _list_said(cache: Cache, paths: Sequence[str]) -> list[Command]:
    """Say that people recorded labels or splits, which no command makes again by itself."""
    if not cache.has_history:
        return []
    notes = read_labels(cache).recorded.records["note"].names
    how = "; ".join(note for note in notes if note)
    told = f" (splits: {how})" if how else ""
    text = f"Labels or splits were recorded then{told}: the history of the cache has who and when"
    return [(text, write_command("info", *paths))]


def write_extract(cache: Cache, info: EmbeddingInfo, path: str) -> str:
    """Write the command that makes an embedding, or the vectors that it lacks.

    Parameters
    ----------
    cache : Cache
        Open cache of one file.
    info : EmbeddingInfo
        The embedding.
    path : str
        Path of the file.
    """
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


def _write_fit(head: Head, name: str, cache: Cache) -> str:
    """Write the command that fits a head."""
    fitted = head.fitted_on
    paths = (
        list_cache_paths(cache) if fitted.cache == str(cache.path) else split_paths(fitted.cache)
    )
    words = ["fit-head", *paths, "-o", name, "--split", fitted.split]
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
