"""Outliers: planted ones are found, and usual rows are listed at the rate that is stated."""

from __future__ import annotations

import numpy as np
import pytest

from featx.analytics.outliers import RATE, Outliers, find_outliers


@pytest.mark.parametrize(("n_rows", "dim"), [(100, 8), (100, 64), (400, 16)])
def test_usual_rows_are_listed_at_the_stated_rate(n_rows: int, dim: int) -> None:
    n_listed, n_repeats = 0, 20
    for seed in range(n_repeats):
        rng = np.random.default_rng(seed)
        codes = np.arange(n_rows) % 3
        X = rng.normal(size=(n_rows, dim)) + 5 * rng.normal(size=(3, dim))[codes]
        found = find_outliers(X, codes, None, np.arange(n_rows))
        assert isinstance(found, Outliers)
        n_listed += len(found)
    assert n_listed <= max(6, 3 * RATE * n_rows * n_repeats)


def test_planted_rows_are_found_labelled_or_not() -> None:
    rng = np.random.default_rng(0)
    codes = np.arange(300) % 2
    X = rng.normal(size=(300, 16)) + 8 * np.eye(2, 16)[codes]
    X[[7, 80]] = 9 * np.eye(16)[[5, 6]]
    for label in (codes[7], -1):
        given = codes.copy()
        given[[7, 80]] = label
        found = find_outliers(X, given, None, np.arange(300) + 10)
        assert isinstance(found, Outliers)
        assert set(found.rows[:2]) == {17, 90}
        assert len(found) <= 4
        assert found.n_judged == 300


def test_rows_without_any_label_are_one_class() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 8)) + 5
    X[3] = -5
    found = find_outliers(X, np.full(200, -1), None, np.arange(200))
    assert isinstance(found, Outliers)
    assert found.rows[0] == 3


def test_few_rows_say_why_they_cannot_be_judged() -> None:
    X = np.random.default_rng(0).normal(size=(12, 4))
    assert find_outliers(X, np.arange(12) % 2, None, np.arange(12)) == (
        "12 of 12 rows can be compared with other rows of their class; 30 are needed"
    )
