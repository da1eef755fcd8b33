"""Intervals, against published numbers and by simulation."""

import numpy as np
import pytest
from scipy.stats import binomtest

from featx.heads.intervals import estimate_balanced_interval, estimate_interval


def count(n_right: int, n_rows: int) -> np.ndarray:
    """Make rows of which so many are right."""
    return np.arange(n_rows) < n_right


@pytest.mark.parametrize(
    ("n_right", "n_rows", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_estimate_interval_is_the_published_one(
    n_right: int, n_rows: int, low: float, high: float
) -> None:
    assert estimate_interval(count(n_right, n_rows)) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("n_right", range(8))
def test_estimate_interval_of_rows_equals_scipys(n_right: int) -> None:
    expected = binomtest(n_right, 7).proportion_ci(0.95, method="wilson")
    found = estimate_interval(count(n_right, 7))
    assert found == pytest.approx((expected.low, expected.high))
    assert estimate_interval(count(n_right, 7), np.arange(7)) == found


def test_balanced_interval_of_one_class_is_that_of_a_proportion() -> None:
    right = count(8, 10)
    assert estimate_balanced_interval(right, np.zeros(10, int)) == estimate_interval(right)
