"""Names of strangers are text on a page, never HTML."""

from pathlib import Path

import numpy as np
import pytest

from featx.report.page import (
    render_confusion,
    render_map,
    render_samples,
    render_table,
    write_page,
)

NAME = "<script>alert('1')</script>\u202e\x1b[31m\"&" + "x" * 1000


def write_parts(name: str) -> list[str]:
    """Write every part of a page that shows a name."""
    return [
        render_table([name], [[name]]),
        render_samples({name: [b"png"]}),
        render_map(np.zeros((2, 2)), np.array([name, "b"])),
        render_confusion([name, "b"], [[1, 0], [0, 1]]),
    ]


@pytest.mark.parametrize("part", range(4))
def test_names_are_escaped_and_shortened(part: int) -> None:
    text = write_parts(NAME)[part]
    assert "<script" not in text
    assert "&lt;script&gt;alert(&#x27;1&#x27;)" in text
    assert "\\u202e\\u001b[31m&quot;&amp;x" in text
    assert text.isprintable()
    assert "x" * 300 not in text


def test_titles_and_notes_are_escaped(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", "<b>", [("<i>", "<u>", "<table></table>")])
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count("&lt;b&gt;") == 2
    assert all(tag not in text for tag in ("<b>", "<i>", "<u>"))
    assert "<table></table>" in text
