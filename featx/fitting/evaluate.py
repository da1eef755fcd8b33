"""Score a head on the labelled rows of a cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from featx.cache.open import RECORD_SPLITS
from featx.cache.reader import Cache
from featx.cache.side_by_side import (
    Names,
    read_joined,
    read_learnt_by,
    read_present_in,
    select_labelled,
)
from featx.cache.tables import BLOCK_ROWS
from featx.core.columns import iter_blocks
from featx.core.errors import CacheError
from featx.core.notes import note
from featx.core.recognise import check_order
from featx.core.text import count_noun
from featx.core.typing import BoolArray, Float64Array, IntArray, Split, StrArray
from featx.fitting.alike import MIN_REFERENCES, find_alike
from featx.fitting.comparable import find_comparable
from featx.fitting.inputs import (
    CacheLike,
    HeadLike,
    check_known,
    note_unknown,
    opened_cache,
    read_class_head,
)
from featx.fitting.left_out import note_left_out, note_untested
from featx.heads.evaluate import Evaluation, score_predictions
from featx.heads.head import Head
from featx.heads.units import find_units


def evaluate(
    head: HeadLike,
    cache: CacheLike,
    *,
    split: str | None = None,
    embedding: Names | None = None,
) -> Evaluation:
    """Score a head on the labelled rows of a cache.

    Parameters
    ----------
    head : path or Head
        Head to score.
    cache : path, sequence of paths or Cache
        Cache with labels, or several caches as `featx.open_cache` takes them.
    split : str, optional
        Rows to score: ``"train"``, ``"val"``, ``"test"`` or ``"all"``. Default: ``"val"``, or
        ``"test"`` if the cache has no val rows.
    embedding : str or sequence of str, optional
        Name of the embedding, or names of several. Default: those that the head was fitted for.

    Returns
    -------
    Evaluation
        The scores, with the number of scored rows that the head was fitted on or that the network
        of the embedding has learnt from, and the accuracy of the other rows.

    Warns
    -----
    FeatxWarning
        If rows were left out, if the head or the network has learnt from some rows, or if the head
        does not know their class.

    Raises
    ------
    FingerprintError
        If the embeddings are not comparable with those that the head was fitted on.
    CacheError
        If the cache has no such split, or no labelled rows in it.
    HeadError
        If the head cannot be read, or knows no class of the rows.

    See Also
    --------
    featx.fit_head : Fit a head on the embeddings of a cache.
    featx.split_cache : Record a split to evaluate on.

    Examples
    --------
    >>> import featx
    >>> scores = featx.evaluate("head.joblib", "photos.h5")
    >>> scores.n_rows, scores.accuracy
    (4, 1.0)
    """
    check_order(
        ("head", "cache"), (head, cache), content="head", call="featx.evaluate({held!r}, {rest!r})"
    )
    head = read_class_head(head)
    with opened_cache(cache) as opened:
        split = split or choose_evaluated(opened)
        names = find_comparable(opened, head, embedding=embedding)
        rows = select_labelled(opened, split, names)
        if len(rows) == 0:
            raise CacheError(
                subject=f"{opened.path}, split {split}",
                expected="labelled rows",
                got="none",
                remedy="Extract from class folders, or from a table with a column named label.",
            )
        y, learnt = opened.labels[rows], read_learnt_by(opened, names)[rows]
        check_known(y, head.classes, subject=f"{opened.path}, split {split}")
        predicted, probabilities = predict_rows(head, opened, names, rows)
        digests = opened.read_column("digest")
        units = find_units(opened.groups, digests)
        known = head.find_seen(digests) | read_learnt_by(opened, names)
        seen = known[rows]
        n_alike = _count_alike(opened, names, rows[~seen], known)
        note_left_out(opened, split, names)
        note_untested(y, head.classes, subject=f"{opened.path}, split {split}")
    scores = score_predictions(
        y,
        predicted,
        classes=head.classes,
        probabilities=probabilities,
        seen=seen,
        units=None if units is None else units[rows],
    )
    if scores.n_seen:
        note(f"{describe_seen(seen, learnt)}: their scores are too high")
    if n_alike:
        note(
            f"{n_alike:,} of {count_noun(len(rows), 'row')} look like rows that were fitted on, "
            "such as images that were saved once more: their scores are too high"
        )
    note_unknown(y, head.classes)
    return replace(scores, n_alike=n_alike)


def _count_alike(cache: Cache, embeddings: Names, rows: IntArray, known: BoolArray) -> int | None:
    """Count rows that look like rows that were learnt from; None if the cache has few of these."""
    references = np.flatnonzero(known & read_present_in(cache, embeddings))
    if len(references) < MIN_REFERENCES:
        return None
    return int(find_alike(cache, embeddings, rows, references).sum())


def predict_rows(
    head: Head, cache: Cache, embeddings: Names, rows: IntArray
) -> tuple[StrArray, Float64Array | None]:
    """Predict classes and probabilities of rows, in blocks: the vectors may not fit in memory.

    Parameters
    ----------
    head : Head
        Head that predicts.
    cache : Cache
        Open cache.
    embeddings : str or sequence of str
        Names of the embeddings that the head can take, in its order.
    rows : ndarray of int64
        ``(n_rows,)``, rows to predict, all with a vector.

    Returns
    -------
    predicted : ndarray of str
        ``(n_rows,)``, predicted labels.
    probabilities : ndarray of float64 or None
        ``(n_rows, n_classes)``, their probabilities, if the head has any.
    """
    predicted, probabilities = [], []
    for block in iter_blocks(len(rows), BLOCK_ROWS):
        X = read_joined(cache, embeddings, rows[block])
        predicted.append(head.predict(X))
        probabilities.append(head.predict_proba(X))
    known = [part for part in probabilities if part is not None]
    return np.concatenate(predicted), np.concatenate(known) if known else None


def describe_seen(seen: BoolArray, learnt: BoolArray) -> str:
    """Say how many rows were learnt from, by the network and by the head.

    Parameters
    ----------
    seen : ndarray of bool
        ``(n_rows,)``, rows that the head or the network has learnt from.
    learnt : ndarray of bool
        ``(n_rows,)``, rows that the network has learnt from.
    """
    n_learnt, n_fitted = int(learnt.sum()), int((seen & ~learnt).sum())
    parts = [f"{n_learnt:,} of {len(seen):,} rows were learnt from by the network"] * bool(n_learnt)
    parts += [f"{n_fitted:,} of {len(seen):,} rows were used to fit the head"] * bool(n_fitted)
    return ", and ".join(parts)


def choose_evaluated(cache: Cache) -> Split:
    """Choose the split to evaluate on, if none was named: val, or else test.

    Parameters
    ----------
    cache : Cache
        Open cache.

    Raises
    ------
    CacheError
        If the cache has neither split.
    """
    have = cache.list_splits()
    found = find_evaluated(have)
    if found is not None:
        return found
    raise CacheError(
        subject=str(cache.path),
        expected="a split val or test to evaluate on",
        got=", ".join(have) or "no splits",
        remedy=RECORD_SPLITS,
    )


def find_evaluated(have: Sequence[str]) -> Split | None:
    """Find the split to evaluate on: val, or else test; None if there is neither.

    Parameters
    ----------
    have : sequence of str
        Splits of the cache.
    """
    if "val" in have:
        return "val"
    return "test" if "test" in have else None
