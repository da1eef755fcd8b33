"""Scores and intervals hold what they promise: `benchmarks/interval_coverage.py`, small."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.heads.intervals import estimate_interval

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from interval_coverage import simulate_given, simulate_held_out


@pytest.mark.parametrize("size", [1, 5, 20])
def test_interval_of_a_given_head_covers_its_accuracy(size: int) -> None:
    # Of rows that are taken for independent, 0.67 (units of 5) and 0.41 (of 20) do.
    found = simulate_given(200, size=size, n_trials=300)
    assert 0.92 <= found.share <= 0.985
    assert abs(found.bias) < 0.015


@pytest.mark.parametrize("n_trials", [20, pytest.param(60, marks=pytest.mark.slow)])
def test_interval_of_a_held_out_score_covers_at_chance(n_trials: int) -> None:
    found = simulate_held_out(200, gap=0, cv=5, n_trials=n_trials)
    assert found.share >= 0.9
    assert abs(found.bias) < 0.015
    assert found.truths == pytest.approx(0.5)


@pytest.mark.parametrize("n_trials", [16, pytest.param(50, marks=pytest.mark.slow)])
def test_interval_of_a_held_out_score_covers_the_accuracy_of_the_fitted_head(n_trials: int) -> None:
    found = simulate_held_out(60, gap=1.5, cv=5, n_trials=n_trials)
    assert found.share >= 0.9
    assert abs(found.bias) < 0.03
    assert 0.65 < found.truths.mean() < 0.75


@pytest.mark.slow
def test_random_labels_score_at_chance_where_folds_do_not_divide_the_rows() -> None:
    found = [simulate_held_out(n_rows, gap=0, n_trials=16) for n_rows in (66, 70)]
    assert np.mean([one.scores.mean() for one in found]) > 0.465  # dealt on from each other: 0.44
    assert np.mean([one.share for one in found]) > 0.85


@pytest.mark.parametrize("n_trials", [20, pytest.param(60, marks=pytest.mark.slow)])
def test_interval_of_heads_that_say_one_class_is_no_wider_than_chance(n_trials: int) -> None:
    found = simulate_held_out(100, gap=0, minority=0.1, drawn=True, cv=5, n_trials=n_trials)
    assert found.share >= 0.9
    assert abs(found.bias) < 0.015
    of_chance = [estimate_interval(np.arange(100) < round(100 * one)) for one in found.scores]
    assert np.diff(found.ends).mean() == pytest.approx(np.diff(of_chance).mean(), rel=0.1)


@pytest.mark.parametrize("n_trials", [10, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "options",
    [{"copies": 2}, {"size": 10, "mixed": True}, {"size": 10, "mixed": False}],
    ids=["copies", "units of both classes", "units of one class"],
)
def test_random_labels_score_at_chance_with_copies_and_units(
    options: dict[str, Any], n_trials: int
) -> None:
    found = simulate_held_out(100, gap=0, cv=5, n_trials=n_trials, **options)
    assert found.scores.mean() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("n_trials", [4, pytest.param(12, marks=pytest.mark.slow)])
def test_interval_of_repeats_is_as_wide_as_that_of_one_dealing(n_trials: int) -> None:
    options: dict[str, Any] = {"gap": 0, "size": 5, "cv": 5, "n_trials": n_trials}
    one = simulate_held_out(60, **options)
    several = simulate_held_out(60, repeats=4, **options)
    width, wide = (float((of.ends[:, 1] - of.ends[:, 0]).mean()) for of in (one, several))
    assert wide == pytest.approx(width, rel=0.08)
    assert several.share >= 0.9
    assert abs(several.bias) < 0.08
