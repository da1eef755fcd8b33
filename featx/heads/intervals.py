"""Intervals of scores: one function makes them, of single rows, of units, and of folds."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm, t

from featx.core.typing import Array, IntArray

LEVEL = 0.95
"""Share of intervals that hold the true score."""

FOLD_VARIANCE = 1.3
"""Variance of a cross-validated score, in variances of as many rows that are scored by one head."""


def estimate_interval(
    right: Array, units: IntArray | None = None, *, n_folds: int | None = None
) -> tuple[float, float]:
    """Estimate the 95 % interval of an accuracy.

    The interval of single rows is the score interval (Wilson 1927). If rows form units, it is the
    score interval of the effective number of rows, which is estimated from the spread of the units.

    Parameters
    ----------
    right : ndarray
        ``(n_rows,)``, True for each row that is predicted correctly; or, if rows are scored several
        times, the share of the times that they are.
    units : ndarray of int64, optional
        ``(n_rows,)``, the unit of each row: rows of one unit are right together. Default: each row
        is a unit of its own.
    n_folds : int, optional
        Number of folds, if `right` comes from nested cross-validation: the interval is then that of
        the accuracy of the head that is fitted on all rows. Default: one head that was fitted
        without these rows.

    Returns
    -------
    tuple of float
        Ends of the interval; (0, 1) if there is no row or only one unit of several rows.

    Examples
    --------
    >>> low, high = estimate_interval(np.arange(10) < 8)
    >>> round(low, 3), round(high, 3)
    (0.49, 0.943)
    """
    right = np.asarray(right, np.float64)
    n_rows = len(right)
    codes = np.arange(n_rows) if units is None else np.unique(units, return_inverse=True)[1]
    sizes = np.bincount(codes)
    n_units = len(sizes)
    if n_units == 0 or n_units == 1 < n_rows:
        return 0.0, 1.0
    share = float(right.mean())
    n_effective, quantile = float(n_rows), float(norm.ppf((1 + LEVEL) / 2))
    if n_units < n_rows and share in (0.0, 1.0):
        n_effective = n_units
    elif n_units < n_rows:
        spread = np.bincount(codes, right - share)
        variance = n_units / (n_units - 1) * float(spread @ spread) / n_rows**2
        quantile = float(t.ppf((1 + LEVEL) / 2, n_units - 1))
        n_effective = min(n_rows, share * (1 - share) / variance) if variance else n_rows
    return _compute_score_interval(
        share, n_effective / (1 if n_folds is None else FOLD_VARIANCE), quantile
    )


def estimate_balanced_interval(
    right: Array, codes: IntArray, units: IntArray | None = None, *, n_folds: int | None = None
) -> tuple[float, float]:
    """Estimate the 95 % interval of a balanced accuracy from the intervals of the recalls.

    The distances of the recalls from the ends of their intervals are squared and added (Zou and
    Donner 2008). For one class, the interval is that of `estimate_interval`.

    Parameters
    ----------
    right : ndarray
        ``(n_rows,)``, as for `estimate_interval`.
    codes : ndarray of int64
        ``(n_rows,)``, the true class of each row.
    units : ndarray of int64, optional
        ``(n_rows,)``, as for `estimate_interval`.
    n_folds : int, optional
        As for `estimate_interval`.

    Returns
    -------
    tuple of float
        Ends of the interval.

    Examples
    --------
    >>> codes = np.repeat([0, 1], [100, 10])
    >>> right = np.concatenate([np.arange(100) < 90, np.arange(10) < 5])
    >>> low, high = estimate_balanced_interval(right, codes)
    >>> round(low, 3), round(high, 3)
    (0.563, 0.834)
    """
    right = np.asarray(right, np.float64)
    classes = np.unique(codes)
    if len(classes) == 0:
        return 0.0, 1.0
    recalls, ends = np.zeros(len(classes)), np.zeros((len(classes), 2))
    for at, code in enumerate(classes):
        chosen = codes == code
        recalls[at] = right[chosen].mean()
        ends[at] = estimate_interval(
            right[chosen], None if units is None else units[chosen], n_folds=n_folds
        )
    if len(classes) == 1:
        return float(ends[0, 0]), float(ends[0, 1])
    below, above = np.sqrt(((ends - recalls[:, None]) ** 2).sum(axis=0)) / len(classes)
    return float(recalls.mean() - below), float(recalls.mean() + above)


def _compute_score_interval(share: float, n_rows: float, quantile: float) -> tuple[float, float]:
    """Compute the ends of Wilson's interval, of a number of rows that need not be whole."""
    z2 = quantile**2
    middle = (share + z2 / (2 * n_rows)) / (1 + z2 / n_rows)
    half = quantile / (1 + z2 / n_rows)
    half *= float(np.sqrt(share * (1 - share) / n_rows + z2 / (4 * n_rows**2)))
    # At the ends, rounding must not leave what holds exactly.
    low = 0.0 if share == 0 else max(0.0, middle - half)
    high = 1.0 if share == 1 else min(1.0, middle + half)
    return float(low), float(high)
