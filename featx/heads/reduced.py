"""Principal components that are found without the rows that a part is scored on.

Components of all rows would know the held-out ones: along a direction that few rows span, a row
lies where it does because it was there when the direction was found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.linalg import eigh

from featx.core.columns import iter_blocks
from featx.core.typing import Array, Float64Array, IntArray
from featx.heads.coordinates import BLOCK_ROWS, MIN_SPREAD, Coordinates
from featx.heads.learners import Learner, Task

MAX_KEPT_BYTES = 1 << 30
"""Memory of the reduced rows of all parts from which on none is kept: 20 folds make 210 parts."""


class Components:
    """Principal components of the training rows of parts, each found once.

    Parameters
    ----------
    coordinates : Coordinates
        All rows, scaled.
    n_components : int
        Number of components. If the training rows of a part have fewer, the others are 0.
    """

    def __init__(self, coordinates: Coordinates, n_components: int) -> None:
        self.rows, self.n_components = coordinates.rows, n_components
        # Sums of the training rows are those of all rows less those of the few others.
        self._products = self._add_up(np.arange(len(self.rows)))
        self._axes: dict[int, tuple[Float64Array, Float64Array]] = {}

    def _add_up(self, rows: IntArray) -> Float64Array:
        """Add up the products of all columns with each other; the first column is 1."""
        products = np.zeros((self.rows.shape[1],) * 2)
        for block in iter_blocks(len(rows), BLOCK_ROWS):
            some = self.rows[rows[block]].astype(np.float64)
            products += some.T @ some
        return products

    def _find(self, train: IntArray) -> tuple[Float64Array, Float64Array]:
        """Find the mean of the training rows, and their axes ``(n_channels, n_components)``."""
        others = np.setdiff1d(np.arange(len(self.rows)), train, assume_unique=True)
        products = (self._products - self._add_up(others)) / len(train)
        mean, n_channels = products[0, 1:], len(products) - 1
        axes = np.zeros((n_channels, self.n_components))
        n_found = min(self.n_components, n_channels)
        if n_found:
            values, vectors = eigh(
                products[1:, 1:] - np.outer(mean, mean),
                subset_by_index=(n_channels - n_found, n_channels - 1),
            )
            kept = np.flatnonzero(values > max(MIN_SPREAD * values[-1], 1e-30))[::-1]
            axes[:, : len(kept)] = vectors[:, kept]
        return mean, axes

    def reduce(self, number: int, train: IntArray) -> Coordinates:
        """Return all rows in the components of the training rows of a part.

        Parameters
        ----------
        number : int
            Number of the part.
        train : ndarray of int64
            Its training rows.
        """
        if number not in self._axes:
            self._axes[number] = self._find(train)
        mean, axes = self._axes[number]
        rows = np.ones((len(self.rows), 1 + self.n_components), np.float32)
        for block in iter_blocks(len(rows), BLOCK_ROWS):
            rows[block, 1:] = (self.rows[block, 1:] - mean) @ axes
        return Coordinates(
            rows=rows,
            spread=np.einsum("ij,ij->j", rows, rows, dtype=np.float64) / len(rows),
            axes=None,
            mean=np.zeros(self.n_components),
            scale=np.ones(self.n_components),
        )


class ReducedLearner(Learner):
    """Heads that read the principal components of their own training rows; see `Learner`.

    Parameters
    ----------
    task : Task
        Rows to learn, before they are reduced.
    components : Components
        Components of its parts.
    build : callable
        Function that builds the learner of a task of one part.
    is_kept : bool
        Whether the learner of a part is kept until it is asked again, if the rows of all parts take
        no more than `MAX_KEPT_BYTES`. A matrix of all pairs of rows for each part would be too
        large.
    """

    def __init__(
        self,
        task: Task,
        components: Components,
        build: Callable[[Task], Learner],
        *,
        is_kept: bool,
    ) -> None:
        self.task, self.components, self.build = task, components, build
        n_bytes = 4 * len(task.parts) * len(components.rows) * (1 + components.n_components)
        self.is_kept = is_kept and n_bytes <= MAX_KEPT_BYTES
        self.is_tight = False
        self._learners: dict[int, Learner] = {}

    def score(self, parts: IntArray, strengths: Float64Array) -> list[Array]:
        """Score parts; see `Learner.score`."""
        first = np.zeros(1, np.int64)
        return [
            self._get_learner(number).score(first, strengths[at : at + 1])[0]
            for at, number in enumerate(parts.tolist())
        ]

    def tighten(self) -> bool:
        """Fit more closely; see `Learner.tighten`."""
        self.is_tight = True
        for learner in self._learners.values():
            learner.tighten()
        return True

    def _get_learner(self, number: int) -> Learner:
        if number in self._learners:
            return self._learners[number]
        part = self.task.parts[number]
        coordinates = self.components.reduce(number, part[0])
        learner = self.build(
            replace(
                self.task,
                X=coordinates.rows[:, 1:],
                coordinates=coordinates,
                parts=[part],
                shift=0.0,
            )
        )
        if self.is_tight:
            learner.tighten()
        if self.is_kept:
            self._learners[number] = learner
        return learner
