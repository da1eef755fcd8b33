"""Tables of rows and of failures: their columns, and the way from records to columns and back."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

import numpy as np

from featx.core.columns import Categories, Column, Table, Texts
from featx.core.digests import pack_digests, unpack_digests
from featx.core.rows import Failure, Row

Record = TypeVar("Record", Row, Failure)

ColumnKind = Literal["text", "category", "digest", "int32", "int64"]

READ_KINDS: dict[str, ColumnKind] = {
    "id": "text",
    "path": "text",
    "digest": "digest",
    "width": "int32",
    "height": "int32",
    "n_bytes": "int64",
    "mtime_ns": "int64",
}
"""Columns that say which file a row is and what was read of it."""

SAID_KINDS: dict[str, ColumnKind] = {
    "label": "category",
    "split": "category",
    "group": "category",
}
"""Columns that say what somebody tells of an image: the source, or a person."""

ROW_KINDS: Mapping[str, ColumnKind] = READ_KINDS | SAID_KINDS

TAKEN = frozenset([*READ_KINDS, "sha256", "value", "kind", "author"])
"""Names that a further column of the user cannot have: they mean something else in a table of
labels or in a cache."""

MAX_NAME = 200
"""Largest number of characters in the name of a further column."""

UNKNOWN: Mapping[str, int] = {
    "digest": 0,
    "width": 0,
    "height": 0,
    "n_bytes": -1,
    "mtime_ns": -1,
}
"""Columns of rows that may not be known, and the value that says so."""

ENTRY_KINDS: Mapping[str, ColumnKind] = {
    "id": "text",
    "digest": "digest",
    "field": "category",
    "value": "category",
    "kind": "category",
    "author": "category",
    "time": "int64",
    "occasion": "int32",
}
"""Columns of what people said."""

RECORD_KINDS: Mapping[str, ColumnKind] = {
    "author": "category",
    "note": "category",
    "time": "int64",
    "occasion": "int32",
}
"""Columns of the splits that were recorded for all rows."""

FAILURE_KINDS: Mapping[str, ColumnKind] = {
    "id": "text",
    "path": "text",
    "digest": "digest",
    "stage": "category",
    "reason": "text",
    "embedding": "category",
    "n_bytes": "int64",
    "mtime_ns": "int64",
}


def build_table(records: Sequence[Row | Failure], kinds: Mapping[str, ColumnKind]) -> Table:
    """Build a table of records.

    Parameters
    ----------
    records : sequence of Row or of Failure
        The records; None in a text is ``""``.
    kinds : mapping of str to str
        Kind of each column, by the name of its field.

    Raises
    ------
    ValueError
        If a digest is none.
    """
    return Table(
        {
            name: _build_column([getattr(record, name) for record in records], kind)
            for name, kind in kinds.items()
        }
    )


def _build_column(values: list[Any], kind: ColumnKind) -> Column:
    match kind:
        case "text":
            return Texts.from_list(values)
        case "category":
            return Categories.from_list(values)
        case "digest":
            return pack_digests(values)
        case _:
            return np.array(values, kind)


def list_rows(table: Table) -> list[Row]:
    """List the records of a table of rows; columns that it lacks have their defaults.

    Parameters
    ----------
    table : Table
        Some of the columns of `ROW_KINDS`, among them id and path.
    """
    return _list_records(table, Row)


def list_failures(table: Table) -> list[Failure]:
    """List the records of a table of failures.

    Parameters
    ----------
    table : Table
        The columns of `FAILURE_KINDS`.
    """
    return _list_records(table, Failure)


def _list_records(table: Table, kind: type[Record]) -> list[Record]:
    records = [object.__new__(kind) for _ in range(len(table))]
    for name, field in kind.__dataclass_fields__.items():
        # Column by column into the slots of the dataclass: a third of the time of the constructor.
        values = list_values(table, name) if name in table.names else [field.default] * len(records)
        deque(map(getattr(kind, name).__set__, records, values), maxlen=0)
    return records


def list_values(table: Table, name: str) -> list[Any]:
    """List one column as a record has it: hexadecimal digests, and None for no label.

    Parameters
    ----------
    table : Table
        Rows or failures.
    name : str
        Name of the column.
    """
    column = table[name]
    if name == "digest":
        return unpack_digests(column)
    if name in SAID_KINDS:
        return [text or None for text in column]
    values: list[Any] = column.tolist() if isinstance(column, np.ndarray) else column.to_list()
    return values
