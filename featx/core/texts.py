"""Columns of texts: one buffer of UTF-8 and offsets, in place of one object per row."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias, overload

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
        """Join texts to a column.

        Parameters
        ----------
        texts : iterable of str
            Texts of the rows, in order.
        """
        builder = TextsBuilder()
        for text in texts:
            builder.append(text)
        return builder.build()

    @classmethod
    def concat(cls, parts: Sequence[Texts]) -> Texts:
        """Join columns, one behind the other.

        Parameters
        ----------
        parts : sequence of Texts
            Columns to join.
        """
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
        """Compare with another column of the same length, text by text, bool ``(n_rows,)``.

        Parameters
        ----------
        other : Texts
            Column to compare with.
        """
        same: BoolArray = self.lengths == other.lengths
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
