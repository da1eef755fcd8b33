"""Losses: values, residuals and curvatures, beside differences of values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax

from featx.core.typing import Float64Array, IntArray
from featx.heads.losses import LossName, build_loss

NAMES = ("logistic", "squared-hinge", "squared")
EACH = pytest.mark.parametrize(("name", "n_classes"), [(name, n) for name in NAMES for n in (2, 4)])


def draw(n_classes: int) -> tuple[IntArray, Float64Array, Float64Array]:
    """Draw class codes, weights of two lanes and scores."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, n_classes, 12)
    weights = rng.random((2, 12))
    return codes, weights / weights.sum(axis=1, keepdims=True), rng.normal(size=(n_classes, 2, 12))


@EACH
def test_residuals_are_the_derivative_of_the_loss(name: LossName, n_classes: int) -> None:
    codes, weights, scores = draw(n_classes)
    loss = build_loss(name, codes, n_classes)
    scores = scores[: loss.width]
    columns = np.array([0, loss.n_columns - 1])
    _, residuals, curvature = loss.compute(scores.copy(), columns, weights)
    for row in (0, 5):
        for output in range(loss.width):
            step = np.zeros_like(scores)
            step[output, :, row] = 1e-6
            up = loss.compute(scores + step, columns, weights)[0]
            down = loss.compute(scores - step, columns, weights)[0]
            np.testing.assert_allclose(
                residuals[output, :, row], (up - down) / 2e-6, rtol=1e-4, atol=1e-8
            )
    assert (curvature > 0).all()


def test_multinomial_is_the_cross_entropy() -> None:
    codes, weights, scores = draw(4)
    loss = build_loss("logistic", codes, 4)
    found = loss.compute(scores, np.zeros(2, int), weights)[0]
    logs = log_softmax(scores, axis=0)[codes, :, np.arange(12)]
    np.testing.assert_allclose(found, -(logs.T * weights).sum(axis=1))


@pytest.mark.parametrize("name", NAMES)
def test_loss_of_extreme_scores_is_finite(name: LossName) -> None:
    codes = np.array([0, 1])
    loss = build_loss(name, codes, 2)
    scores = np.array([[[1e4, -1e4]]], np.float32)
    value, residuals, _ = loss.compute(scores, np.array([0]), np.full((1, 2), 0.5, np.float32))
    assert np.isfinite(value).all()
    assert np.isfinite(residuals).all()
