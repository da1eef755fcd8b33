"""Cells of tables: what counts as missing, which types are text, and what a person should know."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from featx.core.errors import SourceError
from featx.core.text import count_noun, shorten
from featx.core.typing import list_choices
from featx.images.content import Content
from featx.images.names import quote_name
from featx.images.remote import Location
from featx.images.sources.columns import Columns, Role
from featx.remote.failures import RemoteError

ROLES = list_choices(Role)
"""Roles in the order of the cells of a `Line`."""

Line = tuple[int, str | Content, str, str, str, str]
"""One line of a table: its number, then its cells in the order of `ROLES`; a missing value is
empty. The first cell is a path, or the image itself if the table holds images."""

TYPED = "text, whole numbers, or true and false"
"""Types of the cells of a typed table, for messages."""


@dataclass(kw_only=True)
class Findings:
    """What a person should know of how a table was read.

    Attributes
    ----------
    word : {"line", "row"}
        What a line of the table is called in messages.
    n_missing : Counter
        Number of cells without quotes that mean a missing value, by role and word.
    columns : list of Columns
        How the columns were read; several if lines of JSON have different keys.
    n_backslashes : int
        Number of paths that were written with backslashes and were found with slashes.
    no_split : str
        First value of a column such as ``dataset`` that has no splits; empty if it has.
    whole_roles : dict of str to str
        First number of each text column whose numbers lost their ``.0``, by role.
    """

    word: str = "line"
    n_missing: Counter[tuple[Role, str]] = field(default_factory=Counter)
    columns: list[Columns] = field(default_factory=list)
    n_backslashes: int = 0
    no_split: str = ""
    whole_roles: dict[Role, str] = field(default_factory=dict)

    def name_column(self, role: Role) -> str:
        """Quote the name of the column of a role, as the table has it in its last line."""
        return quote_name(self.columns[-1].names.get(role, role))

    def list_doubts(self) -> list[str]:
        """List what the user should know, as sentences."""
        doubts = []
        passed_over = dict.fromkeys(name for one in self.columns for name in one.passed_over)
        if passed_over:
            names = shorten(", ".join(passed_over))
            doubts.append(f"columns passed over: {names}. Rename a column to have it read.")
        if self.n_missing:
            shown = ", ".join(
                f"{word} in {count_noun(n, 'cell')} of the column of {role}s"
                for (role, word), n in self.n_missing.items()
            )
            doubts.append(f"read as missing: {shown}. Put quotes around a word that is a name.")
        if self.no_split:
            doubts.append(
                f"the column {self.name_column('split')} is not read as splits: it has "
                f"{quote_name(self.no_split)}. Name it split and write train, val or test to have "
                "it read."
            )
        if self.n_backslashes:
            doubts.append(
                f"paths with backslashes that are read with slashes: {self.n_backslashes}."
            )
        doubts += [
            f"the column of {role}s has decimals such as {text}, which are read as whole numbers."
            for role, text in self.whole_roles.items()
        ]
        return doubts

    def describe_unread(self) -> str:
        """Name the columns that are not read, for a table that gives no label; may be empty."""
        unread = dict.fromkeys(name for one in self.columns for name in one.unread)
        if not unread:
            return ""
        return (
            f"no column is read as labels, and these are not read: {shorten(', '.join(unread))}. "
            "Rename the column that holds the classes to label."
        )


def read_typed(value: Any) -> str:
    """Read one cell of a typed table as text.

    Text stays; true and false become ``True`` and ``False``; whole numbers lose their ``.0``; null
    and NaN are missing.

    Parameters
    ----------
    value : object
        The cell, as JSON or Parquet gives it.

    Returns
    -------
    str
        The text; empty for a missing value.

    Raises
    ------
    TypeError
        If the value has another type; its message names the type that was found.
    """
    if isinstance(value, str):
        return value.strip()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool | int):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    raise TypeError(repr(value) if isinstance(value, float) else name_type(value))


def name_type(value: Any) -> str:
    """Name the type of a cell for a message.

    Parameters
    ----------
    value : object
        The cell, as JSON or Parquet gives it.
    """
    names = {dict: "an object", list: "a list", bytes: "bytes", str: "text", type(None): "null"}
    return names.get(type(value), type(value).__name__)


def refuse_type(
    subject: str,
    column: str,
    got: str,
    *,
    expected: str = TYPED,
    remedy: str = "Write the column as text.",
) -> SourceError:
    """Build the error for a cell or a column of the wrong type.

    Parameters
    ----------
    subject : str
        Name of the table, and of the line if it is known.
    column : str
        Name of the column.
    got : str
        The type that was found.
    expected : str
        The types that the column may have.
    remedy : str
        What to do.
    """
    return SourceError(
        subject=f"{subject}, column {shorten(column, 100)!r}",
        expected=expected,
        got=shorten(got, 100),
        remedy=remedy,
    )


def refuse_unreadable(table: Location, error: OSError) -> SourceError:
    """Build the error for a table that the system does not let read.

    Parameters
    ----------
    table : Path or Address
        The table.
    error : OSError
        The error of the system.
    """
    if isinstance(error, RemoteError):
        return error.as_error(SourceError, table)
    return SourceError(
        subject=str(table),
        expected="a table that can be read",
        got=error.strerror or str(error),
        remedy="Check the path.",
    )
