"""A source that is a table of images: CSV and its relatives, JSON lines, or Parquet."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from featx.core.errors import SourceError
from featx.core.rows import Row, parse_split
from featx.core.text import show_text
from featx.core.typing import Split
from featx.images.content import Content, Unreadable
from featx.images.elsewhere import IS_POSIX, describe_elsewhere, join_reason, read_file_address
from featx.images.labels import clean_label
from featx.images.manifest import Entry, Manifest, build_manifest
from featx.images.names import escape_name
from featx.images.sources.cells import WHOLE, Findings, Line
from featx.images.sources.columns import Role
from featx.images.sources.delimited import iter_delimited
from featx.images.sources.jsonlines import iter_json_lines
from featx.images.sources.parquet import iter_parquet
from featx.images.sources.parquet_image import ParquetImage
from featx.images.sources.table_folders import fill_from_folders, find_prefix

READERS: Mapping[str, Callable[[Path, Findings], Iterator[Line]]] = {
    **dict.fromkeys([".csv", ".tsv", ".tab", ".txt"], iter_delimited),
    **dict.fromkeys([".jsonl", ".ndjson"], iter_json_lines),
    **dict.fromkeys([".parquet", ".pq"], iter_parquet),
}
"""Function that reads the lines of a table, by the suffix of the table in lower case."""

MAX_LENGTH = 4096
"""Largest length of a cell in characters, that of a path on Linux. A longer one is an image or a
document as text, which would be repeated in the cache and in messages."""


def read_table(table: Path) -> Manifest:
    """Read a table with a column of paths, or of images, and optional columns for the rest.

    Parameters
    ----------
    table : Path
        A table with one of the suffixes of `READERS`. Its columns have one of the names that
        `featx.images.sources.columns` lists. Relative paths in it start at its folder. Without a
        column ``id``, the id of a row is its path as written, or the name of its image in the
        table. Without a column of labels or of splits, the folders of the paths say them, if they
        are clear.

    Returns
    -------
    Manifest
        One row for each line, in the order of the table. The images are not read.

    Raises
    ------
    SourceError
        If a line is wrong; the error names table, line and column of the first wrong line.
    """
    findings = Findings()
    entries = read_entries(table, findings)
    roles = {role for columns in findings.columns for role in columns.indices}
    roles -= {"split"} if findings.no_split else set()
    entries, notes = fill_from_folders(
        table, entries, has_labels="label" in roles, has_splits="split" in roles
    )
    is_plain = not any(entry.row.label for entry in entries)
    unread = findings.describe_unread() if is_plain and "label" not in roles else ""
    hint = "Add rows below its header."
    doubts = [*findings.list_doubts(), *notes, unread]
    return build_manifest(str(table), entries, {}, hint, doubts=doubts)


def read_entries(table: Path, findings: Findings) -> list[Entry]:
    """Read the rows of a table, as `read_table` does; there may be none.

    Parameters
    ----------
    table : Path
        The table.
    findings : Findings
        Record of how the table was read.
    """
    entries: list[Entry] = []
    seen: dict[str, int] = {}
    names: dict[str, str | None] = {"": None}
    splits: dict[str, Split | None] = {"": None}
    no_splits: dict[str, int] = {}
    locate = _Locator(table, findings)
    reader = READERS[table.suffix.lower()]
    refuse = partial(_refuse_cell, table, findings)
    for number, image, id_, label, split, group in reader(table, findings):
        if not image:
            raise refuse(number, "path", expected="the path of an image", got="no value")
        length = len(image) if isinstance(image, str) else 0
        if max(length, len(id_), len(label), len(group)) > MAX_LENGTH:
            cells: dict[Role, object] = {"path": image, "id": id_, "label": label, "group": group}
            column = next(name for name in cells if len(str(cells[name])) > MAX_LENGTH)
            got = f"a text of {len(str(cells[column]))} characters"
            raise refuse(number, column, expected=f"at most {MAX_LENGTH} characters", got=got)
        if label not in names:
            names[label] = clean_label(label)
        if group not in names:
            names[group] = clean_label(group)
        if split not in splits:
            splits[split] = parse_split(split)
            if splits[split] is None:
                no_splits[split] = number
            # A column such as "dataset" may have other values, but not beside splits.
            is_named = findings.columns[-1].names.get("split", "split").lower() == "split"
            if no_splits and (is_named or any(splits.values())):
                text, first = next(iter(no_splits.items()))
                got = repr(show_text(text))
                raise refuse(first, "split", expected="train, val or test", got=got)
        path, name, content = locate(image)
        key = escape_name(id_ or name)
        row = Row(
            id=key,
            path=escape_name(path),
            label=names[label],
            split=splits[split],
            group=names[group],
        )
        first = seen.setdefault(key, number)
        if first != number:
            got = f"{show_text(key)!r} again after {findings.word} {first}"
            raise refuse(number, "id" if id_ else "path", expected="each id once", got=got)
        entries.append(Entry(row, content))
    if no_splits:
        findings.no_split = next(iter(no_splits))
        entries = [replace(entry, row=replace(entry.row, split=None)) for entry in entries]
    return _drop_zeros(entries, findings) if reader is iter_delimited else entries


def _drop_zeros(entries: list[Entry], findings: Findings) -> list[Entry]:
    """Write labels and groups as whole numbers if all of a column are decimals such as 1.0 or 1,0.

    pandas and Excel write 1 so in a column that has missing values.
    """
    roles: tuple[Role, ...] = ("label", "group")
    for role in roles:
        values = (getattr(entry.row, role) for entry in entries)
        texts = (text for text in values if text is not None)
        first = next(texts, None)
        if first is None or not all(map(WHOLE.fullmatch, chain([first], texts))):
            continue
        findings.whole_roles[role] = first
        for index, entry in enumerate(entries):
            text = getattr(entry.row, role)
            if text is not None:
                whole: Any = WHOLE.sub(r"\1", text)
                row = replace(entry.row, **{role: whole})
                entries[index] = replace(entry, row=row)
    return entries


class _Locator:
    """Finds the images of a table: the path of each, its name in the table, and its bytes."""

    def __init__(self, table: Path, findings: Findings) -> None:
        self.table, self.findings = table, findings
        self.prefix = find_prefix(table)

    def __call__(self, image: str | Content) -> tuple[str, str, Content]:
        """Find one image by its path as written."""
        if isinstance(image, ParquetImage):
            return f"{self.table}/{image.name}", image.name, image
        assert isinstance(image, str)
        # Most paths need no second look: a Path would take as long as everything else together.
        is_odd = "\\" in image or "//" in image or "./" in image or image[1:2] == ":"
        if is_odd or image[0] in "~.$%" or image[-1] in "/." or not IS_POSIX:
            return self._find(image)
        path = image if image[0] == "/" else self.prefix + image
        return path, image, Content(path)

    def _find(self, image: str) -> tuple[str, str, Content]:
        """Find an image whose path is an address, or may be written for another system."""
        image = read_file_address(image)
        folder = self.table.parent
        told = describe_elsewhere(image)
        if told is not None and not os.path.lexists(folder / image):
            slashed = image.replace("\\", "/")
            if slashed == image or not os.path.lexists(folder / slashed):
                return image, image, Unreadable(image, reason=join_reason(told))
            self.findings.n_backslashes += 1
            image = slashed
        path = str(folder / image)
        return path, Path(image).as_posix(), Content(path)


def _refuse_cell(
    table: Path, findings: Findings, number: int, column: Role, *, expected: str, got: str
) -> SourceError:
    remedies = {
        "path": "Write the path, or remove the line.",
        "split": "Correct the cell, or leave it empty.",
    }
    if expected == "each id once":
        remedies[column] = "Give each row an id of its own in a column id, or remove the line."
    return SourceError(
        subject=f"{table}, {findings.word} {number}, column {findings.name_column(column)}",
        expected=expected,
        got=got,
        remedy=remedies.get(column, "Write a short name, or leave the cell empty."),
    )
