"""Render pages from the templates of this folder, and write them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from featx.core.errors import FeatxError
from featx.core.files import check_destination, replacing
from featx.core.text import escape_text, show_text
from featx.core.typing import PathLike


def render_template(name: str, **values: Any) -> str:
    """Render a template of this folder.

    Parameters
    ----------
    name : str
        Name of the template, such as ``"gallery.html"``.
    **values : Any
        Values that the template names. Texts are escaped; the filter ``shown`` makes one printable
        line of limited length of a text of a stranger, ``line`` one of any length.
    """
    return _open_templates().get_template(name).render(**values)


@functools.cache
def _open_templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = show_text
    environment.filters["line"] = escape_text
    return environment


def write_html(path: PathLike, text: str) -> None:
    """Write a page, in place of what may be there.

    Parameters
    ----------
    path : path
        Path of the file.
    text : str
        Text of the whole page.

    Raises
    ------
    FeatxError
        If the page cannot be written.
    """
    path = Path(path)
    check_destination(path, overwrite=True, error=FeatxError)
    with replacing(path, error=FeatxError, overwrite=True) as draft:
        draft.write_text(text, encoding="utf-8")
