"""The one cosine of the project."""

import numpy as np
import pytest

from featx.core.similarity import compute_cosines, scale_to_length_one


@pytest.mark.parametrize(
    ("first", "second", "cosine"),
    [
        ([1, 0], [1, 0], 1.0),
        ([1, 0], [3, 0], 1.0),
        ([0, 2], [3, 0], 0.0),
        ([1, 2], [-2, -4], -1.0),
        ([3, 4], [4, 3], 0.96),
        ([0, 0], [0, 0], 1.0),
        ([0, 0], [0, 1e-3], 0.0),
        ([0, 1e-3], [0, 0], 0.0),
        ([np.inf, 1], [np.inf, 1], 1.0),
        ([np.inf, 1], [1, 1], np.nan),
        ([np.nan, 1], [np.nan, 1], np.nan),
        ([np.nan, 1], [0, 0], np.nan),
    ],
)
@pytest.mark.parametrize("dtype", ["f4", "f2"])
def test_compute_cosines_of_one_pair(
    first: list[float], second: list[float], cosine: float, dtype: str
) -> None:
    found = compute_cosines(np.array([first], dtype), np.array([second], dtype))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [cosine], rtol=1e-6)


def test_compute_cosines_compares_rows_with_rows() -> None:
    first, second = np.array([[1, 0], [0, 1], [1, 1]]), np.array([[1, 0], [1, 0], [1, 1]])
    assert compute_cosines(first, second).tolist() == [1, 0, 1]


def test_compute_cosines_of_no_rows_is_empty() -> None:
    assert compute_cosines(np.empty((0, 3)), np.empty((0, 3))).shape == (0,)


def test_compute_cosines_of_float16_does_not_overflow() -> None:
    large = np.full((1, 100), 6e4, np.float16)
    assert compute_cosines(large, -large).tolist() == pytest.approx([-1])


@pytest.mark.parametrize("value", [1e-30, 1.0, 3e38])
def test_scale_to_length_one_keeps_the_range_of_single_precision(value: float) -> None:
    vectors = np.array([[value, -value], [0, 0]], np.float32)
    scaled = scale_to_length_one(vectors)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, [[0.5**0.5, -(0.5**0.5)], [0, 0]], rtol=1e-6)
