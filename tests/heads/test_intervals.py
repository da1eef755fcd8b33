"""Intervals, against published numbers and by simulation."""

import numpy as np
import pytest
from scipy.stats import binomtest

from featx.core.typing import Array
from featx.heads.intervals import (
    estimate_balanced_interval,
    estimate_gain_interval,
    estimate_interval,
    estimate_recall_intervals,
)


def count(n_right: int, n_rows: int) -> Array:
    """Make rows of which so many are right."""
    return np.arange(n_rows) < n_right


@pytest.mark.parametrize(
    ("n_right", "n_rows", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_estimate_interval_is_the_published_one(
    n_right: int, n_rows: int, low: float, high: float
) -> None:
    assert estimate_interval(count(n_right, n_rows)) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("n_right", range(8))
def test_estimate_interval_of_rows_equals_scipys(n_right: int) -> None:
    expected = binomtest(n_right, 7).proportion_ci(0.95, method="wilson")
    found = estimate_interval(count(n_right, 7))
    assert found == pytest.approx((expected.low, expected.high))
    assert estimate_interval(count(n_right, 7), np.arange(7)) == found


def test_balanced_interval_of_one_class_is_that_of_a_proportion() -> None:
    right = count(8, 10)
    found = estimate_balanced_interval(right, np.zeros(10, int))
    assert found == pytest.approx(estimate_interval(right))


def draw_units(
    rng: np.random.Generator, sizes: Array, accuracy: float, correlation: float
) -> tuple[Array, Array]:
    """Draw units that are easy or hard (beta-binomial); return what is right, and the units."""
    spread = 1 / correlation - 1
    shares = rng.beta(accuracy * spread, (1 - accuracy) * spread, len(sizes))
    units = np.repeat(np.arange(len(sizes)), sizes)
    return rng.random(len(units)) < shares[units], units


def test_interval_of_no_row_is_everything() -> None:
    none = np.zeros(0)
    assert estimate_interval(none) == estimate_interval(none, none.astype(int)) == (0, 1)
    assert estimate_balanced_interval(none, none.astype(int)) == (0, 1)


@pytest.mark.parametrize("n_right", [0, 7, 10])
def test_units_that_are_right_or_wrong_as_one_count_once(n_right: int) -> None:
    once = count(n_right, 10)
    found = estimate_interval(np.repeat(once, 7), np.repeat(np.arange(10), 7))
    assert found == pytest.approx(estimate_interval(once))


def test_units_never_narrow_and_never_count_less_than_once() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        right, units = draw_units(rng, rng.integers(1, 9, 30), 0.8, 0.3)
        low, high = estimate_interval(right, units)
        of_rows = estimate_interval(right)
        assert low <= of_rows[0]
        assert high >= of_rows[1]


def test_one_unit_says_as_much_as_one_row() -> None:
    assert estimate_interval(np.ones(20), np.zeros(20, int)) == estimate_interval(np.ones(1))
    low, high = estimate_interval(count(10, 20), np.zeros(20, int))
    assert high - low > 0.8


def test_a_pair_of_copies_among_many_rows_changes_next_to_nothing() -> None:
    right = count(198, 200)
    units = np.append(np.arange(199), 198)
    assert estimate_interval(right, units) == pytest.approx(estimate_interval(right), abs=0.005)


def test_interval_does_not_depend_on_names_and_order_of_units() -> None:
    rng = np.random.default_rng(1)
    right, units = draw_units(rng, np.arange(1, 12), 0.7, 0.4)
    order = rng.permutation(len(units))
    renamed = (units * -31 + 5)[order]
    assert estimate_interval(right[order], renamed) == pytest.approx(
        estimate_interval(right, units)
    )


def test_shares_of_repeats_are_rows() -> None:
    # Each row was right in half of its repeats: no more is known than of rows.
    assert estimate_interval(np.full(40, 0.5)) == estimate_interval(count(20, 40))


@pytest.mark.parametrize("n_rows", [50, 200, 1000])
@pytest.mark.parametrize("size", [1, 5, 10, 20])
def test_interval_covers_the_truth_of_rows_in_units(n_rows: int, size: int) -> None:
    rng = np.random.default_rng(n_rows + size)
    covered = []
    for _ in range(300):
        if size == 1:
            right, units = rng.random(n_rows) < 0.85, None
        else:
            right, units = draw_units(rng, np.full(n_rows // size, size), 0.85, 0.5)
        low, high = estimate_interval(right, units)
        covered.append(low <= 0.85 <= high)
    assert np.mean(covered) >= 0.93
    if n_rows // size >= 40:  # of two units, no interval is exact
        assert np.mean(covered) <= 0.99


@pytest.mark.parametrize("mixed", [False, True], ids=["a class each", "all classes"])
def test_balanced_interval_covers_the_truth_of_units(mixed: bool) -> None:
    rng = np.random.default_rng(0)
    codes = np.tile([0, 1], 100) if mixed else np.repeat([0, 1], 100)
    covered = []
    for _ in range(300):
        right, units = draw_units(rng, np.full(40, 5), 0.8, 0.5)
        low, high = estimate_balanced_interval(right, codes, units)
        covered.append(low <= 0.8 <= high)
    assert 0.93 <= np.mean(covered) <= 0.99


@pytest.mark.parametrize(
    ("counts", "recall"),
    [([1] * 100, 0.9), ([2] * 100, 0.5), ([2] * 60, 0.9), ([5] * 20, 0.95), ([400, 30, 5, 1], 0.8)],
)
def test_balanced_interval_covers_the_truth_of_classes_with_few_rows(
    counts: list[int], recall: float
) -> None:
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(len(counts)), counts)
    covered = []
    for _ in range(200):
        low, high = estimate_balanced_interval(rng.random(len(codes)) < recall, codes)
        covered.append(low <= recall <= high)
    assert 0.89 <= np.mean(covered) <= 0.995  # of squared distances of recalls: 0.80


def test_balanced_interval_of_classes_of_one_size_is_that_of_the_accuracy() -> None:
    right, codes = count(90, 100), np.arange(100)
    found = estimate_balanced_interval(right, codes)
    assert found == pytest.approx(estimate_interval(right), abs=0.01)
    everything = estimate_balanced_interval(np.ones(100), codes)
    assert everything == pytest.approx(estimate_interval(np.ones(100)))


def measure_width(interval: tuple[float, float]) -> float:
    return interval[1] - interval[0]


@pytest.mark.parametrize("n_right", [0, 3, 100, 110, 190, 200])
def test_interval_of_folds_is_wider_and_few_dimensions_narrow_it(n_right: int) -> None:
    right = count(n_right, 200)
    one_head = measure_width(estimate_interval(right))
    few_dims = measure_width(estimate_interval(right, n_folds=5, n_dims=2))
    many_dims = measure_width(estimate_interval(right, n_folds=5))
    assert one_head < few_dims <= many_dims < 1.81 * one_head


def test_interval_of_folds_has_the_variance_of_guesses_at_a_half() -> None:
    # 54 % of 1,000 rows: one head is better than a guess, those of folds may not be.
    right = count(540, 1000)
    assert estimate_interval(right)[0] > 0.5
    few, many = (estimate_interval(right, n_folds=5, n_dims=n)[0] for n in (2, 2000))
    assert few == pytest.approx(many, abs=0.002)
    deviation = (0.8 + 1) ** 0.5 * (0.25 / 1000) ** 0.5
    assert few == pytest.approx(0.54 - 1.96 * deviation, abs=0.002)
    assert few < 0.5


@pytest.mark.parametrize(("n_others", "share"), [(0, 0.0), (3, 0.3), (10, 1.0), (90, 1.0)])
def test_interval_of_folds_that_say_one_class_is_that_of_one_head(
    n_others: int, share: float
) -> None:
    # 20 of 200 rows are wrong; those that are predicted as another class may be so by the folds.
    right, predicted = count(180, 200), (np.arange(200) < n_others).astype(int)
    one_head = measure_width(estimate_interval(right))
    found = measure_width(estimate_interval(right, n_folds=5, predicted=predicted))
    assert found / one_head == pytest.approx((1 + 0.8 * share) ** 0.5, abs=0.03)
    codes = np.arange(200) % 2
    recalls = estimate_recall_intervals(right, codes, n_folds=5, predicted=predicted)
    if not share:
        assert np.allclose(recalls, estimate_recall_intervals(right, codes))
        assert estimate_balanced_interval(
            right, codes, n_folds=5, predicted=predicted
        ) == pytest.approx(estimate_balanced_interval(right, codes))
    else:
        assert (np.diff(recalls) > np.diff(estimate_recall_intervals(right, codes))).all()


def test_balanced_interval_of_folds_is_wider() -> None:
    right, codes = count(150, 200), np.tile([0, 1], 100)
    of_folds = measure_width(estimate_balanced_interval(right, codes, n_folds=5))
    assert 1.2 < of_folds / measure_width(estimate_balanced_interval(right, codes)) < 1.35


# --- estimate_gain_interval


@pytest.mark.parametrize("n_folds", [None, 5])
@pytest.mark.parametrize("size", [1, 4], ids=["rows", "units"])
def test_gain_interval_covers_what_it_states(size: int, n_folds: int | None) -> None:
    rng = np.random.default_rng(0)
    n_right, n_trials, n_units = 0, 400, 60
    for _ in range(n_trials):
        gains = rng.choice([1, -1, 0], n_units, p=[0.12, 0.05, 0.83])
        units = None if size == 1 else np.repeat(np.arange(n_units), size)
        low, high = estimate_gain_interval(np.repeat(gains, size), units, n_folds=n_folds)
        n_right += low <= 0.07 <= high
    assert 0.93 <= n_right / n_trials <= (0.98 if n_folds is None else 1)


def test_gain_interval_of_no_change_has_a_width_and_of_folds_is_wider() -> None:
    low, high = estimate_gain_interval(np.zeros(100))
    assert -0.03 < low < 0 < high < 0.03
    assert estimate_gain_interval(np.zeros(100), n_folds=5)[1] > high


@pytest.mark.parametrize(
    ("gains", "units"), [([], None), ([1, 1, 1], [0, 0, 0])], ids=["none", "one-unit"]
)
def test_gain_interval_of_nothing_is_everything(gains: list[int], units: list[int] | None) -> None:
    found = estimate_gain_interval(np.array(gains), None if units is None else np.array(units))
    assert found == (-1.0, 1.0)


def test_gain_interval_stays_within_its_range() -> None:
    low, high = estimate_gain_interval(np.ones(3))
    assert -1 <= low < high <= 1
