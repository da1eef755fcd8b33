"""Unknown images: strangers are found, and false alarms are as rare as promised."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from featx.core.errors import HeadError
from featx.heads.unknown import MAX_ROWS, UnknownDetector


def draw(seed: int, n_rows: int, dim: int, n_classes: int = 2, n_unit: int = 1) -> Any:
    """Draw rows to fit on and fresh rows of the same kind, with falling variances as embeddings."""
    random = np.random.default_rng(seed)
    scales = (1 + np.arange(dim)) ** -0.5
    means = random.normal(size=(n_classes, dim)) * scales + 0.3 * abs(random.normal(size=dim))

    def draw_rows(n_units: int) -> Any:
        codes = (np.arange(n_units) % n_classes).repeat(n_unit)
        shared = random.normal(size=(n_units, dim)).repeat(n_unit, axis=0)
        own = random.normal(size=(len(codes), dim))
        weights = (0.0, 1.0) if n_unit == 1 else (0.8, 0.6)
        return means[codes] + (weights[0] * shared + weights[1] * own) * scales, codes

    X, codes = draw_rows(n_rows // n_unit)
    return X, codes, np.arange(len(X)) // n_unit, draw_rows(2000 // n_unit)[0]


def fit(X: Any, codes: Any, units: Any = None) -> UnknownDetector:
    detector = UnknownDetector.fit(X, codes, units)
    assert detector is not None
    return detector


@pytest.mark.parametrize(
    ("n_rows", "dim", "n_classes"),
    [
        (100, 32, 2),
        (120, 300, 2),
        pytest.param(200, 300, 5, marks=pytest.mark.slow),
        (600, 100, 10),
    ],
    ids=["few", "wide", "rows near dims", "many"],
)
def test_false_alarms_are_those_that_were_promised(n_rows: int, dim: int, n_classes: int) -> None:
    """The standard error of the mean rate is 0.003 to 0.007, by the rows that were measured."""
    n_trials, found = 20, 0
    for seed in range(n_trials):
        X, codes, units, fresh = draw(seed, n_rows, dim, n_classes)
        found += int(fit(X, codes, units).find_unknown(fresh, 0.1).sum())
    assert 0.08 < found / (n_trials * 2000) < 0.12


def test_false_alarms_of_units_are_no_more_than_promised() -> None:
    rates = []
    for seed in range(20):
        X, codes, units, fresh = draw(seed, 400, 150, n_unit=10)
        rates.append(fit(X, codes, units).find_unknown(fresh, 0.1).mean())
    assert 0.05 < np.mean(rates) < 0.12
    X, codes, _, fresh = draw(0, 400, 150, n_unit=10)  # rows of a unit vouch for each other
    assert fit(X, codes).find_unknown(fresh, 0.1).mean() > 0.15


@pytest.mark.parametrize("dim", [16, 200], ids=["many rows", "few rows"])
def test_strangers_are_found_whatever_their_length(dim: int) -> None:
    X, codes, _, fresh = draw(0, 120, dim)
    detector = fit(X, codes)
    stranger = np.random.default_rng(1).normal(size=(50, dim)) - X.mean(axis=0)
    for scale in (1e-3, 1.0, 1e3):
        assert detector.find_unknown(stranger * scale, 0.05).all()
    np.testing.assert_allclose(
        detector.measure_distances(fresh * 7), detector.measure_distances(fresh), rtol=1e-3
    )


def test_score_is_the_share_of_rows_as_far_away() -> None:
    X, codes, _, fresh = draw(0, 99, 16)
    detector = fit(X, codes)
    distances = detector.measure_distances(fresh).astype("f4")
    expected = [(1 + (detector.distances >= one).sum()) / 100 for one in distances]
    assert detector.score(fresh).tolist() == expected
    assert np.median(detector.distances) == pytest.approx(1)


def test_rate_below_one_row_finds_what_lies_farther_than_all_rows() -> None:
    X, codes, _, fresh = draw(0, 30, 16)
    detector = fit(X, codes)
    assert detector.smallest_rate == pytest.approx(1 / 31)
    found = detector.find_unknown(fresh, 1e-6)
    assert (found == (detector.measure_distances(fresh) > detector.distances[-1])).all()
    assert found.sum() <= binom.ppf(0.999, len(fresh), 0.2)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan")])
def test_rate_that_is_none_is_refused(rate: float) -> None:
    X, codes, _, _ = draw(0, 30, 8)
    with pytest.raises(HeadError, match=r"^rate: expected a rate of false alarms between 0 and 1"):
        fit(X, codes).find_unknown(X, rate)


@pytest.mark.parametrize(
    "n_rows", [10, 60, 300], ids=["directions", "root of few rows", "root of many rows"]
)
def test_detector_that_is_stored_is_the_same(n_rows: int) -> None:
    X, codes, units, fresh = draw(0, n_rows, 40)
    detector = fit(X, codes, units)
    stored = detector.to_dict()
    again = UnknownDetector.from_dict(stored)
    assert again.measure_distances(fresh).tolist() == detector.measure_distances(fresh).tolist()
    assert again.n_units == detector.n_units
    assert stored["metric"]["axes"].nbytes <= 2 * (40 * 41 // 2)  # no more than a triangle


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("means", np.zeros((2, 7), np.float32), ValueError),
        ("means", np.zeros((0, 40), np.float32), ValueError),
        ("distances", np.array([2.0, 1.0], np.float32), ValueError),
        ("distances", [1.0], TypeError),
        ("n_units", 0, ValueError),
        ("n_units", 1.5, ValueError),
        ("n_fresh", 0.0, ValueError),
        ("n_fresh", 1, ValueError),
        ("other", 1, TypeError),
    ],
    ids=["means", "no class", "order", "list", "no unit", "half a unit", "none", "int", "other"],
)
def test_detector_from_a_file_is_checked(name: str, value: Any, error: type[Exception]) -> None:
    X, codes, _, _ = draw(0, 60, 40)
    with pytest.raises(error):
        UnknownDetector.from_dict({**fit(X, codes).to_dict(), name: value})


@pytest.mark.parametrize(
    ("X", "codes", "units"),
    [
        (np.eye(3), [0, 1, 2], [0, 1, 2]),
        (np.ones((4, 3)), [0, 1, 0, 1], [0, 1, 2, 3]),
        (np.eye(4), [0, 0, 1, 1], [5, 5, 7, 7]),
    ],
    ids=["one row a class", "all alike", "one unit a class"],
)
def test_rows_too_few_to_be_measured_have_no_detector(X: Any, codes: Any, units: Any) -> None:
    assert UnknownDetector.fit(X, np.array(codes), np.array(units)) is None


@pytest.mark.parametrize("shift", [1e4, 1e5, 1e6])
def test_rows_that_hardly_differ_are_told_from_others(shift: float) -> None:
    random = np.random.default_rng(0)
    codes = np.arange(200) % 2
    X = (random.normal(size=(200, 16)) + 2 * np.eye(16)[codes] + shift).astype("f4")
    detector = UnknownDetector.from_dict(fit(X, codes).to_dict())
    assert detector.find_unknown(X, 0.05).mean() < 0.1
    assert detector.find_unknown(X[:50] + 30 * random.normal(size=(50, 16)), 0.05).all()


def test_class_of_one_unit_is_known_though_it_is_not_measured() -> None:
    X, codes, units, _ = draw(0, 60, 16, n_classes=3)
    units[codes == 2] = units[2]
    detector = fit(X, codes, units)
    assert (len(detector.distances), detector.n_units) == (60, 40)
    assert not detector.find_unknown(X[codes == 2], 0.05).any()


@pytest.mark.parametrize("counts", [[50, 50] + [1] * 50, [90, 90] + [1] * 20, [3] * 30 + [1] * 40])
def test_false_alarms_hold_where_classes_have_one_row(counts: list[int]) -> None:
    """Without distances for these classes, the rate was 0.1 to 0.25; strangers are still found."""
    random, found, strange = np.random.default_rng(0), [], []
    codes = np.arange(len(counts)).repeat(counts)
    for _ in range(30):
        means = 2 * random.normal(size=(len(counts), 32))
        detector = fit(random.normal(size=(len(codes), 32)) + means[codes], codes)
        fresh = random.normal(size=(len(codes), 32)) + means[codes]
        found.append(detector.find_unknown(fresh, 0.05).mean())
        strangers = random.normal(size=(100, 32)) * np.sqrt(5)
        strange.append(detector.find_unknown(strangers, 0.05).mean())
    assert np.mean(found) < 0.07
    assert np.mean(strange) > 0.95


@pytest.mark.parametrize(
    ("sizes", "n_units"),
    [([100] * 2 + [2] * 40, 3), ([50] * 2 + [1] * 100, 7), ([60] * 4 + [3] * 40, 8)],
    ids=["two of most rows", "many single", "some large"],
)
def test_false_alarms_of_units_of_several_sizes_are_no_more_than_promised(
    sizes: list[int], n_units: int
) -> None:
    random, found, again = np.random.default_rng(0), [], []
    units = np.arange(len(sizes)).repeat(sizes)
    for _ in range(20):
        means = 2 * random.normal(size=(2, 16))

        def draw_rows(means: Any = means) -> Any:
            shared = random.normal(size=(len(sizes), 16))
            return random.normal(size=(len(units), 16)) + (means[units % 2] + shared[units])

        detector = fit(draw_rows(), units % 2, units)
        assert detector.n_units == n_units
        assert detector.smallest_rate == 1 / (n_units + 1)
        found.append(detector.find_unknown(draw_rows(), 0.05).mean())
        again.append(UnknownDetector.from_dict(detector.to_dict()).n_fresh == detector.n_fresh)
    assert np.mean(found) < 0.05
    assert all(again)


def test_many_rows_are_drawn_in_whole_units() -> None:
    random = np.random.default_rng(0)
    codes = np.arange(3 * MAX_ROWS) % 2
    X = random.normal(size=(len(codes), 4)) + 3 * np.eye(4)[codes]
    detector = fit(X, codes, np.arange(len(codes)) // 4)
    assert len(detector.distances) == MAX_ROWS
    assert detector.n_units == MAX_ROWS // 4
