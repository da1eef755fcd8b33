"""Scores and thresholds of heads for several classes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from featx.heads.several import (
    SeveralScores,
    choose_thresholds,
    expect_average_precision,
    score_several,
)

CLASSES = ("a", "b", "c")


def build_scores(n_rows: int = 80) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    flags = random.random((n_rows, 3)) < [0.5, 0.2, 0.1]
    return flags, np.round(0.4 * flags + 0.6 * random.random((n_rows, 3)), 1)  # with ties


def test_scores_are_those_of_scikit_learn() -> None:
    flags, probabilities = build_scores()
    predicted = probabilities >= 0.5
    scores = score_several(
        flags, probabilities, predicted, classes=CLASSES, thresholds=(0.5, 0.5, 0.5)
    )
    assert scores.macro_average_precision == pytest.approx(
        average_precision_score(flags, probabilities)
    )
    assert scores.macro_f1 == pytest.approx(f1_score(flags, predicted, average="macro"))
    ends = scores.macro_average_precision_ci95
    assert ends is not None
    assert ends[0] < average_precision_score(flags, probabilities) < ends[1]
    assert SeveralScores.from_dict(scores.to_dict()) == scores


@pytest.mark.parametrize(("n_rows", "n_right"), [(1, 1), (2, 1), (10, 3), (40, 2), (40, 40)])
def test_chance_is_the_mean_over_random_rankings(n_rows: int, n_right: int) -> None:
    random = np.random.default_rng(0)
    flags = np.arange(n_rows) < n_right
    found = [average_precision_score(flags, random.permutation(n_rows)) for _ in range(400)]
    error = np.std(found) / np.sqrt(len(found))
    expected = expect_average_precision(n_rows, np.array([n_right]))
    assert expected == pytest.approx(np.mean(found), abs=4 * error + 1e-9)


def test_intervals_of_noise_hold_chance() -> None:
    n_held, n_trials = 0, 20
    for seed in range(n_trials):
        random = np.random.default_rng(seed)
        flags, noise = random.random((100, 20)) < 0.05, random.random((100, 20))
        scores = score_several(
            flags, noise, noise > 0.5, classes=[str(i) for i in range(20)], thresholds=[0.5] * 20
        )
        ends, chance = scores.macro_average_precision_ci95, scores.control_average_precision
        assert ends is not None
        assert chance is not None
        assert chance > 1.4 * flags.mean()
        n_held += ends[0] <= chance <= ends[1]
    assert n_held >= 18


def test_what_was_not_measured_is_none() -> None:
    flags, probabilities = build_scores()
    flags[:, 2] = False
    predicted = probabilities >= [0.5, 0.5, 2]
    scores = score_several(
        flags, probabilities, predicted, classes=CLASSES, thresholds=(0.5, 0.5, 2)
    )
    last = scores.per_class[2]
    assert (last.average_precision, last.precision, last.recall, last.f1) == (None,) * 4
    assert scores.macro_average_precision == pytest.approx(
        average_precision_score(flags[:, :2], probabilities[:, :2])
    )
    nothing = score_several(
        flags & False, probabilities, predicted & False, classes=CLASSES, thresholds=(1, 1, 1)
    )
    assert nothing.macro_average_precision is None
    assert nothing.macro_f1 is None
    assert nothing.exact == 1


def test_intervals_take_units() -> None:
    flags, probabilities = build_scores()
    units = np.repeat(np.arange(len(flags)), 4)
    few, many = (
        score_several(
            np.repeat(flags, 4, axis=0),
            np.repeat(probabilities, 4, axis=0),
            np.repeat(flags, 4, axis=0),
            classes=CLASSES,
            thresholds=(0.5, 0.5, 0.5),
            units=one,
        ).macro_average_precision_ci95
        for one in (units, None)
    )
    assert few is not None
    assert many is not None
    assert few[1] - few[0] > 1.5 * (many[1] - many[0])


def test_thresholds_have_the_largest_f1() -> None:
    flags, probabilities = build_scores()
    thresholds = choose_thresholds(flags, probabilities)
    for column, threshold in enumerate(thresholds):
        best = max(
            f1_score(flags[:, column], probabilities[:, column] >= one)
            for one in np.unique(probabilities[:, column])
        )
        found = f1_score(flags[:, column], probabilities[:, column] >= threshold)
        assert found == pytest.approx(best)
    assert choose_thresholds(np.zeros((3, 1), bool), np.ones((3, 1))).tolist() == [0.5]
