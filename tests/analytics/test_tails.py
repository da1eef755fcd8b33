"""The bound on the tail of right labels: it holds, and wrong labels lie beyond it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from featx.analytics.tails import bound_tail


def build(margins: Any) -> tuple[Any, Any]:
    """Build probabilities of two classes with such margins, and codes."""
    codes = np.arange(len(margins)) % 2
    p = 1 / (1 + np.exp(-margins))
    return np.where(codes[:, None] == [0, 1], p[:, None], 1 - p[:, None]), codes


@pytest.mark.parametrize("kind", ["normal", "logistic", "laplace"])
@pytest.mark.parametrize("middle", [1.0, 3.0, 8.0])
def test_right_labels_are_no_evidence(kind: str, middle: float) -> None:
    n_evident = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        draw = {"normal": rng.normal, "logistic": rng.logistic, "laplace": rng.laplace}[kind]
        n_evident += bound_tail(*build(draw(middle, 1, 400)), np.ones(400)).is_evident
    assert n_evident <= 1


def test_three_wrong_labels_far_away_are_enough() -> None:
    margins = np.random.default_rng(0).normal(6, 1, 200)
    margins[[4, 9, 50]] = -6
    tail = bound_tail(*build(margins), np.ones(200))
    assert tail.is_evident
    assert np.flatnonzero(tail.scores > 0.5).tolist() == [4, 9, 50]


def test_copies_of_one_file_count_once() -> None:
    margins = np.random.default_rng(0).normal(3, 1, 200)
    margins[:6:2] = -2.5
    weights = np.ones(200)
    alone = bound_tail(*build(margins), weights)
    weights[:6:2] = 1 / 3
    joined = bound_tail(*build(margins), weights)
    assert joined.p_value > alone.p_value
