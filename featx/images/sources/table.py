"""A CSV or Parquet table of images."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from featx.core.errors import SourceError, require, suggest
from featx.core.rows import Row, read_split
from featx.images.manifest import Content, Entry, Manifest, build_manifest, escape_name

COLUMNS = ("path", "id", "label", "split", "group")
"""Columns that mean something; ``path`` must be there, others than these are passed over."""


def read_table(table: Path) -> Manifest:
    """Read a table with a column ``path``, and ``id label split group`` where it has them.

    Relative paths are relative to the table's folder. Without ``id`` a row's id is its path as
    written. Whether the files are there is found out when they are read.

    Raises
    ------
    SourceError
        Naming table, line and column of the first row that is wrong.
    """
    lines = _iter_parquet(table) if table.suffix.lower() == ".parquet" else _iter_csv(table)
    entries: list[Entry] = []
    seen: dict[str, str] = {}
    for place, cells in lines:
        entry = _read_line(table, place, cells)
        first = seen.setdefault(entry.row.id, place)
        if first is not place:
            column = "id" if cells.get("id") else "path"
            raise SourceError(
                f"{table}, {place}, column {column!r}: expected each id once, got "
                f"{entry.row.id!r} again after {first}. Add a column id, or drop the row."
            )
        entries.append(entry)
    return build_manifest(str(table), entries, 0, "Add rows below its header.")


def _read_line(table: Path, place: str, cells: dict[str, str]) -> Entry:
    path = cells.get("path", "")
    if not path:
        raise SourceError(
            f"{table}, {place}, column 'path': expected the path of an image, got nothing. "
            "Fill it in, or drop the row."
        )
    split = read_split(cells.get("split"))
    if cells.get("split") and split is None:
        raise SourceError(
            f"{table}, {place}, column 'split': expected train, val or test, "
            f"got {cells['split']!r}. Mend it, or leave it empty."
        )
    file = table.parent / path
    row = Row(
        id=escape_name(cells.get("id") or Path(path).as_posix()),
        path=escape_name(str(file)),
        label=escape_name(cells.get("label", "")) or None,
        split=split,
        group=escape_name(cells.get("group", "")) or None,
    )
    return Entry(row, Content(str(file)))


def _check_header(table: Path, names: list[str]) -> None:
    if "path" not in names:
        raise SourceError(
            f"{table}: expected a column 'path', got {', '.join(names) or 'no columns'}. "
            f"Rename the column that holds the files. {suggest('path', names)}"
        )
    twice = sorted({name for name in COLUMNS if names.count(name) > 1})
    if twice:
        raise SourceError(
            f"{table}: expected each column once, got {twice[0]!r} twice. Rename one."
        )


def _iter_csv(table: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each line's place and cells. Excel's byte-order mark is taken off."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            names = [name.strip() for name in next(reader, [])]
            _check_header(table, names)
            for cells in reader:
                if not any(cells):
                    continue
                place = f"line {reader.line_num}"
                if len(cells) != len(names):
                    column = names[min(len(cells), len(names) - 1)]
                    raise SourceError(
                        f"{table}, {place}, column {column!r}: expected {len(names)} cells, "
                        f"got {len(cells)}. Quote cells that hold a comma."
                    )
                yield place, {n: c.strip() for n, c in zip(names, cells, strict=True)}
    except OSError as error:
        raise SourceError(
            f"{table}: expected a table that can be read, got {error.strerror}. Check the path."
        ) from error
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{table}: expected UTF-8 text, got byte {error.object[error.start]:#04x} "
            f"at {error.start}. Save it as UTF-8."
        ) from error
    except csv.Error as error:
        raise SourceError(
            f"{table}, line {reader.line_num}: expected a CSV line, got {error}. Mend the line."
        ) from error


def _iter_parquet(table: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each row's place and cells, as text; numbers from 1."""
    parquet = require("pyarrow.parquet", "parquet")
    try:
        file = parquet.ParquetFile(table)
        names = list(file.schema_arrow.names)
    except Exception as error:  # pyarrow's errors share no base but Exception
        raise SourceError(
            f"{table}: expected a Parquet table, got {type(error).__name__}. Write it again."
        ) from error
    _check_header(table, names)
    wanted = [name for name in COLUMNS if name in names]
    number = 0
    for batch in _iter_batches(table, file, wanted):
        for cells in batch:
            number += 1
            # NaN, the one value that differs from itself, is how pandas writes a missing label.
            texts = {n: str(v) for n, v in cells.items() if v is not None and v == v}
            yield f"row {number}", texts


def _iter_batches(table: Path, file: Any, names: list[str]) -> Iterator[list[dict[str, Any]]]:
    try:
        for batch in file.iter_batches(columns=names):
            yield batch.to_pylist()
    except OSError as error:
        raise SourceError(
            f"{table}: expected a whole Parquet table, got {error}. Write it again."
        ) from error
