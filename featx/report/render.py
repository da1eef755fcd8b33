"""Render pages from the templates of this folder, and write them."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from featx.core.errors import FeatxError
from featx.core.files import check_destination, replacing
from featx.core.text import escape_text, show_text
from featx.core.typing import PathLike

FOLDER = Path(__file__).parent / "templates"

POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:"
"""What a page may do: show the images that it holds, and nothing else."""

PLACEHOLDER = "policy-of-this-page"
"""Stands for the policy until the text is known that the policy names by its digest."""

NO_NAME = "(no name)"


def render_template(name: str, **values: Any) -> str:
    """Render a template of this folder as a page that runs and shows nothing but its own.

    Parameters
    ----------
    name : str
        Name of the template, such as ``"gallery.html"``.
    **values : Any
        Values that the template names. Texts are escaped; the filter ``shown`` makes one printable
        line of limited length of a text of a stranger, ``line`` one of any length, ``named`` one
        that is not empty; ``number`` writes a score, ``grouped`` a number of things. ``read_part``
        puts in a style or a script of the folder as it is.

    Returns
    -------
    str
        The page. Its content security policy names the digests of its style and its script, so that
        a browser takes no others.
    """
    text = _open_templates().get_template(name).render(policy=PLACEHOLDER, **values)
    return text.replace(PLACEHOLDER, _build_policy(text), 1)


def _build_policy(text: str) -> str:
    """Allow the style and the script of a page by their digests; data is in a tag with a type."""
    parts = [POLICY]
    for tag in ("style", "script"):
        bodies = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(body.encode()).digest()) for body in bodies]
        if digests:
            parts.append(f"{tag}-src " + " ".join(f"'sha256-{one.decode()}'" for one in digests))
    return "; ".join(parts)


@functools.cache
def _open_templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = show_text
    environment.filters["line"] = escape_text
    environment.filters["named"] = show_name
    environment.filters["number"] = show_number
    environment.filters["grouped"] = "{:,}".format
    environment.globals["read_part"] = lambda name: Markup((FOLDER / name).read_text("utf-8"))
    return environment


def show_name(text: str) -> str:
    """Show a name of a stranger, which may be empty.

    Parameters
    ----------
    text : str
        The name.
    """
    return show_text(text) or NO_NAME


def show_number(value: float | None) -> str:
    """Show a score; "-" for one that was not measured.

    Parameters
    ----------
    value : float or None
        The score.
    """
    return "-" if value is None else f"{value:.3f}"


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
