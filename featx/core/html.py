"""Small tables for notebooks, readable on light and on dark ground."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from featx.core.text import show_text

MAX_LINES = 12
"""Number of lines of a table that a notebook shows."""

MAX_NAME = 60
"""Length in characters of a shown name."""

MAX_VALUE = 120
"""Length in characters of a shown value."""

# The notebook's own colours: only the lines between cells are drawn, in a gray that both grounds
# bear. Notebooks drop style sheets of a cell when it is sent on; styles within the tags stay.
_TABLE = "border-collapse: collapse; margin: .3em 0"
_CELL = "padding: .15em .7em; border-bottom: 1px solid rgba(128, 128, 128, .4)"


def render_card(
    title: str,
    facts: Sequence[tuple[str, Any]],
    *,
    table: tuple[Sequence[str], Sequence[Sequence[Any]]] | None = None,
) -> str:
    """Render an object for a notebook: a title, facts with their names, and a table.

    Parameters
    ----------
    title : str
        Name of the object.
    facts : sequence of (str, object)
        Name and value of each fact.
    table : (sequence of str, sequence of sequence), optional
        Header and lines; of many lines, the first `MAX_LINES` are shown and the others counted.
        None is shown as ``-``, a float with three decimals, and a whole number with its thousands
        parted.

    Returns
    -------
    str
        HTML; names and values are escaped.

    Examples
    --------
    >>> render_card("Head", [("rows", 1200)])
    '<div><strong><bdi>Head</bdi></strong><table ...<td ...>1,200</td></tr></table></div>'
    """
    parts = [f"<strong>{_escape(title)}</strong>"]
    if facts:
        parts.append(_render_table([], facts))
    if table is not None and table[1]:
        header, lines = table
        parts.append(_render_table(header, lines[:MAX_LINES]))
        if len(lines) > MAX_LINES:
            parts.append(f"<div>… and {len(lines) - MAX_LINES:,} more</div>")
    return f"<div>{''.join(parts)}</div>"


def _render_table(header: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    """Render a table, numbers to the right; without a header, everything to the left."""

    def style(value: Any) -> str:
        is_number = bool(header) and isinstance(value, int | float | None)
        return f'style="{_CELL}; text-align: {"right" if is_number else "left"}"'

    head = "".join(
        f'<th scope="col" {style(value)}>{_escape(name)}</th>'
        for name, value in zip(header, lines[0], strict=False)
    )
    body = "".join(
        f'<tr><th scope="row" {style(str(first))}>{_escape(first)}</th>'
        + "".join(f"<td {style(cell)}>{_format(cell)}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in lines
    )
    start = f"<thead><tr>{head}</tr></thead>" if header else ""
    return f'<table style="{_TABLE}">{start}{body}</table>'


def _format(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else _escape(str(value), MAX_VALUE)


def _escape(text: str, limit: int = MAX_NAME) -> str:
    """Write a text of a stranger, such as a label, as HTML that keeps its own direction."""
    return f"<bdi>{html.escape(show_text(text, limit))}</bdi>"
