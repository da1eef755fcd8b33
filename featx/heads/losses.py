"""The losses of linear heads: values, residuals and curvatures of many lanes at once."""

from __future__ import annotations

from typing import Literal

import numpy as np

from featx.core.typing import Array, BoolArray, Float64Array, IntArray

LossName = Literal["logistic", "squared-hinge", "squared"]
"""Losses of linear heads: cross-entropy of all classes, and the squared hinge and the squared error
of each class against the others."""


class Multinomial:
    """Cross-entropy of more than two classes, whose outputs belong together.

    Parameters
    ----------
    codes : ndarray of int64
        ``(n_rows,)``, class code of each row.
    n_classes : int
        Number of classes.
    """

    def __init__(self, codes: IntArray, n_classes: int) -> None:
        self.codes, self.width, self.n_columns = codes, n_classes, 1
        self.rows = np.arange(len(codes))

    def compute(
        self, scores: Array, columns: IntArray, weights: Array
    ) -> tuple[Float64Array, Array, Float64Array]:
        """Compute the loss of each lane, the residuals of its rows, and its curvature.

        Parameters
        ----------
        scores : ndarray
            ``(width, n_lanes, n_rows)``.
        columns : ndarray of int64
            ``(n_lanes,)``, column of the target that each lane is about.
        weights : ndarray
            ``(n_lanes, n_rows)``, weight of each row; of one lane, they sum to 1.

        Returns
        -------
        loss : ndarray of float64
            ``(n_lanes,)``.
        residuals : ndarray
            ``(width, n_lanes, n_rows)``, derivative of the loss by the scores.
        curvature : ndarray of float64
            ``(n_lanes,)``, mean second derivative of the loss by a score.
        """
        lanes = np.arange(len(columns))[:, None]
        scores = scores - scores.max(axis=0)
        right = scores[self.codes, lanes, self.rows]
        np.exp(scores, out=scores)
        total = scores.sum(axis=0)
        loss = _sum_rows(np.log(total) - right, weights)
        scores /= total
        squares = np.einsum("kln,kln->ln", scores, scores)
        curvature = _sum_rows(1 - squares, weights) / self.width
        scores[self.codes, lanes, self.rows] -= 1
        scores *= weights
        return loss, scores, curvature


class _Columns:
    """Losses of independent columns.

    Parameters
    ----------
    targets : ndarray of bool
        ``(n_rows, n_columns)``, True for the rows of each column's class.
    """

    width = 1

    def __init__(self, targets: BoolArray) -> None:
        self.signs = np.where(targets.T, 1, -1).astype(np.int8)
        self.n_columns = targets.shape[1]

    def _sign(self, scores: Array, columns: IntArray) -> tuple[Array, Array]:
        """Return signs ``(n_lanes, n_rows)``, 1 for rows of the lane's class, and margins."""
        signs = self.signs[columns].astype(scores.dtype)
        return signs, signs * scores[0]


class Binomial(_Columns):
    """Cross-entropy of each column against its complement."""

    def compute(
        self, scores: Array, columns: IntArray, weights: Array
    ) -> tuple[Float64Array, Array, Float64Array]:
        """Compute loss, residuals and curvature; see `Multinomial.compute`."""
        signs, margins = self._sign(scores, columns)
        small = np.exp(-np.abs(margins))
        loss = _sum_rows(np.log1p(small) + np.maximum(-margins, 0), weights)
        wrong = np.where(margins >= 0, small, 1) / (1 + small)
        curvature = _sum_rows(wrong * (1 - wrong), weights)
        return loss, (-signs * wrong * weights)[None], curvature


class SquaredHinge(_Columns):
    """Squared hinge loss of each column against its complement."""

    def compute(
        self, scores: Array, columns: IntArray, weights: Array
    ) -> tuple[Float64Array, Array, Float64Array]:
        """Compute loss, residuals and curvature; see `Multinomial.compute`."""
        signs, margins = self._sign(scores, columns)
        short = np.maximum(1 - margins, 0)
        loss = _sum_rows(short * short, weights)
        curvature = 2 * _sum_rows((short > 0).astype(scores.dtype), weights)
        return loss, (-2 * signs * short * weights)[None], curvature


class Squared(_Columns):
    """Squared distance of each column's score from 1 or -1."""

    def compute(
        self, scores: Array, columns: IntArray, weights: Array
    ) -> tuple[Float64Array, Array, Float64Array]:
        """Compute loss, residuals and curvature; see `Multinomial.compute`."""
        errors = scores[0] - self.signs[columns]
        loss = _sum_rows(errors * errors, weights)
        return loss, (2 * errors * weights)[None], 2 * weights.sum(axis=1)


Loss = Multinomial | Binomial | SquaredHinge | Squared


def build_loss(name: LossName, codes: IntArray, n_classes: int) -> Loss:
    """Build the loss of a linear head.

    Parameters
    ----------
    name : {"logistic", "squared-hinge", "squared"}
        Name of the loss.
    codes : ndarray of int64
        ``(n_rows,)``, class code of each row.
    n_classes : int
        Number of classes, at least 2.
    """
    if name == "logistic" and n_classes > 2:
        return Multinomial(codes, n_classes)
    positive = np.array([1]) if n_classes == 2 else np.arange(n_classes)
    targets = codes[:, None] == positive
    if name == "logistic":
        return Binomial(targets)
    return SquaredHinge(targets) if name == "squared-hinge" else Squared(targets)


def _sum_rows(values: Array, weights: Array) -> Float64Array:
    return np.asarray(np.einsum("ln,ln->l", values, weights), np.float64)
