"""Parting rows into folds and splits."""

import numpy as np
import pytest

from featx.core.errors import HeadError
from featx.core.typing import Array, StrArray
from featx.heads.splits import assign_splits, build_folds, check_seed, choose_n_folds
from featx.heads.units import join_units, spread_over_units

SEEDS = [0, 1, 2, 3]


def count(splits: StrArray, name: str) -> int:
    return int((splits == name).sum())


def list_straddling(splits: StrArray, groups: Array) -> list[str]:
    return [g for g in np.unique(groups) if len(np.unique(splits[groups == g].astype(str))) > 1]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("val", "test"), [(0.2, 0.0), (0.0, 0.25), (0.1, 0.2), (0.5, 0.25)])
def test_assign_splits_takes_classes_in_proportion(val: float, test: float, seed: int) -> None:
    y = np.array(["a"] * 120 + ["b"] * 60 + ["c"] * 20)
    splits = assign_splits(y, None, val=val, test=test, seed=seed)
    for label, n_rows in (("a", 120), ("b", 60), ("c", 20)):
        of_class = splits[y == label]
        assert count(of_class, "val") == pytest.approx(val * n_rows, abs=1)
        assert count(of_class, "test") == pytest.approx(test * n_rows, abs=1)
    assert count(splits, "val") == round(val * 200)
    assert count(splits, "test") == round(test * 200)
    assert set(splits) <= {"train", "val", "test"}


@pytest.mark.parametrize("seed", SEEDS)
def test_assign_splits_never_parts_a_group(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = np.sort(rng.integers(0, 60, 300)).astype(str)
    y = np.array(["a", "b", "c"])[groups.astype(int) % 3]
    splits = assign_splits(y, groups, val=0.2, test=0.2, seed=seed)
    assert list_straddling(splits, groups) == []
    for name in ("val", "test"):
        assert count(splits, name) == pytest.approx(60, abs=12)
        assert set(y[splits == name]) == {"a", "b", "c"}


@pytest.mark.parametrize("groups", [None, np.repeat(np.arange(50), 2)])
def test_assign_splits_with_same_seed_is_the_same(groups: Array | None) -> None:
    y = np.array(["a", "b"] * 50)
    first, second, other = (
        assign_splits(y, groups, val=0.2, test=0.1, seed=seed) for seed in (3, 3, 4)
    )
    assert first.tolist() == second.tolist()
    assert first.tolist() != other.tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_assign_splits_class_of_one_row_stays_in_train(seed: int) -> None:
    y = np.array(["a"] * 20 + ["b"] * 20 + ["rare"])
    splits = assign_splits(y, None, val=0.2, test=0.2, seed=seed)
    assert splits[-1] == "train"


@pytest.mark.parametrize("val", [pytest.param(0.02, marks=pytest.mark.slow), 0.05, 0.3])
def test_assign_splits_with_many_groups_comes_near_any_fraction(val: float) -> None:
    groups = np.repeat(np.arange(500), 2)
    y = np.repeat(np.array(["a", "b"] * 250), 2)
    splits = assign_splits(y, groups, val=val, test=0, seed=0)
    assert count(splits, "val") == pytest.approx(val * 1000, rel=0.3)


@pytest.mark.parametrize(
    ("val", "test"), [(0, 0), (-0.1, 0.2), (0.5, 0.5), (1.2, 0), (0.2, -0.1), (float("nan"), 0)]
)
def test_assign_splits_fractions_that_leave_nothing_are_refused(val: float, test: float) -> None:
    y = np.array(["a", "b"] * 20)
    with pytest.raises(
        HeadError, match=r"^val, test: expected fractions .* above 0 and below 1, got"
    ):
        assign_splits(y, None, val=val, test=test, seed=0)


def test_assign_splits_too_few_rows_are_refused() -> None:
    y = np.array(["a", "a", "b", "b", "c", "c"])
    with pytest.raises(
        HeadError, match=r"expected rows of every class among the 1 of 6.*got 3 classes"
    ):
        assign_splits(y, None, val=0.2, test=0, seed=0)


@pytest.mark.parametrize(
    ("n_wanted", "is_possible"), [(1, False), (2, True), (3, True), (4, True), (5, False)]
)
def test_assign_splits_needs_a_row_of_each_class_on_both_sides(
    n_wanted: int, is_possible: bool
) -> None:
    y = np.array(["a", "a", "a", "b", "b", "b"])
    if is_possible:
        splits = assign_splits(y, None, val=n_wanted / 6, test=0, seed=0)
        assert count(splits, "val") == n_wanted
        for name in ("train", "val"):
            assert set(y[splits == name]) == {"a", "b"}
    else:
        with pytest.raises(HeadError, match=rf"rows of every class among the {n_wanted} of 6 rows"):
            assign_splits(y, None, val=n_wanted / 6, test=0, seed=0)


def test_assign_splits_too_few_groups_are_refused() -> None:
    y = np.array(["a"] * 10 + ["b"] * 10)
    with pytest.raises(
        HeadError, match=r"expected units of every class .*, got 2 classes: a 1 unit and b 1 unit"
    ):
        assign_splits(y, y, val=0.2, test=0, seed=0)


def test_assign_splits_of_groups_for_less_than_a_row_is_refused() -> None:
    groups = np.repeat(np.arange(30), 2)
    y = np.array(["a", "b"])[groups % 2]
    with pytest.raises(HeadError, match=r"expected units of every class among the 0 of 60"):
        assign_splits(y, groups, val=0.001, test=0, seed=0)


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_check_seed_accepts_what_numpy_takes(seed: int) -> None:
    check_seed(seed)
    np.random.RandomState(seed)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_check_seed_refuses_what_numpy_refuses(seed: int) -> None:
    with pytest.raises(
        HeadError, match=rf"^seed: expected a whole number from 0 to .*, got {seed}\. "
    ):
        check_seed(seed)
    with pytest.raises(ValueError, match=r"between 0 and 2\*\*32 - 1"):
        np.random.RandomState(seed)


def test_assign_splits_has_each_class_on_both_sides_where_it_can() -> None:
    y = np.array(["ant"] * 98 + ["bee"] * 2)
    splits = assign_splits(y, None, val=0.2, test=0, seed=0)
    assert count(splits[y == "bee"], "val") == count(splits[y == "bee"], "train") == 1
    assert count(splits, "val") == 20


@pytest.mark.parametrize("seed", SEEDS)
def test_assign_splits_of_few_groups_has_each_class_on_both_sides(seed: int) -> None:
    y = np.repeat(np.array(["a", "b", "c", "lone"]), 30)
    units = np.array([f"{label}{i % (3 if label == 'c' else 2)}" for i, label in enumerate(y)])
    units[y == "lone"] = "lone"
    splits = assign_splits(y, units, val=0.2, test=0, seed=seed)
    assert list_straddling(splits, units) == []
    assert set(y[splits == "train"]) == {"a", "b", "c", "lone"}
    assert set(y[splits == "val"]) == {"a", "b", "c"}


@pytest.mark.parametrize("seed", SEEDS)
def test_assign_splits_of_mixed_units_leaves_all_classes_in_train(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, units = rng.integers(0, 8, 60).astype(str), rng.integers(0, 12, 60)
    splits = assign_splits(y, units, val=0.3, test=0.2, seed=seed)
    assert list_straddling(splits, units) == []
    assert set(y[splits == "train"]) == set(y)


def test_assign_splits_of_learnt_units_leaves_units_to_fit_on() -> None:
    y, units = np.repeat(["old", "new"], 20), np.repeat(np.arange(20), 2)
    learnt = (y == "old") & (np.arange(40) > 1)
    splits = assign_splits(y, units, val=0.5, test=0, seed=0, learnt=learnt)
    assert list_straddling(splits, units) == []
    assert set(splits[learnt]) == {"train"}
    assert count(splits[y == "new"], "train") == count(splits[y == "new"], "val") == 10


@pytest.mark.parametrize("grouped", [False, True])
def test_build_folds_test_each_row_once(grouped: bool) -> None:
    y = np.repeat([0, 1, 2], 20)
    groups = np.repeat(np.arange(30), 2) if grouped else None
    folds = build_folds(y, groups, n_folds=5, seed=0)
    assert len(folds) == 5
    assert sorted(np.concatenate([test for _, test in folds]).tolist()) == list(range(60))
    for train, test in folds:
        assert sorted([*train, *test]) == list(range(60))
        assert set(y[test]) == {0, 1, 2}


@pytest.mark.parametrize("seed", SEEDS)
def test_build_folds_keep_groups_together(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, groups = rng.integers(0, 2, 80), rng.integers(0, 12, 80)
    folds = build_folds(y, groups, n_folds=5, seed=seed)
    assert folds
    for train, test in folds:
        assert not set(groups[train]) & set(groups[test])


def test_build_folds_with_same_seed_are_the_same() -> None:
    y = np.repeat([0, 1], 20)
    first, second, other = (
        [test.tolist() for _, test in build_folds(y, None, n_folds=4, seed=seed)]
        for seed in (1, 1, 2)
    )
    assert first == second
    assert first != other


@pytest.mark.parametrize(
    ("y", "units", "n_folds"),
    [
        pytest.param([0, 0, 1, 1], None, 2, id="two-per-class"),
        pytest.param([0, 0, 0, 1], None, 3, id="as-many-as-largest-class"),
        pytest.param([0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 2, 2, 3, 3], 2, id="units"),
        pytest.param([0, 0, 1, 1], [0, 1, 0, 1], 2, id="mixed-units"),
    ],
)
def test_build_folds_of_tiny_sets_are_fewer(
    y: list[int], units: list[int] | None, n_folds: int
) -> None:
    folds = build_folds(np.array(y), None if units is None else np.array(units), n_folds=5, seed=0)
    assert len(folds) == n_folds
    assert sorted(row for _, test in folds for row in test) == list(range(len(y)))


def test_build_folds_whose_training_part_has_one_class_are_kept() -> None:
    y = np.array([0] * 90 + [1] * 10)
    units = np.append(np.arange(90) // 3, np.full(10, 30))
    folds = build_folds(y, units, n_folds=5, seed=0)
    assert len(folds) == 5
    assert sorted(row for _, test in folds for row in test) == list(range(100))
    assert [len(np.unique(y[train])) for train, _ in folds].count(1) == 1


@pytest.mark.parametrize(
    ("y", "units"),
    [
        pytest.param([0, 1], None, id="one-row-per-class"),
        pytest.param([0, 0, 1, 1], [7, 7, 7, 7], id="one-unit"),
        pytest.param([0, 0, 1, 1], [0, 0, 1, 1], id="unit-is-class"),
    ],
)
def test_build_folds_where_impossible_are_none(y: list[int], units: list[int] | None) -> None:
    units_given = None if units is None else np.array(units)
    assert build_folds(np.array(y), units_given, n_folds=5, seed=0) == []


def test_choose_n_folds_is_more_for_few_rows() -> None:
    numbers = [choose_n_folds(np.arange(n) % 2, None) for n in (2, 100, 101, 250, 251, 9000)]
    assert numbers == [25, 25, 10, 10, 5, 5]


def test_choose_n_folds_counts_units_and_is_five_where_they_hold_several_classes() -> None:
    codes, units = np.arange(500) // 5 % 2, np.arange(500) // 5
    assert choose_n_folds(codes, units) == 25
    assert choose_n_folds(np.arange(500) % 2, units) == 5


def score_neighbours(X: Array, y: Array, units: Array | None, seed: int) -> float:
    """Score the nearest neighbour, which knows each copy of a row by heart, in folds."""
    right = np.zeros(len(y), bool)
    for train, test in build_folds(y, units, n_folds=5, seed=seed):
        distances = ((X[test][:, None] - X[train]) ** 2).sum(axis=2)
        right[test] = y[train][distances.argmin(axis=1)] == y[test]
    return float(right.mean())


def test_build_folds_of_copies_with_random_labels_score_at_chance() -> None:
    scores, betrayed = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X = np.repeat(rng.normal(size=(100, 8)), 2, axis=0)
        y = np.repeat(rng.integers(0, 2, 100), 2)
        digests = np.repeat(np.arange(100), 2).astype(str).astype(object)
        units = join_units(np.full(200, "", object), digests)
        folds = build_folds(y, units, n_folds=5, seed=seed)
        for _, test in folds:
            held = np.isin(np.arange(200), test)
            np.testing.assert_array_equal(spread_over_units(held, units), held)
        scores.append(score_neighbours(X, y, units, seed))
        betrayed.append(score_neighbours(X, y, None, seed))
    assert np.mean(scores) == pytest.approx(0.5, abs=0.04)  # four standard errors
    assert np.mean(betrayed) > 0.8
