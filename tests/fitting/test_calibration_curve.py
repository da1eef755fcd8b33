"""The calibration curve of a cache agrees with evaluate, with the same rows and units."""

from pathlib import Path

import pytest

import featx
from featx.core.errors import FeatxWarning


def test_curve_has_the_rows_and_the_error_of_evaluate(cache_path: Path) -> None:
    head = featx.fit_head(cache_path, C=1.0)
    curve = featx.measure_calibration_curve(head, cache_path)
    scores = featx.evaluate(head, cache_path)
    assert curve.n_rows == scores.n_rows
    assert curve.calibration_error == pytest.approx(scores.calibration_error)
    accuracy = sum(one.n_rows * one.accuracy for one in curve.bins) / curve.n_rows
    assert accuracy == pytest.approx(scores.accuracy)


def test_rows_that_were_fitted_on_are_said(cache_path: Path) -> None:
    head = featx.fit_head(cache_path, C=1.0)
    with pytest.warns(FeatxWarning, match="used to fit the head: their scores are too high"):
        assert featx.measure_calibration_curve(head, cache_path, split="train").n_seen == 40
    assert featx.measure_calibration_curve(head, cache_path).n_seen == 0
