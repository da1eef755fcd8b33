"""Conditions on the rows of a cache: by label, by a function of their columns, or by an array."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from featx.cache.label_columns import LabelColumns
from featx.core.columns import Categories, Texts
from featx.core.digests import unpack_digests
from featx.core.errors import CacheError, FeatxError, suggest
from featx.core.row_tables import ROW_KINDS
from featx.core.text import count_noun
from featx.core.typing import Array, BoolArray

Where: TypeAlias = Callable[[Mapping[str, Array]], Array] | Array
"""Condition on rows: a function of their columns, or one bool for each row."""

FRAME_NAMES = (
    *("id", "path", "label", "split", "group"),
    *("digest", "width", "height", "n_bytes", "mtime_ns"),
)
"""Columns of rows in the order of a table; recorded columns follow `group`."""


class RowColumns(Mapping[str, Array]):
    """Columns of rows as plain arrays, each read when it is asked for.

    Parameters
    ----------
    read : callable
        Function that reads a column by its name.
    names : sequence of str
        Names of all columns.
    """

    def __init__(self, read: Callable[[str], Any], names: Sequence[str]) -> None:
        self._read, self._names = read, names

    def __getitem__(self, name: str) -> Array:
        if name not in self._names:
            raise FeatxError(
                subject="where",
                expected=f"one of the columns {', '.join(self._names)}",
                got=repr(name),
                remedy=f"Name a column of the cache. {suggest(str(name), self._names)}",
            )
        column = self._read(name)
        if isinstance(column, Texts | Categories):
            return column.to_array()
        if name == "digest":
            return np.array(unpack_digests(column), object)
        values: Array = column
        return values

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def list_columns(cache: LabelColumns) -> tuple[str, ...]:
    """List the columns of the rows of a cache in the order of a table.

    Parameters
    ----------
    cache : Cache
        The open cache.
    """
    recorded = [name for name in cache.columns if name not in ROW_KINDS]
    position = FRAME_NAMES.index("group") + 1
    return (*FRAME_NAMES[:position], *recorded, *FRAME_NAMES[position:])


def find_labels(cache: LabelColumns, labels: str | Sequence[str]) -> BoolArray:
    """Find the rows of some classes, bool ``(n_rows,)``.

    Parameters
    ----------
    cache : Cache
        The open cache.
    labels : str or sequence of str
        Class, or several classes.

    Raises
    ------
    CacheError
        If no row has one of the labels, or one is no text.
    """
    column: Categories = cache.read_column("label")
    have = column.count()
    chosen = [*labels] if isinstance(labels, Iterable) and not isinstance(labels, str) else [labels]
    for name in chosen:
        if not isinstance(name, str):
            raise CacheError(
                subject="label",
                expected="names of classes as text",
                got=repr(name),
                remedy="Pass label='NAME', or str(number). For rows without a label, pass "
                "where=lambda rows: rows['label'] == ''.",
            )
        if name not in have:
            raise CacheError(
                subject=str(cache.path),
                expected=f"rows with the label {name!r}",
                got=count_noun(len(have), "other label"),
                remedy=f"Pass a label as cache.count_labels() has it. {suggest(name, [*have])}",
            )
    wanted = np.array([bool(name) and name in chosen for name in column.names], bool)
    return wanted[column.codes]


def check_mask(mask: Any, n_rows: int) -> BoolArray:
    """Return a condition as bool ``(n_rows,)``; refuse anything else.

    Parameters
    ----------
    mask : ndarray of bool
        One value for each row.
    n_rows : int
        Number of the rows.

    Raises
    ------
    FeatxError
        If it is no array of bool of this length.
    """
    found = np.asarray(mask)
    if found.dtype != bool or found.shape != (n_rows,):
        raise FeatxError(
            subject="where",
            expected=f"one bool for each of {count_noun(n_rows, 'row')}",
            got=f"{found.dtype} of shape {found.shape}",
            remedy="Compare columns, such as where=lambda rows: rows['width'] > 640.",
        )
    return found
