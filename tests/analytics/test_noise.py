"""The share of wrong labels, fitted to probabilities whose truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from featx.analytics.noise import fit_noise


def draw(seed: int, *, n_rows: int, n_classes: int, spread: float) -> Any:
    """Draw probabilities, and labels that follow them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n_rows, n_classes)) * spread
    p = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    labels = (p.cumsum(axis=1) < rng.random((n_rows, 1))).sum(axis=1)
    return rng, p, labels


def flip(rng: Any, labels: Any, n_classes: int, rate: float) -> Any:
    """Replace a share of labels by others."""
    wrong = rng.random(len(labels)) < rate
    other = (labels + rng.integers(1, n_classes, len(labels))) % n_classes
    return np.where(wrong, other, labels), wrong


@pytest.mark.parametrize("spread", [0.5, 2.0, 6.0])
@pytest.mark.parametrize("n_classes", [2, 10])
def test_hard_images_are_no_wrong_labels(spread: float, n_classes: int) -> None:
    n_evident = n_inside = 0
    for seed in range(20):
        _, p, labels = draw(seed, n_rows=400, n_classes=n_classes, spread=spread)
        noise = fit_noise(p, labels, np.ones(len(labels)))
        n_evident += noise.is_evident
        n_inside += noise.rate_ci95[0] == 0
    assert n_evident <= 1
    assert n_inside >= 18


@pytest.mark.parametrize("n_classes", [2, 10])
@pytest.mark.parametrize("sharpness", [0.5, 1.0, 2.0])
def test_rate_is_found_however_sure_the_probabilities_are(n_classes: int, sharpness: float) -> None:
    n_inside, errors = 0, []
    for seed in range(20):
        rng, p, labels = draw(seed, n_rows=1000, n_classes=n_classes, spread=8.0)
        labels, wrong = flip(rng, labels, n_classes, 0.05)
        given = p**sharpness
        noise = fit_noise(given / given.sum(axis=1, keepdims=True), labels, np.ones(len(labels)))
        assert noise.is_evident
        n_inside += noise.rate_ci95[0] <= 0.05 <= noise.rate_ci95[1]
        errors.append(noise.scores.sum() - wrong.sum())
    assert n_inside >= 17
    assert abs(np.mean(errors)) < 10  # of 50


def test_scores_are_probabilities() -> None:
    n_said = n_wrong = 0.0
    for seed in range(20):
        rng, p, labels = draw(seed, n_rows=1000, n_classes=5, spread=6.0)
        labels, wrong = flip(rng, labels, 5, 0.08)
        noise = fit_noise(p, labels, np.ones(len(labels)))
        chosen = (noise.scores > 0.3) & (noise.scores < 0.9)
        n_said += noise.scores[chosen].sum()
        n_wrong += wrong[chosen].sum()
    assert n_said == pytest.approx(n_wrong, rel=0.15)


def test_labels_without_relation_tell_nothing() -> None:
    _, p, labels = draw(0, n_rows=500, n_classes=4, spread=3.0)
    noise = fit_noise(p, np.random.default_rng(1).permutation(labels), np.ones(500))
    assert not noise.is_evident


def test_copies_are_no_further_evidence() -> None:
    rng, p, labels = draw(3, n_rows=60, n_classes=2, spread=6.0)
    labels, _ = flip(rng, labels, 2, 0.05)
    alone = fit_noise(p, labels, np.ones(60))
    rows = np.repeat(np.arange(60), 5)
    copied = fit_noise(p[rows], labels[rows], np.full(300, 0.2))
    assert copied.evidence == pytest.approx(alone.evidence)
    assert copied.needed == pytest.approx(alone.needed)
