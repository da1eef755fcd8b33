"""Probabilities from class scores, with a temperature of held-out rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from featx.core.typing import Float64Array, IntArray
from featx.heads.calibration import (
    COLDEST,
    HOTTEST,
    compute_probabilities,
    fit_temperature,
    join_pairs,
    list_losses,
    smooth_shares,
    widen_scores,
)
from featx.heads.classifier import HeadClassifier


def draw(n_rows: int, n_classes: int, temperature: float) -> tuple[Float64Array, IntArray]:
    """Draw scores, and codes that follow their softmax at a temperature."""
    rng = np.random.default_rng(0)
    scores = 2 * rng.normal(size=(n_rows, n_classes))
    chances = softmax(scores / temperature, axis=1).cumsum(axis=1)
    codes = (rng.random((n_rows, 1)) > chances).sum(axis=1)
    return scores, np.minimum(codes, n_classes - 1)


@pytest.mark.parametrize("temperature", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_temperature_is_found_again(n_classes: int, temperature: float) -> None:
    scores, codes = draw(20_000, n_classes, temperature)
    assert fit_temperature(scores, codes) == pytest.approx(temperature, rel=0.05)


@pytest.mark.parametrize("unit", [1e-6, 1e-2, 1.0, 1e4])
def test_temperature_follows_the_unit_of_the_scores(unit: float) -> None:
    scores, codes = draw(500, 3, 1.0)
    first = fit_temperature(scores, codes)
    assert fit_temperature(scores * unit, codes) == pytest.approx(
        np.clip(first * unit, COLDEST, HOTTEST), rel=1e-3
    )


def test_temperature_has_the_least_log_loss() -> None:
    scores, codes = draw(3000, 4, 2.5)
    best = minimize_scalar(
        lambda log: list_losses(scores, codes, np.exp(log)).mean(), bounds=(-5, 5), method="bounded"
    )
    found = list_losses(scores, codes, fit_temperature(scores, codes)).mean()
    assert found == pytest.approx(best.fun, rel=1e-4)


def test_temperature_of_rows_that_are_all_right_is_not_cold() -> None:
    scores = np.tile([[3.0, 0.0]], (50, 1))
    codes = np.zeros(50, int)
    probabilities = compute_probabilities(scores, fit_temperature(scores, codes))
    assert 0.95 < probabilities[0, 0] < 0.999


@pytest.mark.parametrize("kind", ["wrong", "equal"])
def test_temperature_of_scores_that_say_nothing_makes_all_classes_alike(kind: str) -> None:
    scores = np.tile([[3.0, 0.0]], (50, 1)) if kind == "wrong" else np.zeros((50, 2))
    temperature = fit_temperature(scores, np.ones(50, int))
    np.testing.assert_allclose(compute_probabilities(scores, temperature)[0], 0.5, atol=0.01)


def test_temperature_takes_weights() -> None:
    scores, codes = draw(400, 3, 1.0)
    weights = np.r_[np.ones(200), np.zeros(200)]
    assert fit_temperature(scores, codes, weights) == pytest.approx(
        fit_temperature(scores[:200], codes[:200]), rel=0.02
    )


def test_widen_scores_of_two_classes_keeps_their_difference() -> None:
    assert widen_scores(np.array([2.0])).tolist() == [[0.0, 2.0]]
    assert widen_scores(np.array([[1.0, 2.0]])).tolist() == [[1.0, 2.0]]


def test_smooth_shares_are_finite_and_in_order() -> None:
    found = smooth_shares(np.array([[1.0, 0.0], [0.6, 0.4]]), 5)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(np.exp(found[0]), [5.5, 0.5])


def test_join_pairs_prefers_the_class_that_wins_its_pairs() -> None:
    scores = np.array([[2.0, 1.0, -1.0], [-1.0, -2.0, -3.0]])  # (0, 1), (0, 2), (1, 2)
    assert join_pairs(scores, 3).argmax(axis=1).tolist() == [0, 2]
    assert join_pairs(np.array([[0.0, 1.0]]), 2).tolist() == [[0.0, 1.0]]


def test_temperature_is_that_of_a_head_that_is_fitted_to_the_end() -> None:
    # Channels whose spread falls off: where the regularisation is weak, loose fits end early.
    rng = np.random.default_rng(0)
    n_dims, weights = 200, rng.normal(size=(200, 4)) * 2 / 200**0.5
    turned = np.linalg.qr(rng.normal(size=(n_dims, n_dims)))[0]

    def draw(n_rows: int) -> tuple[Float64Array, IntArray]:
        Z = rng.normal(size=(n_rows, n_dims))
        logits = Z @ weights
        codes: IntArray = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
        return Z / np.arange(1, n_dims + 1) @ turned, codes

    head = HeadClassifier("logreg").fit(*draw(3000))
    X, codes = draw(20_000)
    probabilities = head.predict_proba(X)
    accuracy = (probabilities.argmax(axis=1) == codes).mean()
    gap = probabilities.max(axis=1).mean() - accuracy
    assert abs(gap) < 0.02  # with the temperature of loose fits: 0.033
