"""Read a table of JSON lines: one object per line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from featx.core.errors import SourceError
from featx.core.records import load_json
from featx.core.text import shorten
from featx.images.remote import Location, open_source
from featx.images.sources.cells import (
    ROLES,
    Findings,
    Line,
    name_type,
    read_typed,
    refuse_type,
    refuse_unreadable,
)
from featx.images.sources.columns import find_columns


def iter_json_lines(table: Location, findings: Findings) -> Iterator[Line]:
    """Yield the lines of a table of JSON lines. Empty lines are skipped.

    Parameters
    ----------
    table : Path or Address
        A ``.jsonl`` file in UTF-8.
    findings : Findings
        Record of how the table was read.

    Raises
    ------
    SourceError
        If the file cannot be read, or if a line is no object of text and numbers.
    """
    readers: dict[tuple[str, ...], list[str | None]] = {}
    try:
        with open_source(table) as stream:
            for number, line in enumerate(stream, 1):
                if line.isspace():
                    continue
                subject = f"{table}, line {number}"
                fields = _parse(subject, line)
                keys = tuple(fields)
                if keys not in readers:
                    columns = find_columns(keys, subject)
                    findings.columns.append(columns)
                    indices = [columns.indices.get(role) for role in ROLES]
                    readers[keys] = [None if index is None else keys[index] for index in indices]
                yield _read_line(subject, number, fields, readers[keys])
    except OSError as error:
        raise refuse_unreadable(table, error) from error


def _parse(subject: str, line: bytes) -> dict[str, Any]:
    try:
        fields = load_json(line.decode("utf-8-sig"))
    except ValueError as error:
        fields = error
    if isinstance(fields, dict):
        return fields
    got = (
        f"{type(fields).__name__}: {fields}" if isinstance(fields, Exception) else name_type(fields)
    )
    raise SourceError(
        subject=subject,
        expected='a JSON object, such as {"path": "1.jpg", "label": "cat"}',
        got=shorten(got, 200),
        remedy="Write one object per line.",
    )


def _read_line(
    subject: str,
    number: int,
    fields: dict[str, Any],
    keys: list[str | None],
) -> Line:
    path, *others = (None if key is None else fields[key] for key in keys)
    if path is not None and not isinstance(path, str):
        raise refuse_type(subject, str(keys[0]), name_type(path), expected="the path as text")
    cells = []
    for key, value in zip(keys[1:], others, strict=True):
        try:
            cells.append(read_typed(value))
        except TypeError as error:
            raise refuse_type(subject, str(key), str(error)) from error
    return (number, path or "", *cells)  # type: ignore[return-value]  # as many as roles
