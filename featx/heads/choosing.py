"""Choose among values by rows that were predicted with each, and say which can be told apart."""

from __future__ import annotations

import numpy as np

from featx.core.typing import Array, BoolArray, Float64Array

BEYOND_DOUBT, SURE, LIKELY = 4.0, 1.96, 1.0
"""Standard errors from which two values can be told apart: so that a path ends after one value, in
what is right, and in log loss."""


def is_apart(differences: Array, weights: Float64Array, n_errors: float) -> bool:
    """Return whether the weighted mean of differences of rows is above 0 by so many errors.

    Parameters
    ----------
    differences : ndarray
        ``(n_rows,)``.
    weights : ndarray of float64
        ``(n_rows,)``, which sum to 1.
    n_errors : float
        Number of standard errors of the mean.
    """
    mean = float(weights @ differences)
    error = float(np.sqrt((weights**2) @ (differences - mean) ** 2))
    return mean > n_errors * error and mean > 1e-9


def choose_value(right: BoolArray, losses: Array, weights: Float64Array) -> int:
    """Choose among values by the rows that were right, then by log loss, then the middle one.

    Values whose accuracy cannot be told from the best one's (1.96 standard errors of the paired
    difference) are compared by log loss, a proper score; of those whose log loss cannot be told
    from the least (one standard error), the middle one is the furthest from values that underfit or
    overfit.

    Parameters
    ----------
    right : ndarray of bool
        ``(n_values, n_rows)``, in the order of the values.
    losses : ndarray
        ``(n_values, n_rows)``, log loss of each row in nats.
    weights : ndarray of float64
        ``(n_rows,)``, weight of each row; they sum to 1.

    Returns
    -------
    int
        Index of the value.

    Examples
    --------
    >>> right = np.array([[False] * 20, [True] * 20, [True] * 20])
    >>> losses = np.array([[1.0] * 20, [0.5] * 20, [0.1] * 20])
    >>> choose_value(right, losses, np.full(20, 0.05))
    2
    """
    shares = right @ weights
    best = int(shares.argmax())
    alike = [
        value
        for value in range(len(right))
        if not is_apart(np.subtract(right[best], right[value], dtype=np.float64), weights, SURE)
    ]
    means = losses @ weights
    least = min(alike, key=lambda value: float(means[value]))
    near = [
        value for value in alike if not is_apart(losses[value] - losses[least], weights, LIKELY)
    ]
    return near[(len(near) - 1) // 2]
