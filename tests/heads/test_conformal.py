"""Conformal sets hold the right class as often as they promise."""

from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

from featx.core.errors import HeadError
from featx.heads.conformal import ConformalSets


def draw(random: np.random.Generator, n_rows: int, shares: Any, n_unit: int = 1) -> Any:
    """Draw classes and probabilities; some classes are harder than others."""
    codes = random.choice(len(shares), size=n_rows // n_unit, p=shares).repeat(n_unit)
    scores = random.normal(size=(len(codes) // n_unit, len(shares))).repeat(n_unit, axis=0)
    scores = (scores + random.normal(size=scores.shape) * (0.3 if n_unit > 1 else 1)) / 2
    scores[np.arange(len(codes)), codes] += np.linspace(0.5, 2.5, len(shares))[codes]
    odds = np.exp(2 * scores)
    return odds / odds.sum(axis=1, keepdims=True), codes


def measure(sets: ConformalSets, probabilities: Any, codes: Any, coverage: float) -> Any:
    """Find the rows whose set holds their class."""
    return sets.find_sets(probabilities, coverage)[np.arange(len(codes)), codes]


def fit(probabilities: Any, codes: Any, units: Any = None) -> ConformalSets:
    sets = ConformalSets.fit(probabilities, codes, units)
    assert sets is not None
    return sets


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_coverage_is_the_one_that_was_promised_in_each_class(coverage: float) -> None:
    random = np.random.default_rng(0)
    held: list[list[float]] = []
    shares = [0.5, 0.3, 0.2]
    for _ in range(20):
        sets = fit(*draw(random, 600, shares))
        assert not len(sets.find_pooled(coverage))
        probabilities, codes = draw(random, 2000, shares)
        inside = measure(sets, probabilities, codes, coverage)
        held.append([inside.mean(), *(inside[codes == code].mean() for code in range(3))])
    means, errors = np.mean(held, axis=0), np.std(held, axis=0) / np.sqrt(20)
    assert (abs(means - coverage) < 3 * errors + 1 / 100).all()  # rounded up by a row of 100


def test_coverage_of_rare_classes_holds_for_them_together() -> None:
    random = np.random.default_rng(0)
    shares = [0.91, 0.03, 0.03, 0.03]
    together = []
    for _ in range(20):
        sets = fit(*draw(random, 1000, shares))
        assert sets.find_pooled(0.9).tolist() == [1, 2, 3]
        thresholds = sets.find_thresholds(0.9)
        assert thresholds[1] == thresholds[2] == thresholds[3] != thresholds[0]
        probabilities, codes = draw(random, 4000, shares)
        together.append(measure(sets, probabilities, codes, 0.9)[codes > 0].mean())
    assert 0.88 < np.mean(together) < 0.93


def test_few_rows_share_the_threshold_of_all() -> None:
    sets = fit(*draw(np.random.default_rng(0), 40, [0.5, 0.5]))
    assert sets.find_pooled(0.9).tolist() == [0, 1]
    rows = np.sort(sets.probabilities)
    assert sets.find_thresholds(0.9).tolist() == [rows[40 - 37]] * 2  # 0.9 of 41 rows


def test_coverage_of_units_is_no_less_than_promised() -> None:
    random = np.random.default_rng(0)
    held = []
    for _ in range(40):
        probabilities, codes = draw(random, 300, [0.5, 0.5], n_unit=10)
        sets = fit(probabilities, codes, np.arange(300) // 10)
        probabilities, codes = draw(random, 1000, [0.5, 0.5], n_unit=10)
        held.append(measure(sets, probabilities, codes, 0.9).mean())
    assert 0.89 < np.mean(held) < 0.96
    assert sets.n_units[-1] == 30


@pytest.mark.parametrize(
    ("sizes", "coverage"),
    [([30] * 6 + [3] * 60, 0.8), ([10] * 8 + [1] * 80, 0.9), ([200] * 2 + [1] * 120, 0.9)],
    ids=["some large", "many small", "two of most rows"],
)
def test_coverage_of_units_of_several_sizes_is_no_less_than_promised(
    sizes: list[int], coverage: float
) -> None:
    random, held = np.random.default_rng(0), []
    units = np.arange(len(sizes)).repeat(sizes)
    codes = units % 2

    def draw_rows() -> Any:
        scores = random.normal(size=(len(units), 2))
        shift = 3 * random.normal(size=len(sizes))
        scores[np.arange(len(units)), codes] += 2 + shift[units]
        return softmax(2 * scores, axis=1)

    for _ in range(40):
        sets = fit(draw_rows(), codes, units)
        held.append(measure(sets, draw_rows(), codes, coverage).mean())
    assert np.mean(held) > coverage - 0.01


def test_unit_with_most_rows_counts_as_few() -> None:
    probabilities, _ = draw(np.random.default_rng(0), 400, [0.5, 0.5])
    units = np.minimum(np.arange(400), 200)  # class 0: 200 units; class 1: one unit
    sets = fit(probabilities, (units == 200).astype(int), units)
    assert sets.n_units.tolist() == [200, 1, 3]
    assert sets.largest_coverage == pytest.approx(200 / 201)
    assert np.isfinite(sets.find_thresholds(0.9)).tolist() == [True, False]


@pytest.mark.parametrize(
    ("n_unit", "n_inside"), [(1, 81), (10, 88)], ids=["100 units", "10 units of all classes"]
)
def test_pooled_classes_have_the_units_of_all_of_them(n_unit: int, n_inside: int) -> None:
    odds = np.random.default_rng(0).random((100, 10))
    probabilities = odds / odds.sum(axis=1, keepdims=True)
    sets = fit(probabilities, np.arange(100) % 10, np.arange(100) // n_unit)
    assert len(sets.find_pooled(0.8)) == 10
    expected = np.sort(sets.probabilities)[100 - n_inside]  # 0.8 of 101, and of 110
    assert set(sets.find_thresholds(0.8).tolist()) == {float(expected)}


def test_coverage_that_rows_do_not_bear_out_is_all_classes() -> None:
    sets = fit(*draw(np.random.default_rng(0), 8, [0.5, 0.5]))
    assert sets.largest_coverage == pytest.approx(8 / 9)
    assert sets.find_sets(np.array([[1.0, 0.0]]), 0.9).all()
    assert not sets.find_sets(np.array([[1.0, 0.0]]), 0.8).all()


def test_rows_that_were_not_scored_are_left_out() -> None:
    probabilities, codes = draw(np.random.default_rng(0), 60, [0.5, 0.5])
    probabilities[40:] = np.nan
    sets = fit(probabilities, codes)
    assert len(sets.probabilities) == sets.n_units[-1] == 40
    assert ConformalSets.fit(probabilities[40:], codes[40:]) is None


@pytest.mark.parametrize("coverage", [0.0, 1.0, 1.5, float("nan")])
def test_coverage_that_is_none_is_refused(coverage: float) -> None:
    sets = fit(*draw(np.random.default_rng(0), 40, [0.5, 0.5]))
    with pytest.raises(HeadError, match=r"^sets: expected a coverage between 0 and 1, got "):
        sets.find_thresholds(coverage)


def test_sets_that_are_stored_are_the_same() -> None:
    probabilities, codes = draw(np.random.default_rng(0), 300, [0.6, 0.4])
    sets = fit(probabilities, codes)
    again = ConformalSets.from_dict(sets.to_dict())
    assert (again.find_sets(probabilities, 0.9) == sets.find_sets(probabilities, 0.9)).all()


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("probabilities", np.ones(3), TypeError),
        ("starts", np.array([0, 1, 1]), ValueError),
        ("starts", np.array([0, 5, 3]), ValueError),
        ("n_units", np.array([1, 2]), ValueError),
        ("n_units", np.array([1, 3, 3]), ValueError),
        ("other", 1, TypeError),
    ],
    ids=["dtype", "rows", "order", "classes", "units", "other"],
)
def test_sets_from_a_file_are_checked(name: str, value: Any, error: type[Exception]) -> None:
    content = {
        "probabilities": np.ones(3, np.float32),
        "starts": np.array([0, 1, 3]),
        "n_units": np.array([1, 2, 3]),
    }
    assert ConformalSets.from_dict(content).largest_coverage == pytest.approx(0.75)
    with pytest.raises(error):
        ConformalSets.from_dict({**content, name: value})
