"""Nearest neighbours: one pass over all pairs of rows serves every part and every number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from featx.core.columns import iter_blocks
from featx.core.typing import Array, Float64Array, IntArray
from featx.heads.calibration import smooth_shares
from featx.heads.learners import Task

BLOCK_ROWS = 1024
"""Rows whose similarities to all others are held at a time."""


class NeighbourLearner:
    """Shares of the classes among the nearest rows by cosine; see `Learner`.

    Parameters
    ----------
    task : Task
        Rows to learn.
    numbers : sequence of int
        All numbers of neighbours that will be asked for.
    """

    def __init__(self, task: Task, numbers: Sequence[int]) -> None:
        self.task, self.n_most = task, min(max(numbers), len(task.codes))
        self.rows = np.empty(task.X.shape, np.float32)
        mean, scale = task.coordinates.mean, task.coordinates.scale
        for block in iter_blocks(len(task.X), BLOCK_ROWS):  # cosines are of rows that have a mean
            Z = (task.X[block] - mean) / scale + task.shift
            self.rows[block] = Z / np.maximum(np.linalg.norm(Z, axis=1, keepdims=True), 1e-30)
        self._nearest: dict[int, IntArray] = {}

    def score(self, parts: IntArray, strengths: Float64Array) -> list[Array]:
        """Score parts; see `Learner.score`."""
        return [
            self._count(part, round(number))
            for part, number in zip(parts.tolist(), strengths.tolist(), strict=True)
        ]

    def _count(self, part: int, number: int) -> Array:
        """Return the smoothed logarithm of each class's share among the nearest rows."""
        train, _ = self.task.parts[part]
        if part not in self._nearest:
            self._nearest[part] = self._find_nearest(part)
        number = min(number, len(train))
        codes = self.task.codes[self._nearest[part][:, :number]]
        shares = np.stack(
            [(codes == code).mean(axis=1) for code in range(self.task.n_classes)], axis=1
        )
        return smooth_shares(shares, number).astype(np.float32)

    def _find_nearest(self, part: int) -> IntArray:
        """Find the nearest rows of a part's training rows, ``(n_scored_rows, n_most)``."""
        train, test = self.task.parts[part]
        n_most = min(self.n_most, len(train))
        found = np.empty((len(test), n_most), np.int64)
        fitted = self.rows[train]
        for block in iter_blocks(len(test), BLOCK_ROWS):
            alike = self.rows[test[block]] @ fitted.T
            near = np.argpartition(-alike, n_most - 1, axis=1)[:, :n_most]
            order = np.argsort(-np.take_along_axis(alike, near, axis=1), axis=1, kind="stable")
            found[block] = train[np.take_along_axis(near, order, axis=1)]
        return found
