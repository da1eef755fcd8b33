"""Columns: named arrays of one length, in place of one object per row. Texts are UTF-8 bytes."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, overload

import numpy as np

from featx.core.typing import Array, BoolArray, IntArray, StrArray, UInt8Array

BLOCK = 1 << 15
"""Number of rows that a loop over texts holds as Python objects, or as indices, at a time."""

Rows: TypeAlias = slice | Array
"""A choice of rows: a slice, an array of bool, or an array of row numbers, none negative."""


class Texts(Sequence[str]):
    """Texts of many rows, as one buffer of UTF-8 and the offsets of the texts in it.

    Parameters
    ----------
    offsets : ndarray of int64
        ``(n_rows + 1,)``, ascending: text `i` lies between ``offsets[i]`` and ``offsets[i + 1]``.
        The first offset need not be 0, so that a slice shares the buffer.
    data : ndarray of uint8
        UTF-8 bytes of all texts. A lone surrogate, which stands for a byte of a file name that is
        not UTF-8, has three bytes.

    Examples
    --------
    >>> texts = Texts.from_list(["ant", "", "bee"])
    >>> texts[2], texts[1:].to_list(), texts[np.array([2, 0])].to_list()
    ('bee', ['', 'bee'], ['bee', 'ant'])
    """

    __slots__ = ("data", "offsets")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, offsets: IntArray, data: UInt8Array) -> None:
        self.offsets, self.data = offsets, data

    @classmethod
    def from_list(cls, texts: Iterable[str]) -> Texts:
        """Join texts to a column."""
        builder = TextsBuilder()
        for text in texts:
            builder.append(text)
        return builder.build()

    @classmethod
    def concat(cls, parts: Sequence[Texts]) -> Texts:
        """Join columns, one behind the other."""
        compact = [part.compact() for part in parts]
        ends = list(itertools.accumulate((len(part.data) for part in compact), initial=0))
        offsets = [part.offsets[1:] + end for part, end in zip(compact, ends, strict=False)]
        data = [np.empty(0, np.uint8), *(part.data for part in compact)]
        return cls(np.concatenate([np.zeros(1, np.int64), *offsets]), np.concatenate(data))

    def __reduce__(self) -> tuple[type[Texts], tuple[IntArray, UInt8Array]]:
        """Pickle the bytes of these texts alone, not a buffer that others share."""
        own = self.compact()
        return Texts, (own.offsets, own.data)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, key: int) -> str: ...
    @overload
    def __getitem__(self, key: Rows) -> Texts: ...
    def __getitem__(self, key: int | Rows) -> str | Texts:
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step == 1:
                return Texts(self.offsets[start : max(start, stop) + 1], self.data)
            return self._take(np.arange(start, stop, step))
        if isinstance(key, np.ndarray):
            rows = simplify_rows(key)
            return self[rows] if isinstance(rows, slice) else self._take(rows)
        first, last = self.offsets[range(len(self))[key] :][:2].tolist()
        return self.data[first:last].tobytes().decode("utf-8", "surrogatepass")

    def _take(self, rows: IntArray) -> Texts:
        starts = self.offsets[rows]
        lengths = self.offsets[rows + 1] - starts
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        data = np.empty(offsets[-1], np.uint8)
        for block in iter_blocks(len(rows)):
            first, last = offsets[block.start], offsets[block.stop]
            index = np.repeat(starts[block] - offsets[block], lengths[block])
            index += np.arange(first, last)
            data[first:last] = self.data[index]
        return Texts(offsets, data)

    def __iter__(self) -> Iterator[str]:
        for data, bounds in self._iter_bytes():
            pairs = itertools.pairwise(bounds)
            if data.isascii():  # cut without decoding each part
                text = data.decode("ascii")
                yield from [text[first:last] for first, last in pairs]
            else:
                yield from [
                    data[first:last].decode("utf-8", "surrogatepass") for first, last in pairs
                ]

    def _iter_bytes(self) -> Iterator[tuple[bytes, list[int]]]:
        """Yield the bytes of blocks of rows, and the bounds of the texts in them."""
        for block in iter_blocks(len(self)):
            offsets = self.offsets[block.start : block.stop + 1]
            data = self.data[offsets[0] : offsets[-1]].tobytes()
            yield data, (offsets - offsets[0]).tolist()

    def iter_encoded(self) -> Iterator[bytes]:
        """Iterate over the UTF-8 bytes of each text."""
        for data, bounds in self._iter_bytes():
            yield from [data[first:last] for first, last in itertools.pairwise(bounds)]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Texts):
            return NotImplemented
        mine, theirs = self.compact(), other.compact()
        same = np.array_equal(mine.offsets, theirs.offsets)
        return same and np.array_equal(mine.data, theirs.data)

    def __repr__(self) -> str:
        return f"Texts({self[:3].to_list()}{' …' if len(self) > 3 else ''}, {len(self)} rows)"

    @property
    def lengths(self) -> IntArray:
        """Number of bytes of each text, int64 ``(n_rows,)``."""
        return np.diff(self.offsets)

    def equal(self, other: Texts) -> BoolArray:
        """Compare with another column of the same length, text by text, bool ``(n_rows,)``."""
        same = self.lengths == other.lengths
        for block in iter_blocks(len(self)):
            mine, theirs = (one[block][same[block]].compact() for one in (self, other))
            differing = mine.data != theirs.data
            if differing.any():
                count = np.concatenate([[0], np.cumsum(differing)])
                is_same = count[mine.offsets[1:]] == count[mine.offsets[:-1]]
                same[block.start + np.flatnonzero(same[block])] = is_same
        return same

    def compact(self) -> Texts:
        """Return the same texts in a buffer of their own, whose first offset is 0."""
        first, last = self.offsets[0], self.offsets[-1]
        return Texts(self.offsets - first, self.data[first:last])

    def to_list(self) -> list[str]:
        """List the texts as Python strings."""
        return [*self]

    def to_array(self) -> StrArray:
        """Return the texts as Python strings in an array of objects, ``(n_rows,)``."""
        texts = np.empty(len(self), object)
        texts[:] = self.to_list()
        return texts


class TextsBuilder:
    """Collect texts, one after the other, without keeping an object for each."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._offsets = array("q", [0])

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def append(self, text: str) -> None:
        """Add one text."""
        self._data += text.encode("utf-8", "surrogatepass")
        self._offsets.append(len(self._data))

    def build(self) -> Texts:
        """Return the column. Nothing can be added afterwards."""
        return Texts(np.frombuffer(self._offsets, np.int64), np.frombuffer(self._data, np.uint8))


class Categories(Sequence[str]):
    """Texts of many rows of which few are different: labels, splits, groups.

    Parameters
    ----------
    codes : ndarray of int32
        ``(n_rows,)``, number of each row's text.
    names : Texts
        The different texts. The first one is ``""``, so that code 0 means none.

    Examples
    --------
    >>> labels = Categories.from_list(["ant", "", "bee", "ant"])
    >>> labels.codes.tolist(), labels[3], labels.count()
    ([1, 0, 2, 1], 'ant', {'ant': 2, 'bee': 1})
    """

    __slots__ = ("codes", "names")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, codes: Array, names: Texts) -> None:
        self.codes, self.names = codes, names

    @classmethod
    def from_list(cls, texts: Iterable[str | None]) -> Categories:
        """Give each different text a number; None is ``""``."""
        builder = CategoriesBuilder()
        for text in texts:
            builder.append(text)
        return builder.build()

    @classmethod
    def fill(cls, text: str | None, n_rows: int) -> Categories:
        """Give all rows one text."""
        code = 1 if text else 0
        return cls(np.full(n_rows, code, np.int32), Texts.from_list(["", text or ""][: code + 1]))

    @classmethod
    def concat(cls, parts: Sequence[Categories]) -> Categories:
        """Join columns, one behind the other."""
        numbers: dict[str, int] = {"": 0}
        codes = [np.empty(0, np.int32)]
        for part in parts:
            table = [numbers.setdefault(name, len(numbers)) for name in part.names]
            codes.append(np.array(table, np.int32)[part.codes])
        return cls(np.concatenate(codes), Texts.from_list(numbers))

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, key: int) -> str: ...
    @overload
    def __getitem__(self, key: Rows) -> Categories: ...
    def __getitem__(self, key: int | Rows) -> str | Categories:
        if isinstance(key, slice | np.ndarray):
            return Categories(self.codes[key], self.names)
        return self.names[int(self.codes[key])]

    def __iter__(self) -> Iterator[str]:
        names = self.names.to_list()
        for block in iter_blocks(len(self)):
            yield from [names[code] for code in self.codes[block].tolist()]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Categories):
            return NotImplemented
        return len(self) == len(other) and bool(self.equal(other).all())

    def __repr__(self) -> str:
        return f"Categories({self.count()}, {len(self)} rows)"

    def equal(self, other: Categories) -> BoolArray:
        """Compare with another column of the same length, text by text, bool ``(n_rows,)``."""
        if self.names == other.names:
            return self.codes == other.codes
        numbers = {name: code for code, name in enumerate(self.names)}
        table = np.array([numbers.get(name, -1) for name in other.names], np.int32)
        return self.codes == table[other.codes]

    def mask(self, text: str | None) -> BoolArray:
        """Find the rows with one text, bool ``(n_rows,)``; None is ``""``."""
        codes = [code for code, name in enumerate(self.names) if name == (text or "")]
        return self.codes == (codes[0] if codes else -1)

    def or_else(self, other: Categories) -> Categories:
        """Take the text of another column in each row that has none."""
        joined = Categories.concat([self, other])
        mine, theirs = joined.codes[: len(self)], joined.codes[len(self) :]
        return Categories(np.where(mine > 0, mine, theirs), joined.names)

    def put(self, rows: Array, texts: Categories) -> Categories:
        """Return the column with other texts in some rows."""
        joined = Categories.concat([self, texts])
        codes = joined.codes[: len(self)].copy()
        codes[rows] = joined.codes[len(self) :]
        return Categories(codes, joined.names)

    def count(self) -> dict[str, int]:
        """Count the rows of each text but ``""``, in the order of the names."""
        counts = np.bincount(self.codes, minlength=len(self.names)).tolist()
        pairs = zip(self.names, counts, strict=True)
        return {name: count for name, count in pairs if name and count}

    def to_list(self) -> list[str]:
        """List the texts as Python strings, which rows with one text share."""
        return [*self]

    def to_array(self) -> StrArray:
        """Return the texts as Python strings in an array of objects, ``(n_rows,)``."""
        return self.names.to_array()[self.codes]


class CategoriesBuilder:
    """Collect texts of which few are different, one after the other."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {"": 0}
        self._codes = array("i")

    def append(self, text: str | None) -> None:
        """Add one text; None is ``""``."""
        self._codes.append(self._numbers.setdefault(text or "", len(self._numbers)))

    def build(self) -> Categories:
        """Return the column. Nothing can be added afterwards."""
        return Categories(np.frombuffer(self._codes, np.int32), Texts.from_list(self._numbers))


Column: TypeAlias = Texts | Categories | Array


class Table:
    """Columns of one length.

    Parameters
    ----------
    columns : mapping of str to Texts, Categories or ndarray
        Columns by name; rows lie along the first axis of an array.

    Examples
    --------
    >>> table = Table({"id": Texts.from_list(["a", "b"]), "width": np.array([3, 4])})
    >>> len(table), table[1:]["id"].to_list(), table[np.array([1, 0])]["width"].tolist()
    (2, ['b'], [4, 3])
    """

    __slots__ = ("_columns", "_n_rows")

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = dict(columns)
        lengths = {len(column) for column in self._columns.values()}
        if len(lengths) != 1:
            raise ValueError(f"columns of {sorted(lengths)} rows")
        (self._n_rows,) = lengths

    @classmethod
    def concat(cls, tables: Sequence[Table]) -> Table:
        """Join tables of the same columns, one behind the other; at least one."""
        return cls({name: _concat([part[name] for part in tables]) for name in tables[0].names})

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self._columns)

    def __len__(self) -> int:
        return self._n_rows

    @overload
    def __getitem__(self, key: str) -> Any: ...
    @overload
    def __getitem__(self, key: Rows) -> Table: ...
    def __getitem__(self, key: str | Rows) -> Any:
        if isinstance(key, str):
            return self._columns[key]
        key = simplify_rows(key)
        return Table({name: column[key] for name, column in self._columns.items()})

    def __repr__(self) -> str:
        return f"Table({', '.join(self.names)}; {len(self)} rows)"

    def replace(self, **columns: Column) -> Table:
        """Return a table with other or further columns."""
        return Table(self._columns | columns)

    def select(self, names: Iterable[str]) -> Table:
        """Return a table with some of the columns."""
        return Table({name: self._columns[name] for name in names})

    def equal(self, other: Table) -> BoolArray:
        """Compare with another table of the same columns and length, row by row, bool ``(n,)``."""
        same = np.ones(len(self), bool)
        for block in iter_blocks(len(self)):
            for name, column in self._columns.items():
                mine, theirs = column[block], other[name][block]
                if isinstance(mine, Texts | Categories):
                    same[block] &= mine.equal(theirs)
                else:
                    found = mine == theirs
                    same[block] &= found if found.ndim == 1 else found.all(axis=1)
        return same


def _concat(parts: Sequence[Any]) -> Column:
    if isinstance(parts[0], Texts | Categories):
        return type(parts[0]).concat(parts)
    return np.concatenate(parts)


def count_pairs(first: Categories, second: Categories) -> dict[tuple[str, str], int]:
    """Count the rows of each pair of texts of two columns.

    Parameters
    ----------
    first, second : Categories
        Two columns of one length.

    Examples
    --------
    >>> count_pairs(Categories.from_list("aab"), Categories.from_list(["x", "", ""]))
    {('a', ''): 1, ('a', 'x'): 1, ('b', ''): 1}
    """
    names, others = first.names.to_list(), second.names.to_list()
    codes = first.codes.astype(np.int64) * len(others) + second.codes
    found, counts = (part.tolist() for part in np.unique(codes, return_counts=True))
    pairs = [(names[code // len(others)], others[code % len(others)]) for code in found]
    return dict(zip(pairs, counts, strict=True))


def simplify_rows(rows: Rows) -> Rows:
    """Name consecutive rows by a slice, which copies nothing; others by their numbers.

    Parameters
    ----------
    rows : slice or ndarray
        A choice of rows.

    Examples
    --------
    >>> simplify_rows(np.array([False, True, True])), simplify_rows(np.array([2, 0]))
    (slice(1, 3, None), array([2, 0]))
    """
    if isinstance(rows, slice):
        return rows
    if rows.dtype == bool:
        rows = np.flatnonzero(rows)
    if not len(rows):
        return slice(0, 0)
    first, last = int(rows[0]), int(rows[-1])
    is_run = last - first == len(rows) - 1 and bool((np.diff(rows) == 1).all())
    return slice(first, last + 1) if is_run else rows


def iter_blocks(n_rows: int, size: int = BLOCK) -> Iterator[slice]:
    """Cut rows into blocks.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    size : int
        Largest number of rows in a block.

    Examples
    --------
    >>> [(block.start, block.stop) for block in iter_blocks(5, 2)]
    [(0, 2), (2, 4), (4, 5)]
    """
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))
