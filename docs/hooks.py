"""What `make docs` checks after the build: no page fetches anything from the internet."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError

FETCHES = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(?:https?:)?//[^"'\s>]+"""
    r"""|<link\b[^>]*\bhref=["']?(?:https?:)?//[^"'\s>]+"""
    r"""|(?:url\(|@import\s)["']?(?:https?:)?//[^"')\s]+""",
    re.IGNORECASE,
)
"""What a browser loads by itself when it opens a page; links are not among it."""


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a site with a page or stylesheet that fetches from another host."""
    for path in sorted(Path(config.site_dir).rglob("*")):
        if path.suffix not in (".html", ".css"):
            continue
        found = FETCHES.search(path.read_text(encoding="utf-8"))
        if found:
            raise PluginError(f"{path}: expected nothing from another host, got {found.group()}")
