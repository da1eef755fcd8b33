"""Values that can be told apart by the rows that were predicted with them."""

from __future__ import annotations

import numpy as np
import pytest

from featx.core.typing import Array
from featx.heads.choosing import choose_value, is_apart

WEIGHTS = np.full(100, 0.01)


def build_right(*n_right: int) -> Array:
    """Return rows ``(n_values, 100)`` of which the first ones are right."""
    return np.array([np.arange(100) < n for n in n_right])


@pytest.mark.parametrize(
    ("n_right", "losses", "expected"),
    [
        pytest.param((50, 90, 60), (0.1, 0.9, 0.1), 1, id="accuracy beyond chance comes first"),
        pytest.param((88, 90, 89), (0.5, 0.9, 0.1), 2, id="then log loss"),
        pytest.param((90, 90, 90), (0.5, 0.5, 0.5), 1, id="then the middle"),
        pytest.param((90, 90, 90, 90), (0.5, 0.5, 0.5, 0.5), 1, id="the lower of two middles"),
        pytest.param((90,), (0.5,), 0, id="one"),
    ],
)
def test_choose_value(n_right: tuple[int, ...], losses: tuple[float, ...], expected: int) -> None:
    by_row = np.repeat(np.array(losses)[:, None], 100, axis=1)
    assert choose_value(build_right(*n_right), by_row, WEIGHTS) == expected


def test_is_apart_needs_a_mean_above_its_error() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=100)
    assert not is_apart(noise - noise.mean(), WEIGHTS, 1.0)
    assert is_apart(noise - noise.mean() + 0.5, WEIGHTS, 1.96)
    assert not is_apart(np.zeros(100), WEIGHTS, 1.96)
    assert is_apart(np.ones(100), WEIGHTS, 4.0)
