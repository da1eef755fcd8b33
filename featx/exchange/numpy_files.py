"""NumPy's own files: ``.npz`` with an array for each column, and ``.npy`` with vectors alone.

No array of Python objects is ever read: it would be a pickle, which can run anything.
"""

from __future__ import annotations

import contextlib
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from featx.core.columns import Texts
from featx.core.errors import ExchangeError
from featx.core.text import shorten
from featx.core.typing import Array
from featx.exchange.cells import read_cell
from featx.exchange.incoming import Incoming, check_shape, choose_column, name_stored
from featx.exchange.metadata import KEY
from featx.exchange.table import SIZES, VECTORS, ExportTable

READ_ROWS = 4096
"""Number of vectors that are read at a time."""

FIRST_DAY = (1980, 1, 1, 0, 0, 0)
"""Time of each array in the file, the first one that ZIP knows: equal exports are equal files."""

TEXT_KINDS = "Uifb"
"""Kinds of dtypes whose values are read as text."""


def write_npz(draft: Path, table: ExportTable) -> None:
    """Write one array per column, and the metadata as a text.

    Parameters
    ----------
    draft : Path
        File to write.
    table : ExportTable
        The table.
    """
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_STORED) as file:
        for name in table.names:
            dtype = np.dtype(np.int32) if name in SIZES else _find_dtype(table, name)
            with _open_member(file, name, (len(table),), dtype) as stream:
                for block in table.iter_blocks():
                    stream.write(_read_column(table, block, name).astype(dtype).tobytes())
        shape = len(table), table.dim
        with _open_member(file, VECTORS, shape, np.dtype(table.dtype)) as stream:
            for block in table.iter_blocks():
                stream.write(table.read_vectors(block).reshape(-1).view(np.uint8).data)
        text = np.array(table.metadata)
        with _open_member(file, KEY, text.shape, text.dtype) as stream:
            stream.write(text.tobytes())


def _read_column(table: ExportTable, block: slice, name: str) -> Array:
    if name in SIZES:
        sizes: Array = table.read_columns(block, [name])[name]
        return sizes
    return np.array(table.read_texts(block, name))


def _find_dtype(table: ExportTable, name: str) -> np.dtype[Any]:
    """Find the dtype that holds all texts of a column: memory never holds all of them."""
    blocks = table.iter_blocks()
    longest = max(max(map(len, table.read_texts(block, name))) for block in blocks)
    return np.dtype(f"<U{max(1, longest)}")


@contextlib.contextmanager
def _open_member(
    file: zipfile.ZipFile, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Iterator[IO[bytes]]:
    """Begin an array of the file with its header."""
    member = zipfile.ZipInfo(f"{name}.npy", FIRST_DAY)
    with file.open(member, "w", force_zip64=True) as stream:
        descr = np.lib.format.dtype_to_descr(dtype)
        header = {"descr": descr, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        yield stream


def read_npz(path: Path, column: str | None) -> Incoming:
    """Read vectors and columns of text.

    Parameters
    ----------
    path : Path
        The file.
    column : str or None
        Name of the array of vectors.

    Raises
    ------
    ExchangeError
        If the file is no ZIP of arrays, or has no such array.
    """
    with _explain(path), zipfile.ZipFile(path) as file:
        headers = {}
        for member in file.namelist():
            if member.endswith(".npy"):
                with file.open(member) as stream:
                    headers[member.removesuffix(".npy")] = _read_header(stream)
        found = [
            name
            for name, (shape, _, dtype) in headers.items()
            if len(shape) == 2 and dtype.kind == "f"
        ]
        # If there is none, the reason is told of what may have been meant.
        meant = [n for n, (shape, _, dtype) in headers.items() if len(shape) > 1 or dtype.hasobject]
        name = choose_column(path, column, found or meant, [*headers])
        shape, is_fortran, dtype = headers[name]
        stored = name_stored(path, name, dtype)
        check_shape(path, name, shape)
        _check_size(shape, dtype, file.getinfo(f"{name}.npy").file_size)
        columns, passed_over = {}, []
        for other, (length, _, kind) in headers.items():
            if length == shape[:1] and kind.kind in TEXT_KINDS:
                with file.open(f"{other}.npy") as stream:
                    columns[other] = convert_array(np.lib.format.read_array(stream))
            elif other not in (name, KEY):
                passed_over.append(other)
        metadata = None
        if KEY in headers and headers[KEY][0] == () and headers[KEY][2].kind == "U":
            with file.open(f"{KEY}.npy") as stream:
                metadata = str(np.lib.format.read_array(stream))

    def iter_vectors() -> Iterator[Array]:
        with _explain(path), zipfile.ZipFile(path) as file, file.open(f"{name}.npy") as stream:
            if is_fortran:
                yield np.lib.format.read_array(stream)
                return
            _read_header(stream)
            n_left, row_bytes = shape[0], shape[1] * dtype.itemsize
            while n_left:
                n_rows = min(READ_ROWS, n_left)
                data = stream.read(n_rows * row_bytes)
                if len(data) < n_rows * row_bytes:
                    return  # the stream of vectors tells how many there were
                yield np.frombuffer(data, dtype).reshape(n_rows, shape[1])
                n_left -= n_rows

    return Incoming(
        path=path,
        n_rows=shape[0],
        dim=shape[1],
        dtype=stored,
        columns=columns,
        iter_vectors=iter_vectors,
        metadata=metadata,
        passed_over=tuple(passed_over),
    )


def read_npy(path: Path, column: str | None) -> Incoming:
    """Read vectors.

    Parameters
    ----------
    path : Path
        The file.
    column : str or None
        None: the file has one array, without a name.

    Raises
    ------
    ExchangeError
        If the file is no array of 2 axes and of floats, or a column is named.
    """
    with _explain(path), path.open("rb") as stream:
        shape, _, dtype = _read_header(stream)
        _check_size(shape, dtype, path.stat().st_size - stream.tell())
    if column is not None:
        choose_column(path, column, [], [])
    stored = name_stored(path, "", dtype)
    check_shape(path, "", shape)

    def iter_vectors() -> Iterator[Array]:
        with _explain(path):
            vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        for start in range(0, shape[0], READ_ROWS):
            yield np.asarray(vectors[start : start + READ_ROWS])

    return Incoming(
        path=path,
        n_rows=shape[0],
        dim=shape[1],
        dtype=stored,
        columns={},
        iter_vectors=iter_vectors,
    )


def convert_array(values: Array) -> Texts:
    """Convert an array ``(n_rows,)`` of texts or numbers to a column of text."""
    return Texts.from_list(map(read_cell, values.tolist()))


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read shape, order and dtype of an array."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(stream)
    raise ValueError(f"an array of version {version}")


def _check_size(shape: tuple[int, ...], dtype: np.dtype[Any], n_bytes: int) -> None:
    """Refuse a header that promises more than the file has, before rows are made for it."""
    promised = math.prod(shape) * dtype.itemsize
    if promised > n_bytes and not dtype.hasobject:
        raise ValueError(f"{n_bytes:,} bytes where the header promises {promised:,}")


@contextlib.contextmanager
def _explain(path: Path) -> Iterator[None]:
    """Turn an error about the content of a file into an error of featx."""
    try:
        yield
    except (ValueError, zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        if isinstance(error, ExchangeError):
            raise
        raise ExchangeError(
            subject=str(path),
            expected="arrays as NumPy writes them",
            got=shorten(str(error), 100),
            remedy="Write the file with numpy.save or numpy.savez.",
        ) from error
