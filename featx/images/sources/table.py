"""A source that is a table of images: CSV and its relatives, JSON lines, or Parquet."""

from __future__ import annotations

import os
import posixpath
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from featx.core.address import Address, find_address
from featx.core.columns import Categories, CategoriesBuilder, Table, TextsBuilder
from featx.core.errors import SourceError
from featx.core.lookup import TextIndex
from featx.core.row_tables import SAID_KINDS
from featx.core.rows import parse_split
from featx.core.text import show_text
from featx.core.typing import Split
from featx.images.content import Content, InMemory, Unreadable
from featx.images.contents import Contents
from featx.images.elsewhere import IS_POSIX, describe_elsewhere, join_reason, read_file_address
from featx.images.entries import Entries
from featx.images.labels import clean_label, drop_zeros
from featx.images.manifest import Manifest, build_manifest
from featx.images.names import escape_name
from featx.images.remote import Location, RemoteContent, build_content, name_file
from featx.images.sources.cells import Findings, Line
from featx.images.sources.columns import Role
from featx.images.sources.delimited import iter_delimited
from featx.images.sources.jsonlines import iter_json_lines
from featx.images.sources.parquet import iter_parquet
from featx.images.sources.parquet_image import ParquetContents, ParquetImage, ParquetImages
from featx.images.sources.table_folders import fill_from_folders, find_prefix

READERS: Mapping[str, Callable[[Location, Findings], Iterator[Line]]] = {
    **dict.fromkeys([".csv", ".tsv", ".tab", ".txt"], iter_delimited),
    **dict.fromkeys([".jsonl", ".ndjson"], iter_json_lines),
    **dict.fromkeys([".parquet", ".pq"], iter_parquet),
}
"""Function that reads the lines of a table, by the suffix of the table in lower case."""

MAX_LENGTH = 4096
"""Largest length of a cell in characters, that of a path on Linux. A longer one is an image or a
document as text, which would be repeated in the cache and in messages."""


def read_table(table: Location) -> Manifest:
    """Read a table with a column of paths, or of images, and optional columns for the rest.

    Parameters
    ----------
    table : Path or Address
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
    is_plain = not entries.rows["label"].count()
    unread = findings.describe_unread() if is_plain and "label" not in roles else ""
    hint = "Add rows below its header."
    doubts = [*findings.list_doubts(), *notes, unread]
    manifest = build_manifest(str(table), entries, {}, hint, doubts=doubts)
    first = manifest.entries[0].content
    if isinstance(table, Address) and isinstance(first, ParquetImage):
        return replace(manifest, archives={name_file(table): first.stat()})
    return manifest


def read_entries(table: Location, findings: Findings) -> Entries:
    """Read the rows of a table, as `read_table` does; there may be none.

    Parameters
    ----------
    table : Path or Address
        The table.
    findings : Findings
        Record of how the table was read.
    """
    lines = _Lines(table, findings)
    reader = READERS[table.suffix.lower()]
    try:
        for line in reader(table, findings):
            lines.add(line)
    except SourceError:
        lines.check_ids()  # the first wrong line counts
        raise
    lines.check_ids()
    if lines.no_splits:
        findings.no_split = next(iter(lines.no_splits))
    return lines.build(are_texts=reader is iter_delimited)


class _Lines:
    """The lines of one table as columns."""

    def __init__(self, table: Location, findings: Findings) -> None:
        self._findings = findings
        self._locate = _Locator(table, findings)
        self._refuse = partial(_refuse_cell, table, findings)
        self._ids, self._paths, self._files = TextsBuilder(), TextsBuilder(), TextsBuilder()
        self._numbers, self._has_id = array("q"), array("b")
        self._are_remote = False
        self._others: dict[int, Content | InMemory] = {}
        self._images: ParquetImages | None = None  # of a table that holds its images
        self._rows, self._image_names = array("q"), TextsBuilder()
        self._said = {name: CategoriesBuilder() for name in SAID_KINDS}
        self._names: dict[str, str | None] = {"": None}
        self._splits: dict[str, Split | None] = {"": None}
        self.no_splits: dict[str, int] = {}

    def add(self, line: Line) -> None:
        """Add one line, or refuse it."""
        number, image, id_, label, split, group = line
        if not image:
            raise self._refuse(number, "path", expected="the path of an image", got="no value")
        length = len(image) if isinstance(image, str) else 0
        if max(length, len(id_), len(label), len(group)) > MAX_LENGTH:
            cells: dict[Role, object] = {"path": image, "id": id_, "label": label, "group": group}
            column = next(name for name in cells if len(str(cells[name])) > MAX_LENGTH)
            got = f"a text of {len(str(cells[column]))} characters"
            raise self._refuse(number, column, expected=f"at most {MAX_LENGTH} characters", got=got)
        for name in (label, group):
            if name not in self._names:
                self._names[name] = clean_label(name)
        if split not in self._splits:
            self._add_split(number, split)
        path, name, content = self._locate(image)
        if isinstance(content, ParquetImage):
            self._images = content.images
            self._rows.append(content.row)
            self._image_names.append(content.name)
        elif type(content) is RemoteContent:
            self._are_remote = True
        elif type(content) is not Content:
            self._others[len(self._ids)] = content
        self._ids.append(escape_name(id_ or name))
        self._paths.append(escape_name(path))
        self._files.append("" if isinstance(content, ParquetImage) else content.file)
        self._numbers.append(number)
        self._has_id.append(bool(id_))
        self._said["label"].append(self._names[label])
        self._said["split"].append(self._splits[split])
        self._said["group"].append(self._names[group])

    def _add_split(self, number: int, split: str) -> None:
        self._splits[split] = parse_split(split)
        if self._splits[split] is None:
            self.no_splits[split] = number
        # A column such as "dataset" may have other values, but not beside splits.
        is_named = self._findings.columns[-1].names.get("split", "split").lower() == "split"
        if self.no_splits and (is_named or any(self._splits.values())):
            text, first = next(iter(self.no_splits.items()))
            got = repr(show_text(text))
            raise self._refuse(first, "split", expected="train, val or test", got=got)

    def check_ids(self) -> None:
        """Refuse the first line whose id an earlier line has."""
        ids = self._ids.build()
        index = TextIndex(ids)
        row = index.find_repeat()
        if row is not None:
            first = self._numbers[int(index.find(ids[row : row + 1])[0])]
            got = f"{show_text(ids[row])!r} again after {self._findings.word} {first}"
            column: Role = "id" if self._has_id[row] else "path"
            raise self._refuse(self._numbers[row], column, expected="each id once", got=got)

    def build(self, *, are_texts: bool) -> Entries:
        """Build the rows; a column of splits that has none is left out."""
        said = {name: builder.build() for name, builder in self._said.items()}
        if self.no_splits:
            said["split"] = Categories.fill(None, len(self._ids))
        if are_texts:
            for role in WHOLE_ROLES:
                column, said[role] = said[role], drop_zeros(said[role])
                if said[role] is not column:
                    self._findings.whole_roles[role] = column.names[1]
        rows = Table({"id": self._ids.build(), "path": self._paths.build(), **said})
        others: Mapping[int, Content | InMemory] = self._others
        if self._images is not None:
            others = ParquetContents(self._images, self._rows, self._image_names.build())
        contents = Contents(self._files.build(), are_remote=self._are_remote, others=others)
        return Entries(rows, contents)


WHOLE_ROLES: tuple[Role, ...] = ("label", "group")
"""Roles whose whole decimals are read as whole numbers."""


class _Locator:
    """Finds the images of a table: the path of each, its name in the table, and its bytes."""

    def __init__(self, table: Location, findings: Findings) -> None:
        self.table, self.findings = table, findings
        self.prefix = find_prefix(table)
        self.is_remote = isinstance(table, Address)

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
        if self.is_remote:  # no password is recorded
            return str(Address(path)), str(Address(image)), build_content(path)
        return path, image, Content(path)

    def _find(self, image: str) -> tuple[str, str, Content]:
        """Find an image whose path is an address, or may be written for another system."""
        image = read_file_address(image)
        address = find_address(image)
        if address is not None:
            return str(address), str(address), build_content(address.text)
        if isinstance(self.table, Address) and not image.startswith("/"):
            return self._find_beside(self.table, image)
        folder = Path(".") if isinstance(self.table, Address) else self.table.parent
        told = describe_elsewhere(image)
        if told is not None and not os.path.lexists(folder / image):
            slashed = image.replace("\\", "/")
            if slashed == image or not os.path.lexists(folder / slashed):
                return image, image, Unreadable(image, reason=join_reason(told))
            self.findings.n_backslashes += 1
            image = slashed
        path = str(folder / image)
        return path, Path(image).as_posix(), Content(path)

    def _find_beside(self, table: Address, image: str) -> tuple[str, str, Content]:
        """Find an image by a path that starts at the folder of a table at an address."""
        slashed = posixpath.normpath(image.replace("\\", "/"))
        self.findings.n_backslashes += "\\" in image
        scheme, _, folder = table.parent.text.partition("://")
        path = f"{scheme}://{posixpath.normpath(posixpath.join(folder, slashed))}"
        return str(Address(path)), str(Address(slashed)), build_content(path)


def _refuse_cell(
    table: Location, findings: Findings, number: int, column: Role, *, expected: str, got: str
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
