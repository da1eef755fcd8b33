"""Nearest neighbours: one pass over all pairs of rows serves every part and every number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from featx.core.typing import Array, Float32Array, Float64Array, IntArray
from featx.heads.blocks import map_blocks
from featx.heads.calibration import smooth_shares
from featx.heads.learners import Learner, Part, Task

BLOCK_ROWS = 256
"""Rows whose similarities to all others a thread holds at a time."""


class NeighbourLearner(Learner):
    """Shares of the classes among the nearest rows by cosine; see `Learner`.

    Parameters
    ----------
    task : Task
        Rows to learn.
    numbers : sequence of int
        All numbers of neighbours that will be asked for.
    """

    def __init__(self, task: Task, numbers: Sequence[int]) -> None:
        self.task, self.n_most = task, max(numbers)
        cells = find_cells(task.parts, len(task.codes))
        order = np.argsort(cells, kind="stable")
        rows = np.empty(task.X.shape, np.float32)
        mean, scale = task.coordinates.mean, task.coordinates.scale

        def fill(block: slice) -> None:  # cosines are of rows that have a mean
            Z = (task.X[order[block]] - mean) / scale + task.shift
            rows[block] = Z / np.maximum(np.linalg.norm(Z, axis=1, keepdims=True), 1e-30)

        list(map_blocks(fill, len(rows), BLOCK_ROWS))
        self._nearest = find_nearest(rows, order, np.bincount(cells).tolist(), self.n_most)
        self._of_parts: dict[int, IntArray] = {}

    def score(self, parts: IntArray, strengths: Float64Array) -> list[Array]:
        """Score parts; see `Learner.score`."""
        return [
            self._count(part, round(number))
            for part, number in zip(parts.tolist(), strengths.tolist(), strict=True)
        ]

    def _count(self, part: int, number: int) -> Array:
        """Return the smoothed logarithm of each class's share among the nearest rows."""
        if part not in self._of_parts:
            self._of_parts[part] = self._choose(part)
        number = min(number, len(self.task.parts[part][0]))
        codes = self.task.codes[self._of_parts[part][:, :number]]
        shares = np.stack(
            [(codes == code).mean(axis=1) for code in range(self.task.n_classes)], axis=1
        )
        return smooth_shares(shares, number).astype(np.float32)

    def _choose(self, part: int) -> IntArray:
        """Choose the nearest of a part's training rows, ``(n_scored_rows, n_most)``."""
        train, test = self.task.parts[part]
        is_fitted = np.zeros(len(self.task.codes), bool)
        is_fitted[train] = True
        nearest = self._nearest[test]
        first = np.argsort(~is_fitted[nearest], axis=1, kind="stable")[:, : self.n_most]
        return np.take_along_axis(nearest, first, axis=1)


def find_cells(parts: Sequence[Part], n_rows: int) -> IntArray:
    """Find the cells of rows: those of one cell are in the same training sets.

    Parameters
    ----------
    parts : sequence of (ndarray, ndarray)
        Rows to fit on and rows to score.
    n_rows : int
        Number of rows.

    Returns
    -------
    ndarray of int64
        ``(n_rows,)``, numbers of the cells from 0.

    Examples
    --------
    >>> some, others = np.array([0, 2]), np.array([1, 3])
    >>> find_cells([(some, others), (others, some)], 4)
    array([1, 0, 1, 0])
    """
    is_fitted = np.zeros((len(parts), n_rows), bool)
    for number, (train, _) in enumerate(parts):
        is_fitted[number, train] = True
    cells: IntArray = np.unique(is_fitted, axis=1, return_inverse=True)[1]
    return cells.reshape(n_rows)


def find_nearest(rows: Float32Array, numbers: IntArray, sizes: Sequence[int], n_most: int) -> Array:
    """Find the nearest rows of each row in each cell.

    Parameters
    ----------
    rows : ndarray of float32
        ``(n_rows, dim)``, rows of length 1, cell after cell.
    numbers : ndarray of int64
        ``(n_rows,)``, number of each of these rows.
    sizes : sequence of int
        Numbers of rows of the cells.
    n_most : int
        Number of rows to find in each cell; all of a smaller one.

    Returns
    -------
    ndarray of int32
        ``(n_rows, n_found)``, numbers of the rows of all cells, the nearest first, for each number.
    """
    starts, named = np.cumsum([0, *sizes]), numbers.astype(np.int32)
    nearest = np.empty((len(rows), sum(min(size, n_most) for size in sizes)), np.int32)

    def search(block: slice) -> None:
        alike = rows[block] @ rows.T
        near = []
        for start, size in zip(starts, sizes, strict=False):
            cell, left_out = alike[:, start : start + size], max(0, size - n_most)
            if left_out:
                near.append(start + np.argpartition(cell, left_out, axis=1)[:, left_out:])
            else:
                near.append(np.broadcast_to(np.arange(start, start + size), cell.shape))
        found = np.hstack(near)
        order = np.argsort(-np.take_along_axis(alike, found, axis=1), axis=1, kind="stable")
        nearest[numbers[block]] = named[np.take_along_axis(found, order, axis=1)]

    list(map_blocks(search, len(rows), BLOCK_ROWS))
    return nearest
