"""Arrays that come from a file: refused unless they have the type and shape that they must have."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from featx.core.typing import Array


def check_stored(value: Any, dtype: DTypeLike, shape: tuple[int | None, ...]) -> Array:
    """Return an array from a file if it is what it must be.

    Parameters
    ----------
    value : object
        The value in the file.
    dtype : dtype
        Its dtype.
    shape : tuple of int or None
        Its shape; None for any length.

    Raises
    ------
    TypeError
        If it is no array of this dtype.
    ValueError
        If its shape is another, or its values are not finite.
    """
    if not isinstance(value, np.ndarray) or value.dtype != dtype:
        raise TypeError(f"an array of {getattr(value, 'dtype', type(value).__name__)}")
    fits = len(value.shape) == len(shape) and all(
        length in (None, found) for length, found in zip(shape, value.shape, strict=True)
    )
    if not fits or not np.isfinite(value).all():
        raise ValueError(f"an array of shape {value.shape}, or of numbers that are not finite")
    return value
