"""A head as one matrix, and one matrix as a head."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from featx.core.errors import HeadError

Array = np.ndarray[Any, Any]


def fold_linear(estimator: Any) -> tuple[Array, Array]:
    """Fold the scaler of a fitted head into its linear classifier.

    Parameters
    ----------
    estimator : Pipeline
        ``StandardScaler``, then ``LogisticRegression`` or ``LinearSVC``.

    Returns
    -------
    weight, bias : ndarray
        float64 ``(n_classes, dim)`` and ``(n_classes,)``: ``X @ weight.T + bias`` is the head's
        decision function. Of two classes the first has the logit 0.

    Raises
    ------
    HeadError
        If a step is none that one matrix can stand for.
    """
    steps = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else []
    names = [type(step).__name__ for step in steps] or [type(estimator).__name__]
    kinds = (StandardScaler, (LogisticRegression, LinearSVC))
    if len(steps) != len(kinds) or not all(map(isinstance, steps, kinds)):
        raise HeadError(
            "head: expected a StandardScaler and a linear classifier, which one layer of a network "
            f"can stand for, got {', '.join(names)}. Fit one: featx fit-head --kind logreg."
        )
    scaler, classifier = steps
    dim = classifier.coef_.shape[1]
    # A scaler that is told to leave the mean may know it all the same.
    mean = np.asarray(scaler.mean_, np.float64) if scaler.with_mean else np.zeros(dim)
    scale = np.ones(dim) if scaler.scale_ is None else np.asarray(scaler.scale_, np.float64)
    weight = np.asarray(classifier.coef_, np.float64) / scale
    bias = np.broadcast_to(np.asarray(classifier.intercept_, np.float64), len(weight))
    bias = bias - weight @ mean
    if len(weight) == 1:
        weight, bias = np.concatenate([0 * weight, weight]), np.concatenate([0 * bias, bias])
    return weight, bias


def build_linear(weight: Array, bias: Array, classes: Array) -> Pipeline:
    """Build a fitted head of a matrix: what `fold_linear` undoes.

    Parameters
    ----------
    weight : ndarray
        ``(n_classes, dim)``.
    bias : ndarray
        ``(n_classes,)``.
    classes : ndarray of str
        ``(n_classes,)``, sorted.

    Returns
    -------
    Pipeline
        A ``StandardScaler`` that changes nothing, and a ``LogisticRegression`` whose
        probabilities are the softmax of the logits.
    """
    if len(classes) == 2:  # scikit-learn keeps the difference alone
        weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
    dim = weight.shape[1]
    classifier = LogisticRegression()
    classifier.classes_ = np.asarray(classes)
    classifier.coef_, classifier.intercept_ = weight, bias
    classifier.n_features_in_ = dim
    classifier.n_iter_ = np.zeros(1, np.int32)
    scaler = StandardScaler(with_mean=False, with_std=False).fit(np.zeros((1, dim), weight.dtype))
    return Pipeline([("scale", scaler), ("classify", classifier)])
