"""Paired scores, against counts and sums made by hand."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from featx.core.typing import Array
from featx.heads.compare import compare_predictions
from featx.heads.gains import compute_p_value, widen_p_value
from featx.heads.intervals import estimate_balanced_interval, estimate_interval


def build(
    both: int = 0, only_first: int = 0, only_second: int = 0, neither: int = 0
) -> tuple[Array, Array, Array]:
    """Make labels and two predictions of them: so many right by both, by one, by none."""
    parts = [("a", "a", both), ("a", "b", only_first), ("b", "a", only_second), ("b", "c", neither)]
    first = np.array([x for x, _, count in parts for _ in range(count)])
    second = np.array([x for _, x, count in parts for _ in range(count)])
    return np.full(len(first), "a"), first, second


def measure_width(interval: tuple[float, float]) -> float:
    return interval[1] - interval[0]


def compute_mcnemar(n_first: int, n_second: int) -> float:
    """Sum the binomial tail by hand."""
    n = n_first + n_second
    tail = sum(math.comb(n, k) for k in range(min(n_first, n_second) + 1)) / 2**n
    return float(min(1.0, 2 * tail))


# --- counts


def test_compare_predictions_counts_rows_as_a_table_does() -> None:
    found = compare_predictions(*build(both=10, only_first=2, only_second=5, neither=3))
    assert found.n_rows == 20
    assert (found.n_only_first, found.n_only_second) == (2, 5)
    assert (found.first, found.second) == (12 / 20, 15 / 20)
    assert found.gain == pytest.approx(3 / 20)
    assert found.first_ci95 == estimate_interval(np.arange(20) < 12)
    assert found.second_ci95 == estimate_interval(np.arange(20) < 15)
    # 2 x (1 + 7 + 21) / 2^7
    assert found.p_value == pytest.approx(58 / 128)


@pytest.mark.parametrize(
    "counts", [(0, 1), (1, 1), (0, 6), (6, 0), (3, 9), (9, 3), (40, 60), (500, 400)], ids=str
)
def test_compare_predictions_p_value_is_mcnemars_exact_one(counts: tuple[int, int]) -> None:
    first, second = counts
    found = compare_predictions(*build(both=7, only_first=first, only_second=second, neither=4))
    assert found.p_value == pytest.approx(compute_mcnemar(first, second))
    assert found.p_value == pytest.approx(binomtest(second, first + second, 0.5).pvalue)


def test_compare_predictions_rows_that_both_have_alike_do_not_move_the_p_value() -> None:
    few = compare_predictions(*build(only_first=2, only_second=9))
    many = compare_predictions(*build(both=500, only_first=2, only_second=9, neither=100))
    assert many.p_value == few.p_value
    assert many.gain < few.gain


def test_compare_predictions_exchanged_has_the_opposite_gain() -> None:
    y, first, second = build(both=50, only_first=5, only_second=20, neither=10)
    one, other = compare_predictions(y, first, second), compare_predictions(y, second, first)
    assert other.gain == -one.gain
    assert other.p_value == one.p_value
    assert (other.n_only_first, other.n_only_second) == (one.n_only_second, one.n_only_first)
    assert (other.first, other.first_ci95) == (one.second, one.second_ci95)
    np.testing.assert_allclose(other.gain_ci95, np.negative(one.gain_ci95)[::-1], atol=0.02)


def test_compare_predictions_order_of_rows_does_not_matter() -> None:
    rows = build(both=50, only_first=5, only_second=20, neither=10)
    order = np.random.default_rng(0).permutation(85)
    assert compare_predictions(*(part[order] for part in rows)) == compare_predictions(*rows)


def test_compare_predictions_of_objects_equal_those_of_text() -> None:
    rows = build(both=5, only_first=1, only_second=3, neither=2)
    objects = [part.astype(object) for part in rows]
    assert compare_predictions(*objects) == compare_predictions(*rows)


# --- is_better


def test_compare_predictions_of_equals_has_no_gain() -> None:
    y, first, _ = build(both=30, only_second=10)
    for groups in (None, np.arange(40) // 4):
        found = compare_predictions(y, first, first, units=groups)
        assert (found.gain, found.gain_ci95, found.p_value) == (0, (0, 0), 1)
        assert (found.n_only_first, found.n_only_second) == (0, 0)
        assert found.first == found.second == 0.75
        assert not found.is_better


@pytest.mark.parametrize("groups", [None, np.arange(200) // 2], ids=["rows", "groups"])
def test_compare_predictions_clearly_better_is_better_and_not_the_reverse(
    groups: Array | None,
) -> None:
    y, first, second = build(both=140, only_first=10, only_second=40, neither=10)
    order = np.random.default_rng(0).permutation(200)
    y, first, second = y[order], first[order], second[order]
    found = compare_predictions(y, first, second, units=groups)
    assert found.gain_ci95[0] > 0
    assert found.is_better
    reverse = compare_predictions(y, second, first, units=groups)
    assert reverse.gain_ci95[1] < 0
    assert not reverse.is_better


def test_compare_predictions_better_by_chance_is_not_better() -> None:
    found = compare_predictions(*build(both=70, only_first=8, only_second=12, neither=10))
    assert found.gain > 0
    assert found.gain_ci95[0] < 0 < found.gain_ci95[1]
    assert not found.is_better


@pytest.mark.parametrize(("low", "is_better"), [(-0.01, False), (0.0, False), (0.01, True)])
def test_paired_scores_are_better_where_the_interval_lies_above_0(
    low: float, is_better: bool
) -> None:
    found = compare_predictions(*build(both=100, only_second=50))
    assert replace(found, gain_ci95=(low, 0.5)).is_better is is_better


@pytest.mark.parametrize(
    ("n_only_second", "is_better"), [(4, False), (5, False), (6, True), (7, True)]
)
def test_paired_scores_of_few_rows_are_better_only_if_the_exact_test_agrees(
    n_only_second: int, is_better: bool
) -> None:
    # Five rows gained and none lost: the interval lies above 0, and p is 2 / 2**5 = 0.0625.
    found = compare_predictions(*build(both=5, only_second=n_only_second))
    assert found.gain_ci95[0] > 0
    assert (found.p_value < 0.05) is is_better
    assert found.is_better is is_better


# --- the interval


def test_compare_predictions_interval_is_the_normal_one_of_many_rows() -> None:
    rows = build(both=2000, only_first=300, only_second=500, neither=1200)
    found = compare_predictions(*rows)
    variance = 800 / 4000 - found.gain**2
    half = 1.96 * math.sqrt(variance / 4000)
    np.testing.assert_allclose(found.gain_ci95, [found.gain - half, found.gain + half], atol=1e-3)


@pytest.mark.parametrize("grouped", [False, True], ids=["rows", "groups"])
def test_compare_predictions_interval_covers_the_true_gain(
    grouped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Classifiers of known accuracies, drawn anew: about 95 of 100 intervals hold the true gain.
    # Groups are of 5 rows that are all right or all wrong, as shots of one thing may be.
    monkeypatch.setattr("featx.heads.gains.N_RESAMPLES", 200)
    rng = np.random.default_rng(0)
    size = 5 if grouped else 1
    covered: list[list[bool]] = [[], []]
    for _ in range(100):
        first, second = (
            np.repeat(np.where(rng.random(120) < share, "a", "b"), size) for share in (0.6, 0.7)
        )
        for groups, hits in zip((np.repeat(np.arange(120), size), None), covered, strict=True):
            found = compare_predictions(np.full(120 * size, "a"), first, second, units=groups)
            hits.append(found.gain_ci95[0] <= 0.1 <= found.gain_ci95[1])
    by_group, by_row = np.mean(covered, axis=1)
    assert 0.89 <= by_group < 1
    assert by_row < 0.75 if grouped else 0.89 <= by_row < 1


def test_compare_predictions_groups_of_one_row_equal_rows() -> None:
    rows = build(both=100, only_first=20, only_second=40, neither=40)
    by_row = compare_predictions(*rows)
    by_group = compare_predictions(*rows, units=np.arange(200))
    np.testing.assert_allclose(by_group.gain_ci95, by_row.gain_ci95, atol=0.011)
    assert replace(by_group, gain_ci95=by_row.gain_ci95) == by_row


def test_compare_predictions_groups_widen_the_interval_of_rows_that_repeat() -> None:
    rows = [
        np.repeat(part, 9) for part in build(both=50, only_first=10, only_second=20, neither=20)
    ]
    groups = np.array([f"g{number}" for number in np.repeat(np.arange(100), 9)])
    by_row, by_group = compare_predictions(*rows), compare_predictions(*rows, units=groups)
    ratio = measure_width(by_group.gain_ci95) / measure_width(by_row.gain_ci95)
    assert ratio == pytest.approx(3, rel=0.1)  # the root of 9
    once = compare_predictions(*(part[::9] for part in rows))
    np.testing.assert_allclose(by_group.gain_ci95, once.gain_ci95, atol=0.011)
    assert by_row.is_better
    assert not by_group.is_better


def test_compare_predictions_groups_weigh_by_their_rows() -> None:
    # One group of 90 rows gains nothing, ten of one row gain all: 0.1, and never near 10 / 11.
    rows = build(both=90, only_second=10)
    groups = np.concatenate([np.zeros(90, int), np.arange(1, 11)])
    found = compare_predictions(*rows, units=groups)
    assert found.gain == pytest.approx(0.1)
    assert found.gain_ci95[0] < 0.05


@pytest.mark.parametrize("groups", [None, np.arange(100) // 2], ids=["rows", "groups"])
def test_compare_predictions_same_seed_gives_the_same(
    groups: Array | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.heads.gains.N_RESAMPLES", 200)
    rows = build(both=50, only_first=12, only_second=21, neither=17)
    first, again, other = (
        compare_predictions(*rows, units=groups, seed=seed) for seed in (3, 3, 4)
    )
    assert first == again
    assert first.gain_ci95 != other.gain_ci95
    drawn = {name: getattr(first, name) for name in ("gain_ci95", "p_value", "per_class")}
    assert replace(other, **drawn) == first


def test_paired_scores_to_dict_is_json() -> None:
    found = compare_predictions(*build(both=100, only_first=2, only_second=50, neither=3))
    values = json.loads(json.dumps(found.to_dict()))
    assert values["is_better"] is True
    assert values["gain_ci95"] == list(found.gain_ci95)
    assert (values["n_rows"], values["n_only_second"]) == (155, 50)


# --- balanced accuracy


def build_classes(
    counts: Sequence[int], first: Sequence[int], second: Sequence[int]
) -> tuple[Array, Array, Array]:
    """Make classes of so many rows, of which so many are right; the first ones by both."""
    y = np.repeat([f"c{number}" for number in range(len(counts))], counts)
    by_first, by_second = (
        np.concatenate([np.arange(n) < right for n, right in zip(counts, rights, strict=True)])
        for rights in (first, second)
    )
    return y, np.where(by_first, y, "none"), np.where(by_second, y, "none")


def test_compare_predictions_by_balanced_accuracy_is_the_mean_of_recalls() -> None:
    rows = build_classes([10, 100], [8, 60], [4, 95])
    by_rows = compare_predictions(*rows)
    found = compare_predictions(*rows, measure="balanced_accuracy")
    assert found.first == pytest.approx(0.7)
    assert found.second == pytest.approx(0.675)
    assert found.gain == pytest.approx(-0.025)
    assert found.gain_ci95[0] < -0.025 < found.gain_ci95[1]
    assert not found.is_better
    assert by_rows.is_better  # what balanced accuracy is for
    assert by_rows.accuracies == found.accuracies == (by_rows.first, by_rows.second)
    assert found.balanced_accuracies == by_rows.balanced_accuracies == (found.first, found.second)
    assert [(one.label, one.n_rows, one.first, one.second) for one in found.per_class] == [
        ("c0", 10, 0.8, 0.4),
        ("c1", 100, 0.6, 0.95),
    ]
    codes = np.unique(rows[0], return_inverse=True)[1]
    assert found.first_ci95 == estimate_balanced_interval(rows[1] == rows[0], codes)


def test_compare_predictions_names_a_class_that_loses_beyond_chance() -> None:
    # c0 loses 4 of 10 rows: p = 0.125. c1 loses 8 of 40: p = 0.008.
    found = compare_predictions(*build_classes([10, 40, 100], [8, 36, 60], [4, 28, 95]))
    assert [one.label for one in found.losing] == ["c1"]
    assert found.losing[0].p_value == pytest.approx(2 / 2**8)
    assert found.to_dict()["losing"] == ["c1"]
    # Of many classes, one loses by chance.
    many = compare_predictions(*build_classes([40] + [10] * 30, [36] + [8] * 30, [28] + [9] * 30))
    assert many.losing == ()
    assert compare_predictions(*build_classes([10, 40], [4, 28], [8, 36])).losing == ()


def test_compare_predictions_of_shots_of_one_thing_loses_no_class() -> None:
    rows = build_classes([40, 100], [36, 60], [28, 60])
    groups = np.concatenate([np.arange(40) // 8, 5 + np.arange(100)])
    assert compare_predictions(*rows).losing
    assert compare_predictions(*rows, units=groups).losing == ()


@pytest.mark.parametrize(
    ("counts", "shares"),
    [
        pytest.param([12, 120], [[0.1, 0.1], [0.1, 0.1]], id="noise"),
        pytest.param([20, 200], [[0.05, 0.25], [0.25, 0.05]], id="dogs for cats"),
        pytest.param([4, 120], [[0.1, 0.1], [0.02, 0.02]], id="four cats"),
    ],
)
def test_compare_predictions_by_balanced_accuracy_is_seldom_better_by_chance(
    counts: list[int], shares: list[list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Rows that are gained and lost, with shares of them by class; the balanced accuracy is equal.
    # Over 200,000 draws, 5 of 100 are better by chance in the worst of these cases.
    monkeypatch.setattr("featx.heads.gains.N_RESAMPLES", 500)
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1], counts)
    gained, lost = np.array(shares)[codes].T
    y, alarms, covered = codes.astype(str), [], []
    for _ in range(200):
        drawn = rng.random(len(y))
        first = np.where(drawn < gained, "none", y)
        second = np.where((drawn >= gained) & (drawn < gained + lost), "none", y)
        found = compare_predictions(y, first, second, measure="balanced_accuracy")
        alarms.append(found.is_better)
        covered.append(found.gain_ci95[0] <= 0 <= found.gain_ci95[1])
    assert np.mean(alarms) < 0.08
    assert np.mean(covered) > 0.85


def test_p_value_of_unequal_gains_is_that_of_random_signs() -> None:
    # Signs of 3, 1, 1: their sum is at least 3 in size in 6 of 8 cases, 5 in 2.
    gains = np.array([3.0, 1.0, 1.0, 0.0])
    assert compute_p_value(gains) == pytest.approx(2 / 8, abs=0.02)
    assert compute_p_value(gains * [1, 1, -1, 1]) == pytest.approx(6 / 8, abs=0.02)
    assert compute_p_value(np.zeros(3)) == 1


def test_predictions_of_folds_have_wider_intervals_and_larger_p_values() -> None:
    y = np.repeat(["ants", "bees"], 20)
    first = np.where(np.arange(40) % 20 < 6, "wasps", y)
    plain = compare_predictions(y, first, y)
    folds = compare_predictions(y, first, y, n_folds=5)
    assert folds.gain == plain.gain
    assert folds.gain_ci95[0] < plain.gain_ci95[0] < plain.gain_ci95[1] < folds.gain_ci95[1]
    assert folds.first_ci95[0] < plain.first_ci95[0]
    assert folds.p_value == pytest.approx(widen_p_value(plain.p_value))
    for one, other in zip(plain.per_class, folds.per_class, strict=True):
        assert other.p_value == pytest.approx(widen_p_value(one.p_value))
