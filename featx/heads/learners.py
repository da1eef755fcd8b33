"""What a search asks of a kind of head: scores of held-out rows, and the head that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from featx.core.typing import Array, Float64Array, IntArray
from featx.heads.class_weights import ClassWeight
from featx.heads.coordinates import Coordinates
from featx.heads.losses import LossName, build_loss
from featx.heads.solvers import LinearSolver, fit_exactly

Part = tuple[IntArray, IntArray]
"""Rows that a head is fitted on, and other rows that it is to score."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Labelled rows to learn, and the parts of them that a search fits heads on.

    Attributes
    ----------
    X : ndarray
        ``(n_rows, dim)``, rows before they are scaled.
    coordinates : Coordinates
        The same rows, scaled and rotated.
    codes : ndarray of int64
        ``(n_rows,)``, class codes.
    n_classes : int
        Number of classes.
    class_weight : None, "balanced" or dict
        Weights of the class codes, as scikit-learn takes them.
    parts : list of (ndarray, ndarray)
        Rows to fit on and rows to score.
    shift : ndarray of float64 or float
        ``(n_channels,)``, mean of the rows as the classifier that is kept reads them; coordinates
        have none.
    """

    X: Array
    coordinates: Coordinates
    codes: IntArray
    n_classes: int
    class_weight: ClassWeight
    parts: Sequence[Part]
    shift: Float64Array | float = 0.0

    def weigh_rows(self, rows: IntArray) -> Float64Array:
        """Return the weight of each row of a training set, as scikit-learn computes it."""
        counts = np.bincount(self.codes[rows], minlength=self.n_classes)
        if self.class_weight == "balanced":
            weights = len(rows) / (np.count_nonzero(counts) * np.maximum(counts, 1))
        elif isinstance(self.class_weight, dict):
            weights = np.array([self.class_weight.get(code, 1.0) for code in range(self.n_classes)])
        else:
            weights = np.ones(self.n_classes)
        return np.asarray(weights[self.codes[rows]], np.float64)

    def restrict_weights(self, rows: IntArray) -> ClassWeight:
        """Return the class weights without those of classes that some rows lack."""
        if isinstance(self.class_weight, dict):
            known = set(self.codes[rows].tolist())
            return {code: one for code, one in self.class_weight.items() if code in known}
        return self.class_weight

    def find_only_class(self, part: int) -> int | None:
        """Return the class of all rows that a part fits on, None if there are several."""
        codes = self.codes[self.parts[part][0]]
        return int(codes[0]) if (codes == codes[0]).all() else None


class Learner(Protocol):
    """Fits heads of one kind for a search."""

    def score(self, parts: IntArray, strengths: Float64Array) -> list[Array]:
        """Fit parts, each with a strength, and return the class scores of the rows to score.

        Parameters
        ----------
        parts : ndarray of int64
            ``(n_fits,)``, numbers of parts, each at most once.
        strengths : ndarray of float64
            ``(n_fits,)``.

        Returns
        -------
        list of ndarray
            ``(n_scored_rows, n_classes)`` for each part.
        """

    def tighten(self) -> bool:
        """Fit as closely from now on as probabilities need, if fits were looser than that.

        Returns
        -------
        bool
            Whether further fits are other ones.
        """
        return False


class LinearLearner(Learner):
    """Linear heads by featx's own solver; see `Learner`."""

    def __init__(self, task: Task, loss: LossName) -> None:
        self.task = task
        self.loss = build_loss(loss, task.codes, task.n_classes)
        weights = np.zeros((len(task.parts), len(task.codes)), np.float32)
        for number, (train, _) in enumerate(task.parts):
            weights[number, train] = task.weigh_rows(train)
        self.solver = LinearSolver(task.coordinates, self.loss, weights)

    def score(self, parts: IntArray, strengths: Float64Array) -> list[Array]:
        """Score parts; see `Learner.score`."""
        self.solver.fit(parts, strengths)
        scores = self.solver.score(parts, [self.task.parts[part][1] for part in parts])
        return [self._widen(one) for one in scores]

    def tighten(self) -> bool:
        """Fit more closely; see `Learner.tighten`."""
        self.solver.tighten()
        return True

    @staticmethod
    def _widen(scores: Array) -> Array:
        if scores.shape[1] == 1:
            return np.concatenate([np.zeros_like(scores), scores], axis=1)
        return scores


def fit_linear(task: Task, loss: LossName, strength: float) -> tuple[Float64Array, Float64Array]:
    """Fit the linear head of all rows of a task as exactly as float64 allows.

    Parameters
    ----------
    task : Task
        Rows to fit on.
    loss : {"logistic", "squared-hinge"}
        Loss of the head.
    strength : float
        C.

    Returns
    -------
    coef : ndarray of float64
        ``(n_outputs, dim)``, weights of the scaled channels; one output for two classes.
    intercept : ndarray of float64
        ``(n_outputs,)``.
    """
    rows = np.arange(len(task.codes))
    weights = task.weigh_rows(rows)
    built = build_loss(loss, task.codes, task.n_classes)
    return fit_exactly(task.X, task.coordinates, built, row_weights=weights, strength=strength)
