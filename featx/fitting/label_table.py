"""Read a table of labels: what somebody says of rows of a cache."""

from __future__ import annotations

import csv
import itertools
import math
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featx.core.columns import CategoriesBuilder, Table, TextsBuilder
from featx.core.errors import SourceError, require
from featx.core.records import load_json
from featx.core.rows import parse_split
from featx.core.text import shorten, show_text
from featx.core.typing import LabelKind, find_choice, list_choices
from featx.images.content import open_regular
from featx.images.labels import MISSING_WORDS, clean_label, drop_zeros
from featx.images.sources.cells import TYPED, read_typed, refuse_unreadable
from featx.images.sources.columns import find_role
from featx.images.sources.delimited import DELIMITERS, find_encoding
from featx.images.sources.table import MAX_LENGTH
from featx.labels.element import FIELDS

Cells = dict[str, Any]
"""Cells of one line by the name of their column."""

KEY_COLUMNS = ("id", "digest", "path")
"""Columns that name a row of a cache; the first one with a value counts."""


@dataclass(frozen=True, kw_only=True)
class LabelTable:
    """What a table says.

    Attributes
    ----------
    given : Table
        Statements, in the columns of `featx.labels.statements.GIVEN_COLUMNS`.
    n_empty : int
        Number of lines without a value, which say nothing.
    others : tuple of str
        Columns of labels, splits or groups that were not asked for.
    """

    given: Table
    n_empty: int = 0
    others: tuple[str, ...] = ()


class GivenBuilder:
    """Collect statements, one after the other."""

    def __init__(self) -> None:
        self._keys, self._lines = TextsBuilder(), array("q")
        self._others = {name: CategoriesBuilder() for name in ("field", "value", "kind", "author")}

    def append(self, key: str, line: int, **others: str) -> None:
        """Add one statement.

        Parameters
        ----------
        key : str
            Id, path or digest of a row.
        line : int
            Line of the table.
        **others : str
            LabelField, value, kind and author.
        """
        self._keys.append(key)
        self._lines.append(line)
        for name, builder in self._others.items():
            builder.append(others[name])

    def build(self) -> Table:
        """Return the columns. Nothing can be added afterwards."""
        others = {name: builder.build() for name, builder in self._others.items()}
        return Table(
            {"key": self._keys.build(), "line": np.frombuffer(self._lines, np.int64), **others}
        )


def read_label_table(
    table: Path, field: str, *, kind: LabelKind, author: str, remove_empty: bool
) -> LabelTable:
    """Read what a table says of rows of a cache.

    Parameters
    ----------
    table : Path
        A table with a header: CSV and its relatives, JSON lines or Parquet. It has a column ``id``,
        ``digest`` or ``path`` that names the rows, and a column of values. Columns ``kind`` and
        ``author`` may say who said it, and how surely.
    field : str
        Column of values to read.
    kind : {"sure", "unsure", "withdrawn"}
        Certainty in lines that name none.
    author : str
        Person in lines that name none.
    remove_empty : bool
        Whether an empty cell takes the value of the row away. Otherwise, it says nothing.

    Raises
    ------
    SourceError
        If the table cannot be read, lacks a column, or has a wrong cell.
    """
    reader = READERS.get(table.suffix.lower())
    if reader is None:
        raise SourceError(
            subject=str(table),
            expected=f"a table: {', '.join(READERS)}",
            got=f"the suffix {table.suffix!r}" if table.suffix else "no suffix",
            remedy="Write the labels as a CSV table with a header such as id,label.",
        )
    builder = GivenBuilder()
    n_empty = 0
    roles: dict[tuple[str, ...], _Roles] = {}
    for number, cells in reader(table):
        subject = f"{table}, line {number}"
        names = tuple(cells)
        if names not in roles:
            roles[names] = _find_roles(names, field, needs_values=kind != "withdrawn", table=table)
        found = roles[names]
        texts = {
            role: read_cell(cells[name], f"{subject}, column {shorten(name, 100)!r}", field)
            for role, name in found.cells.items()
        }
        key = next(filter(None, (texts.get(name) for name in KEY_COLUMNS)), "")
        if not key:
            raise SourceError(
                subject=subject,
                expected="the id, the digest or the path of a row",
                got="no value",
                remedy="Write one of them, or remove the line.",
            )
        own_kind: str = kind
        if texts.get("kind"):
            where = f"{subject}, column {found.cells['kind']}"
            words = list_choices(LabelKind)
            own_kind = find_choice(where, texts["kind"], words, error=SourceError)
        value = clean_value(texts.get("value", ""), field, subject)
        if value or remove_empty or own_kind == "withdrawn":
            builder.append(
                key,
                number,
                field=field,
                value="" if own_kind == "withdrawn" else value,
                kind=own_kind,
                author=clean_label(texts.get("author", "")) or author,
            )
        else:
            n_empty += 1
    if not roles:
        raise SourceError(
            subject=str(table),
            expected="at least one line below a header",
            got="none",
            remedy=f"Write a header such as id,{field}, and a line for each image.",
        )
    given = builder.build()
    if reader is _iter_delimited and field != "split":
        given = given.replace(value=drop_zeros(given["value"]))
    others = dict.fromkeys(name for one in roles.values() for name in one.others)
    return LabelTable(given=given, n_empty=n_empty, others=tuple(others))


@dataclass(frozen=True)
class _Roles:
    """Columns of a table: the name of the column of each role, and those that are passed over."""

    cells: Mapping[str, str]
    others: tuple[str, ...]


def _find_roles(names: Sequence[str], field: str, *, needs_values: bool, table: Path) -> _Roles:
    """Find the columns that name rows and that hold values."""
    cells: dict[str, str] = {}
    others = []
    # A column of this very name comes before "class" and the like.
    for name in sorted(names, key=lambda name: not _is_named(name, field)):
        role = find_role(name) or name.strip().casefold()
        role = "digest" if role == "sha256" else role
        if role == field or _is_named(name, field):
            role = "value"
        if role in FIELDS:
            others += [name] if field in FIELDS else []
        elif role in (*KEY_COLUMNS, "value", "kind", "author"):
            cells.setdefault(role, name)
    lacking = [] if any(key in cells for key in KEY_COLUMNS) else ["a column id, digest or path"]
    lacking += [f"a column {field}"] if needs_values and "value" not in cells else []
    if lacking:
        hint = (
            f" It has {others[0]}: pass field={find_role(others[0])!r} to record that."
            if others
            else ""
        )
        raise SourceError(
            subject=str(table),
            expected=" and ".join(lacking),
            got=shorten(", ".join(names)) or "no columns",
            remedy=f"Write a header such as id,{field} in its first line.{hint}",
        )
    return _Roles(cells, tuple(others))


def _is_named(name: str, field: str) -> bool:
    """Tell whether a column of the table is the one of this very name."""
    return (clean_label(name) or "").casefold() == field.casefold()


def read_cell(value: Any, subject: str, field: str = "label") -> str:
    """Read one cell as text, as `featx.images.sources.cells.read_typed` does.

    Parameters
    ----------
    value : object
        The cell.
    subject : str
        Name of the cell, for the error.
    field : str
        Column that is recorded. Of another column than label, split and group, decimals are read,
        too, as the shortest text that stands for the same float64.

    Raises
    ------
    SourceError
        If the value is neither text nor a whole number, true, false or missing.
    """
    if isinstance(value, float) and field not in FIELDS and not value.is_integer():
        return "" if math.isnan(value) else repr(value)
    try:
        return read_typed(value)
    except TypeError as error:
        raise SourceError(
            subject=subject,
            expected=TYPED,
            got=shorten(str(error), 100),
            remedy="Write the values as text.",
        ) from error


def clean_value(text: str, field: str, subject: str) -> str:
    """Bring a value into the form in which sources give it.

    Parameters
    ----------
    text : str
        The value as it was given; empty for none.
    field : str
        Column of the value.
    subject : str
        Name of the line, for the error.

    Raises
    ------
    SourceError
        If the value is too long, or is no split.
    """
    if len(text) > MAX_LENGTH:
        raise SourceError(
            subject=subject,
            expected=f"at most {MAX_LENGTH} characters",
            got=f"a text of {len(text)} characters",
            remedy="Write a short name.",
        )
    if field != "split" or not text:
        return clean_label(text) or ""
    split = parse_split(text)
    if split is None:
        raise SourceError(
            subject=subject,
            expected="train, val or test",
            got=repr(show_text(text)),
            remedy="Correct the cell, or leave it empty.",
        )
    return split


def _iter_delimited(table: Path) -> Iterator[tuple[int, Cells]]:
    """Yield the lines of a text table below its header, each with its number."""
    number = 0
    try:
        with table.open(encoding=find_encoding(table), newline="") as stream:
            header = stream.readline()
            sign = max(DELIMITERS, key=lambda one: _count_roles(header, one))
            lines = csv.reader(
                itertools.chain([header], stream),
                delimiter=sign,
                skipinitialspace=True,
                strict=True,
            )
            names = [name.strip() for name in next(lines, [])]
            for cells in lines:
                number = lines.line_num
                if not any(cells):
                    continue
                if len(cells) != len(names):
                    raise SourceError(
                        subject=f"{table}, line {number}",
                        expected=f"{len(names)} cells, as in the header",
                        got=str(len(cells)),
                        remedy=f"Put quotes around cells that hold {DELIMITERS[sign]}.",
                    )
                texts = ("" if cell.strip() in MISSING_WORDS else cell for cell in cells)
                yield number, dict(zip(names, texts, strict=True))
    except OSError as error:
        raise refuse_unreadable(table, error) from error
    except (UnicodeError, csv.Error) as error:
        raise SourceError(
            subject=f"{table}, line {number + 1}",
            expected="a whole line of UTF-8 text",
            got=str(error),
            remedy="Correct the line.",
        ) from error


def _count_roles(header: str, sign: str) -> tuple[int, int]:
    """Count the columns that featx knows, and all columns, if this sign stands between them."""
    names = next(csv.reader([header], delimiter=sign), [])
    known = [name for name in names if find_role(name) or name.strip().casefold() == "digest"]
    return len(known), len(names)


def _iter_json_lines(table: Path) -> Iterator[tuple[int, Cells]]:
    """Yield the objects of a table of JSON lines, each with the number of its line."""
    try:
        with open_regular(str(table)) as stream:
            for number, line in enumerate(stream, 1):
                if line.isspace():
                    continue
                try:
                    cells = load_json(line.decode("utf-8-sig"))
                except ValueError as error:
                    cells = error
                if not isinstance(cells, dict):
                    raise SourceError(
                        subject=f"{table}, line {number}",
                        expected='a JSON object, such as {"id": "1.jpg", "label": "cat"}',
                        got=shorten(str(cells), 200),
                        remedy="Write one object per line.",
                    )
                yield number, cells
    except OSError as error:
        raise refuse_unreadable(table, error) from error


def _iter_parquet(table: Path) -> Iterator[tuple[int, Cells]]:
    """Yield the rows of a Parquet table, each with its number."""
    parquet = require("pyarrow.parquet", "parquet")
    try:
        with open_regular(str(table)):  # Arrow would wait for a pipe
            file = parquet.ParquetFile(table)
        with file:
            rows = itertools.chain.from_iterable(batch.to_pylist() for batch in file.iter_batches())
            yield from enumerate(rows, 1)
    except OSError as error:
        raise refuse_unreadable(table, error) from error
    except require("pyarrow", "parquet").lib.ArrowException as error:
        raise SourceError(
            subject=str(table),
            expected="a Parquet table",
            got=type(error).__name__,
            remedy="Write the table again.",
        ) from error


READERS: Mapping[str, Callable[[Path], Iterator[tuple[int, Cells]]]] = {
    **dict.fromkeys([".csv", ".tsv", ".tab", ".txt"], _iter_delimited),
    **dict.fromkeys([".jsonl", ".ndjson"], _iter_json_lines),
    **dict.fromkeys([".parquet", ".pq"], _iter_parquet),
}
"""Function that reads the lines of a table, by the suffix of the table in lower case."""
