"""Arrays in a pickle: built from their bytes, after their size is compared with the file's."""

from __future__ import annotations

import io
import math
import re
from typing import Any, BinaryIO

import numpy as np

from featx.core.typing import Array

MAX_DIMS = 32
"""Largest number of dimensions of an array."""

_DTYPE = re.compile(r"b1|[iu][1248]|f[248]|U[1-9]\d{0,5}|O8?")
"""Types of numbers and texts that the arrays of a head have."""

_PLAIN = (str, int, float, bool, type(None))


class BoundedStream(io.BufferedIOBase):
    """A file that never tries to read more than it has left.

    Parameters
    ----------
    file : file
        File that is open for reading bytes, at its start.
    size : int
        Length of the file in bytes.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._file.tell()

    def count_left(self) -> int:
        """Return the number of bytes behind the position."""
        return max(self._size - self.tell(), 0)

    def read(self, size: int | None = -1, /) -> bytes:
        """Read so many bytes, or as many as there are."""
        left = self.count_left()
        return self._file.read(left if size is None or size < 0 else min(size, left))

    def readline(self, size: int | None = -1, /) -> bytes:
        """Read up to the end of a line."""
        left = self.count_left()
        return self._file.readline(left if size is None or size < 0 else min(size, left))


def build_dtype(arguments: Any) -> np.dtype[Any]:
    """Build the dtype that ``numpy.dtype`` would return, called by a pickle.

    Parameters
    ----------
    arguments : object
        Arguments of the call: the name of the dtype comes first.

    Raises
    ------
    ValueError
        If the dtype holds anything but numbers, texts and objects.
    """
    if not (
        type(arguments) is tuple
        and arguments
        and type(arguments[0]) is str
        and _DTYPE.fullmatch(arguments[0])
    ):
        raise ValueError("a dtype that no head has")
    return np.dtype(arguments[0], copy=True)  # a copy: its byte order may be set


def set_dtype_state(dtype: np.dtype[Any], state: Any) -> None:
    """Set the byte order of a dtype that `build_dtype` has built.

    Parameters
    ----------
    dtype : dtype
        The dtype.
    state : object
        State that the pickle has: it may differ from that of the dtype in the byte order only.

    Raises
    ------
    ValueError
        If the state is another.
    """
    own = dtype.__reduce__()[2]
    order = state[1] if type(state) is tuple and len(state) == len(own) else None
    if order not in ("<", ">", "|") or (state[0], *state[2:]) != (own[0], *own[2:]):
        raise ValueError("a dtype of another state")
    dtype.__setstate__(state)  # type: ignore[attr-defined]


def build_scalar(arguments: Any) -> np.generic:
    """Build a number of numpy from the arguments that a pickle has for it.

    Parameters
    ----------
    arguments : object
        Dtype and bytes of the number.

    Raises
    ------
    ValueError
        If the bytes are not those of one number.
    """
    dtype, data = arguments
    if type(data) is not bytes or not isinstance(dtype, np.dtype):
        raise ValueError("a number of another type")
    number: np.generic = _build_array(dtype, (1,), bytearray(data))[0]
    return number


def read_array(state: Any, stream: BoundedStream) -> Array | None:
    """Read an array whose bytes joblib wrote behind its description.

    Parameters
    ----------
    state : object
        Description of the array: its shape, its dtype, its order.
    stream : BoundedStream
        Stream of the file, at the end of the description.

    Returns
    -------
    ndarray or None
        The array in the byte order of this machine; None for an array of objects, which is a pickle
        of its own at this position.

    Raises
    ------
    ValueError
        If the description is not one of joblib's, or the file has fewer bytes than the array.
    """
    dtype, shape, order = state["dtype"], state["shape"], state["order"]
    if not isinstance(dtype, np.dtype) or order not in ("C", "F"):
        raise ValueError("an array of another description")
    if dtype.hasobject:
        return None
    if state.get("numpy_array_alignment_bytes") is not None:
        stream.read(int.from_bytes(stream.read(1), "little"))
    n_bytes = _count_values(shape) * dtype.itemsize
    if n_bytes > stream.count_left():
        raise ValueError(f"an array of {n_bytes:,} bytes, where {stream.count_left():,} are left")
    array = _build_array(dtype, shape[::-1] if order == "F" else shape, stream.read(n_bytes))
    array = array.T if order == "F" else array
    return array.astype(dtype.newbyteorder("="), copy=True)


def fill_object_array(array: Array, state: Any) -> None:
    """Fill an array of texts or plain numbers with the state that a pickle has for it.

    Parameters
    ----------
    array : ndarray
        Array without values, which the pickle has asked for.
    state : object
        Version, shape, dtype, order and list of values.

    Raises
    ------
    ValueError
        If the array holds values already, or the state is not one of plain values.
    """
    version, shape, dtype, is_fortran, values = state
    if array.size or version != 1 or not isinstance(dtype, np.dtype) or dtype.kind != "O":
        raise ValueError("an array of another state")
    if type(values) is not list or len(values) != _count_values(shape):
        raise ValueError("an array of other values")
    if not all(type(value) in _PLAIN for value in values):
        raise ValueError("an array of objects")
    array.__setstate__((1, shape, dtype, bool(is_fortran), values))  # type: ignore[arg-type]


def _count_values(shape: Any) -> int:
    """Count the values of an array; refuse what is no shape."""
    if not (
        type(shape) is tuple
        and len(shape) <= MAX_DIMS
        and all(type(n) is int and 0 <= n < 1 << 48 for n in shape)
    ):
        raise ValueError("an array of another shape")
    return math.prod(shape)


def _build_array(dtype: np.dtype[Any], shape: tuple[int, ...], data: bytes | bytearray) -> Array:
    """Build an array over bytes, which must be as many as it needs."""
    if dtype.hasobject or len(data) != math.prod(shape) * dtype.itemsize:
        raise ValueError("an array with another number of bytes")
    if dtype.kind == "b" and np.frombuffer(data, np.uint8).max(initial=0) > 1:
        raise ValueError("truth values beside 0 and 1")  # numpy would count them wrongly
    return np.frombuffer(data, dtype).reshape(shape)
