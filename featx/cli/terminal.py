"""Tables that fit a terminal. Imported only if there is one: rich takes a tenth of a second."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from featx.cli.table import TextTable, count_columns
from featx.core.text import shorten

GAP = 2
"""Number of blanks between columns."""

MIN_CUT = 20
"""Smallest number of characters to which a text is cut."""

MIN_WRAP = 30
"""Number of characters that a column of wrapped text may ask for before other columns are cut."""


def print_fitting(table: TextTable, console: Console | None = None) -> None:
    """Print a table within the width of the terminal.

    Columns of paths lose the middle of their texts first; then other texts are wrapped.

    Parameters
    ----------
    table : TextTable
        The table.
    console : Console, optional
        Terminal to print to. Default: standard output.
    """
    # rich believes a given width only together with a height.
    console = console or Console(width=count_columns(), height=25, highlight=False)
    width = choose_cut_width(table, console.width)
    shown = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, GAP, 0, 0))
    for name, is_right, is_cut in zip(table.header, table.is_right, table.is_cut, strict=True):
        shown.add_column(
            Text(name),
            justify="right" if is_right else "left",
            no_wrap=is_right or is_cut,
            overflow="fold",
        )
    for line in table.cells:
        shown.add_row(
            *(
                Text(fit_text(cell, width) if is_cut else cell)
                for cell, is_cut in zip(line, table.is_cut, strict=True)
            )
        )
    console.print(shown)


def choose_cut_width(table: TextTable, width: int) -> int:
    """Choose the number of characters to which the texts of the columns that may be cut are cut.

    Parameters
    ----------
    table : TextTable
        The table.
    width : int
        Number of columns of the terminal.
    """
    needed = table.list_widths()
    fixed = sum(
        wide if is_right else min(wide, MIN_WRAP)
        for wide, is_right, is_cut in zip(needed, table.is_right, table.is_cut, strict=True)
        if not is_cut
    )
    n_cut = sum(table.is_cut)
    space = width - fixed - GAP * len(needed)
    return max(MIN_CUT, space // n_cut) if n_cut else width


def fit_text(text: str, width: int) -> str:
    """Leave out the middle of a text, so that it takes no more columns than the terminal has.

    Parameters
    ----------
    text : str
        A path.
    width : int
        Number of columns; some letters take two.

    Examples
    --------
    >>> fit_text("photos/2021/expedition/ants/0001.jpg", 20)
    'photos/2021/…001.jpg'
    """
    limit = width
    while cell_len(text) > width:
        text, limit = shorten(text, limit), limit - 1
    return text
