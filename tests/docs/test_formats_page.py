"""The page of formats says what featx reads now."""

import runpy
from pathlib import Path

from featx.images.format_table import FORMATS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "reference" / "formats.md"


def test_committed_page_is_what_the_table_gives_now() -> None:
    render = runpy.run_path(str(DOCS / "generate_formats.py"))["render"]
    assert PAGE.read_text(encoding="utf-8") == render(), "run: python docs/generate_formats.py"


def test_page_names_every_format_and_suffix() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for format in FORMATS:
        assert f"| {format.name} |" in text
        assert all(f"`{suffix}`" in text for suffix in format.suffixes)
