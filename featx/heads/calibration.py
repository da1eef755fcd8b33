"""Scores of classes, and the probabilities that follow from them, for all kinds of heads."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import softmax

from featx.core.typing import Array, Float64Array

LEAST = 1e-12
"""Smallest probability of an estimator without scores: its logarithm is finite."""


def score_classes(estimator: Any, X: Array) -> Float64Array:
    """Score each class for each row.

    Parameters
    ----------
    estimator : estimator
        Fitted scikit-learn classifier: with ``decision_function``, or else with ``predict_proba``,
        whose logarithms are the scores.
    X : ndarray
        ``(n_rows, dim)``, embeddings.

    Returns
    -------
    ndarray of float64
        ``(n_rows, n_classes)``. If there are two classes, the score of the first one is 0.
    """
    if hasattr(estimator, "decision_function"):
        scores = np.asarray(estimator.decision_function(X), np.float64)
    else:
        scores = np.log(np.maximum(estimator.predict_proba(X), LEAST, dtype=np.float64))
    return np.stack([np.zeros_like(scores), scores], axis=1) if scores.ndim == 1 else scores


def compute_probabilities(scores: Array, temperature: float = 1.0) -> Float64Array:
    """Turn scores of classes into probabilities: the softmax of the scores over the temperature.

    Parameters
    ----------
    scores : ndarray
        ``(n_rows, n_classes)``; or ``(n_rows,)``, scores of the second of two classes over the
        first.
    temperature : float
        Number above 0. A larger one gives probabilities that are more alike.

    Returns
    -------
    ndarray of float64
        ``(n_rows, n_classes)``, each row sums to 1.

    Examples
    --------
    >>> compute_probabilities(np.array([0.0, 2.0])).round(2).tolist()
    [[0.5, 0.5], [0.12, 0.88]]
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim == 1:
        scores = np.stack([np.zeros_like(scores), scores], axis=1)
    return np.asarray(softmax(scores / temperature, axis=1))
