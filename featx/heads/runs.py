"""Runs of like numbers, which stand for classes where rows are dealt by a number."""

from __future__ import annotations

import numpy as np

from featx.core.typing import Float64Array, IntArray

MAX_RUNS, MIN_RUN = 10, 5
"""Number of runs of like numbers at most, and of rows of one run at least."""


def count_runs(n_rows: int) -> int:
    """Return the number of runs of like numbers that rows are divided into: `MAX_RUNS` at most.

    Parameters
    ----------
    n_rows : int
        Number of rows; a run has five of them at least.
    """
    return max(1, min(MAX_RUNS, n_rows // MIN_RUN))


def find_runs(y: Float64Array, n_runs: int) -> IntArray:
    """Divide numbers into runs of like ones, so that each part has its share of small and large.

    Parameters
    ----------
    y : ndarray of float64
        ``(n_rows,)``, the numbers.
    n_runs : int
        Number of runs, at least 1; there are fewer if many numbers are equal.

    Returns
    -------
    ndarray of int64
        ``(n_rows,)``, the run of each row, from 0: equal numbers have the same, larger ones the
        same or a later one.

    Examples
    --------
    >>> find_runs(np.array([5.0, 1.0, 2.0, 9.0]), 2).tolist()
    [1, 0, 0, 1]
    >>> find_runs(np.array([0.0, 0.0, 0.0, 7.0]), 4).tolist()
    [0, 0, 0, 1]
    """
    ranks = np.searchsorted(np.sort(y), y, side="left")
    return np.unique(ranks * n_runs // len(y), return_inverse=True)[1].astype(np.int64)
