"""Score a head for several classes per image, or for a number, on the rows of a cache."""

from __future__ import annotations

import numpy as np

from featx.cache.side_by_side import Names, read_joined, read_learnt_by
from featx.cache.tables import BLOCK_ROWS
from featx.core.columns import iter_blocks
from featx.core.errors import HeadError
from featx.core.notes import note
from featx.core.recognise import check_order
from featx.core.text import join_some
from featx.fitting.comparable import find_comparable
from featx.fitting.evaluate import choose_evaluated
from featx.fitting.inputs import (
    CacheLike,
    HeadLike,
    check_known,
    opened_cache,
    read_head,
)
from featx.fitting.scored_rows import describe_seen
from featx.fitting.seen_rows import find_seen_rows
from featx.fitting.target_rows import TargetRows
from featx.heads.number import score_numbers
from featx.heads.several import score_several
from featx.heads.target_head import TargetHead, TargetScores
from featx.heads.targets import N_NAMED
from featx.heads.units import find_units


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
    target = head.target
    with opened_cache(cache) as opened:
        split = split or choose_evaluated(opened)
        subject = f"{opened.path}, split {split}"
        names = find_comparable(opened, head, embedding=embedding)
        found = TargetRows.read(opened, target.kind, target.columns, split=split, embeddings=names)
        digests, learnt = opened.read_column("digest")[found.rows], read_learnt_by(opened, names)
        learnt = learnt[found.rows]
        seen = find_seen_rows(opened, head)[found.rows] | learnt
        kept = np.arange(len(seen)) if seen.all() else np.flatnonzero(~seen)
        units = find_units(opened.groups[found.rows[kept]], digests[kept])
        predict = head.predict_proba if target.kind == "several" else head.predict
        predicted = np.concatenate(
            [
                predict(read_joined(opened, names, found.rows[kept[block]]))
                for block in iter_blocks(len(kept), BLOCK_ROWS)
            ]
        )
    n_seen = int(seen.sum())
    if n_seen:
        rest = "all are scored, too high" if seen.all() else "they are left out"
        note(f"{describe_seen(seen, learnt)}: {rest}")
    if target.kind == "number":
        assert target.mean is not None
        assert target.median is not None
        return score_numbers(
            found.read_numbers()[kept],
            predicted,
            mean=target.mean,
            median=target.median,
            units=units,
            n_seen=n_seen,
        )
    flags, unknown = found.read_known(target)
    if not flags.any():
        check_known(np.array(unknown, object), head.classes, subject=subject)
    if unknown:
        note(
            f"classes that the head does not know, and that are not scored: "
            f"{join_some(unknown, N_NAMED)}"
        )
    return score_several(
        flags[kept],
        predicted,
        predicted >= np.array(target.thresholds),
        classes=target.classes,
        thresholds=target.thresholds,
        units=units,
        unknown=unknown,
        n_seen=n_seen,
    )
