"""The minimiser in lockstep, on quadratic functions whose minimum is known."""

from __future__ import annotations

import numpy as np
import pytest

from featx.core.typing import Array, Float64Array, IntArray
from featx.heads.lbfgs import Minimiser


class Quadratics:
    """Lanes of least squares: each row is a number to reach by a product with weights."""

    def __init__(self, n_lanes: int, *, penalty: float = 1e-3) -> None:
        rng = np.random.default_rng(0)
        self.rows = rng.normal(size=(30, 5)) * 10.0 ** np.arange(-2, 3)
        self.goals = rng.normal(size=(n_lanes, 30))
        self.penalty = penalty
        self.n_calls = 0
        self.null_values: Float64Array = (self.goals**2).mean(axis=1)

    def score(self, weights: Array) -> Array:
        return np.asarray(weights @ self.rows.T)

    def pull(self, residuals: Array) -> Array:
        return np.asarray(residuals @ self.rows)

    def compute_loss(self, scores: Array, lanes: IntArray) -> tuple[Float64Array, Array, Array]:
        self.n_calls += len(lanes)
        errors = scores - self.goals[lanes]
        return (errors**2).mean(axis=(0, 2)), 2 * errors / 30, np.full(len(lanes), 2.0)

    def precondition(self, gradient: Array, lanes: IntArray, curvature: Array) -> Array:
        spread = (self.rows**2).mean(axis=0)
        return np.asarray(gradient / (curvature[:, None] * spread + self.penalty))

    def penalise(self, weights: Array, lanes: IntArray) -> Array:
        return np.asarray(self.penalty * weights)

    def solve(self) -> Array:
        second = 2 * self.rows.T @ self.rows / 30 + self.penalty * np.eye(5)
        return np.asarray(np.linalg.solve(second, 2 * self.rows.T @ self.goals.T / 30).T)


@pytest.mark.parametrize("n_lanes", [1, 3])
def test_lanes_end_at_their_minima(n_lanes: int) -> None:
    system = Quadratics(n_lanes)
    weights = np.zeros((1, n_lanes, 5))
    Minimiser(system, weights, 1e-14).run(200)
    np.testing.assert_allclose(weights[0], system.solve(), rtol=1e-4, atol=1e-8)


def test_lane_at_its_minimum_takes_no_step() -> None:
    system = Quadratics(2)
    weights = np.stack([system.solve()])
    before = weights.copy()
    assert Minimiser(system, weights, 1e-10).run(50) == 0
    np.testing.assert_array_equal(weights, before)


def test_lane_that_has_converged_is_computed_no_more() -> None:
    both, alone = Quadratics(2), Quadratics(2)
    weights = np.zeros((1, 2, 5))
    weights[0, 1] = both.solve()[1]
    n_steps = Minimiser(both, weights, 1e-12).run(100)
    assert both.n_calls <= 2 + 2 * n_steps  # two at the start, then one lane
    other = np.zeros((1, 2, 5))
    Minimiser(alone, other, 1e-12).run(100)
    np.testing.assert_allclose(weights, other, rtol=1e-4, atol=1e-6)


def test_error_of_the_check_ends_the_run() -> None:
    def fail() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        Minimiser(Quadratics(1), np.zeros((1, 1, 5)), 1e-12).run(10, fail)


def test_steps_end_at_their_largest_number() -> None:
    weights = np.zeros((1, 1, 5))
    assert Minimiser(Quadratics(1), weights, 0.0).run(2) == 2
    assert weights.any()
