"""Vectors that another program wrote, as every kind of file gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featx.cache.tables import is_finite
from featx.core.columns import Texts
from featx.core.errors import ExchangeError, suggest
from featx.core.text import shorten
from featx.core.typing import Array, IntArray, VectorDtype, Vectors
from featx.exchange.table import VECTORS

STORED: Mapping[str, VectorDtype] = {
    "float16": "float16",
    "float32": "float32",
    "float64": "float32",
}
"""Dtype that vectors are stored in, by the dtype of the file."""


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """What a file of vectors holds.

    Attributes
    ----------
    path : Path
        The file.
    n_rows, dim : int
        Number of vectors, and their length.
    dtype : {"float32", "float16"}
        Dtype that they are stored in.
    columns : mapping of str to Texts
        Columns of text of the file, by name; ``""`` for a missing value.
    iter_vectors : callable
        Function that iterates over all vectors in their order, in blocks ``(n, dim)``.
    metadata : str or None
        Text of the metadata that an export of featx wrote.
    passed_over : tuple of str
        Names of columns of types that are not read.
    """

    path: Path
    n_rows: int
    dim: int
    dtype: VectorDtype
    columns: Mapping[str, Texts]
    iter_vectors: Callable[[], Iterator[Array]]
    metadata: str | None = None
    passed_over: tuple[str, ...] = ()


class VectorStream:
    """Vectors that are read in their order, each once.

    Parameters
    ----------
    incoming : Incoming
        The file.
    """

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming
        self._blocks = incoming.iter_vectors()
        self._held: Vectors = np.empty((0, incoming.dim), incoming.dtype)
        self._n_read = 0

    def read(self, rows: IntArray) -> Vectors:
        """Read the next rows.

        Parameters
        ----------
        rows : ndarray of int
            Numbers of the rows ``(n,)``: those behind the rows of the call before.

        Raises
        ------
        ExchangeError
            If a vector is not finite, or the file has fewer than it promised.
        """
        parts: list[Vectors] = [self._held]
        n_held = len(self._held)
        while n_held < len(rows):
            block = next(self._blocks, None)
            if block is None:
                raise ExchangeError(
                    subject=str(self._incoming.path),
                    expected=f"{self._incoming.n_rows} vectors",
                    got=str(self._n_read),
                    remedy="Write the file again.",
                )
            parts.append(self._convert(block))
            n_held += len(block)
        is_one = len(self._held) == 0 and len(parts) == 2
        joined: Vectors = parts[-1] if is_one else np.concatenate(parts)  # type: ignore[assignment]
        self._held = joined[len(rows) :]
        return joined[: len(rows)]

    def _convert(self, block: Array) -> Vectors:
        """Bring a block into the stored dtype, and refuse values that are not finite."""
        with np.errstate(over="ignore", invalid="ignore"):
            vectors: Vectors = block.astype(self._incoming.dtype, copy=False)
        if not is_finite(vectors):
            row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
            values = block[row][~np.isfinite(vectors[row])]
            raise ExchangeError(
                subject=f"{self._incoming.path}, row {self._n_read + row + 1}",
                expected=f"finite numbers of {self._incoming.dtype}",
                got=str(values[0]),
                remedy="Leave the row out, or compute its vector again.",
            )
        self._n_read += len(vectors)
        return vectors

    def close(self) -> None:
        """Close the file."""
        close = getattr(self._blocks, "close", None)
        if close is not None:
            close()


def name_stored(path: Path, name: str, dtype: np.dtype[np.generic]) -> VectorDtype:
    """Name the dtype that vectors are stored in.

    Parameters
    ----------
    path : Path
        The file, for the error.
    name : str
        Name of the column or array of vectors.
    dtype : dtype
        Dtype of the file.

    Raises
    ------
    ExchangeError
        If the values are no floats of 16, 32 or 64 bits.
    """
    if dtype.name not in STORED:
        raise ExchangeError(
            subject=f"{path}, {name}" if name else str(path),
            expected="numbers of float16, float32 or float64",
            got="Python objects" if dtype.hasobject else str(dtype),
            remedy="Write them with array.astype('float32').",
        )
    return STORED[dtype.name]


def check_names(path: Path, names: Sequence[str]) -> None:
    """Refuse a table that has two columns of one name: it would be chance which one is meant.

    Raises
    ------
    ExchangeError
        If a name is there twice.
    """
    twice = [name for number, name in enumerate(names) if name and name in names[:number]]
    if twice:
        raise ExchangeError(
            subject=str(path),
            expected="each column once",
            got=f"two columns {shorten(twice[0], 100)!r}",
            remedy="Rename one of them.",
        )


def check_shape(path: Path, name: str, shape: Sequence[int]) -> None:
    """Refuse an array that is no matrix.

    Raises
    ------
    ExchangeError
        If it has another number of axes than two.
    """
    if len(shape) != 2:
        raise ExchangeError(
            subject=f"{path}, {name}" if name else str(path),
            expected="an array of 2 axes, rows and dim",
            got=f"{len(shape)} {'axis' if len(shape) == 1 else 'axes'}, {tuple(shape)}",
            remedy="Write one vector per row, for example with array.reshape(len(array), -1).",
        )


def choose_column(
    path: Path, column: str | None, found: Sequence[str], names: Sequence[str]
) -> str:
    """Choose the column of vectors.

    Parameters
    ----------
    path : Path
        The file, for the error.
    column : str or None
        Name that the caller gives.
    found : sequence of str
        Names of the columns that hold vectors.
    names : sequence of str
        Names of all columns.

    Raises
    ------
    ExchangeError
        If there is no such column, or there are several and none is chosen.
    """
    if column is None and VECTORS in found:
        return VECTORS
    if column is None and len(found) == 1:
        return found[0]
    if column is not None and column in found:
        return column
    if column is not None:
        remedy = suggest(column, found) if found else "Choose a file that holds vectors."
        got = f"{column!r}, which holds none" if column in names else f"{column!r}"
    else:
        got = f"several: {', '.join(found)}" if found else f"columns {', '.join(names) or 'none'}"
        remedy = "Pass column=NAME." if found else "Write them as lists of float32 of one length."
    raise ExchangeError(
        subject=str(path),
        expected="a column of vectors",
        got=shorten(got),
        remedy=remedy,
    )


def refuse_damaged(path: Path, part: str, problem: object) -> ExchangeError:
    """Build the error for a file that was damaged after it was written.

    Parameters
    ----------
    path : Path
        The file.
    part : str
        Name of the part that is damaged.
    problem : object
        What is wrong with it.
    """
    return ExchangeError(
        subject=f"{path}, {part}",
        expected="what was written",
        got=shorten(str(problem), 100),
        remedy="Write the file again, or copy it again.",
    )
