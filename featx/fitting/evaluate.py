"""Score a head on the labelled rows of a cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from featx.cache.open import RECORD_SPLITS
from featx.cache.reader import Cache
from featx.cache.side_by_side import Names
from featx.core.errors import CacheError
from featx.core.notes import note
from featx.core.recognise import check_order
from featx.core.typing import Split
from featx.fitting.inputs import CacheLike, HeadLike, opened_cache, read_class_head
from featx.fitting.scored_rows import ScoredRows
from featx.heads.evaluate import Evaluation


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
    scored, n_alike = read_scored_rows(head, cache, split=split, embedding=embedding)
    return replace(scored.score(), n_alike=n_alike)


def read_scored_rows(
    head: HeadLike, cache: CacheLike, *, split: str | None, embedding: Names | None
) -> tuple[ScoredRows, int | None]:
    """Read the rows that a head is scored on, and tell the user what should be known of them.

    Parameters
    ----------
    head : path or Head
        Head to score.
    cache : path, sequence of paths or Cache
        Cache with labels.
    split : str or None
        Rows to score; None for val, or test without val.
    embedding : str, sequence of str or None
        Names of the embeddings; None for those that the head was fitted for.

    Returns
    -------
    scored : ScoredRows
        The rows.
    n_alike : int or None
        Number of rows that look like rows that were learnt from; None if it was not counted.
    """
    head = read_class_head(head)
    with opened_cache(cache) as opened:
        chosen = split or choose_evaluated(opened)
        scored = ScoredRows.read(opened, head, split=chosen, embedding=embedding)
        n_alike = scored.count_alike(opened)
    for text in scored.list_notes(n_alike):
        note(text)
    return scored, n_alike


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
