"""Intervals of scores: one function makes them, of single rows, of units, and of folds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm, t

from featx.core.typing import Array, Float64Array, IntArray

LEVEL = 0.95
"""Share of intervals that hold the true score."""

QUANTILE = float(norm.ppf((1 + LEVEL) / 2))

TINY = 1e-9
"""Nearest to 0 or 1 that a score is looked for."""

FREEDOM = 1.5
"""Degrees of freedom of a variance for each unit that its sum of squares comes from: 2 in theory if
there are many (Satterthwaite 1946); in simulations 1.5 holds for few too, and 1 is too wide."""

SHRINKING = 4
"""Number of rows with the mean recall that are added to a class for the variance of its recall."""

FOLD_EXCESS = 0.8
"""Largest excess of the variance of a cross-validated score over that of as many rows that one head
scores, as a share of the latter. Each row is tested by heads that learnt from the others: if heads
guess, or follow single rows, what one row teaches decides of others, and theirs of it. For heads
that guess between two classes the theory of linear heads has 2 / pi; simulations have 0.6 to 0.9.
"""

FEW_DIMS = 6
"""The excess grows with the dimensions of the vectors, to the largest at one to six rows.
`benchmarks/interval_coverage.py` tests both numbers."""


def estimate_interval(
    right: Array,
    units: IntArray | None = None,
    *,
    n_folds: int | None = None,
    n_dims: int | None = None,
    predicted: Array | None = None,
) -> tuple[float, float]:
    """Estimate the 95 % interval of an accuracy.

    The interval of single rows is the score interval (Wilson 1927). If rows form units, it is the
    score interval of the effective number of rows, which lies between the number of units and that
    of rows, and is estimated from the spread of the units (Korn and Graubard 1998); where few units
    bear the spread, Student's t widens it.

    Scores of folds depend on each other, so that they vary more than those of as many independent
    rows. No estimate of it from the folds is unbiased (Bengio and Grandvalet 2004); the variance is
    widened by what simulations show, which is more where the true score is near a guess between two
    classes, and less where most mistakes are those of a head that always says the same class. It is
    less than the widening of Nadeau and Bengio (2003), which doubles it.

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
    n_dims : int, optional
        Number of dimensions of the vectors, used only with `n_folds`: if they are few beside the
        rows, the heads of all folds are alike, and the interval is narrower. Default: they are not.
    predicted : ndarray, optional
        ``(n_rows,)``, the predicted classes, used only with `n_folds`: if nearly all are the same
        one, there is little that folds could have learnt from each other. Default: they differ.

    Returns
    -------
    tuple of float
        Ends of the interval; 0 and 1 if there are no rows.

    Examples
    --------
    >>> low, high = estimate_interval(np.arange(10) < 8)
    >>> round(low, 3), round(high, 3)
    (0.49, 0.943)

    Two rows a unit, both right or both wrong, say as much as half as many rows.

    >>> low, high = estimate_interval(np.arange(20) < 16, np.arange(20) // 2)
    >>> round(low, 3), round(high, 3)
    (0.49, 0.943)
    """
    right = np.asarray(right, np.float64)
    if len(right) == 0:
        return 0.0, 1.0
    n_effective = _count_effective(right, units)
    excess = _Excess.find(right, n_effective, n_folds=n_folds, n_dims=n_dims, predicted=predicted)
    return _invert_score_test(float(right.mean()), n_effective, excess)


def estimate_recall_intervals(
    right: Array,
    codes: IntArray,
    units: IntArray | None = None,
    *,
    n_folds: int | None = None,
    n_dims: int | None = None,
    predicted: Array | None = None,
) -> Float64Array:
    """Estimate the 95 % interval of the recall of each class, as `estimate_interval` does.

    What folds add to the variance is counted by all rows, of which the heads have learnt.

    Parameters
    ----------
    right : ndarray
        ``(n_rows,)``, as for `estimate_interval`.
    codes : ndarray of int64
        ``(n_rows,)``, the true class of each row.
    units : ndarray of int64, optional
        ``(n_rows,)``, as for `estimate_interval`.
    n_folds, n_dims, predicted : optional
        As for `estimate_interval`.

    Returns
    -------
    ndarray of float64
        Ends of the intervals ``(n_classes, 2)``, of the classes that have rows, in the order of
        their codes.

    Examples
    --------
    >>> estimate_recall_intervals(np.arange(12) < 8, np.repeat([0, 1], [10, 2])).round(3)
    array([[0.49 , 0.943],
           [0.   , 0.658]])
    """
    right = np.asarray(right, np.float64)
    classes, of_row = np.unique(codes, return_inverse=True)
    n_all = _count_effective(right, units)
    excess = _Excess.find(right, n_all, n_folds=n_folds, n_dims=n_dims, predicted=predicted)
    ends = np.zeros((len(classes), 2))
    for code in range(len(classes)):
        chosen = of_row == code
        n_effective = _count_effective(right[chosen], None if units is None else units[chosen])
        ends[code] = _invert_score_test(float(right[chosen].mean()), n_effective, excess)
    return ends


def estimate_balanced_interval(
    right: Array,
    codes: IntArray,
    units: IntArray | None = None,
    *,
    n_folds: int | None = None,
    n_dims: int | None = None,
    predicted: Array | None = None,
) -> tuple[float, float]:
    """Estimate the 95 % interval of a balanced accuracy, the mean of the recalls.

    It is the score interval of the effective number of rows that has the variance of the mean. The
    variance of a recall is that of a recall shrunk towards their mean: of few rows, all or none are
    right by chance, which says nothing of the variance.

    Parameters
    ----------
    right : ndarray
        ``(n_rows,)``, as for `estimate_interval`.
    codes : ndarray of int64
        ``(n_rows,)``, the true class of each row.
    units : ndarray of int64, optional
        ``(n_rows,)``, as for `estimate_interval`.
    n_folds, n_dims, predicted : optional
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
    (0.529, 0.829)
    """
    right = np.asarray(right, np.float64)
    classes, of_row = np.unique(codes, return_inverse=True)
    if len(classes) == 0:
        return 0.0, 1.0
    counts = np.array(
        [
            _count_effective(right[chosen], None if units is None else units[chosen])
            for chosen in (of_row == code for code in range(len(classes)))
        ]
    )
    recalls = np.bincount(of_row, right) / np.bincount(of_row)
    mean = float(recalls.mean())
    shrunk = (counts * recalls + SHRINKING * mean) / (counts + SHRINKING)
    variances = shrunk * (1 - shrunk) / counts
    if mean in (0, 1):  # of equal recalls, only the numbers of rows matter
        mean_variance, variances = 1.0, 1 / counts
    else:
        mean_variance = mean * (1 - mean)
    if units is not None:
        variances = variances * _measure_dependence(right - recalls[of_row], of_row, units)
    n_effective = mean_variance * len(classes) ** 2 / float(variances.sum())
    n_all = _count_effective(right, units)
    excess = _Excess.find(right, n_all, n_folds=n_folds, n_dims=n_dims, predicted=predicted)
    return _invert_score_test(mean, n_effective, excess)


def estimate_gain_interval(
    gains: Array,
    units: IntArray | None = None,
    *,
    n_folds: int | None = None,
    n_dims: int | None = None,
) -> tuple[float, float]:
    """Estimate the 95 % interval of a difference of two accuracies on the same rows.

    Two units of mean size, one that changes and one that does not, are added to the data (Agresti
    and Min 2005): without them, few changes would make an interval of no width.

    Parameters
    ----------
    gains : ndarray
        ``(n_rows,)``, 1 for each row that only the second head predicts correctly, -1 for each row
        that only the first one does, else 0.
    units : ndarray of int64, optional
        ``(n_rows,)``, as for `estimate_interval`.
    n_folds, n_dims : int, optional
        As for `estimate_interval`.

    Returns
    -------
    tuple of float
        Ends of the interval; -1 and 1 if there is no row, or only one unit of several rows.

    Examples
    --------
    >>> low, high = estimate_gain_interval(np.repeat([1, -1, 0], [9, 2, 89]))
    >>> round(low, 3), round(high, 3)
    (0.003, 0.134)
    """
    gains = np.asarray(gains, np.float64)
    n_rows = len(gains)
    of_row = np.arange(n_rows) if units is None else np.unique(units, return_inverse=True)[1]
    sizes = np.bincount(of_row)
    n_units = len(sizes)
    if n_units == 0 or n_units == 1 < n_rows:
        return -1.0, 1.0
    size = n_rows / n_units
    total = n_rows + 2 * size
    mean = float(gains.sum()) / total
    spread = np.bincount(of_row, gains) - mean * sizes
    variance = (float(spread @ spread) + size**2) / total**2
    if n_folds is not None:
        variance *= 1 + _bound_excess(n_units, n_dims)
    quantile = QUANTILE if n_units == n_rows else float(t.ppf((1 + LEVEL) / 2, n_units - 1))
    half = quantile * float(np.sqrt(variance))
    return max(-1.0, mean - half), min(1.0, mean + half)


def _count_effective(right: Float64Array, units: IntArray | None) -> float:
    """Estimate how many rows that are independent would say as much as these rows."""
    n_rows, share = len(right), float(right.mean())
    if units is None:
        return float(n_rows)
    of_row = np.unique(units, return_inverse=True)[1]
    n_units = n_rows**2 / float((np.bincount(of_row) ** 2.0).sum())  # of one size, that say as much
    squares = np.bincount(of_row, right - share) ** 2
    if n_units <= 1 or squares.sum() <= 0:  # nothing is known of how units differ
        return n_units
    variance = n_units / (n_units - 1) * squares.sum() / n_rows**2
    n_bearing = squares.sum() ** 2 / (squares**2).sum()  # units that the spread comes from
    freedom = max(1.0, min(n_units - 1, FREEDOM * n_bearing))
    quantile = float(t.ppf((1 + LEVEL) / 2, freedom))
    n_effective = min(share * (1 - share) / variance, n_rows) * (QUANTILE / quantile) ** 2
    return float(max(n_effective, n_units))


def _measure_dependence(residuals: Float64Array, codes: IntArray, units: IntArray) -> float:
    """Measure how much the recalls rise and fall together, because units hold several classes.

    Returns
    -------
    float
        Variance of the sum of the recalls, in variances of as many independent ones; at least 1.
    """
    weighed = residuals / np.bincount(codes)[codes]
    of_row = np.unique(units, return_inverse=True)[1]
    of_part = np.unique(of_row * (codes.max() + 1) + codes, return_inverse=True)[1]
    apart = float((np.bincount(of_part, weighed) ** 2).sum())
    together = float((np.bincount(of_row, weighed) ** 2).sum())
    return max(1.0, together / apart) if apart > 0 else 1.0


@dataclass(frozen=True)
class _Excess:
    """By how much the variance of a score of folds exceeds that of as many rows of one head.

    Attributes
    ----------
    least : float
        Smallest excess, whatever the score is.
    share : float
        Share of the excess that remains, at most 1: twice the number of rows that are predicted as
        another class than the most frequent one, for each row that is predicted wrongly. A head
        that always says one class is wrong in some rows as well, but none of that was learnt.
    """

    least: float
    share: float

    @classmethod
    def find(
        cls,
        right: Float64Array,
        n_effective: float,
        *,
        n_folds: int | None,
        n_dims: int | None,
        predicted: Array | None,
    ) -> _Excess | None:
        """Find the excess of a score; None if it is of no folds."""
        if n_folds is None:
            return None
        share, n_wrong = 1.0, float((1 - right).sum())
        if predicted is not None and n_wrong:
            n_other = len(right) - int(np.unique(predicted, return_counts=True)[1].max())
            share = min(1.0, 2 * n_other / n_wrong)
        return cls(least=_bound_excess(n_effective, n_dims), share=share)

    def measure(self, score: float) -> float:
        """Return the excess at a true score."""
        guessing = 4 * score * (1 - score)  # 1 for guesses between two classes
        return self.share * max(self.least, FOLD_EXCESS * guessing ** (1 if score < 0.5 else 4))


def _bound_excess(n_effective: float, n_dims: int | None) -> float:
    """Return the excess of the variance of folds that any score has at least."""
    wide = 1.0 if n_dims is None else min(1.0, FEW_DIMS * n_dims / n_effective)
    return FOLD_EXCESS * wide


def _invert_score_test(
    share: float, n_rows: float, excess: _Excess | None = None
) -> tuple[float, float]:
    """Find the scores that a test does not refuse: Wilson's interval, if the excess is None.

    Parameters
    ----------
    share : float
        The score that was measured.
    n_rows : float
        Effective number of rows.
    excess : _Excess or None
        Excess of the variance in folds; None if the score is of no folds.
    """

    def measure_distance(score: float) -> float:
        variance = score * (1 - score) / n_rows
        if excess is not None:
            variance *= 1 + excess.measure(score)
        return (share - score) ** 2 - QUANTILE**2 * variance

    inside = min(max(share, TINY), 1 - TINY)
    low = 0.0 if share <= 0 else float(brentq(measure_distance, 0, inside))
    high = 1.0 if share >= 1 else float(brentq(measure_distance, inside, 1))
    return low, high
