"""The largest share of wrong labels, where errors go to the class that looks alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from featx.analytics.alike import bound_alike
from tests.analytics.test_noise import draw, flip


def draw_pairs(seed: int, *, n_rows: int = 1000, n_classes: int = 6, spread: float = 4.0) -> Any:
    """Draw probabilities of classes that look alike in pairs, and labels that follow them."""
    rng = np.random.default_rng(seed)
    pair = rng.integers(0, n_classes // 2, n_rows)
    first = 1 / (1 + np.exp(-rng.normal(size=n_rows) * spread))
    p = np.full((n_rows, n_classes), 1e-6)
    p[np.arange(n_rows), 2 * pair] += first
    p[np.arange(n_rows), 2 * pair + 1] += 1 - first
    p /= p.sum(axis=1, keepdims=True)
    return rng, p, (p.cumsum(axis=1) < rng.random((n_rows, 1))).sum(axis=1)


@pytest.mark.parametrize(("spread", "sharpness"), [(1.0, 1.0), (4.0, 0.5), (16.0, 1.0)])
def test_errors_within_pairs_lie_below_the_bound(spread: float, sharpness: float) -> None:
    for seed in range(3):
        rng, p, labels = draw_pairs(seed, spread=spread)
        wrong = rng.random(len(labels)) < 0.1
        given = p**sharpness
        given /= given.sum(axis=1, keepdims=True)
        labels = np.where(wrong, labels ^ 1, labels)
        assert bound_alike(given, labels, np.ones(len(labels))) > wrong.mean()


def test_errors_of_one_pair_are_not_outvoted_by_other_classes() -> None:
    for seed in range(3):
        rng, p, labels = draw_pairs(seed, spread=16.0)
        wrong = (labels < 2) & (rng.random(len(labels)) < 0.3)
        labels = np.where(wrong, labels ^ 1, labels)
        assert bound_alike(p, labels, np.ones(len(labels))) > wrong.mean()


@pytest.mark.parametrize(("spread", "most"), [(16.0, 0.02), (100.0, 0.01)])
def test_bound_of_right_labels_of_classes_apart_is_low(spread: float, most: float) -> None:
    for seed in range(2):
        _, p, labels = draw_pairs(seed, spread=spread)
        assert bound_alike(p, labels, np.ones(len(labels))) < most


def test_bound_is_no_lower_where_errors_go_to_any_class() -> None:
    for seed in range(3):
        rng, p, labels = draw(seed, n_rows=1000, n_classes=5, spread=8.0)
        labels, wrong = flip(rng, labels, 5, 0.05)
        assert bound_alike(p, labels, np.ones(len(labels))) > wrong.mean()


def test_bound_of_classes_that_cannot_be_told_apart_is_near_half() -> None:
    _, p, labels = draw_pairs(0, spread=0.01)
    assert bound_alike(p, labels, np.ones(len(labels))) > 0.4


def test_copies_do_not_lower_the_bound() -> None:
    _, p, labels = draw_pairs(1, n_rows=200)
    rows = np.repeat(np.arange(200), 5)
    alone = bound_alike(p, labels, np.ones(200))
    assert bound_alike(p[rows], labels[rows], np.full(1000, 0.2)) == pytest.approx(alone)
