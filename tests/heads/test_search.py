"""The search over strengths and kinds: what it keeps, and what it says of where it stood."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from featx.core.typing import Array, Float32Array, IntArray
from featx.heads.classifier import HeadClassifier
from featx.heads.kinds import get_kind, list_compared
from featx.heads.nested import Line
from featx.heads.search import Search, build_grid, choose_kind, weigh_scored


def draw(
    n_rows: int, distance: float, *, dim: int = 20, seed: int = 0
) -> tuple[Float32Array, Array]:
    """Draw two clouds, and their labels."""
    rng = np.random.default_rng(seed)
    codes = np.arange(n_rows) % 2
    X = rng.normal(size=(n_rows, dim))
    X[:, 0] += distance * codes
    return X.astype(np.float32), np.array(["ants", "bees"])[codes]


def fit(X: Array, y: Array, **options: object) -> tuple[HeadClassifier, Search]:
    """Fit a classifier that searches."""
    classifier = HeadClassifier(**options).fit(X, y)  # type: ignore[arg-type]
    assert classifier.search_ is not None
    return classifier, classifier.search_


def test_search_says_what_it_tried_and_where_it_stood() -> None:
    classifier, search = fit(*draw(80, 1.5))
    assert search.best == classifier.C_
    assert search.best in search.values
    np.testing.assert_array_equal(search.values, np.sort(search.values))
    assert search.scores.shape == (len(search.values), len(search.folds))
    assert search.losses.shape == search.values.shape
    assert search.temperature == classifier.temperature_


def test_search_holds_every_row_out_with_probabilities() -> None:
    X, y = draw(60, 1.5)
    _, search = fit(X, y)
    assert (search.held_out >= 0).all()
    np.testing.assert_allclose(search.held_out_probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(search.held_out_probabilities.argmax(axis=1), search.held_out)


def test_search_goes_on_to_where_a_small_difference_is_seen() -> None:
    # One large thing that all channels share, and a class in a thousandth of it.
    rng = np.random.default_rng(0)
    codes = np.arange(300) % 2
    X = rng.normal(size=(300, 1)) + 1e-5 * rng.normal(size=(300, 16))
    X[:, 0] += 1e-3 * codes
    classifier, search = fit(X, codes)
    assert classifier.C_ > 1e3
    assert np.mean(search.held_out == codes) > 0.99


def test_search_of_one_strength_scores_it_alone() -> None:
    classifier, search = fit(*draw(60, 1.5), C=0.25)
    assert (classifier.C_, search.values.tolist()) == (0.25, [0.25])
    assert (search.held_out >= 0).all()


def test_search_near_a_strength_tries_fewer_values() -> None:
    _, everything = fit(*draw(200, 1.5))
    classifier, near = fit(*draw(200, 1.5), near=everything.best)
    assert len(near.values) < len(everything.values)
    assert 0.1 <= classifier.C_ / everything.best <= 10


@pytest.mark.parametrize(
    ("kind", "near", "expected"),
    [
        ("logreg", 0.01, (-3.0, -2.0, -1.0)),
        ("logreg", 0.02, (-3.0, -2.0, -1.0)),
        ("knn", 3, (1.0, 0.5, 0.0)),
        ("nearest-mean", 1.0, (0.0,)),
        ("rbf-svm", 1e4, (-1.0, 0.0, 1.0, 2.0)),  # far from the grid: all of it
        ("lda", 1e-5, (0.0, -0.5, -1.0, -1.5, -2.0, -3.0)),
    ],
)
def test_build_grid_around_a_strength(kind: str, near: float, expected: tuple[float, ...]) -> None:
    assert build_grid(get_kind(kind), None, near).exponents == expected


def test_weights_of_a_score_make_it_the_balanced_accuracy_of_the_rows_that_are_tested() -> None:
    codes: IntArray = np.array([0, 0, 0, 1])
    everyone = [(np.array([2, 3]), np.array([0, 1])), (np.array([0, 1]), np.array([2, 3]))]
    assert weigh_scored(codes, None, everyone).tolist() == [1, 1, 1, 1]
    np.testing.assert_allclose(weigh_scored(codes, "balanced", everyone), [1 / 3, 1 / 3, 1 / 3, 1])
    some = [(np.array([0, 1]), np.array([2, 3]))]  # the network has learnt from the others
    np.testing.assert_allclose(weigh_scored(codes, "balanced", some)[2:], [1, 1])


# --- classes that heads of folds have not learnt


def draw_tail(n_rows: int, n_single: int, *, n_new: int = 0) -> list[tuple[Float32Array, IntArray]]:
    """Draw two classes of `n_rows` rows each and others of one row, and new rows of the same."""
    rng = np.random.default_rng(0)
    counts = np.array([n_rows, n_rows] + [1] * n_single)
    centres = 2 * rng.normal(size=(len(counts), 32))
    drawn = []
    for codes in (
        np.repeat(np.arange(len(counts)), counts),
        rng.choice(len(counts), n_new, p=counts / counts.sum()),
    ):
        X = rng.normal(size=(len(codes), 32)) + centres[codes]
        drawn.append((X.astype(np.float32), codes))
    return drawn


def test_classes_of_one_row_choose_neither_strength_nor_temperature() -> None:
    (X, y), (new, expected) = draw_tail(40, 40, n_new=500)
    classifier, search = fit(X, y, cv=5)
    assert 1 <= classifier.C_ <= 100
    assert np.mean(classifier.predict(new) == expected) > 0.97
    assert classifier.predict_proba(new).max(axis=1).mean() > 0.85
    assert np.min(search.losses) < 0.1
    # They are wrong all the same.
    assert np.mean(search.held_out == y) == pytest.approx(2 / 3, abs=0.01)
    assert search.scores.max() < 0.75


def test_classes_of_one_row_count_in_the_scores_of_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = [get_kind("logreg"), get_kind("nearest-mean")]
    monkeypatch.setattr("featx.heads.classifier.list_compared", lambda *_: compared)
    ((X, y), _) = draw_tail(15, 6)
    _, search = fit(X, y, kind="auto", cv=3)
    assert [one.score for one in search.compared] == pytest.approx([30 / 36, 30 / 36])


# --- kinds


def build_line(n_right: int) -> tuple[Line, float]:
    """Build a line of 100 rows of which the first ones are right."""
    line = Line(parts=[], rows=np.arange(100), weights=np.full(100, 0.01))
    line.right[0.0] = np.arange(100) < n_right
    return line, 0.0


@pytest.mark.parametrize(
    ("n_right", "expected"),
    [((80, 81, 82), 0), ((80, 95, 81), 1), ((50, 60, 99), 2), ((90, 80, 70), 0)],
)
def test_choose_kind_keeps_the_first_unless_another_is_better(
    n_right: tuple[int, ...], expected: int
) -> None:
    assert choose_kind([build_line(n) for n in n_right]) == expected


def test_auto_chooses_a_kind_that_is_better_and_says_by_how_much() -> None:
    # A class inside and one around it: no linear head can part them.
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    y = np.where((X**2).sum(axis=1) < 1.4, "in", "out")
    classifier, search = fit(X, y, kind="auto")
    assert classifier.kind_ in ("rbf-svm", "knn")
    assert search.kind == classifier.kind_ == search.compared[0].kind
    assert search.compared[0].p_value is None
    others = {one.kind: one for one in search.compared[1:]}
    assert set(others) | {classifier.kind_} == {kind.name for kind in list_compared(300, None)}
    p_value = others["logreg"].p_value
    assert p_value is not None
    assert p_value < 1e-6
    assert search.compared[0].score > others["logreg"].score + 0.2
    assert np.mean(classifier.classes_[search.held_out] == y) > 0.85


def test_auto_of_clouds_keeps_logistic_regression() -> None:
    classifier, search = fit(*draw(80, 3.0), kind="auto", cv=5)
    assert classifier.kind_ == "logreg"
    assert len(search.compared) == 7


def test_auto_with_class_weights_compares_kinds_that_take_them() -> None:
    _, search = fit(*draw(60, 1.5), kind="auto", class_weight="balanced", cv=5)
    assert "knn" not in {one.kind for one in search.compared}


# --- honest scores


@pytest.mark.parametrize("kind", ["logreg", "linear-svm", "knn"])
def test_random_labels_score_at_chance(kind: str) -> None:
    accuracies = []
    for seed in range(12):
        X, _ = draw(60, 0.0, seed=seed)
        codes = np.random.default_rng(seed).permutation(60) % 2
        _, search = fit(X, codes, kind=kind, cv=5)
        accuracies.append(np.mean(search.held_out == codes))
    assert np.mean(accuracies) == pytest.approx(0.5, abs=0.07)  # its standard error is 0.02


def test_copies_of_random_labels_score_at_chance_as_units() -> None:
    X, _ = draw(80, 0.0, dim=200)
    codes = np.tile(np.random.default_rng(0).permutation(80) % 2, 2)
    X, units = np.tile(X, (2, 1)), np.tile(np.arange(80), 2)
    parted = HeadClassifier(cv=5).fit(X, codes).search_
    kept = HeadClassifier(cv=5).fit(X, codes, units).search_
    assert parted is not None
    assert kept is not None
    assert np.mean(parted.held_out == codes) > 0.75
    assert np.mean(kept.held_out == codes) < 0.65


@pytest.mark.parametrize("n_trials", [4, pytest.param(10, marks=pytest.mark.slow)])
def test_auto_of_labels_by_group_seldom_leaves_logistic_regression(n_trials: int) -> None:
    n_left = 0
    for seed in range(n_trials):
        rng = np.random.default_rng(seed)
        units = np.repeat(np.arange(20), 8)
        X = rng.normal(size=(20, 12))[units] + 0.3 * rng.normal(size=(160, 12))
        y = rng.permutation(np.arange(20) % 2)[units]
        head = HeadClassifier("auto", cv=4).fit(X.astype(np.float32), y, units)
        assert head.search_ is not None
        n_left += head.kind_ != "logreg"
    assert n_left <= n_trials // 4


@pytest.mark.parametrize("scaling", ["l2", "none"])
def test_knn_is_held_out_as_the_head_that_is_kept_predicts(scaling: Any) -> None:
    # Classes lie along the direction of the mean: cosines of centred rows see them, others do not.
    rng = np.random.default_rng(0)
    y = np.arange(400) % 2
    X = 5 + rng.normal(size=(400, 16)) * 0.3 + 1.5 * y[:, None]
    head = HeadClassifier("knn", scaling=scaling, cv=5).fit(X[:200], y[:200])
    assert head.search_ is not None
    held_out = np.mean(head.search_.held_out == y[:200])
    assert held_out == pytest.approx(np.mean(head.predict(X[200:]) == y[200:]), abs=0.12)


@pytest.mark.parametrize("kind", ["auto", "rbf-svm", "lda", "knn"])
def test_embeddings_that_are_all_the_same_are_fitted(kind: str) -> None:
    y = np.arange(40) % 2
    assert HeadClassifier(kind, cv=3).fit(np.zeros((40, 4)), y).predict(np.zeros((1, 4))) in (0, 1)
