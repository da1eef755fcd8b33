"""Intervals of scores that are no shares of rows: units are drawn again and again (bootstrap)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from featx.core.typing import Array, Float64Array, IntArray
from featx.heads.intervals import FOLD_EXCESS, LEVEL

N_DRAWS = 400
"""Number of samples of units. More move the ends of an interval by less than its own error."""

BLOCK_VALUES = 1 << 21
"""Numbers that the samples of one block have together: 16 MB."""

Statistic = Callable[[Float64Array], Float64Array]
"""Function that takes weights of the rows ``(n_draws, n_rows)``, and returns a score for each
sample, ``(n_draws,)``; NaN if the sample has none."""


def estimate_by_resampling(
    statistic: Statistic,
    n_rows: int,
    units: IntArray | None = None,
    *,
    n_folds: int | None = None,
) -> tuple[float, float] | None:
    """Estimate the 95 % interval of a score by the bootstrap over units (Efron 1979).

    The ends are those of the standard interval with the deviation of the samples, or the
    percentiles of the samples, whichever are farther from the score: the first is too narrow for
    skewed scores, the other for few units.

    Parameters
    ----------
    statistic : callable
        Score of the rows with given weights; see `Statistic`.
    n_rows : int
        Number of rows.
    units : ndarray of int64, optional
        ``(n_rows,)``, the unit of each row. Default: each row is a unit of its own.
    n_folds : int, optional
        Number of folds, if the rows were predicted by cross-validation: the interval is then wider,
        as that of `featx.heads.intervals.estimate_interval` is.

    Returns
    -------
    tuple of float or None
        Ends of the interval; None if there are fewer than two units, or if most samples have no
        score.

    Examples
    --------
    >>> values = np.arange(100.0)
    >>> low, high = estimate_by_resampling(lambda w: (w @ values) / w.sum(axis=1), 100)
    >>> 42 < low < 46 and 53 < high < 57
    True
    """
    codes = np.arange(n_rows) if units is None else np.unique(units, return_inverse=True)[1]
    n_units = int(codes.max()) + 1 if n_rows else 0
    if n_units < 2:
        return None
    score = float(statistic(np.ones((1, n_rows)))[0])
    drawn = _draw(statistic, codes, n_units)
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) < N_DRAWS / 2 or not np.isfinite(score):
        return None
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    spread = _find_quantile(n_units) * float(drawn.std()) * np.sqrt(n_units / (n_units - 1))
    widening = 1.0 if n_folds is None else np.sqrt(1 + FOLD_EXCESS)
    below, above = max(score - low, spread) * widening, max(high - score, spread) * widening
    return float(score - below), float(score + above)


def _draw(statistic: Statistic, codes: IntArray, n_units: int) -> Float64Array:
    """Score samples of units, in blocks."""
    random = np.random.default_rng(0)
    step = max(1, BLOCK_VALUES // len(codes))
    found: list[Array] = []
    for start in range(0, N_DRAWS, step):
        n_draws = min(step, N_DRAWS - start)
        drawn = random.integers(n_units, size=(n_draws, n_units))
        counts = np.stack([np.bincount(one, minlength=n_units) for one in drawn])
        found.append(statistic(counts[:, codes].astype(np.float64)))
    return np.concatenate(found)


def _find_quantile(n_units: int) -> float:
    """Find the quantile of Student's distribution that the deviation is multiplied with."""
    from scipy.stats import t

    return float(t.ppf((1 + LEVEL) / 2, n_units - 1))
