"""How many pairs of rows are as near by chance: many, where embeddings have few dimensions.

Around a row, the number of neighbours grows with the distance to the power of the dimensions that
the data have there, wherever the row lies. So the distances of neighbours number 10 and 20 say how
many are expected within any smaller distance. Where more are found, the others are copies.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import isotonic_regression

from featx.core.typing import Array, Float32Array, Float64Array, IntArray

ROUNDING = 1e-7
"""Error of a cosine in float32: rows cannot be nearer."""

TINY = 1e-6
"""Smallest scale of distances: below, they are rounding."""

JUMP = 4.0
"""Logarithm of the growth of a squared distance above which nearer neighbours are copies, and say
nothing about dimensions: along a line, the median is 1.4."""

OWN = 0.25
"""Weight of a row beside the mean of its neighbours. Without it, rows of which few lie alike are
taken for copies; with more, real images lose copies."""


def count_by_chance(
    ends: tuple[IntArray, IntArray],
    cosine: Float32Array,
    scales: tuple[Float32Array, Float32Array],
    n_scales: tuple[int, int],
) -> Float64Array:
    """Compute how many pairs of a cache are expected to be as near as each pair by chance.

    Parameters
    ----------
    ends : (ndarray of int64, ndarray of int64)
        ``(n_pairs,)`` each, numbers of the two rows.
    cosine : ndarray of float32
        ``(n_pairs,)``.
    scales : (ndarray of float32, ndarray of float32)
        ``(n_rows,)`` each, one minus the cosine of two neighbours of each row, the nearer first.
    n_scales : (int, int)
        Which neighbours these are.

    Returns
    -------
    ndarray of float64
        ``(n_pairs,)``, ascending with the distance, relative to where the two rows lie.
    """
    a, b = ends
    near, far = scales
    n_rows, most = len(near), len(near) * n_scales[0] / 2
    growth = np.log(np.maximum(far, TINY) / np.maximum(near, TINY)).astype(np.float64)
    lost = (far <= TINY) | (growth > JUMP)  # among copies: as elsewhere in the cache
    usual = np.ones(n_rows, bool) if np.median(near) > TINY else ~lost & (near > TINY)
    if usual.any():
        growth = np.where(lost, np.median(growth[usual]), growth)
        radius = np.where(lost, np.median(near[usual]), near)
    else:  # each row has copies enough: nothing says how near others are
        radius = np.zeros(n_rows)
    counts = np.bincount(a, minlength=n_rows) + np.bincount(b, minlength=n_rows)
    # One row says little about its dimensions: its neighbours say more.
    sums = np.bincount(a, growth[b], n_rows) + np.bincount(b, growth[a], n_rows)
    growth = OWN * growth + (1 - OWN) * sums / np.maximum(counts, 1)
    growth, radius = np.maximum(growth[a], growth[b]), np.minimum(radius[a], radius[b])
    power = math.log(n_scales[1] / n_scales[0]) / np.maximum(growth, TINY)
    share = np.minimum(np.maximum(1 - cosine, ROUNDING) / np.maximum(radius, TINY), 1) ** power
    share = np.where(growth > TINY, share, 1)
    return most * np.where(radius > TINY, share, 1 - cosine > TINY)


def count_equal(sample: Array, n_rows: int) -> float:
    """Compute how many pairs of rows are expected to have the same vector by chance.

    Whole numbers and other steps make rows equal: as many as if columns were independent.

    Parameters
    ----------
    sample : ndarray
        ``(n_sampled, dim)``, vectors of some rows, as they are stored.
    n_rows : int
        Number of all rows.

    Examples
    --------
    >>> steps = np.arange(100)[:, None] // 50
    >>> round(count_equal(steps, 100)), count_equal(steps + np.arange(100)[:, None] / 100, 100)
    (2450, 0.0)
    """
    n_pairs = max(1, len(sample) * (len(sample) - 1))
    counts = (np.unique(column, return_counts=True)[1] for column in sample.T)
    share = math.prod(float((n * (n - 1)).sum()) / n_pairs for n in counts)
    return n_rows * (n_rows - 1) / 2 * share


def compute_wrong(by_chance: Float64Array) -> Float64Array:
    """Compute for each pair the share of pairs like it that are as near by chance.

    The expected number is set against the number that is found. Two standard errors are added to
    it, so that few pairs, which chance brings now and then, are not taken for copies.

    Parameters
    ----------
    by_chance : ndarray of float64
        ``(n_pairs,)``, expected number of pairs as near as each.

    Returns
    -------
    ndarray of float64
        ``(n_pairs,)``, 0 to 1, ascending with `by_chance`.

    Examples
    --------
    >>> compute_wrong(np.array([30.0, 0.0, 10.0, 0.0001, 20.0])).round(2).tolist()
    [1.0, 0.0, 1.0, 0.02, 1.0]
    """
    wrong = np.zeros(len(by_chance))
    if len(by_chance):
        order = np.argsort(by_chance, kind="stable")
        most = by_chance[order] + 2 * np.sqrt(by_chance[order])
        wrong[order] = isotonic_regression(np.diff(most, prepend=0)).x
    return np.minimum(wrong, 1)
