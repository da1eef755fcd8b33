"""Columns and vectors in HDF5: every dataset of an element has one entry per row."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Literal, TypeVar

import h5py
import numpy as np

from featx.cache.datasets import create
from featx.cache.format import ANEW, ElementKind, stamp_element
from featx.cache.seal import SealedFile
from featx.cache.structure import NUMBERS
from featx.cache.texts import read_column_texts
from featx.core.errors import CacheError
from featx.core.learnt import Digests, is_ascending
from featx.core.rows import Failure, Row
from featx.core.typing import Array, BoolArray, IntArray, StrArray, VectorDtype

Record = TypeVar("Record", Row, Failure)

CHUNK_ROWS = 256
"""Rows per chunk of vectors: with h5py's own choice, random rows are read five times slower."""

BLOCK_ROWS = 16 * CHUNK_ROWS
"""Rows of vectors that a loop over a whole embedding holds in memory at a time."""

TEXT = h5py.string_dtype()

OPTIONAL = ("label", "split", "group")
"""Columns in which the empty text stands for None."""


def write_table(
    parent: h5py.Group, name: str, kind: type[Record], records: Sequence[Record]
) -> None:
    """Write records as one element: a group with a column per field.

    Parameters
    ----------
    parent : h5py.Group
        The group that the element is created in.
    name : str
        Name of the element.
    kind : type
        Class of the records, `Row` or `Failure`.
    records : sequence of Row or of Failure
        The entries, in their order.
    """
    group = parent.create_group(name)
    element: ElementKind = "rows" if kind is Row else "failures"
    stamp_element(group, element)
    for column in _list_columns(kind):
        values = [getattr(record, column) for record in records]
        if column in NUMBERS:
            group.create_dataset(column, data=np.array(values, NUMBERS[column]))
        else:
            texts = np.array([value or "" for value in values], dtype=object)
            group.create_dataset(column, data=texts, dtype=TEXT)


def read_table(group: h5py.Group, kind: type[Record], sealed: SealedFile) -> list[Record]:
    """Read the records that `write_table` wrote.

    Parameters
    ----------
    group : h5py.Group
        The element.
    kind : type
        Class of the records, `Row` or `Failure`.
    sealed : SealedFile
        The file of the group.

    Raises
    ------
    ValueError
        If a text cannot be read.
    """
    names = _list_columns(kind)
    columns = [read_column(group, name, sealed).tolist() for name in names]
    for name, column in zip(names, columns, strict=True):
        if name in OPTIONAL:
            column[:] = [text or None for text in column]
    records = [object.__new__(kind) for _ in columns[0]]
    for name, column in zip(names, columns, strict=True):
        if len(column) != len(records):
            raise ValueError(f"{len(column)} values in {name}, {len(records)} in {names[0]}")
        # Column by column into the slots of the dataclass: 0.1 s for 100,000 rows, not 0.3.
        deque(map(getattr(kind, name).__set__, records, column), maxlen=0)
    return records


def read_column(group: h5py.Group, name: str, sealed: SealedFile) -> Array:
    """Read one column, ``(n_rows,)``: integers or str."""
    return read_numbers(group, name) if name in NUMBERS else read_texts(group, name, sealed)


def read_texts(group: h5py.Group, name: str, sealed: SealedFile) -> StrArray:
    """Read one column of text, ``(n_rows,)``."""
    return read_column_texts(group[name], sealed)


def check_unique(ids: Sequence[str], path: Path) -> None:
    """Refuse two rows of one id: it would be a matter of chance which of them is meant.

    Parameters
    ----------
    ids : sequence of str
        Ids of all rows.
    path : Path
        Path of the cache, for the error.

    Raises
    ------
    CacheError
        If an id occurs twice.
    """
    if len(set(ids)) < len(ids):
        twice = next(name for name, count in Counter(ids).items() if count > 1)
        raise CacheError(
            subject=f"{path}, /rows/id",
            expected="ids to be unique",
            got=f"{twice!r} more than once",
            remedy=ANEW,
        )


def read_numbers(group: h5py.Group, name: str) -> Array:
    """Read one column of numbers, ``(n_rows,)`` in the stored dtype."""
    return np.asarray(group[name][:])


def _list_columns(kind: type[Row] | type[Failure]) -> list[str]:
    return [field.name for field in fields(kind)]


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
