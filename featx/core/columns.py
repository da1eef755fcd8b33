"""Columns: named arrays of one length, in place of one object per row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, overload

import numpy as np

from featx.core.categories import Categories, CategoriesBuilder, count_pairs
from featx.core.texts import Rows, Texts, TextsBuilder, iter_blocks, simplify_rows
from featx.core.typing import Array, BoolArray

__all__ = [
    "Categories",
    "CategoriesBuilder",
    "Column",
    "Rows",
    "Table",
    "Texts",
    "TextsBuilder",
    "concat_columns",
    "count_pairs",
    "iter_blocks",
    "simplify_rows",
]

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

    def __init__(self, columns: Mapping[str, Any]) -> None:
        self._columns: dict[str, Any] = dict(columns)
        lengths = {len(column) for column in self._columns.values()}
        if len(lengths) != 1:
            raise ValueError(f"columns of {sorted(lengths)} rows")
        (self._n_rows,) = lengths

    @classmethod
    def concat(cls, tables: Sequence[Table]) -> Table:
        """Join tables of the same columns, one behind the other; at least one.

        Parameters
        ----------
        tables : sequence of Table
            Tables to join.
        """
        return cls(
            {name: concat_columns([part[name] for part in tables]) for name in tables[0].names}
        )

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

    def replace(self, **columns: Any) -> Table:
        """Return a table with other or further columns.

        Parameters
        ----------
        **columns : Texts, Categories or ndarray
            Columns by name, each as long as the table.
        """
        return Table(self._columns | columns)

    def select(self, names: Iterable[str]) -> Table:
        """Return a table with some of the columns.

        Parameters
        ----------
        names : iterable of str
            Names of the columns.
        """
        return Table({name: self._columns[name] for name in names})

    def equal(self, other: Table) -> BoolArray:
        """Compare with another table of the same columns and length, row by row, bool ``(n,)``.

        Parameters
        ----------
        other : Table
            Table to compare with.
        """
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


def concat_columns(parts: Sequence[Any]) -> Column:
    """Join columns of one kind, one behind the other; at least one.

    Parameters
    ----------
    parts : sequence of Texts, of Categories or of ndarray
        The columns.
    """
    if isinstance(parts[0], Texts | Categories):
        return type(parts[0]).concat(parts)
    return np.concatenate(parts)
