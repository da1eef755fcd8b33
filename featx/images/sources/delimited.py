"""Read the lines of a text table: commas, semicolons, tabs or vertical bars between its cells."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence

from featx.core.errors import SourceError
from featx.core.text import shorten
from featx.images.formats import find_by_name
from featx.images.labels import MISSING_WORDS
from featx.images.remote import Location, open_source
from featx.images.sources.cells import ROLES, Findings, Line, refuse_unreadable
from featx.images.sources.columns import find_columns, has_paths

DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a vertical bar"}
"""Signs between cells, each with its name. The header decides which one a table has."""


def iter_delimited(table: Location, findings: Findings) -> Iterator[Line]:
    """Yield the lines of a text table below its header. Lines without any cell are skipped.

    Parameters
    ----------
    table : Path or Address
        A file in UTF-8, or in UTF-16 with a byte-order mark. A first line ``sep=;``, as Excel knows
        it, sets the delimiter.
    findings : Findings
        Record of how the table was read.

    Raises
    ------
    SourceError
        If the file cannot be read, is no text, or has a line that does not fit its header.
    """
    number = 0
    held: list[str] = []
    try:
        encoding = find_encoding(table)
        with io.TextIOWrapper(open_source(table), encoding, newline="") as stream:
            lines = _hold(stream, held)
            header, delimiter = _read_header(table, lines)
            start = number = len(held) - 1
            # The header is parsed again: a name in quotes may go on in the next line.
            parsed = csv.reader(
                itertools.chain([header], lines),
                delimiter=delimiter,
                skipinitialspace=True,  # else a quote behind a blank would be part of the cell
                strict=True,
            )
            names = [name.strip() for name in next(parsed, [])]
            number = start + parsed.line_num
            columns = find_columns(names, str(table))
            findings.columns.append(columns)
            # A role without a column reads the empty cell that is put behind each line.
            wanted = [columns.indices.get(role, len(names)) for role in ROLES]
            held.clear()
            for cells in parsed:
                number = start + parsed.line_num
                if any(cells):
                    if len(cells) > len(names) and not any(cells[len(names) :]):
                        del cells[len(names) :]  # Excel writes cells that were emptied
                    if len(cells) != len(names):
                        raise _refuse_length(f"{table}, line {number}", names, cells, delimiter)
                    cells.append("")
                    texts = [cells[index].strip() for index in wanted]
                    if not MISSING_WORDS.isdisjoint(texts):
                        _empty_missing(texts, wanted, _split_raw(held, delimiter), findings)
                    yield (number, *texts)  # type: ignore[misc]  # as many as roles
                held.clear()
    except (OSError, UnicodeError, csv.Error) as error:
        raise _explain(table, number, error) from error


def _hold(stream: Iterator[str], held: list[str]) -> Iterator[str]:
    """Yield lines and keep them, until the reader has cleared them: quotes are lost in parsing."""
    for line in stream:
        held.append(line)
        yield line


def find_encoding(table: Location) -> str:
    """Tell UTF-16 by its byte-order mark. That of UTF-8, which Excel writes, is skipped.

    Parameters
    ----------
    table : Path or Address
        A text file.

    Raises
    ------
    SourceError
        If the file is no text.
    """
    with open_source(table) as stream:
        start = stream.read(64)
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if b"\0" in start:
        raise SourceError(
            subject=str(table),
            expected="UTF-8 text",
            got=f"bytes of another kind, {start[:8]!r}",
            remedy="Save the table as UTF-8.",
        )
    return "utf-8-sig"


def _read_header(table: Location, lines: Iterator[str]) -> tuple[str, str]:
    """Read the header, and find the delimiter: the one that gives a column of paths."""
    header = next((line for line in lines if line.strip()), "")
    told = find_told_delimiter(header)
    if told:
        return next((line for line in lines if line.strip()), ""), told
    is_tabs = table.suffix.lower() in (".tsv", ".tab")
    candidates = sorted(DELIMITERS, key=lambda sign: sign != "\t") if is_tabs else DELIMITERS
    split = {sign: next(csv.reader([header], delimiter=sign), []) for sign in candidates}
    delimiter = max(split, key=lambda sign: (has_paths(split[sign]), len(split[sign])))
    _check_is_header(table, header, split[delimiter])
    return header, delimiter


def find_told_delimiter(line: str) -> str:
    """Return the delimiter that a first line such as ``sep=;`` sets; empty for another line.

    Parameters
    ----------
    line : str
        First line of a table.

    Examples
    --------
    >>> find_told_delimiter("sep=;"), find_told_delimiter("path;label")
    (';', '')
    """
    told = re.fullmatch(r"sep=(.)\s*", line, re.IGNORECASE)
    return told.group(1) if told else ""


def _check_is_header(table: Location, header: str, names: Sequence[str]) -> None:
    """Refuse a table whose first line names an image, or has blanks between its cells."""
    if len(names) < 2 and not has_paths(names) and has_paths(header.replace('"', "").split()):
        raise SourceError(
            subject=str(table),
            expected="a comma, a semicolon, a tab or a vertical bar between cells",
            got=f"blanks: {shorten(header.strip(), 100)}",
            remedy='Write it with another sign, in R with write.csv or sep = ",".',
        )
    words = (word for name in names for word in name.split())
    is_row = any(find_by_name(word) for word in words)
    if is_row and not has_paths(names):
        raise SourceError(
            subject=str(table),
            expected="a header with a column of paths, such as path,label",
            got=f"a first line that names an image: {shorten(' '.join(names), 100)}",
            remedy="Write a header above it, with commas between cells.",
        )


def _split_raw(held: Sequence[str], delimiter: str) -> list[str]:
    """Split one line into its cells as written, quotes included."""
    sign = re.escape(delimiter)
    return re.findall(
        rf'( *"(?:[^"]|"")*"|[^{sign}]*){sign}', "".join(held).rstrip("\r\n") + delimiter
    )


def _empty_missing(
    texts: list[str], wanted: Sequence[int], raw: Sequence[str], findings: Findings
) -> None:
    """Empty the cells that mean a missing value: words such as NA without quotes.

    In a typed table (JSON, Parquet), null and NaN are missing values, and such words are text.
    """
    for position, (role, text, index) in enumerate(zip(ROLES, texts, wanted, strict=True)):
        if text in MISSING_WORDS and not raw[index].lstrip().startswith('"'):
            findings.n_missing[role, text] += 1
            texts[position] = ""


def _refuse_length(
    subject: str, names: Sequence[str], cells: Sequence[str], delimiter: str
) -> SourceError:
    column = names[min(len(cells), len(names) - 1)]
    sign = DELIMITERS.get(delimiter, repr(delimiter))
    remedy = f"Put quotes around cells that hold {sign}"
    if len(cells) == len(names) + 1:  # write.table of R names the rows, and not their column
        remedy += ", or write the table without names of rows"
    return SourceError(
        subject=f"{subject}, column {shorten(column, 100)!r}",
        expected=f"{len(names)} cells, as in the header",
        got=str(len(cells)),
        remedy=f"{remedy}.",
    )


def _explain(table: Location, number: int, error: Exception) -> SourceError:
    """Turn an error into a `SourceError`; `number` is the number of lines before the error."""
    if isinstance(error, OSError):
        return refuse_unreadable(table, error)
    if isinstance(error, UnicodeDecodeError):
        return SourceError(
            subject=str(table),
            expected=f"{error.encoding.upper()} text",
            got=f"byte {error.object[error.start]:#04x} at {error.start}",
            remedy="Save the table as UTF-8.",
        )
    return SourceError(
        subject=f"{table}, line {number + 1}",
        expected="a whole line of cells",
        got=str(error),
        remedy="Correct the line.",
    )
