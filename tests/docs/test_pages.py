"""The pages are complete and their links lead somewhere."""

import re
from pathlib import Path

import pytest

import featx

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def list_documented() -> list[str]:
    """List the names that the Python reference documents."""
    pages = sorted((ROOT / "docs/reference/python").glob("*.md"))
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    return re.findall(r"^::: featx\.([\w.]+)$", text, re.M)


def test_python_reference_documents_every_public_name_once() -> None:
    assert sorted(list_documented()) == sorted([*featx.__all__, "testing.FakeEngine"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_lead_to_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    assert missing == []
