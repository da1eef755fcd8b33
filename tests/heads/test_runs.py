"""Runs of like numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.heads.runs import MAX_RUNS, MIN_RUN, count_runs, find_runs


@given(st.lists(st.integers(-5, 30), min_size=1, max_size=60), st.integers(1, 12))
def test_find_runs_keeps_the_order_and_equal_numbers_together(
    drawn: list[int], n_runs: int
) -> None:
    y = np.array(drawn) / 4
    runs = find_runs(y, n_runs)
    order = np.argsort(y, kind="stable")
    assert (np.diff(runs[order]) >= 0).all()
    assert all(len(set(runs[y == number])) == 1 for number in y)
    assert set(runs) == set(range(runs.max() + 1))
    assert runs.max() < n_runs


@pytest.mark.parametrize("n_rows", [1, 4, 5, 23, 49, 50, 51, 999])
def test_runs_of_different_numbers_are_of_like_sizes(n_rows: int) -> None:
    n_runs = count_runs(n_rows)
    sizes = np.bincount(
        find_runs(np.random.default_rng(0).permutation(n_rows).astype(float), n_runs)
    )
    assert len(sizes) == n_runs <= MAX_RUNS
    assert np.ptp(sizes) <= 1
    assert sizes.min() >= min(MIN_RUN, n_rows)
