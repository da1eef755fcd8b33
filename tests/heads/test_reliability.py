"""Scores of probabilities, against sums by hand and scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics

from featx.core.typing import Array, Float64Array
from featx.heads.reliability import (
    Reliability,
    compute_brier,
    estimate_calibration_error,
    measure_reliability,
)


def draw(n_rows: int = 500, n_classes: int = 3, seed: int = 0) -> tuple[Array, Array]:
    """Draw probabilities, and true classes by these probabilities."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(n_classes), n_rows)
    uniform = rng.random((n_rows, 1))
    codes = (uniform > np.cumsum(probabilities, axis=1)[:, :-1]).sum(axis=1)
    return codes, probabilities


def compute_by_hand(right: Array, scores: Float64Array) -> float:
    """Average the gaps of 15 bins, one after another."""
    total = 0.0
    for number in range(15):
        low, high = number / 15, (number + 1) / 15
        inside = (scores > low) & (scores <= high)
        if inside.any():
            gap = abs(float(right[inside].mean()) - float(scores[inside].mean()))
            total += gap * inside.sum() / len(scores)
    return total


def test_measure_reliability_without_probabilities_measures_nothing() -> None:
    assert measure_reliability(np.array([0, 1]), None) == Reliability()


def test_measure_reliability_equals_scikit_learns() -> None:
    codes, probabilities = draw()
    found = measure_reliability(codes, probabilities)
    assert found.log_loss == pytest.approx(metrics.log_loss(codes, probabilities))
    squares = (probabilities - np.eye(3)[codes]) ** 2
    assert found.brier == pytest.approx(squares.sum(axis=1).mean())
    assert found.mean_score == pytest.approx(probabilities.max(axis=1).mean())


def test_brier_of_two_classes_is_twice_that_of_one_probability() -> None:
    codes, probabilities = draw(n_classes=2)
    one = metrics.brier_score_loss(codes, probabilities[:, 1])
    assert compute_brier(codes, probabilities) == pytest.approx(2 * one)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_calibration_error_equals_the_sum_by_hand(seed: int) -> None:
    codes, probabilities = draw(seed=seed)
    right, scores = probabilities.argmax(axis=1) == codes, probabilities.max(axis=1)
    found = estimate_calibration_error(right, scores)
    assert found == pytest.approx(compute_by_hand(right, scores))


def test_calibration_error_is_small_if_probabilities_are_true() -> None:
    codes, probabilities = draw(n_rows=50_000)
    found = measure_reliability(codes, probabilities)
    assert found.calibration_error is not None
    assert found.calibration_error < 0.01
    sharpened = probabilities**3 / (probabilities**3).sum(axis=1, keepdims=True)
    too_sure = measure_reliability(codes, sharpened)
    assert too_sure.calibration_error is not None
    assert too_sure.calibration_error > 0.1


def test_calibration_error_at_both_ends_of_the_scores() -> None:
    assert estimate_calibration_error(np.array([True]), np.array([1.0])) == 0
    assert estimate_calibration_error(np.array([False]), np.array([1.0])) == 1
    assert estimate_calibration_error(np.array([True]), np.array([0.0])) == 1


def test_measure_reliability_of_unknown_classes_counts_them_as_wrong() -> None:
    found = measure_reliability(np.array([0, -1]), np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert (found.log_loss, found.brier) == (None, None)
    assert (found.calibration_error, found.mean_score) == (0.5, 1.0)
