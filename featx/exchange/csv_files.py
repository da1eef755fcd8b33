"""Text tables. Vectors are columns ``e0``, ``e1``, …; metadata lie in a file beside the table."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featx.core.columns import Texts, TextsBuilder
from featx.core.errors import ExchangeError
from featx.core.notes import note
from featx.core.records import load_json
from featx.core.text import guard_cell, shorten, unguard_cell
from featx.core.typing import Array, VectorDtype, list_choices
from featx.exchange.incoming import Incoming, check_names, choose_column
from featx.exchange.metadata import KEY
from featx.exchange.table import SIZES, ExportTable
from featx.images.labels import MISSING_WORDS
from featx.images.sources.delimited import DELIMITERS, find_encoding, find_told_delimiter

PREFIX = "e"
"""Beginning of the names of the columns of vectors."""

DIGITS = {"float32": 9, "float16": 5}
"""Number of digits from which each value of a dtype is read again to the last bit."""

BLOCK_ROWS = 1024
"""Number of lines that are converted at a time."""


def name_sidecar(path: Path) -> Path:
    """Name the file of metadata beside a table."""
    return path.with_name(f"{path.name}.json")


def write_csv(draft: Path, table: ExportTable) -> None:
    """Write a table with a header.

    Parameters
    ----------
    draft : Path
        File to write.
    table : ExportTable
        The table.
    """
    numbers = ",".join([f"%.{DIGITS[table.dtype]}g"] * table.dim)
    vectors = [f"{PREFIX}{number}" for number in range(table.dim)]
    with draft.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerow([*table.names, *vectors])
        for block in table.iter_blocks():
            columns = [_format_column(table, block, name) for name in table.names]
            cells = io.StringIO(newline="")
            writer = csv.writer(cells, lineterminator="\n")
            writer.writerows(zip(*columns, strict=True))
            for line, vector in zip(
                cells.getvalue().split("\n")[:-1], table.read_vectors(block).tolist(), strict=True
            ):
                stream.write(f"{line},{numbers % tuple(vector)}\n")


def _format_column(table: ExportTable, block: slice, name: str) -> Sequence[object]:
    if name in SIZES:
        return [size or "" for size in table.read_columns(block, [name])[name].tolist()]
    return [guard_cell(text) for text in table.read_texts(block, name)]


def describe_csv(path: Path, table: ExportTable) -> str:
    """Write the content of the file of metadata: what an import needs, and the table's SHA-256.

    Parameters
    ----------
    path : Path
        The table, which is written.
    table : ExportTable
        Its content.
    """
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return json.dumps({"sha256": digest, KEY: json.loads(table.metadata)}, sort_keys=True)


@dataclass(frozen=True, kw_only=True)
class _Lines:
    """The content of a text table.

    Attributes
    ----------
    columns : dict of str to Texts
        Columns that are no vectors.
    vectors : list of ndarray
        Vectors in blocks; empty if they were not asked for.
    """

    columns: dict[str, Texts]
    vectors: list[Array]


def read_csv(path: Path, column: str | None) -> Incoming:
    """Read vectors and columns of text; the table is held in memory.

    Parameters
    ----------
    path : Path
        The file.
    column : str or None
        Beginning of the names of the columns of vectors, such as ``e`` for ``e0``, ``e1``, ….

    Raises
    ------
    ExchangeError
        If the file is no such table.
    """
    metadata, is_guarded = _read_sidecar(path)
    dtype: VectorDtype = "float32"
    with suppress(ValueError, KeyError, TypeError):
        told = json.loads(metadata or "null")["dtype"]
        dtype = told if told in list_choices(VectorDtype) else dtype
    clean = unguard_cell if metadata is not None else _clean_edited if is_guarded else _clean_cell
    lines = _read_lines(path, column, clean, dtype=dtype)
    n_rows = sum(map(len, lines.vectors))
    return Incoming(
        path=path,
        n_rows=n_rows,
        dim=lines.vectors[0].shape[1] if lines.vectors else 0,
        dtype=dtype,
        columns=lines.columns,
        iter_vectors=lambda: iter(lines.vectors),
        metadata=metadata,
    )


def read_csv_texts(path: Path) -> tuple[dict[str, Texts], tuple[str, ...]]:
    """Read the columns of a text table that has no vectors.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    ExchangeError
        If the file is no such table.
    """
    return _read_lines(path, None, _clean_cell, dtype=None).columns, ()


def _read_sidecar(path: Path) -> tuple[str | None, bool]:
    """Read the metadata beside a table, unless they belong to another content.

    Returns
    -------
    metadata : str or None
        The metadata; None if there are none for this content.
    is_guarded : bool
        Whether featx wrote the table, so that quotes guard its cells, even if it was changed since.
    """
    sidecar = name_sidecar(path)
    if not sidecar.is_file():
        return None, False
    try:
        found = load_json(sidecar.read_text(encoding="utf-8"))
        digest, metadata = found["sha256"], found[KEY]
    except (ValueError, KeyError, TypeError):
        return None, False  # the file of another program
    with path.open("rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() == digest:
            return json.dumps(metadata, sort_keys=True), True
    note(
        f"{path} was changed after featx had written it: its metadata in {sidecar.name} are not "
        "read, and its vectors count as those of another program."
    )
    return None, True


def _read_lines(
    path: Path, column: str | None, clean: Callable[[str], str], *, dtype: VectorDtype | None
) -> _Lines:
    """Read a text table; without a dtype, all columns as text."""
    number, n_before = 1, 0
    try:
        with path.open(encoding=find_encoding(path), newline="") as stream:
            header = stream.readline()
            sign = find_told_delimiter(header)
            if sign:
                header, n_before = stream.readline(), 1
            else:
                sign = max(DELIMITERS, key=lambda s: len(next(csv.reader([header], delimiter=s))))
            lines = csv.reader(itertools.chain([header], stream), delimiter=sign, strict=True)
            names = [name.strip() for name in next(lines, [])]
            check_names(path, names)
            where = [] if dtype is None else _find_vectors(path, names, column)
            texts = {index: TextsBuilder() for index in range(len(names)) if index not in {*where}}
            vectors: list[Array] = []
            block: list[list[float]] = []
            for cells in lines:
                number = lines.line_num + n_before
                if not any(cells):
                    continue
                if len(cells) != len(names):
                    raise _refuse_line(
                        path, number, f"{len(names)} cells, as in the header", str(len(cells))
                    )
                for index, builder in texts.items():
                    builder.append(clean(cells[index]))
                if where:
                    block.append(_parse_numbers(path, number, [cells[index] for index in where]))
                    if len(block) == BLOCK_ROWS:
                        vectors.append(_build_block(block, dtype))
                        block = []
            if block:
                vectors.append(_build_block(block, dtype))
    except (UnicodeError, csv.Error, StopIteration) as error:
        raise _refuse_line(path, number + 1, "a whole line of UTF-8 text", str(error)) from error
    columns = {names[index]: builder.build() for index, builder in texts.items()}
    return _Lines(columns=columns, vectors=vectors)


def _clean_cell(cell: str) -> str:
    """Read a cell as other programs write it, which have words for a missing value."""
    return "" if cell.strip() in MISSING_WORDS else cell.strip()


def _clean_edited(cell: str) -> str:
    """Read a cell of a table that featx wrote, and another program after it."""
    return unguard_cell(_clean_cell(cell))


def _find_vectors(path: Path, names: Sequence[str], column: str | None) -> list[int]:
    """Find the columns of vectors: names that differ only by a number from 0 or 1 on."""
    groups: dict[str, dict[int, int]] = {}
    for index, name in enumerate(names):
        match = re.fullmatch(r"(.*?)(0|[1-9]\d*)", name, re.ASCII)
        if match:
            groups.setdefault(match.group(1), {})[int(match.group(2))] = index
    found = {
        prefix: [numbers[number] for number in sorted(numbers)]
        for prefix, numbers in groups.items()
        if min(numbers) in (0, 1) and max(numbers) - min(numbers) == len(numbers) - 1
    }
    if column is None and PREFIX in found:
        return found[PREFIX]
    # A single "x1" is hardly a vector, unless it is asked for.
    several = [prefix for prefix, where in found.items() if len(where) > 1]
    shown = [name for name in names if re.sub(r"\d+$", "", name) not in several]
    return found[choose_column(path, column, several or [*found], shown)]


def _parse_numbers(path: Path, number: int, cells: list[str]) -> list[float]:
    try:
        return [*map(float, cells)]
    except ValueError as error:
        got = shorten(str(error).rpartition(": ")[2], 100)
        raise _refuse_line(path, number, "a number in each cell of the vector", got) from error


def _build_block(numbers: list[list[float]], dtype: VectorDtype | None) -> Array:
    with np.errstate(over="ignore"):  # whoever takes the vectors refuses what is not finite
        return np.array(numbers, dtype)


def _refuse_line(path: Path, number: int, expected: str, got: str) -> ExchangeError:
    return ExchangeError(
        subject=f"{path}, line {number}", expected=expected, got=got, remedy="Correct the line."
    )
