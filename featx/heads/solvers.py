"""Fit linear heads: many training sets and strengths at once, and one as exactly as can be.

`LinearSolver` fits all folds of a search together, in float32 and loosely: a fold's prediction does
not change with the last digits. `fit_exactly` fits the head that is kept, in float64. The intercept
is not penalised by either.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np

from featx.core.columns import iter_blocks
from featx.core.typing import Array, Float32Array, Float64Array, IntArray
from featx.heads.blocks import count_threads, map_blocks
from featx.heads.coordinates import BLOCK_ROWS, Coordinates
from featx.heads.lbfgs import Minimiser
from featx.heads.losses import Loss

LOOSE = 2e-3
"""Tolerance of the fits of a search, enough to tell strengths apart; see `Minimiser`."""

FIRM = 2e-4
"""Tolerance of fits whose probabilities count: those that end sooner have smaller scores."""

CLOSE = 1e-8
"""Tolerance of the start of a head that is kept: steps in float32 take a third of the time of those
in float64, and end by themselves where they can tell no more."""

TIGHT = 1e-10
"""Tolerance of a head that is kept."""

LOOSE_STEPS = 100
"""Largest number of steps of a fit of a search. Where classes are separable and the regularisation
is weak, a loss falls for ever, and predictions have long settled."""

FIRM_STEPS = 500

TIGHT_STEPS = 3000

MAX_NUMBERS = 16_000_000
"""Largest number of scores, and of weights, that one thread holds of the lanes that it fits."""

MIN_COLUMNS = 24
"""Smallest number of outputs that are worth a thread: a thin matrix product waits for memory."""

MIN_CURVATURE = 1e-4

MAX_KEPT = 32_000_000
"""Largest number of weights that are kept as starts of later fits."""


class LinearSolver:
    """Fits linear heads on parts of the same rows, warm-started from the last fit of each part.

    Parameters
    ----------
    coordinates : Coordinates
        Rows to fit on.
    loss : Loss
        Loss with the targets of the rows.
    row_weights : ndarray of float32
        ``(n_parts, n_rows)``, weight of each row in the loss of each part; 0 for rows that the part
        leaves out.

    Attributes
    ----------
    weights : ndarray of float32
        ``(width, n_parts, n_columns, 1 + n_axes)``, last result of each part.
    """

    tolerance, max_steps = LOOSE, LOOSE_STEPS

    def __init__(self, coordinates: Coordinates, loss: Loss, row_weights: Float32Array) -> None:
        self.coordinates, self.loss = coordinates, loss
        self.totals = row_weights.sum(axis=1, dtype=np.float64)
        self.row_weights = row_weights / self.totals[:, None].astype(np.float32)
        n_weights = coordinates.rows.shape[1]
        shape = (loss.width, len(row_weights), loss.n_columns, n_weights)
        self.weights = np.zeros(shape, np.float32)
        self._is_ended = Event()
        self._null_values: dict[tuple[int, int], float] = {}
        self._kept: dict[int, dict[float, Float32Array]] = {}
        self._n_kept = 1 + MAX_KEPT // self.weights.size

    def fit(self, parts: IntArray, strengths: Float64Array) -> None:
        """Fit parts of the rows, each with its strength.

        Parameters
        ----------
        parts : ndarray of int64
            ``(n_fits,)``, numbers of the parts, each at most once.
        strengths : ndarray of float64
            ``(n_fits,)``, C of each: the head minimises half the square of its weights' length plus
            C times the weighted sum of its losses.
        """
        for part, strength in zip(parts.tolist(), strengths.tolist(), strict=True):
            if kept := self._kept.get(part):  # begin at the result of the nearest strength
                nearest = min(kept, key=lambda one: abs(math.log(one / strength)))
                self.weights[:, part] = kept[nearest]
        self._fit_groups(parts, strengths)
        for part, strength in zip(parts.tolist(), strengths.tolist(), strict=True):
            kept = self._kept.setdefault(part, {})
            if len(kept) == self._n_kept:
                del kept[next(iter(kept))]
            kept[strength] = self.weights[:, part].copy()

    def _fit_groups(self, parts: IntArray, strengths: Float64Array) -> None:
        groups = self._group(len(parts))
        if len(groups) == 1:
            self._fit_group(parts, strengths)
            return
        pool = ThreadPoolExecutor(min(count_threads(), len(groups)))
        try:
            list(
                pool.map(
                    self._fit_group, (parts[g] for g in groups), (strengths[g] for g in groups)
                )
            )
        finally:  # a caller who is interrupted does not wait for the fits that are going on
            self._is_ended.set()
            pool.shutdown(wait=False, cancel_futures=True)
        self._is_ended = Event()

    def tighten(self) -> None:
        """Fit as closely from now on as probabilities need."""
        self.tolerance, self.max_steps = FIRM, FIRM_STEPS

    def score(self, parts: IntArray, rows: Sequence[IntArray]) -> list[Float32Array]:
        """Return the outputs of the last fit of parts for rows of each.

        Parameters
        ----------
        parts : ndarray of int64
            ``(n_parts,)``, numbers of the parts.
        rows : sequence of ndarray of int64
            ``(n_rows,)`` for each part, rows to score.

        Returns
        -------
        list of ndarray of float32
            ``(n_rows, n_outputs)`` for each part.
        """
        n_rows, n_weights = self.coordinates.rows.shape
        n_outputs = self.loss.width * self.loss.n_columns
        found: list[Float32Array] = []
        # All rows by many parts are one product, and take less time than to gather those of a part.
        for block in iter_blocks(len(parts), max(1, MAX_NUMBERS // (n_rows * n_outputs))):
            weights = self.weights[:, parts[block]].swapaxes(0, 1).reshape(-1, n_weights)
            scores = (self.coordinates.rows @ weights.T).reshape(n_rows, -1, n_outputs)
            found += [scores[some, at] for at, some in enumerate(rows[block])]
        return found

    def _group(self, n_parts: int) -> list[IntArray]:
        """Divide parts into groups, of which each is fitted in lockstep by one thread.

        No more groups than cores: wide products take less time than many thin ones.
        """
        n_outputs = self.loss.width * self.loss.n_columns
        largest = max(self.coordinates.rows.shape)
        n_least = -(-n_parts * n_outputs * largest // MAX_NUMBERS)
        n_wanted = min(count_threads(), n_parts * n_outputs // MIN_COLUMNS)
        n_groups = min(n_parts, max(1, n_least, n_wanted))
        return [np.arange(n_parts)[start::n_groups] for start in range(n_groups)]

    def _fit_group(self, parts: IntArray, strengths: Float64Array) -> None:
        n_columns = self.loss.n_columns
        lane_parts, columns = (
            one.ravel() for one in np.meshgrid(parts, np.arange(n_columns), indexing="ij")
        )
        penalty = 1 / (np.repeat(strengths, n_columns) * self.totals[lane_parts])
        system = _Rotated(self, lane_parts, columns, penalty)
        weights = self.weights[:, lane_parts, columns]
        Minimiser(system, weights, self.tolerance).run(self.max_steps, self._check)
        self.weights[:, lane_parts, columns] = weights

    def _check(self) -> None:
        if self._is_ended.is_set():
            raise InterruptedError("the search was ended")

    def find_null_values(self, parts: IntArray, columns: IntArray) -> Float64Array:
        """Return the loss of each lane if all scores are 0, ``(n_lanes,)``."""
        lanes = list(zip(parts.tolist(), columns.tolist(), strict=True))
        missing = [lane for lane in lanes if lane not in self._null_values]
        if missing:
            n_rows = self.row_weights.shape[1]
            some, of = (np.array(one) for one in zip(*missing, strict=True))
            scores = np.zeros((self.loss.width, len(missing), n_rows), np.float32)
            values = self.loss.compute(scores, of, self.row_weights[some])[0]
            self._null_values |= dict(zip(missing, values.tolist(), strict=True))
        return np.array([self._null_values[lane] for lane in lanes])


class _Penalised:
    """Lanes of a linear head, for `Minimiser`: mean losses, and squares of weights.

    Parameters
    ----------
    loss : Loss
        Loss with the targets of the rows.
    columns : ndarray of int64
        ``(n_lanes,)``, column of the target that each lane is about.
    row_weights : ndarray
        ``(n_lanes, n_rows)``, which sum to 1 in each lane.
    penalty : ndarray of float64
        ``(n_lanes,)``, strength of the penalty.
    spread : ndarray of float64
        ``(1 + n_axes,)``, mean square of each coordinate.
    """

    def __init__(
        self,
        loss: Loss,
        columns: IntArray,
        row_weights: Array,
        *,
        penalty: Float64Array,
        spread: Float64Array,
    ) -> None:
        self.loss, self.columns, self.row_weights = loss, columns, row_weights
        self.penalty = penalty.astype(row_weights.dtype)[:, None]
        self.spread = spread.astype(row_weights.dtype)

    def compute_loss(self, scores: Array, lanes: IntArray) -> tuple[Float64Array, Array, Array]:
        return self.loss.compute(scores, self.columns[lanes], self.row_weights[lanes])

    def penalise(self, weights: Array, lanes: IntArray) -> Array:
        penalty: Array = weights * self.penalty[lanes]
        penalty[..., 0] = 0
        return penalty

    def precondition(self, gradient: Array, lanes: IntArray, curvature: Array) -> Array:
        curvature = np.maximum(curvature, MIN_CURVATURE).astype(gradient.dtype)
        second = curvature[:, None] * self.spread
        second[:, 1:] += self.penalty[lanes]
        return np.asarray(gradient / second)


class _Rotated(_Penalised):
    """Lanes whose rows are coordinates in float32."""

    def __init__(
        self, solver: LinearSolver, parts: IntArray, columns: IntArray, penalty: Float64Array
    ) -> None:
        spread = solver.coordinates.spread
        super().__init__(
            solver.loss, columns, solver.row_weights[parts], penalty=penalty, spread=spread
        )
        self.rows = solver.coordinates.rows
        self.null_values = solver.find_null_values(parts, columns)

    def score(self, weights: Array) -> Array:
        flat = weights.reshape(-1, weights.shape[-1])
        return np.asarray((flat @ self.rows.T).reshape(*weights.shape[:2], -1))

    def pull(self, residuals: Array) -> Array:
        flat = residuals.reshape(-1, residuals.shape[-1])
        return np.asarray((flat @ self.rows).reshape(*residuals.shape[:2], -1))


class _Exact(_Penalised):
    """Lanes of one head in float64, whose rows are scaled and rotated anew at each step.

    The coordinates of a search are float32: what they lose along an axis of little spread would
    show where the regularisation is weak.
    """

    def __init__(
        self,
        X: Array,
        coordinates: Coordinates,
        loss: Loss,
        *,
        row_weights: Float64Array,
        strength: float,
    ) -> None:
        total = row_weights.sum()
        super().__init__(
            loss,
            np.arange(loss.n_columns),
            np.broadcast_to(row_weights / total, (loss.n_columns, len(row_weights))),
            penalty=np.full(loss.n_columns, 1 / (strength * total)),
            spread=coordinates.spread,
        )
        self.X, self.coordinates = X, coordinates
        zeros = np.zeros((loss.width, loss.n_columns, len(self.X)))
        self.null_values = self.compute_loss(zeros, np.arange(loss.n_columns))[0]

    def score(self, weights: Array) -> Array:
        coef, shift = self.coordinates.restore(weights.reshape(-1, weights.shape[-1]))
        coef = coef / self.coordinates.scale
        shift = shift - coef @ self.coordinates.mean
        scores = np.empty((len(coef), len(self.X)))

        def fill(block: slice) -> None:
            scores[:, block] = coef @ self.X[block].astype(np.float64).T + shift[:, None]

        list(map_blocks(fill, len(self.X), BLOCK_ROWS))
        return np.reshape(scores, (*weights.shape[:2], -1))

    def pull(self, residuals: Array) -> Array:
        flat = residuals.reshape(-1, residuals.shape[-1])

        def multiply(block: slice) -> Float64Array:
            return np.asarray(flat[:, block] @ self.X[block].astype(np.float64))

        pulled = functools.reduce(np.add, map_blocks(multiply, len(self.X), BLOCK_ROWS))
        total = flat.sum(axis=1)
        pulled = (pulled - total[:, None] * self.coordinates.mean) / self.coordinates.scale
        axes = self.coordinates.axes
        along = pulled if axes is None else pulled @ axes
        return np.concatenate([total[:, None], along], axis=1).reshape(*residuals.shape[:2], -1)


def fit_exactly(
    X: Array,
    coordinates: Coordinates,
    loss: Loss,
    *,
    row_weights: Float64Array,
    strength: float,
) -> tuple[Float64Array, Float64Array]:
    """Fit one head as exactly as float64 allows: a path in float32, then steps on scaled channels.

    Parameters
    ----------
    X : ndarray
        ``(n_rows, dim)``, rows before they were scaled.
    coordinates : Coordinates
        The same rows.
    loss : Loss
        Loss with the targets of the rows.
    row_weights : ndarray of float64
        ``(n_rows,)``.
    strength : float
        C; see `LinearSolver.fit`.

    Returns
    -------
    coef : ndarray of float64
        ``(n_outputs, dim)``, weights of the scaled channels.
    intercept : ndarray of float64
        ``(n_outputs,)``.
    """
    solver = LinearSolver(coordinates, loss, row_weights[None].astype(np.float32))
    for power in range(-4, 1):  # from strong regularisation to weak, each fit begins at the last
        if power == 0:
            solver.tolerance, solver.max_steps = CLOSE, TIGHT_STEPS
        solver.fit(np.array([0]), np.array([strength * 10.0**power]))
    weights = solver.weights[:, 0].astype(np.float64)
    system = _Exact(X, coordinates, loss, row_weights=row_weights, strength=strength)
    Minimiser(system, weights, TIGHT).run(TIGHT_STEPS)
    return coordinates.restore(weights.reshape(-1, weights.shape[-1]))
