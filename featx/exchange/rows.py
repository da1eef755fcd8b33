"""Rows of an import: what the columns of a table say of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featx.core.columns import Categories, Table, Texts
from featx.core.digests import pack_digests
from featx.core.errors import ExchangeError
from featx.core.lookup import TextIndex
from featx.core.row_tables import MAX_NAME, ROW_KINDS, TAKEN, UNKNOWN
from featx.core.rows import parse_split
from featx.core.text import shorten, show_text
from featx.core.typing import Array, LabelField
from featx.exchange.table import COLUMNS, SIZES
from featx.images.labels import clean_label, drop_zeros
from featx.images.names import escape_name
from featx.images.sources.columns import find_columns, has_paths
from featx.labels.element import FIELDS

INDEX = re.compile(r"Unnamed: \d+|__index_level_\d+__")
"""Names that pandas gives to an index without a name."""


@dataclass(frozen=True, kw_only=True)
class ImportedRows:
    """Rows of an import.

    Attributes
    ----------
    rows : Table
        The rows, in the columns of a cache.
    further : dict of str to Categories
        Other columns of text, by name.
    passed_over : tuple of str
        Names of columns that are not read.
    """

    rows: Table
    further: Mapping[str, Categories]
    passed_over: tuple[str, ...] = ()


def read_own_rows(columns: Mapping[str, Texts], further: Sequence[str], path: Path) -> ImportedRows:
    """Read the rows of a table that featx exported: every text stays as it is.

    Parameters
    ----------
    columns : mapping of str to Texts
        Columns of the table.
    further : sequence of str
        Names of the further columns.
    path : Path
        The table, for errors.

    Raises
    ------
    ExchangeError
        If a column is missing or has a wrong cell.
    """
    lacking = [name for name in (*COLUMNS, *further) if name not in columns]
    if lacking:
        raise ExchangeError(
            subject=str(path),
            expected=f"the columns {', '.join((*COLUMNS, *further))}",
            got=f"none named {shorten(', '.join(lacking))}",
            remedy="Export the cache again; or pass model=NAME to import the vectors as those of "
            "another program.",
        )
    said = {name: Categories.from_list(columns[name]) for name in FIELDS}
    said["split"] = _parse_splits(said["split"], path)
    return ImportedRows(
        rows=_build_rows(columns, path, ids=columns["id"], paths=columns["path"], said=said),
        further={name: Categories.from_list(columns[name]) for name in further},
    )


def read_foreign_rows(columns: Mapping[str, Texts], n_rows: int, path: Path) -> ImportedRows:
    """Read the rows of a table of another program; its columns have the names that sources have.

    Parameters
    ----------
    columns : mapping of str to Texts
        Columns of the table; there may be none.
    n_rows : int
        Number of rows.
    path : Path
        The table, for errors.

    Raises
    ------
    ExchangeError
        If an id is missing or there twice, or a cell is wrong.
    SourceError
        If two columns could have the same role.
    """
    listed, images = [*columns], None
    if not has_paths(listed):  # whoever has vectors need not have images
        listed, images = [*listed, "image"], len(listed)
    found = find_columns(listed, str(path), images=images)
    names = {role: name for role, name in found.names.items() if name in columns}
    sha256 = next((name for name in columns if name.casefold() in ("digest", "sha256")), None)
    numbers = Texts.from_list(map(str, range(n_rows)))
    held = {role: columns[name] for role, name in names.items()}
    given = held.get("id", held.get("path", numbers))
    ids = Texts.from_list(map(escape_name, given))
    paths = Texts.from_list(map(escape_name, held["path"])) if "path" in held else ids
    said: dict[LabelField, Categories] = {}
    for role in FIELDS:
        cells = map(clean_label, held[role]) if role in held else [None] * n_rows
        said[role] = drop_zeros(Categories.from_list(cells))
    further = {}
    passed_over = []
    near = {text.rpartition(" (")[0] for text in found.passed_over}  # such as "lable"
    taken = {*names.values(), sha256, *SIZES, *near}
    for name, column in columns.items():
        own = clean_label(name) or ""
        if name in taken:
            continue
        is_taken = own.casefold() in {*TAKEN, *FIELDS} or own in further
        # Both of the first are how R and pandas write numbers of rows.
        if not own or INDEX.fullmatch(own) or len(own) > MAX_NAME or is_taken:
            passed_over.append(name or "(without a name)")
        else:
            further[own] = drop_zeros(Categories.from_list(map(clean_label, column)))
    is_split = (names.get("split") or "").casefold() == "split"
    if not is_split and not any(map(parse_split, said["split"].count())):
        if said["split"].count():  # such as a column "dataset" that names something else
            further[names["split"]] = said["split"]
        said["split"] = Categories.fill(None, n_rows)
    said["split"] = _parse_splits(said["split"], path)
    digests = {} if sha256 is None else {"digest": columns[sha256]}
    rows = _build_rows({**columns, **digests}, path, ids=ids, paths=paths, said=said)
    return ImportedRows(rows=rows, further=further, passed_over=(*passed_over, *found.passed_over))


def _build_rows(
    columns: Mapping[str, Texts],
    path: Path,
    *,
    ids: Texts,
    paths: Texts,
    said: Mapping[LabelField, Categories],
) -> Table:
    """Build the rows in the columns of a cache; what the table does not tell is not known."""
    _check_ids(ids, path)
    rows: dict[str, object] = {"id": ids, "path": paths}
    rows |= {field: said[field] for field in FIELDS}
    for name, unknown in UNKNOWN.items():
        cells = columns.get(name)
        if cells is None or name not in COLUMNS:
            cells = Texts.from_list([""] * len(ids))
        if name == "digest":
            rows[name] = _parse_digests(cells, path)
        else:
            rows[name] = _parse_sizes(cells, name, unknown, path)
    return Table({name: rows[name] for name in ROW_KINDS})


def _check_ids(ids: Texts, path: Path) -> None:
    """Refuse an id that is empty or that two rows have."""
    empty = np.flatnonzero(ids.lengths == 0)
    if len(empty):
        raise _refuse_cell(path, int(empty[0]), "id", expected="the id of a row", got="no value")
    index = TextIndex(ids)
    row = index.find_repeat()
    if row is not None:
        first = int(index.find(ids[row : row + 1])[0]) + 1
        got = f"{show_text(ids[row])!r} again after row {first}"
        raise _refuse_cell(path, row, "id", expected="each id once", got=got)


def _parse_splits(column: Categories, path: Path) -> Categories:
    """Read splits by any of their names."""
    splits = {name: parse_split(name) for name in column.names}
    wrong = [name for name in column.count() if splits[name] is None]
    if wrong:
        row = int(np.flatnonzero(column.mask(wrong[0]))[0])
        got = repr(show_text(wrong[0]))
        raise _refuse_cell(path, row, "split", expected="train, val or test", got=got)
    named = Categories.from_list(splits[name] for name in column.names)
    return named[column.codes]


def _parse_digests(column: Texts, path: Path) -> Array:
    try:
        return pack_digests(column)
    except ValueError:
        for row, text in enumerate(column):
            is_digest = len(text) in (0, 64) and set(text.lower()) <= set("0123456789abcdef")
            if not is_digest:
                expected, got = "64 hexadecimal digits", repr(shorten(text, 100))
                raise _refuse_cell(path, row, "digest", expected=expected, got=got) from None
        raise


def _parse_sizes(column: Texts, name: str, unknown: int, path: Path) -> Array:
    kind = ROW_KINDS[name]
    sizes = np.full(len(column), unknown, kind)
    for row, text in enumerate(column):
        if text:
            if not (text.isascii() and text.isdecimal() and len(text) < 10):
                got = repr(shorten(text, 100))
                raise _refuse_cell(path, row, name, expected="a number of pixels", got=got)
            sizes[row] = int(text)
    return sizes


def _refuse_cell(path: Path, row: int, column: str, *, expected: str, got: str) -> ExchangeError:
    return ExchangeError(
        subject=f"{path}, row {row + 1}, column {column}",
        expected=expected,
        got=got,
        remedy="Correct the cell." if column == "id" else "Correct the cell, or leave it empty.",
    )
