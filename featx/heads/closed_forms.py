"""Heads of class means and one covariance, whose parts are fitted in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from featx.core.typing import Array, Float64Array, IntArray
from featx.heads.learners import Learner, Task


class DiscriminantLearner(Learner):
    """Linear discriminant analysis with each shrinkage of a grid; see `Learner`.

    The covariance of a part is computed once and factorised for each shrinkage, when the part is
    asked for the first time.

    Parameters
    ----------
    task : Task
        Rows to learn.
    shrinkages : sequence of float
        All shrinkages that will be asked for, each from above 0 to 1.
    has_priors : bool
        Whether frequent classes are more likely; otherwise all are alike.
    """

    def __init__(self, task: Task, shrinkages: Sequence[float], *, has_priors: bool) -> None:
        self.task, self.shrinkages, self.has_priors = task, shrinkages, has_priors
        self._scores: dict[int, list[Array]] = {}

    def score(self, parts: IntArray, strengths: Float64Array) -> list[Array]:
        """Score parts; see `Learner.score`."""
        return [
            self._score_part(part)[int(np.argmin(np.abs(np.subtract(self.shrinkages, strength))))]
            for part, strength in zip(parts.tolist(), strengths.tolist(), strict=True)
        ]

    def _score_part(self, part: int) -> list[Array]:
        if part not in self._scores:
            self._scores[part] = self._fit_part(part)
        return self._scores[part]

    def _fit_part(self, part: int) -> list[Array]:
        task = self.task
        train, test = task.parts[part]
        Z, codes = task.coordinates.rows[train, 1:], task.codes[train]
        counts = np.bincount(codes, minlength=task.n_classes)
        known = np.flatnonzero(counts)
        members = np.zeros((len(known), len(train)), np.float32)
        members[np.searchsorted(known, codes), np.arange(len(train))] = 1
        means = (members @ Z).astype(np.float64) / counts[known, None]
        priors = weigh_priors(task, train, has_priors=self.has_priors)[known]
        # The covariance of a class counts as much as its prior, as scikit-learn has it.
        share = (priors / counts[known])[np.searchsorted(known, codes)]
        within = (Z - means[np.searchsorted(known, codes)].astype(np.float32)) * np.sqrt(
            share, dtype=np.float32
        )[:, None]
        covariance = (within.T @ within).astype(np.float64)
        level = np.trace(covariance) / task.X.shape[1]
        rows = task.coordinates.rows[test, 1:]
        found = []
        for shrinkage in self.shrinkages:
            shrunk = (1 - shrinkage) * covariance
            shrunk[np.diag_indices_from(shrunk)] += shrinkage * level + 1e-12
            # Embeddings that are all the same have no axes; some versions of LAPACK refuse none.
            coef = cho_solve(cho_factor(shrunk), means.T).T if means.size else means
            offset = np.log(priors) - (coef * means).sum(axis=1) / 2
            scores = np.full((len(test), task.n_classes), -np.inf)
            scores[:, known] = rows @ coef.T + offset
            lacking = np.setdiff1d(np.arange(task.n_classes), known)
            scores[:, lacking] = scores[:, known].min(axis=1, keepdims=True) - 1
            found.append(scores.astype(np.float32))
        return found


def weigh_priors(task: Task, rows: IntArray, *, has_priors: bool) -> Float64Array:
    """Return the prior probability of each class of a training set, ``(n_classes,)``.

    Parameters
    ----------
    task : Task
        Rows to learn, with the weights of their classes.
    rows : ndarray of int64
        ``(n_fitted_rows,)``, rows of the training set.
    has_priors : bool
        Whether frequent classes are more likely; otherwise all that have rows and weigh alike are.
    """
    counts = np.bincount(task.codes[rows], minlength=task.n_classes)
    weights = task.weigh_rows(rows)
    masses: Array = np.bincount(task.codes[rows], weights, minlength=task.n_classes)
    if not has_priors:
        is_weighed = isinstance(task.class_weight, dict)
        masses = masses / np.maximum(counts, 1) if is_weighed else np.sign(counts)
    return np.asarray(masses / masses.sum())
