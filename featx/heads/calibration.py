"""Turn class scores into probabilities that mean something, with one temperature.

Source: Guo et al., On calibration of modern neural networks (2017).
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from scipy.special import log_softmax, softmax

from featx.core.typing import Array, Float64Array, IntArray

MAX_STEPS = 50

HOTTEST = 1e6
"""Highest temperature: the probabilities of all classes are alike, as scores say nothing."""

COLDEST = 1e-4

PRIOR_ROWS = 1.0
"""Number of rows of each class, right at random, that are added to those that a temperature is
fitted on: if all rows are right, the best temperature without them would be 0."""


def widen_scores(scores: Array) -> Float64Array:
    """Return one column of scores for each class; of two classes, scikit-learn returns one column.

    Parameters
    ----------
    scores : ndarray
        ``(n_rows, n_classes)``, or ``(n_rows,)`` for two classes, positive for the second one.

    Returns
    -------
    ndarray of float64
        ``(n_rows, n_classes)``. If there are two classes, the score of the first one is 0.

    Examples
    --------
    >>> widen_scores(np.array([2.0, -4.0])).tolist()
    [[0.0, 2.0], [0.0, -4.0]]
    """
    scores = np.asarray(scores, np.float64)
    return np.stack([np.zeros_like(scores), scores], axis=1) if scores.ndim == 1 else scores


def score_classes(estimator: Any, X: Array) -> Float64Array:
    """Return the score of each class by a fitted estimator, which a softmax turns into a share.

    Parameters
    ----------
    estimator : scikit-learn estimator
        Fitted classifier: with ``decision_function``, or nearest neighbours, whose shares count.
    X : ndarray
        ``(n_rows, dim)``.

    Returns
    -------
    ndarray of float64
        ``(n_rows, n_classes)``.
    """
    if hasattr(estimator, "decision_function"):
        scores = widen_scores(estimator.decision_function(X))
        if getattr(_get_classifier(estimator), "decision_function_shape", "") == "ovo":
            return join_pairs(scores, len(estimator.classes_))
        return scores
    return smooth_shares(estimator.predict_proba(X), estimator)


def _get_classifier(estimator: Any) -> Any:
    """Return the last step of a pipeline, or the estimator itself."""
    return estimator[-1] if hasattr(estimator, "steps") else estimator


def join_pairs(scores: Array, n_classes: int) -> Float64Array:
    """Return the score of each class from those of each pair of classes.

    Each pair counts by the hyperbolic tangent of its score: as a vote if it is sure, and by its
    score if not. Votes alone are right a little more often, and their probabilities mean little: on
    2,000 rows of CIFAR-10, log loss 0.85 after 0.79.

    Parameters
    ----------
    scores : ndarray
        ``(n_rows, n_pairs)``, positive for the first class of a pair: (0, 1), (0, 2), …; of two
        classes, their scores.
    n_classes : int
        Number of classes.

    Returns
    -------
    ndarray of float64
        ``(n_rows, n_classes)``, mean of each class over its pairs.

    Examples
    --------
    >>> join_pairs(np.array([[1.0, 3.0, -1.0]]), 3).round(2).tolist()
    [[0.88, -0.76, -0.12]]
    """
    if n_classes == 2:
        return np.asarray(scores, np.float64)
    found = np.zeros((len(scores), n_classes))
    for column, (first, second) in enumerate(itertools.combinations(range(n_classes), 2)):
        share = np.tanh(scores[:, column])
        found[:, first] += share
        found[:, second] -= share
    return found / (n_classes - 1)


def smooth_shares(shares: Array, estimator: Any) -> Float64Array:
    """Return the logarithms of shares of neighbours, none of which is 0.

    Parameters
    ----------
    shares : ndarray
        ``(n_rows, n_classes)``, shares of the nearest rows that are of each class.
    estimator : scikit-learn estimator or int
        Estimator with ``n_neighbors``, or that number; one neighbour more has a part of each class.
    """
    classifier = _get_classifier(estimator)
    n_neighbors = getattr(classifier, "n_neighbors", classifier)
    n_classes = shares.shape[1]
    return np.asarray(np.log(np.asarray(shares, np.float64) * n_neighbors + 1 / n_classes))


def compute_probabilities(scores: Array, temperature: float = 1.0) -> Float64Array:
    """Compute probabilities from class scores.

    Parameters
    ----------
    scores : ndarray
        ``(n_rows, n_classes)``, or ``(n_rows,)`` for two classes.
    temperature : float
        Number that the scores are divided by, above 0.

    Returns
    -------
    ndarray of float64
        ``(n_rows, n_classes)``, whose rows sum to 1.

    Examples
    --------
    >>> compute_probabilities(np.array([[0.0, 2.0]]), 2.0).round(3).tolist()
    [[0.269, 0.731]]
    """
    return np.asarray(softmax(widen_scores(scores) / temperature, axis=1))


def fit_temperature(scores: Array, codes: IntArray, weights: Array | None = None) -> float:
    """Find the temperature with the least log loss, by Newton's method on its inverse.

    Parameters
    ----------
    scores : ndarray
        ``(n_rows, n_classes)``, scores of held-out rows.
    codes : ndarray of int64
        ``(n_rows,)``, true class codes.
    weights : ndarray, optional
        ``(n_rows,)``, weight of each row. Default: all weigh alike.

    Returns
    -------
    float
        The temperature, between `COLDEST` and `HOTTEST`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> scores = rng.normal(size=(20_000, 3))
    >>> chances = softmax(scores, axis=1).cumsum(axis=1)
    >>> codes = (rng.random((20_000, 1)) > chances).sum(axis=1)
    >>> round(fit_temperature(5 * scores, codes), 1)
    5.0
    """
    scores = np.asarray(scores, np.float64)
    n_rows = len(scores)
    weights = np.ones(n_rows) if weights is None else np.asarray(weights, np.float64)
    # The mean size of a difference makes the unit of the inverse temperature.
    scores = scores - scores.mean(axis=1, keepdims=True)
    unit = float(np.sqrt(np.mean(scores**2)))
    if unit < 1e-12:
        return 1.0
    scores /= unit
    # A few rows whose label is at random keep the temperature above 0.
    extra = PRIOR_ROWS * weights.mean() / n_rows
    right = scores[np.arange(n_rows), codes]
    goal = weights @ right  # the random rows' mean score is 0
    inverse = 1.0
    low, high = unit / HOTTEST, unit / COLDEST
    for _ in range(MAX_STEPS):
        shares = softmax(inverse * scores, axis=1)
        means = (shares * scores).sum(axis=1)
        spreads = (shares * scores**2).sum(axis=1) - means**2
        slope = (weights + extra) @ means - goal
        bend = (weights + extra) @ spreads
        before = inverse
        if slope > 0:
            high = min(high, inverse)
        else:
            low = max(low, inverse)
        inverse = inverse - slope / bend if bend > 0 else high
        if not low < inverse < high:
            inverse = float(np.sqrt(low * high))
        if abs(inverse - before) <= 1e-6 * inverse:
            break
    return float(np.clip(unit / inverse, COLDEST, HOTTEST))


def list_losses(scores: Array, codes: IntArray, temperature: float) -> Float64Array:
    """Return the log loss of each row in nats, ``(n_rows,)``.

    Parameters
    ----------
    scores : ndarray
        ``(n_rows, n_classes)``.
    codes : ndarray of int64
        ``(n_rows,)``, true class codes.
    temperature : float
        Number that the scores are divided by.
    """
    logs = log_softmax(np.asarray(scores, np.float64) / temperature, axis=1)
    return np.asarray(-logs[np.arange(len(codes)), codes])
