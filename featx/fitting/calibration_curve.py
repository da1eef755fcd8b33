"""Measure on a cache how often a head is right where it claims to be sure."""

from __future__ import annotations

from featx.cache.side_by_side import Names
from featx.core.recognise import check_order
from featx.fitting.evaluate import read_scored_rows
from featx.fitting.inputs import CacheLike, HeadLike
from featx.heads.calibration_curve import CalibrationCurve


def measure_calibration_curve(
    head: HeadLike,
    cache: CacheLike,
    *,
    split: str | None = None,
    embedding: Names | None = None,
) -> CalibrationCurve:
    """Measure how often a head is right, by the probability of the class that it predicts.

    The bins are those of the calibration error of `featx.evaluate`, and the intervals respect the
    same units.

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
    CalibrationCurve
        The curve. A row of a class that the head does not know counts as wrong.

    Warns
    -----
    FeatxWarning
        If rows were left out, if the head or the network has learnt from some rows, or if the head
        does not know their class.

    Raises
    ------
    HeadError
        If the head cannot be read, or knows no class of the rows.
    FingerprintError
        If the embeddings are not comparable with those that the head was fitted on.
    CacheError
        If the cache has no such split, or no labelled rows in it.

    See Also
    --------
    featx.plot_calibration : Draw the curve.
    featx.evaluate : All scores of a head.

    Examples
    --------
    >>> curve = featx.measure_calibration_curve("head.joblib", "photos.h5")
    >>> curve.n_rows, [one.accuracy for one in curve.bins]
    (4, [1.0])
    """
    check_order(
        ("head", "cache"),
        (head, cache),
        content="head",
        call="featx.measure_calibration_curve({held!r}, {rest!r})",
    )
    scored, _ = read_scored_rows(head, cache, split=split, embedding=embedding)
    return scored.measure_calibration()
