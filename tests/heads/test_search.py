"""The search for the strength of the regularisation."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from featx.core.typing import Array, Float64Array, IntArray, Measure
from featx.heads.class_weights import ClassWeight
from featx.heads.kinds import get_kind, list_kinds
from featx.heads.search import (
    Search,
    Trials,
    find_best,
    find_beyond,
    score_codes,
    search_exponents,
    search_strength,
)
from featx.heads.splits import Folds, build_folds

LOGREG = get_kind("logreg")

EACH_KIND = pytest.mark.parametrize("kind", list_kinds())


# --- find_best


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        pytest.param([[0.1], [0.9], [0.5]], 1, id="highest"),
        pytest.param([[1.0, 0.0], [0.6, 0.6]], 1, id="mean-of-folds"),
        pytest.param([[0.5], [0.5], [0.5]], 1, id="middle-of-three"),
        pytest.param([[0.5], [0.5], [0.5], [0.5]], 1, id="lower-middle-of-four"),
        pytest.param([[0.2], [0.5], [0.2], [0.5], [0.5]], 3, id="middle-of-the-equals-alone"),
        pytest.param([[0.7]], 0, id="one"),
        pytest.param([[0.1 + 0.2], [0.3], [0.1]], 0, id="equal-but-for-rounding"),
        pytest.param([[0.1], [0.3], [0.1 + 0.2]], 1, id="equal-but-for-rounding-downwards"),
        pytest.param([[0.3 + 1e-6], [0.3], [0.3]], 0, id="truly-higher"),
    ],
)
def test_find_best_is_the_highest_mean_and_the_middle_of_equals(
    scores: list[list[float]], expected: int
) -> None:
    assert find_best(np.array(scores)) == expected


# --- find_beyond


@pytest.mark.parametrize(
    ("tried", "best", "expected"),
    [
        ((-3.0, -2.0, -1.0), -2.0, ()),
        ((-3.0, -2.0, -1.0), -3.0, (-4.0,)),
        ((-3.0, -2.0, -1.0), -1.0, (0.0,)),
        ((-2.0, -1.0, -3.0), -1.0, (0.0,)),
        ((0.0,), 0.0, (-1.0,)),
    ],
)
def test_find_beyond_continues_at_the_end_that_is_best(
    tried: tuple[float, ...], best: float, expected: tuple[float, ...]
) -> None:
    assert find_beyond(tried, best) == expected


# --- search_exponents

GRID = (-2.0, -1.0, 0.0, 1.0)


def record_rounds(peak: float) -> list[tuple[float, ...]]:
    """Return the exponents tried, round by round; scores fall with the distance to a peak."""
    rounds: list[tuple[float, ...]] = []

    def evaluate(exponents: tuple[float, ...]) -> float:
        rounds.append(exponents)
        tried = [exponent for part in rounds for exponent in part]
        return min(tried, key=lambda exponent: abs(exponent - peak))

    search_exponents(GRID, evaluate)
    return rounds


@pytest.mark.parametrize(
    ("peak", "expected"),
    [
        pytest.param(0.1, [GRID, (-0.5, 0.5), (-0.25, 0.25)], id="inside"),
        pytest.param(-0.45, [GRID, (-0.5, 0.5), (-0.75, -0.25)], id="between"),
        pytest.param(1.9, [GRID, (2.0,), (3.0,), (1.5, 2.5), (1.75, 2.25)], id="above"),
        pytest.param(-2.9, [GRID, (-3.0,), (-4.0,), (-3.5, -2.5), (-3.25, -2.75)], id="below"),
        pytest.param(9.0, [GRID, (2.0,), (3.0,), (2.5, 3.5), (3.25, 3.75)], id="far-above"),
        pytest.param(-9.0, [GRID, (-3.0,), (-4.0,), (-4.5, -3.5), (-4.75, -4.25)], id="far-below"),
        pytest.param(1.2, [GRID, (2.0,), (0.5, 1.5), (0.75, 1.25)], id="end-stays-best"),
    ],
)
def test_search_exponents_goes_beyond_an_end_and_then_between(
    peak: float, expected: list[tuple[float, ...]]
) -> None:
    assert record_rounds(peak) == expected


@pytest.mark.parametrize("peak", np.linspace(-12, 12, 25).tolist())
def test_search_exponents_tries_each_value_once_and_few(peak: float) -> None:
    tried = [exponent for part in record_rounds(peak) for exponent in part]
    assert len(GRID) + 4 <= len(tried) <= len(GRID) + 6
    assert len(set(tried)) == len(tried)


# --- Trials

FOLDS: Folds = [
    (np.array([2, 3, 4]), np.array([0, 1])),
    (np.array([0, 1, 4]), np.array([2, 3])),
]


def build_trials(scores: dict[float, list[float]]) -> Trials:
    """Return trials in which exponent e predicts class 10 + e for each row of a fold."""
    trials = Trials(folds=FOLDS, n_rows=5)
    for exponent, of_folds in scores.items():
        trials.add(exponent, of_folds, [np.full(2, 10 + int(exponent))] * 2)
    return trials


def test_trials_best_is_of_all_folds() -> None:
    assert build_trials({-1.0: [0.4, 0.4], 0.0: [0.9, 0.1], 1.0: [0.5, 0.6]}).best == 1.0


def test_trials_best_of_equals_is_the_middle_value_and_not_the_middle_trial() -> None:
    assert build_trials({0.0: [1, 1], 2.0: [1, 1], 1.0: [1, 1]}).best == 1.0


def test_trials_conclude_chooses_for_each_fold_by_the_other_folds_alone() -> None:
    # Fold 0 likes exponent 0, fold 1 likes exponent 1: each is predicted with the other's choice.
    found = build_trials({1.0: [0.2, 0.9], 0.0: [0.8, 0.1]}).conclude()
    assert found.held_out.tolist() == [11, 11, 10, 10, -1]
    assert found.best == 10.0
    assert found.values.tolist() == [1.0, 10.0]
    assert found.scores.tolist() == [[0.8, 0.1], [0.2, 0.9]]


def test_trials_conclude_with_a_single_fold_chooses_by_that_fold() -> None:
    trials = Trials(folds=FOLDS[:1], n_rows=5)
    trials.add(0.0, [0.3], [np.array([7, 8])])
    trials.add(1.0, [0.6], [np.array([5, 6])])
    found = trials.conclude()
    assert found.best == 10.0
    assert found.held_out.tolist() == [5, 6, -1, -1, -1]


# --- score_codes


@pytest.mark.parametrize(
    ("y", "predicted", "measure", "expected"),
    [
        ([0, 0, 0, 1], [0, 0, 0, 0], "accuracy", 0.75),
        ([0, 0, 0, 1], [0, 0, 0, 0], "balanced_accuracy", 0.5),
        ([0, 0, 1, 1], [0, 1, 1, 1], "balanced_accuracy", 0.75),
        # Classes without rows do not count.
        ([0, 0, 0, 0], [0, 0, 1, 2], "balanced_accuracy", 0.5),
    ],
)
def test_score_codes_is_accuracy_or_mean_recall(
    y: list[int], predicted: list[int], measure: Measure, expected: float
) -> None:
    found = score_codes(np.array(y), np.array(predicted), measure=measure)
    assert found == pytest.approx(expected)


# --- search_strength


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Use one thread, as HeadClassifier does: on little data threads mostly wait for each other."""
    with threadpool_limits(1):
        yield


def run(X: Array, y: IntArray, *, kind: str = "logreg", class_weight: ClassWeight = None) -> Search:
    folds = build_folds(y, None, n_folds=5, seed=0)
    return search_strength(
        X.astype(np.float32), y, folds, kind=get_kind(kind), class_weight=class_weight
    )


def build_noisy(n_rows: int = 120, dim: int = 400) -> tuple[Float64Array, IntArray]:
    """Many features of noise, each with a trace of the class: strong regularisation is best."""
    rng = np.random.default_rng(0)
    y = np.arange(n_rows) % 2
    return rng.normal(size=(n_rows, dim)) + 0.12 * (2 * y[:, None] - 1), y


def build_hidden(n_rows: int = 200) -> tuple[Float64Array, IntArray]:
    """The class lies in a small difference of two large features: weights must be large."""
    rng = np.random.default_rng(0)
    y = np.arange(n_rows) % 2
    common = rng.normal(size=n_rows)
    small = 0.01 * (2 * y - 1 + 0.3 * rng.normal(size=n_rows))
    return np.stack([common, common + small], axis=1), y


def build_separable(n_rows: int = 60, dim: int = 4) -> tuple[Float64Array, IntArray]:
    rng = np.random.default_rng(0)
    y = np.arange(n_rows) % 2
    return rng.normal(size=(n_rows, dim)) + 20 * (2 * y[:, None] - 1), y


def build_random_labels(
    n_rows: int = 160, dim: int = 400, seed: int = 0
) -> tuple[Float64Array, IntArray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_rows, dim)), rng.permutation(np.arange(n_rows) % 2)


@EACH_KIND
def test_search_noisy_features_get_smaller_strength_than_hidden_ones(kind: str) -> None:
    assert run(*build_noisy(), kind=kind).best < 0.1
    assert run(*build_hidden(), kind=kind).best >= 1


@EACH_KIND
def test_search_beats_a_strength_of_one_where_that_is_wrong(kind: str) -> None:
    found = run(*build_hidden(), kind=kind)
    at_one = found.scores[np.isclose(found.values, 1)].mean()
    best = found.scores[np.isclose(found.values, found.best)].mean()
    assert best > at_one


@pytest.mark.parametrize("build", [build_noisy, build_hidden, build_separable, build_random_labels])
def test_search_tries_at_most_thirteen_values_ascending(
    build: Callable[[], tuple[Float64Array, IntArray]],
) -> None:
    found = run(*build())
    assert len(LOGREG.grid) < len(found.values) <= 13
    assert (np.diff(found.values) > 0).all()
    assert found.scores.shape == (len(found.values), 5)
    assert found.best in found.values


def test_search_of_equals_takes_the_middle() -> None:
    found = run(*build_separable())
    assert (found.scores == 1).all()
    assert np.log10(found.best) == pytest.approx(np.median(LOGREG.grid))


def test_search_best_at_upper_end_goes_on() -> None:
    found = run(*build_hidden())
    assert found.values.max() > 10 ** max(LOGREG.grid)


def test_search_best_at_lower_end_goes_on() -> None:
    X, y = build_noisy()
    folds = build_folds(y, None, n_folds=5, seed=0)
    kind = replace(LOGREG, grid=(-2.0, -1.0, 0.0, 1.0))
    found = search_strength(X.astype(np.float32), y, folds, kind=kind, class_weight=None)
    assert found.values.min() < 10**-2.5


@EACH_KIND
def test_search_random_labels_are_held_out_at_chance(kind: str) -> None:
    X, y = build_random_labels()
    found = run(X, y, kind=kind)
    # A head that had seen the rows would be right on all: 400 features tell 160 rows apart.
    assert abs(np.mean(found.held_out == y) - 0.5) < 0.15


@pytest.mark.parametrize("seed", range(4))
def test_search_held_out_is_what_a_head_without_the_fold_predicts(seed: int) -> None:
    # Labels by chance: the best strength then depends on every fold.
    X, y = build_random_labels(n_rows=80, dim=10, seed=seed)
    folds = build_folds(y, None, n_folds=5, seed=0)
    found = search_strength(X, y, folds, kind=LOGREG, class_weight=None)
    for number, (train, test) in enumerate(folds):
        means = np.delete(found.scores, number, axis=1).mean(axis=1)
        best = found.values[np.isclose(means, means.max())]
        C = best[(len(best) - 1) // 2]
        plain = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=1000))
        expected = plain.fit(X[train], y[train]).predict(X[test])
        assert np.mean(found.held_out[test] == expected) > 0.9  # warm and cold starts differ


def test_search_rows_in_no_fold_are_not_held_out() -> None:
    X, y = build_noisy()
    folds = build_folds(y, None, n_folds=5, seed=0)[:2]
    found = search_strength(X.astype(np.float32), y, folds, kind=LOGREG, class_weight=None)
    tested = np.sort(np.concatenate([test for _, test in folds]))
    assert np.flatnonzero(found.held_out >= 0).tolist() == tested.tolist()


@EACH_KIND
def test_search_twice_is_equal_to_the_last_bit(kind: str) -> None:
    X, y = build_noisy()
    first, second = run(X, y, kind=kind), run(X, y, kind=kind)
    assert first.best == second.best
    np.testing.assert_array_equal(first.scores, second.scores)
    np.testing.assert_array_equal(first.held_out, second.held_out)


def test_search_with_class_weight_scores_classes_alike() -> None:
    rng = np.random.default_rng(0)
    y = np.array([0] * 90 + [1] * 10)
    X = rng.normal(size=(100, 5))  # nothing to learn
    plain = run(X, y)
    balanced = run(X, y, class_weight="balanced")
    assert plain.scores.max() == pytest.approx(0.9, abs=0.05)
    assert balanced.scores.mean() == pytest.approx(0.5, abs=0.15)


def test_search_starts_warm_if_the_kind_can() -> None:
    built: list[Any] = []

    def build(strength: float, class_weight: ClassWeight) -> Any:
        built.append(LOGREG.build(strength, class_weight))
        return built[-1]

    X, y = build_separable()
    folds = build_folds(y, None, n_folds=3, seed=0)
    for warm_starts in (True, False):
        kind = replace(LOGREG, build=build, warm_starts=warm_starts)
        search_strength(X.astype(np.float32), y, folds, kind=kind, class_weight=None)
    assert [classifier.warm_start for classifier in built] == [True] * 3 + [False] * 3


@pytest.mark.parametrize(("progress", "is_shown"), [(True, True), (False, False), (None, False)])
def test_search_progress_counts_fits_on_standard_error(
    progress: bool | None, is_shown: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    X, y = build_separable()
    folds = build_folds(y, None, n_folds=3, seed=0)
    found = search_strength(
        X.astype(np.float32), y, folds, kind=LOGREG, class_weight=None, progress=progress
    )
    n_fits = 3 * len(found.values)
    err = capsys.readouterr().err
    assert (f"choosing C: {n_fits} of {n_fits} fits (100 %)" in err) is is_shown
    assert is_shown or err == ""
