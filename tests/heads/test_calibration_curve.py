"""The calibration curve: bins of the expected calibration error, with intervals of units."""

import json

import numpy as np
import pytest
from scipy.stats import binomtest

from featx.heads.calibration_curve import CalibrationBin, measure_calibration
from featx.heads.intervals import estimate_interval
from featx.heads.reliability import estimate_calibration_error


def test_bins_hold_what_a_plain_loop_finds() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.2, 1, 300)
    scores[:3] = (1 / 15, 2 / 15, 1.0)  # ends of bins
    right = rng.uniform(size=300) < scores
    curve = measure_calibration(right, scores)
    assert curve.n_rows == 300
    for one in curve.bins:
        inside = [i for i in range(300) if one.low < scores[i] <= one.high + 1e-12]
        assert one.n_rows == len(inside)
        assert one.mean_score == pytest.approx(np.mean([scores[i] for i in inside]))
        assert one.accuracy == pytest.approx(np.mean([right[i] for i in inside]))
        n_right = round(one.accuracy * one.n_rows)
        wilson = binomtest(n_right, one.n_rows).proportion_ci(method="wilson")
        assert one.accuracy_ci95 == pytest.approx((wilson.low, wilson.high))
    assert curve.calibration_error == pytest.approx(estimate_calibration_error(right, scores))


def test_units_widen_the_intervals() -> None:
    right = np.repeat(np.arange(20) < 15, 5)
    scores = np.full(100, 0.75)
    (alone,) = measure_calibration(right, scores).bins
    (joined,) = measure_calibration(right, scores, np.repeat(np.arange(20), 5)).bins
    assert joined.accuracy_ci95 == estimate_interval(right, np.repeat(np.arange(20), 5))
    assert joined.accuracy_ci95[0] < alone.accuracy_ci95[0]
    assert joined.accuracy_ci95[1] > alone.accuracy_ci95[1]


def test_curve_is_json() -> None:
    curve = measure_calibration(np.array([True, False]), np.array([0.9, 0.5]))
    found = json.loads(json.dumps(curve.to_dict()))
    assert found["n_rows"] == 2
    assert found["calibration_error"] == pytest.approx((0.1 + 0.5) / 2)
    assert set(found["bins"][0]) == set(CalibrationBin.__dataclass_fields__)
