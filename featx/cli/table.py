"""A table of texts, to be printed on a terminal or as plain text."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from featx.cli.streams import is_terminal
from featx.core.text import show_text

MAX_CELL = 5000
"""Length in characters of the longest cell: paths have 4,096 at most."""

USUAL_SHARE = 0.95
"""Share of the paths that the column of paths has space for; longer ones move their line."""


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """A table whose cells are texts.

    Attributes
    ----------
    header : tuple of str
        Names of the columns.
    cells : tuple of tuple of str
        Texts by line.
    is_right : tuple of bool
        Whether a column is aligned to the right.
    is_cut : tuple of bool
        Whether the middle of a column's texts may be left out.
    """

    header: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    is_right: tuple[bool, ...]
    is_cut: tuple[bool, ...]

    @classmethod
    def build(
        cls, header: Sequence[str], lines: Sequence[Sequence[Any]], cut: Collection[str] = ()
    ) -> TextTable:
        """Build a table; see `featx.cli.printing.print_table`."""
        is_right = tuple(
            bool(lines)
            and all(isinstance(line[i], int | float) or line[i] is None for line in lines)
            for i in range(len(header))
        )
        return cls(
            header=tuple(map(_format_cell, header)),
            cells=tuple(tuple(map(_format_cell, line)) for line in lines),
            is_right=is_right,
            is_cut=tuple(name in cut for name in header),
        )

    def list_widths(self) -> list[int]:
        """List the number of characters that each column needs."""
        return [max(map(len, column)) for column in zip(self.header, *self.cells, strict=True)]

    def format(self) -> str:
        """Write aligned columns, two blanks apart; a few long paths do not widen all lines."""
        widths = [
            sorted(map(len, column))[int(USUAL_SHARE * len(column))] if is_cut else width
            for column, width, is_cut in zip(
                zip(self.header, *self.cells, strict=True),
                self.list_widths(),
                self.is_cut,
                strict=True,
            )
        ]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if is_right else cell.ljust(width)
                for cell, width, is_right in zip(line, widths, self.is_right, strict=True)
            ).rstrip()
            for line in (self.header, *self.cells)
        )


def _format_cell(cell: Any) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "-"
    return f"{cell:.3f}" if isinstance(cell, float) else show_text(str(cell), MAX_CELL)


def count_columns() -> int:
    """Count the columns of the terminal; 100 if standard output is no terminal."""
    return shutil.get_terminal_size().columns if is_terminal(sys.stdout) else 100
