"""Labels, splits and groups of a cache, as columns in memory: the element ``labels`` of a cache."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from featx.core.columns import Categories, Column, Table, Texts
from featx.core.digests import SIZE
from featx.core.lookup import TextIndex
from featx.core.typing import IntArray, LabelField, Split, UInt8Array, list_choices

FIELDS: tuple[LabelField, ...] = list_choices(LabelField)

KEYS = ("id", "digest")
"""Columns of the rows by which statements find them."""

SPLIT_CODES: tuple[str, ...] = ("", *list_choices(Split))
"""Splits by their codes in a recorded split."""

NOTHING_SAID = 255
"""Code of a row of which a recorded split says nothing."""


@dataclass(frozen=True)
class Recorded:
    """Splits that were recorded for all rows of a cache at once, the oldest first.

    Attributes
    ----------
    records : Table
        One row for each recorded split: `author` and `note` (Categories), `time` (int64,
        milliseconds since 1970), `occasion` (int32, ascending).
    split : ndarray of uint8
        ``(n_recorded, n_rows)``, index into `SPLIT_CODES`, or `NOTHING_SAID`.
    """

    records: Table
    split: UInt8Array

    def __len__(self) -> int:
        return len(self.split)

    @classmethod
    def empty(cls, n_rows: int) -> Recorded:
        """Build the records of a cache whose splits are those of the source."""
        records: dict[str, Column] = {
            "author": Categories.from_list([]),
            "note": Categories.from_list([]),
            "time": np.empty(0, np.int64),
            "occasion": np.empty(0, np.int32),
        }
        return cls(Table(records), np.empty((0, n_rows), np.uint8))


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Everything that is said of the rows of a cache.

    Attributes
    ----------
    held : Table
        What holds: `label`, `split` and `group` of each row (Categories).
    source : Table
        What the source said last, in the same columns.
    said : Table
        What people said, one row for each statement and never changed: `id` (Texts) and `digest`
        (uint8, ``(n, 32)``) of the row that it was said of; `field`, `value`, `kind` and `author`
        (Categories); `time` (int64, milliseconds since 1970); `occasion` (int32), the number of the
        run in which it was said. Later occasions have larger numbers.
    recorded : Recorded
        Splits that were recorded for all rows at once.
    """

    held: Table
    source: Table
    said: Table
    recorded: Recorded

    @classmethod
    def of_source(cls, source: Table) -> Labels:
        """Build the labels of a cache of which nobody has said anything."""
        source = source.select(FIELDS)
        return cls(
            held=source, source=source, said=build_entries(), recorded=Recorded.empty(len(source))
        )

    def __len__(self) -> int:
        return len(self.source)

    @property
    def is_plain(self) -> bool:
        """True if nobody has said anything: the source's labels hold."""
        return len(self.said) == 0 and len(self.recorded) == 0

    def get_source(self, field: str) -> Categories:
        """Return what the source said of the rows; of a further column, it said nothing.

        Parameters
        ----------
        field : str
            Name of the column.
        """
        if field in FIELDS:
            column: Categories = self.source[field]
            return column
        return Categories.fill(None, len(self))

    def list_columns(self) -> tuple[str, ...]:
        """List the columns that people spoke of beside label, split and group, sorted."""
        return tuple(sorted(self.said["field"].count().keys() - set(FIELDS)))

    @property
    def next_occasion(self) -> int:
        """Number of the next run in which something is said."""
        used = (self.said["occasion"], self.recorded.records["occasion"])
        return 1 + max((int(column.max()) for column in used if len(column)), default=-1)


def build_entries(
    ids: Texts | None = None,
    digests: UInt8Array | None = None,
    *,
    fields: Iterable[str] = (),
    values: Iterable[str] = (),
    kinds: Iterable[str] = (),
    authors: Iterable[str] = (),
    time: int = 0,
    occasion: int = 0,
) -> Table:
    """Build the statements of one occasion; without arguments, none.

    Parameters
    ----------
    ids : Texts, optional
        Id of the row that each statement is about.
    digests : ndarray of uint8, optional
        ``(n, 32)``, digest of the image of that row, zeros if it is not known.
    fields, values, kinds, authors : iterable of str
        Column that each statement is about, the value that it gives (``""`` for none), its kind,
        and who said it.
    time : int
        Time of the occasion in milliseconds since 1970.
    occasion : int
        Number of the occasion.
    """
    ids = Texts.from_list([]) if ids is None else ids
    return Table(
        {
            "id": ids,
            "digest": np.empty((0, SIZE), np.uint8) if digests is None else digests,
            "field": Categories.from_list(fields),
            "value": Categories.from_list(values),
            "kind": Categories.from_list(kinds),
            "author": Categories.from_list(authors),
            "time": np.full(len(ids), time, np.int64),
            "occasion": np.full(len(ids), occasion, np.int32),
        }
    )


def rename(column: Categories, names: Texts) -> Categories:
    """Write a column with given names first, so that its codes are those of another column.

    Parameters
    ----------
    column : Categories
        The column.
    names : Texts
        Names to begin with; those that the column lacks are kept. Names that no row has and that
        are not among them are left out.
    """
    used = np.zeros(len(column.names), bool)
    used[column.codes] = True
    used[0] = False
    codes: IntArray = np.zeros(len(used), np.int64)
    found = TextIndex(names).find(column.names)
    codes[used] = found[used]
    new = used & (found < 0)
    codes[new] = len(names) + np.arange(int(new.sum()))
    extended = Texts.concat([names, column.names[new]]) if new.any() else names
    return Categories(codes.astype(np.int32)[column.codes], extended)
