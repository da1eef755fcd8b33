"""Columns and vectors in HDF5: every dataset of an element has one entry per row."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from featx.cache.datasets import create, store
from featx.cache.format import ANEW, ElementKind, require_element
from featx.core.columns import Categories, Column, Table, Texts, iter_blocks
from featx.core.errors import CacheError
from featx.core.learnt import Digests, is_ascending
from featx.core.lookup import TextIndex
from featx.core.typing import Array, BoolArray, IntArray, VectorDtype

CHUNK_ROWS = 256
"""Rows per chunk of vectors: with h5py's own choice, random rows are read five times slower."""

BLOCK_ROWS = 16 * CHUNK_ROWS
"""Rows of vectors that a loop over a whole embedding holds in memory at a time."""


def write_table(parent: h5py.Group, name: str, element: ElementKind, table: Table) -> None:
    """Write a table as one element; of an element that is there, only what differs.

    Parameters
    ----------
    parent : h5py.Group
        The group of the element.
    name : str
        Name of the element.
    element : str
        Kind of the element.
    table : Table
        Its columns.
    """
    group = require_element(parent, name, element)
    for column in table.names:
        write_column(group, column, table[column])


def write_column(group: h5py.Group, name: str, column: Column) -> None:
    """Write one column: an array as a dataset, texts and categories as a group of datasets.

    Parameters
    ----------
    group : h5py.Group
        The group that holds the columns.
    name : str
        Name of the column.
    column : Texts, Categories or ndarray
        The values.
    """
    if isinstance(column, np.ndarray):
        store(group, name, column)
        return
    inner = group.require_group(name)
    if isinstance(column, Categories):
        store(inner, "codes", column.codes)
        column = column.names
    column = column.compact()
    store(inner, "offsets", column.offsets)
    store(inner, "bytes", column.data)


def read_table(
    group: h5py.Group, names: Iterable[str], start: int = 0, stop: int | None = None
) -> Table:
    """Read a run of rows of a table.

    Parameters
    ----------
    group : h5py.Group
        The element.
    names : iterable of str
        Names of the columns.
    start, stop : int
        First row, and the row behind the last one; None for the end.

    Raises
    ------
    ValueError
        If a column breaks the format.
    """
    return Table({name: read_column(group, name, start, stop) for name in names})


def read_column(group: h5py.Group, name: str, start: int = 0, stop: int | None = None) -> Column:
    """Read a run of rows of one column.

    Parameters
    ----------
    group : h5py.Group
        The group that holds the columns.
    name : str
        Name of the column.
    start, stop : int
        First row, and the row behind the last one; None for the end.

    Raises
    ------
    ValueError
        If the offsets do not cut the bytes into texts of UTF-8, or if a code has no name.
    """
    column = group[name]
    if isinstance(column, h5py.Dataset):
        return np.asarray(column[start:stop])
    if "codes" not in column:
        return _read_texts(column, name, start, stop)
    names, codes = _read_texts(column, name), np.asarray(column["codes"][start:stop])
    if not len(names) or names[0] or ((codes < 0) | (codes >= len(names))).any():
        raise ValueError(f"codes without a name in {name}")
    if TextIndex(names).find_repeat() is not None:
        raise ValueError(f"two codes of one name in {name}")
    return Categories(codes, names)


def _read_texts(group: h5py.Group, name: str, start: int = 0, stop: int | None = None) -> Texts:
    """Read texts from offsets and bytes, and check them."""
    n_rows, n_bytes = len(group["offsets"]) - 1, len(group["bytes"])
    start, stop, _ = slice(start, stop).indices(n_rows)
    if group["offsets"][0] != 0 or group["offsets"][n_rows] != n_bytes:
        raise ValueError(f"offsets that do not fit the bytes of {name}")
    offsets = np.asarray(group["offsets"][start : max(start, stop) + 1])
    first, last = int(offsets[0]), int(offsets[-1])
    if (offsets[1:] < offsets[:-1]).any() or first < 0 or last > n_bytes:
        raise ValueError(f"offsets that do not fit the bytes of {name}")
    texts = Texts(offsets - first, np.asarray(group["bytes"][first:last]))
    if len(texts.data) and texts.data.max() > 127:
        bounds = texts.offsets[texts.offsets < len(texts.data)]
        if (texts.data[bounds] & 0xC0 == 0x80).any():  # the middle of a character
            raise ValueError(f"a text of {name} that begins inside a character")
        for block in iter_blocks(len(texts)):
            texts[block].compact().data.tobytes().decode()
    return texts


def check_unique(ids: Texts, path: Path) -> None:
    """Refuse two rows of one id: it would be a matter of chance which of them is meant.

    Parameters
    ----------
    ids : Texts
        Ids of all rows.
    path : Path
        Path of the cache, for the error.

    Raises
    ------
    CacheError
        If an id occurs twice.
    """
    repeat = TextIndex(ids).find_repeat()
    if repeat is not None:
        raise CacheError(
            subject=f"{path}, /rows/id",
            expected="ids to be unique",
            got=f"{ids[repeat]!r} more than once",
            remedy=ANEW,
        )


def read_numbers(group: h5py.Group, name: str) -> Array:
    """Read one column of numbers, ``(n_rows,)`` in the stored dtype."""
    return np.asarray(group[name][:])


def convert_flags(flags: Array, subject: str) -> BoolArray:
    """Convert stored flags to bool.

    Parameters
    ----------
    flags : ndarray of uint8
        ``(n_rows,)``, values as they are stored.
    subject : str
        Name of the dataset, for the error.

    Raises
    ------
    CacheError
        If a flag is neither 0 nor 1.
    """
    if (flags > 1).any():
        raise CacheError(subject=subject, expected="0 or 1", got=str(flags.max()), remedy=ANEW)
    return flags.astype(bool)


def check_learnt(learnt: Digests, subject: str) -> Digests:
    """Refuse stored digests of learnt images that are not ascending; return the others.

    Parameters
    ----------
    learnt : ndarray of uint64
        ``(n_images,)``, values as they are stored.
    subject : str
        Name of the dataset, for the error.

    Raises
    ------
    CacheError
        If the digests are not ascending, or one is there twice.
    """
    if not is_ascending(learnt):
        raise CacheError(subject=subject, expected="ascending digests", got="others", remedy=ANEW)
    return learnt


def create_vectors(
    group: h5py.Group, name: str, shape: tuple[int, int], dtype: VectorDtype
) -> h5py.Dataset:
    """Create a dataset for vectors that can grow, in chunks of whole rows.

    Parameters
    ----------
    group : h5py.Group
        The group that the dataset is created in.
    name : str
        Name of the dataset.
    shape : (int, int)
        Number of rows and dim.
    dtype : {"float32", "float16"}
        Dtype of the stored vectors.
    """
    return create(group, name, shape, dtype, chunk_rows=CHUNK_ROWS)


def is_finite(vectors: Array) -> bool:
    """Return True if no value is NaN or infinite.

    Parameters
    ----------
    vectors : ndarray
        ``(n, dim)``, float32 or float16.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        # One pass without a mask. If the sum of finite values overflows, each one is looked at.
        total = vectors.sum(dtype=np.float32)
    return bool(np.isfinite(total)) or bool(np.isfinite(vectors).all())


Reading = Literal["nothing", "run", "span", "points"]
"""Ways to read rows: no rows, consecutive rows, the whole span around them, or row by row."""


def choose_reading(rows: IntArray) -> Reading:
    """Choose the fastest way to read rows of a dataset.

    HDF5 accepts ascending indices only, and is slow with many indices. The whole span from the
    lowest to the highest row is read if it has less than four times as many rows as are wanted.

    Parameters
    ----------
    rows : ndarray of int
        Indices ``(n,)`` in any order, repeats allowed, none negative.

    Examples
    --------
    >>> import numpy as np
    >>> [choose_reading(np.array(rows)) for rows in ([3, 4, 5], [5, 3, 4], [0, 999])]
    ['run', 'span', 'points']
    """
    if len(rows) == 0:
        return "nothing"
    if rows[-1] - rows[0] == len(rows) - 1 and bool((np.diff(rows) == 1).all()):
        return "run"
    span = int(rows.max()) - int(rows.min()) + 1
    return "span" if 4 * len(rows) > span else "points"


def take_rows(dataset: h5py.Dataset, rows: IntArray) -> Array:
    """Read rows of a dataset.

    Parameters
    ----------
    dataset : h5py.Dataset
        Rows along the first axis.
    rows : ndarray of int
        Indices ``(n,)`` in any order, repeats allowed, none negative.

    Returns
    -------
    ndarray
        ``(n, …)`` in the stored dtype.
    """
    match choose_reading(rows):
        case "nothing":
            return np.empty((0, *dataset.shape[1:]), dataset.dtype)
        case "run":
            return np.asarray(dataset[int(rows[0]) : int(rows[-1]) + 1])
        case "span":
            first = int(rows.min())
            return np.asarray(dataset[first : int(rows.max()) + 1][rows - first])
        case "points":
            order, inverse = np.unique(rows, return_inverse=True)
            return np.asarray(dataset[order][inverse])
