"""Arrays from a file are what they must be."""

from typing import Any

import numpy as np
import pytest

from featx.heads.stored_arrays import check_stored


def test_array_that_fits_is_returned() -> None:
    array = np.ones((2, 3), np.float32)
    assert check_stored(array, np.float32, (None, 3)) is array


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ([1.0], TypeError),
        (np.ones((2, 3)), TypeError),
        (np.ones((2, 4), np.float32), ValueError),
        (np.ones(3, np.float32), ValueError),
        (np.full((2, 3), np.nan, np.float32), ValueError),
    ],
    ids=["list", "float64", "length", "axes", "not finite"],
)
def test_array_that_does_not_fit_is_refused(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        check_stored(value, np.float32, (None, 3))
