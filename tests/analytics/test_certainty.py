"""Certainties grow with the agreement of pixels and with near embeddings, and thresholds hold."""

import numpy as np
import pytest

from featx.analytics.certainty import (
    LEAST,
    MANY_ROWS,
    MAX_WRONG,
    MIN_NULL,
    Usual,
    choose_threshold,
    compute_certainty,
    compute_log_odds,
    measure_usual,
)


def compute(
    distance: float, agreement: float, usual: Usual | None = None, wrong: float = 0.0
) -> float:
    pair = np.array([distance], np.float32), np.array([agreement], np.float32)
    return float(compute_log_odds(*pair, usual or Usual(), np.array([wrong]))[0])


def test_nearer_and_more_alike_is_surer() -> None:
    assert compute(0.2, 0.9) > compute(0.4, 0.9) > compute(0.4, 0.7)
    assert compute(0.2, np.nan) > compute(0.4, np.nan)


def test_agreement_that_is_usual_in_a_cache_says_less() -> None:
    rng = np.random.default_rng(0)
    photos, faces = (
        measure_usual(np.tanh(rng.normal(mean, 0.2, 500)).astype(np.float32), 1000)
        for mean in (0.3, 1.2)
    )
    assert compute(0.6, 0.9, photos) > 0 > compute(0.6, 0.9, faces)


def test_nearness_that_is_chance_says_nothing_and_pixels_decide() -> None:
    assert compute(0.01, np.nan, wrong=0.9) < 0 < compute(0.01, np.nan, wrong=0.1)
    assert compute(0.01, 0.4, wrong=1.0) < 0 < compute(0.01, 0.4)
    assert compute(0.01, 0.99, wrong=1.0) > 3
    assert compute(0.8, 0.9, wrong=1.0) == compute(0.8, 0.9)


def test_few_pairs_do_not_say_what_is_usual() -> None:
    assert measure_usual(np.ones(MIN_NULL - 1, np.float32), 1000) == Usual(n_rows=1000)
    lacking = np.full(500, np.nan, np.float32)
    assert measure_usual(lacking, 1000) == Usual(n_rows=1000)


def test_embeddings_alone_must_be_nearer_among_few_rows() -> None:
    assert compute(0.4, np.nan, Usual(n_rows=MANY_ROWS)) > 0
    assert compute(0.4, np.nan, Usual(n_rows=20)) < 0


@pytest.mark.parametrize("seed", range(5))
def test_threshold_keeps_the_expected_share_of_wrong_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    certainty = -np.sort(-compute_certainty(rng.normal(2, 3, 400)))
    threshold = choose_threshold(certainty, has_pixels=True)
    reported = certainty[certainty >= threshold]
    assert threshold >= LEAST
    assert (1 - reported).mean() <= MAX_WRONG


def test_pairs_of_one_certainty_are_reported_together_or_not_at_all() -> None:
    certainty = np.array([0.99] * 20 + [0.6] * 20)
    assert choose_threshold(certainty[:22], has_pixels=False) == 0.6
    assert choose_threshold(certainty, has_pixels=False) == 0.99


def test_threshold_of_no_pairs_is_high() -> None:
    assert choose_threshold(np.empty(0), has_pixels=True) == 1 - MAX_WRONG
