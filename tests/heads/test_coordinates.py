"""Coordinates: a rotation that a linear head cannot tell from the rows themselves."""

from __future__ import annotations

import numpy as np
import pytest

from featx.heads import coordinates as module
from featx.heads.coordinates import Coordinates

SHAPES = pytest.mark.parametrize("shape", [(30, 8), (12, 40), (20, 20), (1, 3)], ids=str)


@SHAPES
def test_coordinates_keep_inner_products(shape: tuple[int, int]) -> None:
    X = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    mean, scale = X.mean(axis=0), np.maximum(X.std(axis=0), 0.1)
    found = Coordinates.find(X, mean, scale)
    scaled = (X - mean) / scale
    np.testing.assert_allclose(
        found.rows[:, 1:] @ found.rows[:, 1:].T, scaled @ scaled.T, atol=1e-3
    )
    assert (found.rows[:, 0] == 1).all()
    assert found.rows.shape[1] <= 1 + min(shape)
    np.testing.assert_allclose(found.spread[1:], (found.rows[:, 1:] ** 2).mean(axis=0), rtol=1e-4)


@SHAPES
def test_coordinates_restore_weights_with_the_same_scores(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=shape).astype(np.float32)
    mean, scale = X.mean(axis=0), np.maximum(X.std(axis=0), 0.1)
    found = Coordinates.find(X, mean, scale)
    weight = rng.normal(size=(3, found.rows.shape[1]))
    coef, intercept = found.restore(weight)
    np.testing.assert_allclose(
        ((X - mean) / scale) @ coef.T + intercept, found.rows @ weight.T, atol=1e-3
    )
    if shape[0] > shape[1]:
        np.testing.assert_allclose((coef**2).sum(axis=1), (weight[:, 1:] ** 2).sum(axis=1))


def test_coordinates_of_many_axes_are_the_scaled_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_RANK", 3)
    X = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    found = Coordinates.find(X, np.ones(5), np.full(5, 2.0))
    assert found.axes is None
    np.testing.assert_allclose(found.rows[:, 1:], (X - 1) / 2, rtol=1e-6)
    coef, intercept = found.restore(np.arange(6.0)[None])
    assert (coef.tolist(), intercept.tolist()) == ([[1, 2, 3, 4, 5]], [0])


def test_coordinates_leave_out_what_does_not_vary() -> None:
    X = np.repeat(np.arange(6, dtype=np.float32)[:, None], 4, axis=1)
    found = Coordinates.find(X, X.mean(axis=0), np.ones(4))
    assert found.rows.shape == (6, 2)


def test_coordinates_tell_a_small_difference_beside_a_large_one() -> None:
    rng = np.random.default_rng(0)
    large = 1e3 * rng.normal(size=(200, 1)) @ np.ones((1, 16))
    small = 1e-3 * rng.normal(size=(200, 16))
    X = large + small
    found = Coordinates.find(X, X.mean(axis=0), np.ones(16))
    assert found.rows.shape[1] == 17
    np.testing.assert_allclose(np.sqrt(found.spread[-1]), 1e-3, rtol=0.5)
