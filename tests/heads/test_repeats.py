"""Held-out scores over several dealings of the folds."""

from __future__ import annotations

import numpy as np
import pytest

from featx.core.typing import Array, Float32Array
from featx.fitting.fit import summarise_search
from featx.heads.classifier import HeadClassifier
from featx.heads.evaluate import CrossValidation, score_predictions
from featx.heads.intervals import estimate_balanced_interval, estimate_interval
from featx.heads.repeats import RepeatedScores, derive_seed, score_repeats
from featx.heads.splits import MAX_SEED


def draw(n_rows: int = 80, distance: float = 1.5) -> tuple[Float32Array, Array]:
    """Draw two clouds that overlap, and their labels."""
    codes = np.arange(n_rows) % 2
    X = (
        np.random.default_rng(0).normal(size=(n_rows, 12))
        + distance * codes[:, None] * np.eye(12)[0]
    )
    return X.astype(np.float32), np.array(["ants", "bees"])[codes]


@pytest.mark.parametrize("kind", ["logreg", "auto"])
def test_repeats_change_the_score_and_nothing_of_the_head(kind: str) -> None:
    X, y = draw()
    once = HeadClassifier(kind, cv=4).fit(X, y)
    often = HeadClassifier(kind, cv=4, repeats=3).fit(X, y)
    assert (often.kind_, often.C_, often.temperature_) == (once.kind_, once.C_, once.temperature_)
    np.testing.assert_array_equal(often.decision_function(X), once.decision_function(X))
    assert once.held_out_ is not None
    assert often.held_out_ is not None
    assert often.held_out_.shape == (3, 80)
    np.testing.assert_array_equal(often.held_out_[0], once.held_out_[0])
    assert (often.held_out_ >= 0).all()
    assert (often.held_out_[1] != often.held_out_[0]).any()
    assert (often.held_out_[2] != often.held_out_[1]).any()


def test_repeats_are_the_dealings_of_other_seeds() -> None:
    X, y = draw()
    often = HeadClassifier(cv=4, repeats=2, random_state=5).fit(X, y)
    other = HeadClassifier(cv=4, random_state=derive_seed(5, 1)).fit(X, y)
    assert often.held_out_ is not None
    assert other.held_out_ is not None
    np.testing.assert_array_equal(often.held_out_[1], other.held_out_[0])


def test_repeats_test_rows_that_are_new_to_the_network() -> None:
    X, y = draw()
    learnt = np.arange(80) < 40
    often = HeadClassifier(cv=4, repeats=2).fit(X, y, learnt=learnt)
    assert often.held_out_ is not None
    np.testing.assert_array_equal(often.held_out_ >= 0, np.tile(~learnt, (2, 1)))


def test_repeats_of_rows_that_the_network_has_learnt_from_are_none() -> None:
    X, y = draw()
    assert HeadClassifier(cv=4, repeats=2).fit(X, y, learnt=np.ones(80, bool)).held_out_ is None


def test_seeds_of_dealings_differ_and_are_seeds() -> None:
    seeds = {derive_seed(seed, number) for seed in (0, 1, MAX_SEED) for number in range(20)}
    assert len(seeds) == 60
    assert all(0 <= seed <= MAX_SEED for seed in seeds)


def test_score_repeats_averages_scores_and_ends_of_intervals() -> None:
    rng = np.random.default_rng(0)
    codes, units = np.repeat([0, 1], [30, 10]), np.arange(40) // 2
    predicted = np.where(rng.random((6, 40)) < 0.8, codes, 1 - codes)
    found = score_repeats(codes, predicted, units=units, n_folds=5, n_dims=8)
    right = predicted == codes
    assert found.n_repeats == 6
    assert found.accuracy == pytest.approx(right.mean())
    np.testing.assert_allclose(found.accuracies, right.mean(axis=1))
    recalls = [(one[:30].mean() + one[30:].mean()) / 2 for one in right]
    assert found.balanced_accuracies == tuple(recalls)
    assert found.balanced_accuracy == pytest.approx(np.mean(recalls))
    single = [estimate_interval(one, units, n_folds=5, n_dims=8) for one in right]
    np.testing.assert_allclose(found.accuracy_ci95, np.mean(single, axis=0))
    single = [estimate_balanced_interval(one, codes, units, n_folds=5, n_dims=8) for one in right]
    np.testing.assert_allclose(found.balanced_accuracy_ci95, np.mean(single, axis=0))


@pytest.mark.parametrize("n_classes", [2, 3, 12])
def test_first_dealing_has_the_scores_of_one_to_the_last_bit(n_classes: int) -> None:
    rng = np.random.default_rng(n_classes)
    codes = np.sort(rng.integers(n_classes, size=149))
    classes = np.arange(n_classes).astype(str)
    predicted = np.where(rng.random((3, 149)) < 0.8, codes, rng.integers(n_classes, size=149))
    found = score_repeats(codes, predicted, n_folds=5)
    once = score_predictions(classes[codes], classes[predicted[0]], classes=classes, n_folds=5)
    assert found.accuracies[0] == once.accuracy
    assert found.balanced_accuracies[0] == once.balanced_accuracy
    right = score_repeats(codes, np.tile(codes, (3, 1)), n_folds=5)
    assert (right.balanced_accuracy, right.balanced_accuracies) == (1.0, (1.0,) * 3)


def test_interval_of_the_same_dealing_a_hundred_times_is_that_of_one() -> None:
    codes = np.arange(30) % 2
    predicted = np.where(np.arange(30) < 24, codes, 1 - codes)
    many = score_repeats(codes, np.tile(predicted, (100, 1)), n_folds=5)
    once = score_repeats(codes, predicted[None], n_folds=5)
    assert many.accuracy_ci95 == pytest.approx(once.accuracy_ci95)
    assert many.balanced_accuracy_ci95 == pytest.approx(once.balanced_accuracy_ci95)


def test_repeated_scores_survive_json_and_files() -> None:
    codes = np.arange(20) % 2
    found = score_repeats(codes, np.stack([codes, 1 - codes]), n_folds=5)
    assert RepeatedScores.from_dict(found.to_dict()) == found
    X, y = draw(40)

    scores = summarise_search(HeadClassifier(cv=4, repeats=2).fit(X, y), y, None)
    assert scores is not None
    assert scores.repeated is not None
    assert CrossValidation.from_dict(scores.to_dict()) == scores
