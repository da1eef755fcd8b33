"""Minimise many convex functions in lockstep: L-BFGS whose matrix products serve all of them.

Each function is a *lane*: a mean loss over some rows plus a quadratic penalty. Lanes differ in
their rows, in the strength of the penalty or in the class that they are about, and take steps of
their own length; one that has converged takes none. Arrays are ``(width, n_lanes, n)``: the outputs
of one lane, the lanes, then its weights or the rows.

Source: Nocedal, Updating quasi-Newton matrices with limited storage (1980).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from featx.core.typing import Array, Float64Array, IntArray

HISTORY = 8
"""Number of steps that the curvature is estimated from."""

MAX_HALVINGS = 12
"""Largest number of times that one step is shortened."""

SUFFICIENT = 1e-4
"""Share of the decrease that the slope promises, of which a step must bring at least so much."""


class System(Protocol):
    """The functions to minimise, and how their weights act on rows."""

    def score(self, weights: Array) -> Array:
        """Return the outputs of each lane for each row: ``(width, n_lanes, n_rows)``."""

    def pull(self, residuals: Array) -> Array:
        """Return the gradient ``(width, n_lanes, n_weights)`` that residuals of rows stand for."""

    def compute_loss(self, scores: Array, lanes: IntArray) -> tuple[Float64Array, Array, Array]:
        """Return the mean loss of each lane, its residuals, and its curvature ``(n_lanes,)``."""

    def precondition(self, gradient: Array, lanes: IntArray, curvature: Array) -> Array:
        """Return the gradient times an approximation of the inverse second derivative."""

    def penalise(self, weights: Array, lanes: IntArray) -> Array:
        """Return the gradient of the penalty: its value is half the product with the weights."""

    null_values: Float64Array
    """Value of each lane without weights: what there is to gain lies below it."""


def _dot(first: Array, second: Array) -> Float64Array:
    return np.asarray(np.einsum("klm,klm->l", first, second), np.float64)


class Minimiser:
    """The state of lanes between two steps.

    Parameters
    ----------
    system : System
        Functions to minimise.
    weights : ndarray
        ``(width, n_lanes, n_weights)``, where to begin; overwritten by the result.
    tolerance : float
        A lane has converged if a step promises to lower its value by less than this share of the
        value, or of what the lane has gained on a function without weights, if that is less.
    """

    def __init__(self, system: System, weights: Array, tolerance: float) -> None:
        self.system, self.result, self.tolerance = system, weights, tolerance
        self.lanes = np.arange(weights.shape[1])
        self.weights = weights.copy()
        self.scores = system.score(self.weights)
        loss, residuals, self.curvature = system.compute_loss(self.scores, self.lanes)
        penalty = system.penalise(self.weights, self.lanes)
        self.value = loss + _dot(self.weights, penalty) / 2
        self.gradient = system.pull(residuals) + penalty
        self.steps: list[tuple[Array, Array, Array]] = []

    def run(self, max_steps: int, check: Callable[[], object] | None = None) -> int:
        """Take steps until all lanes have converged, and return their number.

        Parameters
        ----------
        max_steps : int
            Largest number of steps.
        check : callable, optional
            Function that is called before each step; an error in it ends the run.
        """
        for number in range(max_steps):
            if check is not None:
                check()
            direction = self._find_direction()
            slope = _dot(self.gradient, direction)
            goal = np.minimum(self.value, self.system.null_values[self.lanes] - self.value)
            is_going_on = -slope / 2 > self.tolerance * np.maximum(goal, 1e-12)
            if not is_going_on.all():
                self._keep(is_going_on)
                direction, slope = direction[:, is_going_on], slope[is_going_on]
            if len(self.lanes):
                self._step(direction, slope)
            if not len(self.lanes):
                return number
        self.result[:, self.lanes] = self.weights
        return max_steps

    def _keep(self, going_on: Array) -> None:
        """Write the lanes that have converged into the result, and go on with the others."""
        self.result[:, self.lanes[~going_on]] = self.weights[:, ~going_on]
        self.lanes, self.value = self.lanes[going_on], self.value[going_on]
        self.curvature = self.curvature[going_on]
        self.weights, self.scores = self.weights[:, going_on], self.scores[:, going_on]
        self.gradient = self.gradient[:, going_on]
        self.steps = [
            (moved[:, going_on], turned[:, going_on], product[going_on])
            for moved, turned, product in self.steps
        ]

    def _find_direction(self) -> Array:
        """Find the direction of the next step: the two loops of L-BFGS."""
        direction = -self.gradient
        shares = []
        for moved, turned, product in reversed(self.steps):
            share = (_dot(moved, direction) / product).astype(direction.dtype)
            direction -= share[:, None] * turned
            shares.append(share)
        direction = self.system.precondition(direction, self.lanes, self.curvature)
        if self.steps:
            _, turned, product = self.steps[-1]
            square = _dot(turned, self.system.precondition(turned, self.lanes, self.curvature))
            gain = np.where(np.isfinite(product), product / square, 1)
            direction *= gain.astype(direction.dtype)[:, None]
        for (moved, turned, product), share in zip(self.steps, reversed(shares), strict=True):
            share = share - (_dot(turned, direction) / product).astype(direction.dtype)
            direction += share[:, None] * moved
        # A step that rounding turned uphill is replaced by one along the gradient.
        uphill = _dot(self.gradient, direction) >= 0
        if uphill.any():
            direction[:, uphill] = self.system.precondition(
                -self.gradient[:, uphill], self.lanes[uphill], self.curvature[uphill]
            )
        return direction

    def _step(self, direction: Array, slope: Float64Array) -> None:
        """Move each lane along its direction, as far as its value falls enough."""
        system, lanes = self.system, self.lanes
        turned_scores = system.score(direction)
        penalty = system.penalise(direction, lanes)
        along, square = _dot(self.weights, penalty), _dot(direction, penalty)
        before = self.value
        epsilon = 4 * np.finfo(direction.dtype).eps

        length = np.ones(len(lanes), direction.dtype)
        loss, residuals, curvature = system.compute_loss(self.scores + turned_scores, lanes)
        held = _dot(self.weights, system.penalise(self.weights, lanes)) / 2

        def total(loss: Float64Array, at: Array) -> Float64Array:
            t = length[at]
            return np.asarray(loss + held[at] + t * along[at] + t * t * square[at] / 2)

        everyone = np.arange(len(lanes))
        value = total(loss, everyone)
        for _ in range(MAX_HALVINGS):
            most = before + SUFFICIENT * length * slope + epsilon * np.abs(before)
            bad = np.flatnonzero(~(value <= most))  # also if it is not a number
            if not len(bad):
                break
            # The minimum of the parabola through both values with the slope at the start.
            bend = value[bad] - before[bad] - length[bad] * slope[bad]
            with np.errstate(all="ignore"):
                shorter = -slope[bad] * length[bad] / (2 * bend)
            shorter = np.where(np.isfinite(shorter), shorter, 0.1)
            length[bad] *= np.clip(shorter, 0.1, 0.5).astype(length.dtype)
            trial = self.scores[:, bad] + length[bad, None] * turned_scores[:, bad]
            loss, residuals[:, bad], curvature[bad] = system.compute_loss(trial, lanes[bad])
            value[bad] = total(loss, bad)
        else:
            length[~(value <= before)] = 0  # rounding is all that is left: stay
            value = np.minimum(value, before)
        moved = length[:, None] * direction
        self.weights += moved
        self.scores += length[:, None] * turned_scores
        gradient = system.pull(residuals) + system.penalise(self.weights, lanes)
        still = length == 0
        if still.any():
            gradient[:, still] = self.gradient[:, still]
        turned = gradient - self.gradient
        product = _dot(moved, turned)
        product = np.where(product > 1e-30, product, np.inf)  # such a step tells no curvature
        self.steps = [*self.steps[-(HISTORY - 1) :], (moved, turned, product)]
        self.gradient, self.value, self.curvature = gradient, value, curvature
        if still.any():
            self._keep(~still)
