"""Columns of few texts in many rows, such as labels: a code for each row, and the texts."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np

from featx.core.texts import Rows, Texts, iter_blocks
from featx.core.typing import Array, BoolArray, StrArray


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
        """Give each different text a number; None is ``""``.

        Parameters
        ----------
        texts : iterable of str or None
            Texts of the rows, in order.
        """
        builder = CategoriesBuilder()
        for text in texts:
            builder.append(text)
        return builder.build()

    @classmethod
    def fill(cls, text: str | None, n_rows: int) -> Categories:
        """Give all rows one text.

        Parameters
        ----------
        text : str or None
            Text of each row; None is ``""``.
        n_rows : int
            Number of rows.
        """
        code = 1 if text else 0
        return cls(np.full(n_rows, code, np.int32), Texts.from_list(["", text or ""][: code + 1]))

    @classmethod
    def concat(cls, parts: Sequence[Categories]) -> Categories:
        """Join columns, one behind the other.

        Parameters
        ----------
        parts : sequence of Categories
            Columns to join.
        """
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
        """Compare with another column of the same length, text by text, bool ``(n_rows,)``.

        Parameters
        ----------
        other : Categories
            Column to compare with.
        """
        codes = other.codes
        if self.names != other.names:
            numbers = {name: code for code, name in enumerate(self.names)}
            codes = np.array([numbers.get(name, -1) for name in other.names], np.int32)[codes]
        same: BoolArray = self.codes == codes
        return same

    def mask(self, text: str | None) -> BoolArray:
        """Find the rows with one text, bool ``(n_rows,)``; None is ``""``.

        Parameters
        ----------
        text : str or None
            Text to look for.
        """
        codes = [code for code, name in enumerate(self.names) if name == (text or "")]
        found: BoolArray = self.codes == (codes[0] if codes else -1)
        return found

    def or_else(self, other: Categories) -> Categories:
        """Take the text of another column in each row that has none.

        Parameters
        ----------
        other : Categories
            Column of the same length.
        """
        joined = Categories.concat([self, other])
        mine, theirs = joined.codes[: len(self)], joined.codes[len(self) :]
        return Categories(np.where(mine > 0, mine, theirs), joined.names)

    def put(self, rows: Array, texts: Categories) -> Categories:
        """Return the column with other texts in some rows.

        Parameters
        ----------
        rows : ndarray of int64
            Numbers of the rows.
        texts : Categories
            New text of each of these rows.
        """
        joined = Categories.concat([self, texts])
        codes = joined.codes[: len(self)].copy()
        codes[rows] = joined.codes[len(self) :]
        return Categories(codes, joined.names)

    def count(self) -> dict[str, int]:  # type: ignore[override]
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
    counts = np.bincount(first.codes.astype(np.int64) * len(others) + second.codes)
    found = np.flatnonzero(counts)
    pairs = [(names[code // len(others)], others[code % len(others)]) for code in found.tolist()]
    return dict(zip(pairs, counts[found].tolist(), strict=True))
