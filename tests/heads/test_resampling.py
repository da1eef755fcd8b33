"""Intervals by resampling units."""

from __future__ import annotations

import numpy as np
import pytest

from featx.core.typing import Float64Array
from featx.heads.resampling import Statistic, estimate_by_resampling


def build_mean(values: Float64Array) -> Statistic:
    return lambda weights: weights @ values / weights.sum(axis=1)


@pytest.mark.parametrize("size", [1, 5])
def test_intervals_of_a_mean_hold_the_truth(size: int) -> None:
    random = np.random.default_rng(1)
    n_held, n_trials = 0, 200
    for _ in range(n_trials):
        n_units = 40
        units = np.repeat(np.arange(n_units), size)
        values = np.repeat(random.normal(size=n_units), size) + random.normal(size=len(units))
        ends = estimate_by_resampling(build_mean(values), len(values), units)
        assert ends is not None
        n_held += ends[0] <= 0 <= ends[1]
    assert 0.92 <= n_held / n_trials <= 0.99


def test_an_interval_of_folds_is_wider() -> None:
    statistic = build_mean(np.arange(50.0))
    plain = estimate_by_resampling(statistic, 50)
    folded = estimate_by_resampling(statistic, 50, n_folds=5)
    assert plain is not None
    assert folded is not None
    assert folded[0] < plain[0] < plain[1] < folded[1]


def test_what_cannot_be_resampled_has_no_interval() -> None:
    statistic = build_mean(np.arange(4.0))
    assert estimate_by_resampling(statistic, 4, np.zeros(4, np.int64)) is None
    assert estimate_by_resampling(lambda weights: np.full(len(weights), np.nan), 4) is None
