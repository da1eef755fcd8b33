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
    assert f"{n_rows:,} rows" in gain.verdict
    assert gain.to_dict()["verdict"] == gain.verdict


def test_rows_needed_are_never_fewer_than_there_are() -> None:
    assert build_gain(1000, 2).count_needed() == 1000
    assert build_gain(50, 3).count_needed() > 50


@pytest.mark.parametrize(
    ("n_rows", "n_worse", "advice"),
    [(20, 0, "cannot tell"), (60, 1, "cannot tell"), (300, 0, "stop")],
)
def test_few_rows_that_differ_are_no_reason_to_stop(
    n_rows: int, n_worse: int, advice: LabellingAdvice
) -> None:
    y = np.array(["ants"] * n_rows)
    second = y.copy()
    second[:n_worse] = "bees"
    gain = LabellingGain(n_more=50, scores=compare_predictions(y, y, second))
    assert gain.next_step == advice
    assert gain.gain_ci95[0] < gain.scores.gain < gain.gain_ci95[1]
    assert gain.to_dict()["gain_ci95"] == list(gain.gain_ci95)


def test_stop_is_seldom_said_of_labels_that_gained() -> None:
    """Heads of which the later one is right in 4 of 100 rows more, and wrong in 1 of 100."""
    rng = np.random.default_rng(0)
    stops = 0
    for _ in range(400):
        gains = rng.choice([1, -1, 0], 60, p=[0.04, 0.01, 0.95])
        y = np.full(60, "ants")
        first, second = np.where(gains > 0, "bees", y), np.where(gains < 0, "bees", y)
        scores = compare_predictions(y, first, second)
        stops += LabellingGain(n_more=50, scores=scores).next_step == "stop"
    assert stops <= 20  # 5 %
