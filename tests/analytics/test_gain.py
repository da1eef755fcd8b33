"""The rule for when to stop: a claim holds at both ends of its interval."""

import numpy as np
import pytest

from featx.analytics.gain import LabellingGain, advise_labelling
from featx.core.typing import LabellingAdvice
from featx.heads.compare import compare_predictions


@pytest.mark.parametrize(
    ("interval", "is_better", "advice"),
    [
        ((0.01, 0.05), True, "go on"),
        ((0.001, 0.019), True, "stop"),
        ((-0.01, 0.019), False, "stop"),
        ((-0.05, -0.01), False, "stop"),
        ((-0.01, 0.02), False, "cannot tell"),
        ((-0.1, 0.1), False, "cannot tell"),
    ],
)
def test_advice_goes_by_the_interval(
    interval: tuple[float, float], is_better: bool, advice: LabellingAdvice
) -> None:
    assert advise_labelling(interval, is_better=is_better) == advice


def build_gain(n_rows: int, n_better: int) -> LabellingGain:
    y = np.array(["ants"] * n_rows)
    first = y.copy()
    first[:n_better] = "bees"
    return LabellingGain(n_more=100, scores=compare_predictions(y, first, y))


@pytest.mark.parametrize(
    ("n_rows", "n_better", "start"),
    [
        (400, 60, "go on: the last 100 labels changed the accuracy by +0.150 ("),
        (1000, 2, "stop: the last 100 labels changed the accuracy by +0.002 ("),
        (50, 1, "cannot tell: the last 100 labels changed the accuracy by +0.020 ("),
    ],
)
def test_verdict_says_what_and_why(n_rows: int, n_better: int, start: str) -> None:
    gain = build_gain(n_rows, n_better)
    assert gain.verdict.startswith(start)
    assert f"{n_rows} rows" in gain.verdict
    assert gain.to_dict()["verdict"] == gain.verdict


def test_rows_needed_are_never_fewer_than_there_are() -> None:
    assert build_gain(1000, 2).count_needed() == 1000
    assert build_gain(50, 3).count_needed() > 50
