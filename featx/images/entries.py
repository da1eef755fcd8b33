"""Entries: the rows of a manifest as records, each made from columns when it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from featx.core.columns import Categories, Rows, Table, Texts, iter_blocks, simplify_rows
from featx.core.row_tables import SAID_KINDS, build_table, list_rows
from featx.core.rows import Row
from featx.core.typing import BoolArray
from featx.images.content import Content, InMemory
from featx.images.contents import Contents
from featx.images.layout import Layout
from featx.images.names import escape_name, escape_names

MANIFEST_KINDS: Any = {"id": "text", "path": "text", **SAID_KINDS}
"""Kinds of the columns of a manifest: identity, and what the source says of the image."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a manifest.

    Attributes
    ----------
    row : Row
        Identity of the image: id, path, label, split and group.
    content : Content or InMemory
        The bytes of the image, or the image itself.
    """

    row: Row
    content: Content | InMemory


class Entries(Sequence[Entry]):
    """Rows and contents of many images. An entry is made when it is asked for.

    Parameters
    ----------
    rows : Table
        The columns of `MANIFEST_KINDS`.
    contents : Contents
        The bytes of each row.
    """

    def __init__(self, rows: Table, contents: Contents) -> None:
        assert len(rows) == len(contents)
        self.rows, self.contents = rows, contents

    @classmethod
    def from_list(cls, entries: Sequence[Entry]) -> Entries:
        """Build the columns of a list."""
        rows = build_table([entry.row for entry in entries], MANIFEST_KINDS)
        return cls(rows, Contents.from_list([entry.content for entry in entries]))

    @classmethod
    def concat(cls, parts: Sequence[Entries]) -> Entries:
        """Join the rows of several sources, one behind the other."""
        rows = Table.concat([part.rows for part in parts])
        return cls(rows, Contents.concat([part.contents for part in parts]))

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, key: int) -> Entry: ...
    @overload
    def __getitem__(self, key: Rows) -> Entries: ...
    def __getitem__(self, key: int | Rows) -> Entry | Entries:
        if isinstance(key, slice | np.ndarray):
            key = simplify_rows(key)
            return Entries(self.rows[key], self.contents[key])
        row = range(len(self))[key]
        return next(iter(self[row : row + 1]))

    def __iter__(self) -> Iterator[Entry]:
        for block in iter_blocks(len(self), 1024):
            yield from map(Entry, list_rows(self.rows[block]), self.contents[block])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} entries>"


def build_rows(names: Texts, root: str, layout: Layout, is_seen: BoolArray) -> Table:
    """Build the rows of files, with what their folders say of them.

    Parameters
    ----------
    names : Texts
        Path of each file within its source; becomes the id of its row.
    root : str
        Text before each name in the path of the row, as a person would open it.
    layout : Layout
        Meaning of the folders of the files that are seen.
    is_seen : ndarray of bool
        ``(n_files,)``, True for the files whose folders mean something.

    Returns
    -------
    Table
        The columns of `MANIFEST_KINDS`, names escaped to one line each.
    """
    ids = escape_names(names)
    start = escape_name(root)
    said = {"label": layout.labels, "split": layout.splits}
    for name, column in said.items():
        if not is_seen.all():
            codes = np.zeros(len(names), np.int32)
            codes[is_seen] = column.codes
            said[name] = Categories(codes, column.names)
    path = Texts.from_list(map(start.__add__, ids)) if start else ids
    group = Categories.fill(None, len(names))
    return Table({"id": ids, "path": path, **said, "group": group})


def as_columns(entries: Sequence[Entry]) -> Entries:
    """Return entries as columns; those that are columns as they are.

    Parameters
    ----------
    entries : sequence of Entry
        Rows of a manifest.
    """
    return entries if isinstance(entries, Entries) else Entries.from_list(entries)
