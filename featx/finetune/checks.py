"""Checks of a fine-tuning before any network is run: source, split, layer and labels."""

from __future__ import annotations

from collections.abc import Sequence

from featx.backbones.spec import PENULTIMATE
from featx.cache.label_columns import read_labels
from featx.cache.reader import Cache
from featx.core.errors import TuningError
from featx.core.notes import note
from featx.core.text import count_noun
from featx.core.typing import Array
from featx.extraction.agreement import Agreement
from featx.fitting.evaluate import find_evaluated
from featx.images.manifest import Manifest
from featx.labels.element import FIELDS


def check_agreement(agreement: Agreement, manifest: Manifest, cache: Cache) -> None:
    """Refuse a source that says something else of its images than when the cache was made.

    What people said of the images later is used in place of what the source says, and the user is
    told.

    Parameters
    ----------
    agreement : Agreement
        Comparison of both.
    manifest : Manifest
        The source.
    cache : Cache
        The cache.

    Raises
    ------
    TuningError
        If labels, splits or groups differ.
    """
    labels = read_labels(cache)
    for field in FIELDS:
        n_rows = int((~labels.held[field].equal(labels.source[field])).sum())
        if n_rows:
            what = count_noun(n_rows, f"recorded {field}")
            verb = "is" if n_rows == 1 else "are"
            note(f"{cache.path}: {what} {verb} used, not what {manifest.source} says")
    differing = [one.describe(agreement.n_common) for one in agreement.disagreements]
    if differing:
        raise TuningError(
            subject=manifest.source,
            expected=f"what {cache.path} says of the same images",
            got=", and ".join(differing),
            remedy="Bring the cache up to date with "
            f"featx.extract(source, output={str(cache.path)!r}), then fit the head again.",
        )


def choose_split(split: str | None, have: Sequence[str], *, subject: str) -> str:
    """Choose the split that the frozen head and the tuned model are compared on.

    Parameters
    ----------
    split : str or None
        Split that the user named. Default: ``val``, or ``test`` if there is no ``val``.
    have : sequence of str
        Splits of the cache.
    subject : str
        Name of the cache, for the error.

    Returns
    -------
    str
        ``val`` or ``test``.

    Raises
    ------
    TuningError
        If the cache lacks a split train, or a split to compare on, or the named split is neither
        ``val`` nor ``test``.
    """
    if "train" not in have or len(have) < 2:
        raise TuningError(
            subject=subject,
            expected="a split train, and val or test",
            got=", ".join(have) or "no splits",
            remedy="Record splits with featx.split_cache(cache, val=0.2).",
        )
    default = find_evaluated(have)
    if split is None and default is not None:
        return default
    if split not in ("val", "test"):
        raise TuningError(
            subject="split",
            expected="val or test, which no model has seen",
            got=repr(split),
            remedy=f"Pass split={default!r}.",
        )
    return split


def check_layer(layer: str, subject: str) -> None:
    """Refuse an embedding that is not the input of the classifier.

    Raises
    ------
    TuningError
        If the embedding was read from an inner layer.
    """
    if layer != PENULTIMATE:
        raise TuningError(
            subject=subject,
            expected=f"the input of the classifier ({PENULTIMATE})",
            got=f"layer {layer}",
            remedy="Extract without layers.",
        )


def check_labels(labels: Array, classes: Array, subject: str) -> None:
    """Refuse labels that the head does not know.

    Raises
    ------
    TuningError
        If a label is none of the classes.
    """
    unknown = sorted(set(labels) - set(classes))
    if unknown:
        raise TuningError(
            subject=subject,
            expected="labels that the head knows",
            got=repr(unknown[0]),
            remedy="Fit a head on this cache with featx.fit_head(cache).",
        )
