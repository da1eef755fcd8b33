"""Score a head for several classes per image, or for a number, on the rows of a cache."""

from __future__ import annotations

from featx.cache.side_by_side import Names
from featx.core.errors import HeadError
from featx.core.notes import note
from featx.core.recognise import check_order
from featx.fitting.evaluate import choose_evaluated
from featx.fitting.inputs import CacheLike, HeadLike, opened_cache, read_head
from featx.fitting.scored_targets import ScoredTargets
from featx.heads.target_head import TargetHead, TargetScores


def evaluate_target(
    head: HeadLike,
    cache: CacheLike,
    *,
    split: str | None = None,
    embedding: Names | None = None,
) -> TargetScores:
    """Score a head for several classes per image, or for a number, on the rows of a cache.

    Parameters
    ----------
    head : path or Head
        Head to score, as ``featx.fit_head(cache, target="COLUMN")`` made it.
    cache : path, sequence of paths or Cache
        Cache with the column of the target, or several caches as `featx.open_cache` takes them.
    split : str, optional
        Rows to score: ``"train"``, ``"val"``, ``"test"`` or ``"all"``. Default: ``"val"``, or
        ``"test"`` if the cache has no val rows.
    embedding : str or sequence of str, optional
        Name of the embedding, or names of several. Default: those that the head was fitted for.

    Returns
    -------
    SeveralScores or NumberScores
        Scores of the rows that were not learnt from, or of all rows if there are no others.

    Warns
    -----
    FeatxWarning
        If rows were left out, if rows were learnt from, or if rows have classes that the head does
        not know.

    Raises
    ------
    FingerprintError
        If the embeddings are not comparable with those that the head was fitted on.
    CacheError
        If the cache has no such split or column.
    HeadError
        If the head cannot be read or is one for one class per image, or cells cannot be read.

    See Also
    --------
    featx.evaluate : Score a head for one class per image.

    Examples
    --------
    >>> import featx
    >>> with featx.open_cache("photos.h5") as cache:
    ...     weights = {key: 2.5 + number for number, key in enumerate(cache.ids)}
    >>> report = featx.label_cache("photos.h5", weights, field="weight")
    >>> head = featx.fit_head("photos.h5", target="weight", C=1.0)
    >>> scores = featx.evaluate_target(head, "photos.h5")
    >>> scores.n_rows
    4
    """
    check_order(
        ("head", "cache"),
        (head, cache),
        content="head",
        call="featx.evaluate_target({held!r}, {rest!r})",
    )
    head = read_head(head)
    if not isinstance(head, TargetHead):
        raise HeadError(
            subject="head",
            expected="a head for several classes, or for a number",
            got="one for one class per image",
            remedy="Score it with featx.evaluate.",
        )
    with opened_cache(cache) as opened:
        chosen = split or choose_evaluated(opened)
        scored = ScoredTargets.read(opened, head, split=chosen, embedding=embedding)
        scores = scored.score()
    for text in scored.list_notes():
        note(text)
    return scores
