"""Render parts of a page as HTML, and write the page."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from featx.core.text import show_text
from featx.core.typing import Array, PathLike
from featx.report.render import write_html

# Paul Tol's "muted" scheme, which colour-blind readers can tell apart; ten colours with grey.
COLOURS = (
    *("#cc6677", "#332288", "#ddcc77", "#117733", "#88ccee"),
    *("#882255", "#44aa99", "#999933", "#aa4499", "#555555"),
)

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #222; background: #fff; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
table { border-collapse: collapse; } th, td { padding: .25rem .6rem; text-align: right; }
th:first-child, td:first-child { text-align: left; } thead th { border-bottom: 1px solid #999; }
.samples img { width: 40px; height: 40px; margin: 1px; image-rendering: pixelated; }
.confusion td { min-width: 2.2rem; text-align: center; }
.note { color: #555; } svg { max-width: 100%; height: auto; } svg text { font-size: 13px; }
"""


def render_table(header: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    """Render a table; numbers have three decimals."""
    head = "".join(f"<th>{_escape(name)}</th>" for name in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{_format_cell(cell)}</td>" for cell in line) + "</tr>"
        for line in lines
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def render_samples(samples: Mapping[str, Sequence[bytes]]) -> str:
    """Render a few images of each class, given as the bytes of PNG files, one line per class."""
    lines = []
    for label, images in samples.items():
        sources = (base64.b64encode(image).decode() for image in images)
        name = _escape(label)
        tags = "".join(
            f'<img alt="{name}" src="data:image/png;base64,{source}">' for source in sources
        )
        lines.append(f"<tr><th>{name}</th><td>{tags}</td></tr>")
    return f'<table class="samples">{"".join(lines)}</table>'


def render_map(points: Array, labels: Array, *, size: int = 620) -> str:
    """Render a scatter plot of points ``(n_rows, 2)``, coloured by label."""
    classes = sorted(set(labels.tolist()))
    low, high = points.min(axis=0), points.max(axis=0)
    positions = 12 + (points - low) / np.maximum(high - low, 1e-9) * (size - 24)
    dots = []
    for code, label in enumerate(classes):
        colour = COLOURS[code % len(COLOURS)]
        circles = "".join(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>' for x, y in positions[labels == label]
        )
        name = _escape(label)
        dots.append(f'<g fill="{colour}" fill-opacity=".75"><title>{name}</title>{circles}</g>')
        y = 20 + 20 * code
        dots.append(
            f'<circle cx="{size + 14}" cy="{y}" r="5" fill="{colour}"/>'
            f'<text x="{size + 26}" y="{y + 4}">{name}</text>'
        )
    width = size + 130
    return f'<svg viewBox="0 0 {width} {size}" width="{width}" role="img">{"".join(dots)}</svg>'


def render_confusion(classes: Sequence[str], confusion: Sequence[Sequence[int]]) -> str:
    """Render a confusion matrix: a line per true class, a column per predicted class."""
    head = "".join(f"<th>{_escape(name)}</th>" for name in classes)
    lines = []
    for row, (name, counts) in enumerate(zip(classes, confusion, strict=True)):
        total = max(sum(counts), 1)
        cells = "".join(
            f'<td style="background: {_shade(count / total, row == column)}">{count or ""}</td>'
            for column, count in enumerate(counts)
        )
        lines.append(f"<tr><th>{_escape(name)}</th>{cells}</tr>")
    corner = "<th>true \\ predicted</th>"
    return f'<table class="confusion"><tr>{corner}{head}</tr>{"".join(lines)}</table>'


def write_page(path: PathLike, title: str, sections: Sequence[tuple[str, str, str]]) -> None:
    """Write a page of several sections.

    Parameters
    ----------
    path : path
        Path of the ``.html`` file.
    title : str
        Title of the page.
    sections : sequence of (str, str, str)
        Heading, note and content of each section. Heading and note are text, the content is HTML
        from the functions of this module.

    Raises
    ------
    FeatxError
        If the page cannot be written.
    """
    body = "".join(
        f'<h2>{html.escape(heading)}</h2><p class="note">{html.escape(note)}</p>{content}'
        for heading, note, content in sections
    )
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{html.escape(title)}</h1>{body}</body></html>\n"
    )
    write_html(path, page)


def _escape(text: str) -> str:
    """Write a text of a stranger, such as a label, as HTML."""
    return html.escape(show_text(text))


def _format_cell(cell: Any) -> str:
    return f"{cell:.3f}" if isinstance(cell, float) else _escape(str(cell))


def _shade(share: float, right: bool) -> str:
    """Return a background colour: green for right, red for wrong, none for an empty cell."""
    if not share:
        return "none"
    colour = "17, 119, 51" if right else "204, 102, 119"
    return f"rgba({colour}, {0.15 + 0.55 * share:.2f})"
