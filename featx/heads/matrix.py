"""The matrix of a linear head: plain numbers, which outlive all versions of scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import Normalizer

from featx.core.typing import Array, Float64Array
from featx.heads.linear import build_linear, fold_linear, fold_steps, is_foldable


@dataclass(frozen=True, kw_only=True, eq=False)
class Matrix:
    """A linear head without its estimator.

    Attributes
    ----------
    weight : ndarray of float64
        ``(n_classes, dim)``; ``(1, dim)`` for a number.
    bias : ndarray of float64
        ``(n_classes,)``: ``X @ weight.T + bias`` are the scores of the classes, or the numbers. If
        an image has several classes, the probability of each is the logistic of its score.
    is_normalised : bool
        Whether each row of X is divided by its Euclidean norm first.
    """

    weight: Float64Array
    bias: Float64Array
    is_normalised: bool

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values and arrays."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Matrix:
        """Build the matrix again from the fields that `to_dict` returned.

        Parameters
        ----------
        fields : mapping
            Fields as `to_dict` returned them.

        Raises
        ------
        TypeError
            If a field is missing, unknown, or of another type.
        ValueError
            If the shapes of the arrays do not agree, or their values are not finite.
        """
        matrix = cls(**fields)
        for part, ndim in ((matrix.weight, 2), (matrix.bias, 1)):
            if not isinstance(part, np.ndarray) or part.dtype != np.float64 or part.ndim != ndim:
                raise TypeError(f"a matrix of {type(part).__name__}")
            if len(part) != len(matrix.bias) or not np.isfinite(part).all():
                raise ValueError("a matrix of other shapes, or of numbers that are not finite")
        return matrix

    def build_estimator(self, classes: Array) -> Pipeline:
        """Build a fitted estimator that has the scores of the matrix.

        Parameters
        ----------
        classes : ndarray of str
            ``(n_classes,)``, in the order of the rows of the matrix.

        Returns
        -------
        Pipeline
            Steps of the installed scikit-learn.
        """
        estimator = build_linear(self.weight, self.bias, classes)
        if self.is_normalised:
            return Pipeline([("normalise", Normalizer()), *estimator.steps])
        return estimator


def find_matrix(estimator: Any) -> Matrix | None:
    """Find the matrix that stands for a fitted estimator.

    Parameters
    ----------
    estimator : estimator
        Fitted scikit-learn estimator.

    Returns
    -------
    Matrix or None
        None if the estimator is not linear.
    """
    steps = list(estimator.steps) if isinstance(estimator, Pipeline) else []
    first = steps[0][1] if steps else None
    is_normalised = isinstance(first, Normalizer) and first.norm == "l2"
    linear = steps[1:] if is_normalised else steps
    inner = [step for _, step in linear]
    if is_foldable(inner):
        weight, bias = fold_linear(Pipeline(linear))
    elif any(is_foldable(inner, last) for last in (Ridge, OneVsRestClassifier)):
        weight, bias = fold_steps(inner)
    else:
        return None
    return Matrix(weight=weight, bias=bias, is_normalised=is_normalised)
