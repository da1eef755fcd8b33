"""Datasets that grow: every column of a table is written here, and only what differs is written.

HDF5 stores such a dataset in chunks of equal length. An increment hashes and reads back whole
blocks of the file, so chunks are small enough that one changed value costs little, and large enough
that a million values need few of them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import h5py
import numpy as np

from featx.core.typing import Array

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

CHUNK_BYTES = 1 << 18
"""Bytes of a chunk of a column: a million int64 lie in 31 chunks."""

ROW_BYTES = 512
"""Bytes of a row without its vectors, from above."""

MAX_SMALL_CHUNKS = 16
"""Number of chunks up to which a column keeps chunks that are smaller than they could be: what is
left unused in the file when columns are made anew stays below a fifteenth of it."""

MIN_UNUSED_BYTES = 1 << 20
"""Bytes that no value of a file takes, up to which the file is not written anew for their sake."""

COPIED_ROWS = 4096


def choose_chunk(n_rows: int, row_bytes: int, chunk_rows: int | None = None) -> int:
    """Choose the number of rows in a chunk: all rows while they are few.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    row_bytes : int
        Bytes of one row.
    chunk_rows : int, optional
        Largest number of rows in a chunk. Default: `CHUNK_BYTES` of them.

    Examples
    --------
    >>> [choose_chunk(n_rows, 8) for n_rows in (0, 12, 1_000_000)]
    [1, 12, 32768]
    """
    return max(1, min(n_rows, chunk_rows or CHUNK_BYTES // row_bytes))


def create(
    group: h5py.Group,
    name: str,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    *,
    chunk_rows: int | None = None,
) -> h5py.Dataset:
    """Create a dataset that can grow along its first axis; every row must be written afterwards.

    Parameters
    ----------
    group : h5py.Group
        The group that the dataset is created in.
    name : str
        Name of the dataset.
    shape : tuple of int
        Shape of the values.
    dtype : dtype
        Dtype of the values.
    chunk_rows : int, optional
        Largest number of rows in a chunk. Default: `CHUNK_BYTES` of them.
    """
    n_rows, *rest = shape
    chunk = choose_chunk(n_rows, np.dtype(dtype).itemsize * math.prod(rest), chunk_rows)
    return group.create_dataset(
        name, shape, dtype, chunks=(chunk, *rest), maxshape=(None, *rest), track_times=False
    )


def resize(
    group: h5py.Group, name: str, n_rows: int, *, chunk_rows: int | None = None
) -> h5py.Dataset:
    """Give a dataset another length; every new row must be written afterwards.

    A dataset whose chunks have become too small or too large is made anew, and so is one that
    another program made and that cannot grow.

    Parameters
    ----------
    group : h5py.Group
        The group of the dataset.
    name : str
        Name of the dataset.
    n_rows : int
        The new length.
    chunk_rows : int, optional
        Largest number of rows in a chunk, as it was given to `create`.
    """
    dataset: h5py.Dataset = group[name]
    n_old, *rest = dataset.shape
    if n_old == n_rows:
        return dataset
    if dataset.maxshape[0] is None:
        chunk = dataset.chunks[0]
        largest = choose_chunk(n_rows, dataset.dtype.itemsize * math.prod(rest), chunk_rows)
        is_large = chunk >= largest or chunk * MAX_SMALL_CHUNKS >= n_rows
        if is_large and chunk <= max(1, n_rows):
            dataset.resize(n_rows, axis=0)
            return dataset
    group.move(name, f"{name}~")
    made = create(group, name, (n_rows, *rest), dataset.dtype, chunk_rows=chunk_rows)
    for start in range(0, min(n_old, n_rows), COPIED_ROWS):
        end = min(start + COPIED_ROWS, n_old, n_rows)
        made[start:end] = dataset[start:end]
    del group[f"{name}~"]
    return made


def store(group: h5py.Group, name: str, values: Array) -> None:
    """Write a whole column. If it is there, only the chunks that differ are written.

    Parameters
    ----------
    group : h5py.Group
        The group of the column.
    name : str
        Name of the column.
    values : ndarray
        All values ``(n, …)``, integers.
    """
    stored = group.get(name)
    if stored is not None and (stored.dtype, stored.shape[1:]) != (values.dtype, values.shape[1:]):
        del group[name]
        stored = None
    n_old = 0 if stored is None else len(stored)
    if stored is None:
        stored = create(group, name, values.shape, values.dtype)
    else:
        stored = resize(group, name, len(values))
    step = stored.chunks[0] if stored.chunks else max(1, len(values))
    for start in range(0, len(values), step):
        part = values[start : start + step]
        is_old = start + len(part) <= n_old
        if not (is_old and np.array_equal(stored[start : start + step], part)):
            stored[start : start + step] = part


def list_datasets(file: h5py.File) -> list[tuple[str, h5py.Dataset]]:
    """List all datasets of a file with their names.

    Parameters
    ----------
    file : h5py.File
        The file.
    """
    found: list[tuple[str, h5py.Dataset]] = []

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            found.append((name, item))

    file.visititems(visit)
    return found


def is_mostly_unused(file: h5py.File, n_bytes: int) -> bool:
    """Tell whether most of a file is left over from earlier changes.

    HDF5 does not reuse what became free before the file was opened: texts of provenance that grew,
    and columns that were made anew.

    Parameters
    ----------
    file : h5py.File
        The file.
    n_bytes : int
        Length of the file in bytes.
    """
    used: int = sum(dataset.id.get_storage_size() for _, dataset in list_datasets(file))
    return n_bytes - used > max(MIN_UNUSED_BYTES, n_bytes // 2)
