"""The gain of one classifier over another on the same rows, with its interval and p-value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.stats import binomtest, norm

from featx.core.columns import iter_blocks
from featx.core.typing import Array, BoolArray, Float64Array, IntArray, Measure
from featx.heads.intervals import FOLD_EXCESS

N_RESAMPLES = 10_000
"""Number of resamples of the bootstrap, and of random signs of a test."""

MAX_DRAWN = 4_000_000
"""Largest number of counts that are drawn at once."""

SPREAD = math.sqrt(1 + FOLD_EXCESS)
"""How much wider the spread of a gain is, if it is one of folds."""

ALPHA = 0.05
"""Largest p-value at which a difference counts."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """How much better a second classifier is than a first one on the same rows.

    Attributes
    ----------
    mean : float
        Score of the second classifier minus score of the first one.
    ci95 : tuple of float
        Ends of the 95 % interval of the gain.
    p_value : float
        p-value of the gain.
    """

    mean: float
    ci95: tuple[float, float]
    p_value: float


def measure_gain(
    is_first: BoolArray,
    is_second: BoolArray,
    strata: IntArray,
    *,
    units: Array | None = None,
    n_folds: int | None = None,
    seed: int = 0,
) -> Gain:
    """Measure the gain of a second classifier, with its interval and p-value.

    Parameters
    ----------
    is_first, is_second : ndarray of bool
        ``(n_rows,)``, rows that each classifier predicts correctly.
    strata : ndarray of int64
        ``(n_rows,)``, as `find_strata` returns them.
    units : ndarray, optional
        ``(n_rows,)``, the unit of each row. Default: each row is a unit of its own.
    n_folds : int, optional
        Number of folds, if each row was predicted by a head that was fitted on the other folds. The
        interval is wider then, as that of the score is: folds depend on each other.
    seed : int
        Seed of the bootstrap and of random signs.

    Returns
    -------
    Gain
        The gain.
    """
    if units is not None and len(np.unique(units)) == len(units):
        units = None  # units of one row are rows, which are drawn faster
    difference = is_second.astype(np.int64) - is_first.astype(np.int64)
    gains = difference * weigh_rows(strata)
    mean = average_strata(difference, strata)
    low, high = _bootstrap_gain(difference, strata, units, seed)
    p_value = compute_p_value(sum_units(gains, units), seed)
    if n_folds is not None:
        low, high = mean - (mean - low) * SPREAD, mean + (high - mean) * SPREAD
        p_value = widen_p_value(p_value)
    return Gain(mean=mean, ci95=(low, high), p_value=p_value)


def widen_p_value(p_value: float) -> float:
    """Return the p-value of a difference between scores of folds, which depend on each other.

    Parameters
    ----------
    p_value : float
        p-value as if rows had been scored by one head.

    Examples
    --------
    >>> round(widen_p_value(0.05), 3), widen_p_value(1.0)
    (0.144, 1.0)
    """
    return float(2 * norm.sf(norm.isf(p_value / 2) / SPREAD))


def find_strata(codes: IntArray, measure: Measure) -> IntArray:
    """Assign rows to the strata of a score: the score is the mean of the accuracies in the strata.

    Parameters
    ----------
    codes : ndarray of int64
        ``(n_rows,)``, class codes.
    measure : {"accuracy", "balanced_accuracy"}
        The score.

    Returns
    -------
    ndarray of int64
        ``(n_rows,)``: the class codes for a balanced accuracy, 0 throughout for an accuracy.
    """
    return codes if measure == "balanced_accuracy" else np.zeros_like(codes)


def average_strata(values: Array, strata: IntArray) -> float:
    """Average values in each stratum, then over the strata.

    Parameters
    ----------
    values : ndarray
        ``(n_rows,)``, such as True for each row that is predicted correctly.
    strata : ndarray of int64
        ``(n_rows,)``, as `find_strata` returns them.

    Examples
    --------
    >>> average_strata(np.array([True, False, True]), np.array([0, 0, 1]))
    0.75
    """
    counts = np.bincount(strata)
    has_rows = counts > 0
    return float((np.bincount(strata, values)[has_rows] / counts[has_rows]).mean())


def weigh_rows(strata: IntArray) -> Float64Array:
    """Weigh rows such that each stratum has the same weight, and all rows together have 1.

    Parameters
    ----------
    strata : ndarray of int64
        ``(n_rows,)``, as `find_strata` returns them.

    Returns
    -------
    ndarray of float64
        ``(n_rows,)``. The score is the sum over the rows that are predicted correctly.

    Examples
    --------
    >>> weigh_rows(np.array([0, 0, 0, 0, 1])).tolist()
    [0.125, 0.125, 0.125, 0.125, 0.5]
    """
    counts = np.bincount(strata)
    return 1 / (np.count_nonzero(counts) * counts[strata].astype(np.float64))


def sum_units(gains: Array, units: Array | None) -> Float64Array:
    """Add up the gains of rows that belong together.

    Parameters
    ----------
    gains : ndarray
        ``(n_rows,)``, gain of each row.
    units : ndarray or None
        ``(n_rows,)``, the unit of each row; None if each row is a unit of its own.

    Returns
    -------
    ndarray of float64
        ``(n_units,)``.
    """
    if units is None:
        return gains.astype(np.float64)
    sums = np.bincount(np.unique(units, return_inverse=True)[1], gains)
    return sums.astype(np.float64)


def compute_p_value(gains: Float64Array, seed: int = 0) -> float:
    """Test whether gains are as likely to be losses of the same size: two-sided, by their sum.

    Parameters
    ----------
    gains : ndarray of float64
        ``(n_units,)``, gains of independent units; negative for a loss.
    seed : int
        Seed of random signs.

    Returns
    -------
    float
        The p-value: exact if all gains have one size (the binomial test), otherwise estimated from
        random signs.
    """
    sizes, counts = np.unique(np.abs(gains[gains != 0]), return_counts=True)
    if len(sizes) == 0:
        return 1.0
    if len(sizes) == 1:
        return float(binomtest(int((gains > 0).sum()), int(counts[0])).pvalue)
    rng = np.random.default_rng(seed)
    sums = np.zeros(N_RESAMPLES)
    for size, count in zip(sizes, counts, strict=True):
        sums += size * (2 * rng.binomial(count, 0.5, N_RESAMPLES) - count)
    as_far = np.abs(sums) >= abs(gains.sum()) * (1 - 1e-9)
    return float((1 + as_far.sum()) / (1 + N_RESAMPLES))


def _bootstrap_gain(
    difference: IntArray, strata: IntArray, units: Array | None, seed: int
) -> tuple[float, float]:
    """Return the 95 % interval of the mean over strata of the mean of values that are -1, 0, 1."""
    rng = np.random.default_rng(seed)
    if units is None:
        means = np.zeros(N_RESAMPLES)
        sizes = np.bincount(strata)
        for code in np.flatnonzero(sizes):
            part = _draw_rows(difference[strata == code], np.ones(int(sizes[code]), int), rng)
            means += part / np.count_nonzero(sizes)
    elif not strata.any():
        codes = np.unique(units, return_inverse=True)[1]
        sums = np.bincount(codes, difference).astype(np.int64)
        means = _draw_rows(sums, np.bincount(codes), rng)
    else:
        means = _draw_units(difference, strata, units, rng)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _draw_rows(sums: IntArray, sizes: IntArray, rng: np.random.Generator) -> Float64Array:
    """Draw units, each with a sum of values over its rows; return the means over the rows drawn.

    To resample units is to draw how many of each sort there are.
    """
    sorts, counts = np.unique(np.stack([sums, sizes]), axis=1, return_counts=True)
    n_units = len(sums)
    means = np.empty(N_RESAMPLES)
    for block in iter_blocks(N_RESAMPLES, max(1, MAX_DRAWN // len(counts))):
        drawn = rng.multinomial(n_units, counts / n_units, len(means[block]))
        means[block] = (drawn @ sorts[0]) / (drawn @ sorts[1])
    return means


def _draw_units(
    difference: IntArray, strata: IntArray, units: Array, rng: np.random.Generator
) -> Float64Array:
    """Draw units whose rows lie in several strata; return the means over the strata."""
    codes = np.unique(units, return_inverse=True)[1]
    sums, sizes = (
        coo_array((values, (strata, codes))).tocsr()
        for values in (difference, np.ones_like(difference))
    )
    n_units = sums.shape[1]
    means = np.empty(N_RESAMPLES)
    for number in range(N_RESAMPLES):  # all resamples at once would take gigabytes
        drawn = np.bincount(rng.integers(0, n_units, n_units), minlength=n_units)
        n_rows = sizes @ drawn  # (n_strata,)
        means[number] = ((sums @ drawn)[n_rows > 0] / n_rows[n_rows > 0]).mean()
    return means


def adjust_p_values(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for the number of comparisons (Holm 1979).

    Parameters
    ----------
    p_values : sequence of float
        p-values of the comparisons, in any order.

    Returns
    -------
    list of float
        The corrected p-values, in the same order.

    Examples
    --------
    >>> adjust_p_values([0.04, 0.01, 0.5])
    [0.08, 0.03, 0.5]
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, number in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[number]))
        adjusted[number] = largest
    return adjusted
