"""Turn class scores into probabilities that mean something, with one temperature.

Source: Guo et al., On calibration of modern neural networks (2017).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.special import softmax

from featx.core.typing import Array, Float64Array, IntArray

MAX_STEPS = 50

CLOSE = 1e-4
"""Relative size of the last of Newton's steps: the next one would be of the square of it."""

SAMPLED_ROWS = 2000
"""Number of rows, at regular intervals, that the first guess of a temperature comes from."""

BLOCK = 2**15
"""Number of scores that are looked at together."""

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
        The temperature, between `COLDEST` and `HOTTEST`; 1 if there are no rows.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> scores = rng.normal(size=(20_000, 3))
    >>> chances = softmax(scores, axis=1).cumsum(axis=1)
    >>> codes = (rng.random((20_000, 1)) > chances).sum(axis=1)
    >>> round(fit_temperature(5 * scores, codes), 1)
    5.0
    """
    if not len(scores):
        return 1.0
    weights = np.ones(len(scores)) if weights is None else np.asarray(weights, np.float64)
    # A few rows whose label is at random keep the temperature above 0.
    extra = PRIOR_ROWS * float(weights.mean()) / len(scores)
    some = slice(None, None, max(1, len(scores) // SAMPLED_ROWS))
    # The mean size of a difference makes the unit of the inverse temperature.
    unit = _measure_size(scores[some])
    if unit < 1e-12:
        return 1.0
    inverse = 1 / unit
    for part in (some, slice(None)) if some.step > 1 else (some,):
        inverse = _refine_inverse(
            scores[part], codes[part], weights[part], extra=extra, inverse=inverse
        )
    return float(np.clip(1 / inverse, COLDEST, HOTTEST))


def _measure_size(scores: Array) -> float:
    """Return the root mean square of the differences of scores from the mean of their row."""
    scores = np.asarray(scores, np.float64)
    return float(np.sqrt(np.mean((scores - scores.mean(axis=1, keepdims=True)) ** 2)))


def _refine_inverse(
    scores: Array, codes: IntArray, weights: Float64Array, *, extra: float, inverse: float
) -> float:
    """Find the best inverse temperature by Newton's method, from a guess.

    Parameters
    ----------
    scores : ndarray
        ``(n_rows, n_classes)``.
    codes : ndarray of int64
        ``(n_rows,)``, true class codes.
    weights : ndarray of float64
        ``(n_rows,)``, weight of each row.
    extra : float
        Weight that each row has once more with a label at random.
    inverse : float
        The guess, above 0.
    """
    low, high = 1 / HOTTEST, 1 / COLDEST
    for _ in range(MAX_STEPS):
        slope = bend = 0.0
        for rows, shifted in _iter_shifted(scores):
            shares = np.exp(inverse * shifted)
            shares /= shares.sum(axis=1, keepdims=True)
            shares *= shifted
            means = shares.sum(axis=1)
            spreads = np.einsum("ij,ij->i", shares, shifted) - means**2
            right = shifted[np.arange(len(shifted)), codes[rows]]
            slope += weights[rows] @ (means - right) + extra * (means - shifted.mean(axis=1)).sum()
            bend += (weights[rows] + extra) @ spreads
        before = inverse
        if slope > 0:
            high = min(high, inverse)
        else:
            low = max(low, inverse)
        inverse = inverse - slope / bend if bend > 0 else high
        if not low < inverse < high:
            inverse = float(np.sqrt(low * high))
        if abs(inverse - before) <= CLOSE * inverse:
            break
    return inverse


def _iter_shifted(scores: Array) -> Iterator[tuple[slice, Float64Array]]:
    """Yield blocks of rows that stay in the processor's cache, less the highest score of each."""
    size = max(1, BLOCK // scores.shape[1])
    for start in range(0, len(scores), size):
        rows = slice(start, start + size)
        block = np.asarray(scores[rows], np.float64)
        yield rows, block - block.max(axis=1, keepdims=True)


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
    losses = np.empty(len(scores))
    for rows, shifted in _iter_shifted(scores):
        shifted /= temperature
        right = shifted[np.arange(len(shifted)), codes[rows]]
        losses[rows] = np.log(np.exp(shifted).sum(axis=1)) - right
    return losses
