"""Turn a fitted head into one matrix, and one matrix into a fitted head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model._base import LinearClassifierMixin
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from featx.core.errors import HeadError
from featx.core.typing import Array, Float64Array
from featx.heads.kinds import KINDS


def fold_linear(estimator: Any) -> tuple[Float64Array, Float64Array]:
    """Fold the steps of a fitted head into its linear classifier.

    Parameters
    ----------
    estimator : Pipeline
        Any number of ``StandardScaler`` and ``PCA``, then a linear classifier of scikit-learn, all
        fitted.

    Returns
    -------
    weight : ndarray of float64
        ``(n_classes, dim)``.
    bias : ndarray of float64
        ``(n_classes,)``: ``X @ weight.T + bias`` is the decision function of the head. If there are
        two classes, the logit of the first one is 0.

    Raises
    ------
    HeadError
        If the estimator has other steps, which cannot be written as one matrix.
    """
    steps = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else []
    if not is_foldable(steps):
        linear_kinds = " or ".join(f"kind={kind.name!r}" for kind in KINDS if kind.is_linear)
        raise HeadError(
            subject="head",
            expected="a StandardScaler and a linear classifier, which one layer of a network can "
            "stand for",
            got=", ".join(type(step).__name__ for step in steps or [estimator]),
            remedy=f"Fit one with featx.fit_head(cache) and {linear_kinds}.",
        )
    weight, bias = fold_steps(steps)
    if len(weight) == 1:
        weight, bias = (np.concatenate([np.zeros_like(part), part]) for part in (weight, bias))
    return weight, bias


def fold_steps(steps: Sequence[Any]) -> tuple[Float64Array, Float64Array]:
    """Fold the steps of a pipeline into its last one, a linear estimator.

    Parameters
    ----------
    steps : sequence of estimator
        Fitted steps that `is_foldable` accepts.

    Returns
    -------
    weight : ndarray of float64
        ``(n_outputs, dim)``.
    bias : ndarray of float64
        ``(n_outputs,)``: ``X @ weight.T + bias`` are the outputs. A classifier of two classes has
        one output.
    """
    *transformers, last = steps
    parts = last.estimators_ if isinstance(last, OneVsRestClassifier) else [last]
    weight = np.concatenate([np.atleast_2d(part.coef_) for part in parts]).astype(np.float64)
    shifts = [np.broadcast_to(part.intercept_, len(np.atleast_2d(part.coef_))) for part in parts]
    bias = np.concatenate(shifts).astype(np.float64)
    for step in reversed(transformers):
        weight = weight / _find_scale(step)
        if isinstance(step, PCA):
            weight = weight @ np.asarray(step.components_, np.float64)
        # A scaler with with_mean=False may still have a mean, which it does not subtract.
        if isinstance(step, PCA) or step.with_mean:
            bias = bias - weight @ np.asarray(step.mean_, np.float64)
    return weight, bias


def is_foldable(steps: Sequence[Any], last: type[Any] = LinearClassifierMixin) -> bool:
    """Return whether one matrix can stand for the steps of a pipeline.

    Parameters
    ----------
    steps : sequence of estimator
        Fitted steps.
    last : type
        Type that the last step must have.
    """
    return (
        len(steps) > 0
        and all(isinstance(step, StandardScaler | PCA) for step in steps[:-1])
        and isinstance(steps[-1], last)
    )


def _find_scale(step: StandardScaler | PCA) -> Float64Array:
    """Return what a step divides each of its outputs by."""
    if isinstance(step, StandardScaler):
        return np.ones(1) if step.scale_ is None else np.asarray(step.scale_, np.float64)
    if not step.whiten:
        return np.ones(1)
    variance = np.asarray(step.explained_variance_)
    # As PCA does: some components can have a variance of nearly 0.
    return np.asarray(np.maximum(np.sqrt(variance), np.finfo(variance.dtype).eps), np.float64)


def build_linear(weight: Array, bias: Array, classes: Array) -> Pipeline:
    """Build a fitted head from a matrix: the inverse of `fold_linear`.

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
        A ``StandardScaler`` that changes nothing, and a ``LogisticRegression`` whose probabilities
        are the softmax of the logits ``X @ weight.T + bias``.
    """
    if len(classes) == 2:  # for two classes, scikit-learn keeps only the difference
        weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
    dim = weight.shape[1]
    classifier = LogisticRegression()
    classifier.classes_ = np.asarray(classes)
    classifier.coef_, classifier.intercept_ = weight, bias
    classifier.n_features_in_ = dim
    classifier.n_iter_ = np.zeros(1, np.int32)
    scaler = StandardScaler(with_mean=False, with_std=False).fit(np.zeros((1, dim), weight.dtype))
    return Pipeline([("scale", scaler), ("classify", classifier)])
