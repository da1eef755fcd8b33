"""A source that is a CSV or Parquet table of images."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from featx.core.errors import SourceError, require, suggest
from featx.core.rows import Row, parse_split
from featx.images.content import Content
from featx.images.labels import clean_label
from featx.images.manifest import Entry, Manifest, build_manifest
from featx.images.names import escape_name

COLUMNS = ("path", "id", "label", "split", "group")
"""Columns that featx reads. ``path`` is required; columns with other names are ignored."""


def read_table(table: Path) -> Manifest:
    """Read a table with a column ``path`` and optional columns ``id label split group``.

    Parameters
    ----------
    table : Path
        A ``.csv`` or ``.parquet`` file. Relative paths in the table start at the folder of the
        table. Without a column ``id``, the id of a row is its path as written.

    Returns
    -------
    Manifest
        One row for each line, in the order of the table. The image files are not opened.

    Raises
    ------
    SourceError
        If a line is wrong; the error names table, line and column of the first wrong line.
    """
    lines = _iter_parquet(table) if table.suffix.lower() == ".parquet" else _iter_csv(table)
    entries: list[Entry] = []
    seen: dict[str, str] = {}
    for line, cells in lines:
        entry = _read_line(table, line, cells)
        first = seen.setdefault(entry.row.id, line)
        if first is not line:
            column = "id" if cells.get("id") else "path"
            raise SourceError(
                subject=f"{table}, {line}, column {column!r}",
                expected="each id once",
                got=f"{entry.row.id!r} again after {first}",
                remedy="Add a column id, or remove the line.",
            )
        entries.append(entry)
    return build_manifest(str(table), entries, {}, "Add rows below its header.")


def _read_line(table: Path, line: str, cells: dict[str, str]) -> Entry:
    path = cells.get("path", "")
    if not path:
        raise SourceError(
            subject=f"{table}, {line}, column 'path'",
            expected="the path of an image",
            got="an empty cell",
            remedy="Write the path, or remove the line.",
        )
    split = parse_split(cells.get("split"))
    if cells.get("split") and split is None:
        raise SourceError(
            subject=f"{table}, {line}, column 'split'",
            expected="train, val or test",
            got=repr(cells["split"]),
            remedy="Correct the cell, or leave it empty.",
        )
    file = table.parent / path
    row = Row(
        id=escape_name(cells.get("id") or Path(path).as_posix()),
        path=escape_name(str(file)),
        label=clean_label(cells.get("label", "")),
        split=split,
        group=clean_label(cells.get("group", "")),
    )
    return Entry(row, Content(str(file)))


def _check_header(table: Path, names: list[str]) -> None:
    if "path" not in names:
        raise SourceError(
            subject=str(table),
            expected="a column 'path'",
            got=", ".join(names) or "no columns",
            remedy=f"Rename the column of paths to path. {suggest('path', names)}",
        )
    twice = sorted({name for name in COLUMNS if names.count(name) > 1})
    if twice:
        raise SourceError(
            subject=str(table),
            expected="each column once",
            got=f"{twice[0]!r} twice",
            remedy="Rename one of them.",
        )


def _iter_csv(table: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the name of each line and its cells. The byte-order mark of Excel is skipped."""
    number = 0
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            names = [name.strip() for name in next(reader, [])]
            _check_header(table, names)
            number = reader.line_num
            for cells in reader:
                number = reader.line_num
                if not any(cells):
                    continue
                if len(cells) != len(names):
                    column = names[min(len(cells), len(names) - 1)]
                    raise SourceError(
                        subject=f"{table}, line {number}, column {column!r}",
                        expected=f"{len(names)} cells",
                        got=str(len(cells)),
                        remedy="Put quotes around cells that hold a comma.",
                    )
                yield f"line {number}", {n: c.strip() for n, c in zip(names, cells, strict=True)}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _explain_csv(table, number, error) from error


def _explain_csv(table: Path, number: int, error: Exception) -> SourceError:
    """Turn an error into a `SourceError`; `number` is the number of lines before the error."""
    if isinstance(error, OSError):
        return SourceError(
            subject=str(table),
            expected="a table that can be read",
            got=str(error.strerror),
            remedy="Check the path.",
        )
    if isinstance(error, UnicodeDecodeError):
        return SourceError(
            subject=str(table),
            expected="UTF-8 text",
            got=f"byte {error.object[error.start]:#04x} at {error.start}",
            remedy="Save the table as UTF-8.",
        )
    return SourceError(
        subject=f"{table}, line {number + 1}",
        expected="a CSV line",
        got=str(error),
        remedy="Correct the line.",
    )


def _iter_parquet(table: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the name of each row, which counts from 1, and its cells as text."""
    parquet = require("pyarrow.parquet", "parquet")
    try:
        file = parquet.ParquetFile(table)
        names = list(file.schema_arrow.names)
    except Exception as error:  # the errors of pyarrow have no common base but Exception
        raise SourceError(
            subject=str(table),
            expected="a Parquet table",
            got=type(error).__name__,
            remedy="Write the table again.",
        ) from error
    _check_header(table, names)
    wanted = [name for name in COLUMNS if name in names]
    number = 0
    for batch in _iter_batches(table, file, wanted):
        for cells in batch:
            number += 1
            # pandas writes NaN for a missing label; NaN is the only value that differs from itself.
            texts = {n: str(v) for n, v in cells.items() if v is not None and v == v}
            yield f"row {number}", texts


def _iter_batches(table: Path, file: Any, names: list[str]) -> Iterator[list[dict[str, Any]]]:
    try:
        for batch in file.iter_batches(columns=names):
            yield batch.to_pylist()
    except OSError as error:
        raise SourceError(
            subject=str(table),
            expected="a whole Parquet table",
            got=str(error),
            remedy="Write the table again.",
        ) from error
