"""Comparisons of several classifiers: a winner is named only if it is one."""

import json

import numpy as np
import pytest
from scipy.stats import binom

from featx.core.typing import Array, IntArray
from featx.heads.candidates import (
    Candidate,
    HeadComparison,
    compare_candidates,
)
from featx.heads.classifier import HeadClassifier
from featx.heads.evaluate import score_predictions
from featx.heads.gains import ALPHA, adjust_p_values, measure_gain
from featx.heads.intervals import estimate_interval

CLASSES = np.array(["ants", "bees"])

N_TRIALS = 120
"""Number of trials of a simulation."""


def make_labels(n_rows: int, seed: int = 0) -> Array:
    return CLASSES[np.random.default_rng(seed).integers(0, 2, n_rows)]


def make_candidate(name: str, y: Array, wrong: Array) -> Candidate:
    """Make a classifier that is wrong for some rows."""
    others = np.where(y == "ants", "bees", "ants")
    return Candidate(name=name, predicted=np.where(wrong, others, y), classes=CLASSES)


def draw_wrong(
    rng: np.random.Generator, n_rows: int, units: IntArray | None, *, hard: float = 0.3
) -> Array:
    """Draw the wrong rows of a classifier that is right for 0.83 of new rows."""
    if units is None:
        wrong = rng.random(n_rows) < hard / 2
    else:  # rows of one unit are mostly wrong together
        wrong = (rng.random(units.max() + 1) < hard / 2)[units]
    return wrong | (rng.random(n_rows) < 0.02)


def test_compare_candidates_ranks_by_score_and_puts_the_control_last() -> None:
    y = make_labels(200)
    rows = np.arange(200)
    found = compare_candidates(
        y, [make_candidate(name, y, rows < n) for name, n in (("c", 40), ("a", 10), ("b", 20))]
    )
    usual, share = ("bees", (y == "bees").mean()) if (y == "bees").mean() > 0.5 else ("ants", 0.0)
    names = [one.name for one in found.candidates]
    assert names == ["a", "b", "c", f"always {usual}"]
    assert [one.is_control for one in found.candidates] == [False, False, False, True]
    assert [one.accuracy for one in found.candidates[:3]] == [0.95, 0.9, 0.8]
    assert found.candidates[3].accuracy == pytest.approx(share)
    assert found.candidates[0].accuracy_ci95 == estimate_interval(rows >= 10)
    assert [one.gain for one in found.candidates[:3]] == [
        None,
        pytest.approx(-0.05),
        pytest.approx(-0.15),
    ]
    # McNemar's exact test of 10 rows that only the best predicts correctly, corrected for three
    assert found.candidates[1].p_value == pytest.approx(2 / 2**10)
    assert found.winner == found.best == "a"
    assert found.verdict.startswith("a is the best: its accuracy is higher than that of each other")


def test_compare_candidates_that_differ_by_chance_have_no_winner() -> None:
    y = make_labels(200)
    rows = np.arange(200)
    candidates = [
        make_candidate("good", y, rows < 10),
        make_candidate("fair", y, rows < 14),
        make_candidate("poor", y, rows < 60),
    ]
    found = compare_candidates(y, candidates)
    assert (found.best, found.winner) == ("good", None)
    assert [one.is_worse for one in found.candidates] == [False, False, True, True]
    assert found.verdict == "cannot tell good from fair"


def test_compare_candidates_that_learnt_nothing_are_not_told_from_the_control() -> None:
    y = np.repeat(CLASSES, [150, 50])
    wrong = np.random.default_rng(0).random(200) < 0.25
    found = compare_candidates(y, [make_candidate("noise", y, wrong)])
    assert found.winner is None
    assert found.verdict == "cannot tell noise from always ants"


def test_compare_candidates_that_are_worse_than_the_control_are_told_so() -> None:
    y = np.repeat(CLASSES, [180, 20])
    wrong = np.random.default_rng(0).random(200) < 0.5
    found = compare_candidates(y, [make_candidate("bad", y, wrong)])
    assert found.winner is None
    assert found.verdict == "no classifier is as good as always ants: look at the labels first"


def test_compare_candidates_of_equal_score_ranks_the_lower_log_loss_first() -> None:
    y = make_labels(50)
    codes = (y == "bees").astype(int)
    sure, unsure = (np.where(np.eye(2)[codes] > 0, p, 1 - p) for p in (0.9, 0.6))
    found = compare_candidates(
        y,
        [
            Candidate(name="unsure", predicted=y, classes=CLASSES, probabilities=unsure),
            Candidate(name="sure", predicted=y, classes=CLASSES, probabilities=sure),
        ],
    )
    assert found.best == "sure"
    assert found.candidates[0].log_loss == pytest.approx(-np.log(0.9))
    assert found.winner is None
    scores = score_predictions(y, y, classes=CLASSES, probabilities=sure)
    assert found.candidates[0].calibration_error == scores.calibration_error


def test_compare_candidates_by_balanced_accuracy_ranks_by_it() -> None:
    y = np.repeat(CLASSES, [180, 20])
    rows = np.arange(200)
    never_bees = make_candidate("never bees", y, rows >= 180)
    both = make_candidate("both", y, (rows < 30) | (rows >= 198))
    by_rows = compare_candidates(y, [never_bees, both])
    found = compare_candidates(y, [never_bees, both], measure="balanced_accuracy")
    assert (by_rows.best, found.best, found.winner) == ("never bees", "both", "both")
    assert found.candidates[1].gain == pytest.approx(0.5 - (150 / 180 + 18 / 20) / 2)
    assert "balanced accuracy" in found.verdict


def test_compare_candidates_with_units_counts_units_and_not_rows() -> None:
    y = make_labels(200)
    units = np.arange(200) // 20
    first = make_candidate("first", y, np.zeros(200, bool))
    second = make_candidate("second", y, units == 3)  # twenty rows, one unit
    alone = compare_candidates(y, [first, second])
    found = compare_candidates(y, [first, second], units=units)
    assert (alone.candidates[1].is_worse, found.candidates[1].is_worse) == (True, False)
    assert (alone.n_units, found.n_units) == (None, 10)


def test_compare_candidates_in_folds_have_wider_intervals() -> None:
    y = make_labels(200)
    rng = np.random.default_rng(0)
    candidates = [make_candidate(name, y, draw_wrong(rng, 200, None)) for name in "ab"]
    alone = compare_candidates(y, candidates)
    found = compare_candidates(y, candidates, n_folds=5)
    (low, high), (wide_low, wide_high) = (
        one.candidates[1].gain_ci95 or (0.0, 0.0) for one in (alone, found)
    )
    assert wide_low < low < high < wide_high
    assert (found.candidates[1].p_value or 0) >= (alone.candidates[1].p_value or 0)


@pytest.mark.parametrize(
    ("n_candidates", "size"),
    [
        (2, 5),
        pytest.param(2, 1, marks=pytest.mark.slow),
        pytest.param(4, 5, marks=pytest.mark.slow),
    ],
)
def test_equal_candidates_are_seldom_named_winner(
    monkeypatch: pytest.MonkeyPatch, n_candidates: int, size: int
) -> None:
    monkeypatch.setattr("featx.heads.gains.N_RESAMPLES", 400)
    rng = np.random.default_rng(n_candidates + size)
    units = None if size == 1 else np.arange(200) // size
    n_won = 0
    for seed in range(N_TRIALS):
        y = make_labels(200, seed)
        candidates = [
            make_candidate(str(number), y, draw_wrong(rng, 200, units))
            for number in range(n_candidates)
        ]
        n_won += compare_candidates(y, candidates, units=units).winner is not None
    assert n_won <= binom.ppf(0.95, N_TRIALS, 0.05)


@pytest.mark.parametrize("n_trials", [20, pytest.param(60, marks=pytest.mark.slow)])
def test_equal_embeddings_are_seldom_told_apart_by_folds(
    monkeypatch: pytest.MonkeyPatch, n_trials: int
) -> None:
    monkeypatch.setattr("featx.heads.gains.N_RESAMPLES", 400)
    rng, n_apart = np.random.default_rng(0), 0
    for seed in range(n_trials):
        codes = rng.integers(0, 2, 60)
        right: list[Array] = []
        for _ in range(2):
            X = rng.normal(size=(60, 20)).astype(np.float32)
            found = HeadClassifier("nearest-mean", cv=5, random_state=seed).fit(X, codes).search_
            assert found is not None
            right.append(found.held_out == codes)
        gain = measure_gain(right[0], right[1], np.zeros(60, int), n_folds=5)
        n_apart += gain.p_value < ALPHA
    # Without the widening for folds, some 9 % of such trials are beyond chance.
    assert n_apart <= binom.ppf(0.95, n_trials, 0.05)


def test_a_better_candidate_is_mostly_named_winner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featx.heads.gains.N_RESAMPLES", 400)
    rng = np.random.default_rng(0)
    winners = []
    for seed in range(50):
        y = make_labels(400, seed)
        candidates = [
            make_candidate(name, y, draw_wrong(rng, 400, None, hard=hard))
            for name, hard in (("good", 0.1), ("poor", 0.4))
        ]
        winners.append(compare_candidates(y, candidates).winner)
    assert winners.count("good") >= 48
    assert "poor" not in winners


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ([], []),
        ([0.04], [0.04]),
        ([0.01, 0.02, 0.03], [0.03, 0.04, 0.04]),
        ([0.9, 0.001, 0.8], [1.0, 0.003, 1.0]),
    ],
)
def test_adjust_p_values_is_holms_step_down(p_values: list[float], expected: list[float]) -> None:
    assert adjust_p_values(p_values) == pytest.approx(expected)


def test_comparison_from_dict_is_what_to_dict_was_made_of() -> None:
    y = make_labels(50)
    found = compare_candidates(y, [make_candidate("a", y, np.arange(50) < 5)])
    fields = json.loads(json.dumps(found.to_dict()))
    assert (fields["best"], fields["winner"]) == ("a", found.winner)
    assert fields["verdict"] == found.verdict
    again = HeadComparison.from_dict(found.to_dict())
    assert again == found
