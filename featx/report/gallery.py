"""Galleries: pages of thumbnails with captions, and the choice between a page and a sheet."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from featx.core.errors import FeatxError
from featx.core.files import check_destination, replacing
from featx.core.typing import PathLike
from featx.report.render import render_template, write_html
from featx.report.sheet import draw_sheet, is_sheet, save_sheet

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 224
"""Largest side of a thumbnail in pixels, some 10 kB: that of a field on most screens."""

QUALITY = 80

PAGES = (".html", ".htm")
"""Suffixes of pages."""

SHEETS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
"""Format of a contact sheet by its suffix."""

STAMP, MAX_STAMP = b'<meta name="generator" content="featx">', 1024
"""How a page says that featx wrote it, and where: among its first bytes."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """One image with its caption, or several that belong together.

    Attributes
    ----------
    images : sequence of PIL.Image.Image, str or None
        The images, such as both of a pair; None for an image that cannot be shown. On a page, also
        what `encode_thumbnail` made of an image.
    lines : sequence of str
        Caption. The first line names the images, to readers of the screen too.
    """

    images: Sequence[Image | str | None]
    lines: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Section:
    """Cards under one heading.

    Attributes
    ----------
    title : str
        Heading.
    text : str
        Sentences below the heading; may be empty.
    cards : sequence of Card
        The cards.
    """

    title: str
    text: str = ""
    cards: Sequence[Card] = ()


def write_gallery(path: PathLike, title: str, sections: Sequence[Section]) -> None:
    """Write one page that holds its images, and opens without a network.

    Parameters
    ----------
    path : path
        Path of the ``.html`` file; a page of featx there is replaced.
    title : str
        Title of the page.
    sections : sequence of Section
        Sections of the page. Their names and captions are shown as text, whatever they hold.

    Raises
    ------
    FeatxError
        If the page cannot be written.
    """
    shown = [
        {
            "title": section.title,
            "text": section.text,
            "is_wide": any(len(card.images) > 1 for card in section.cards),
            "cards": [_prepare(card) for card in section.cards],
        }
        for section in sections
    ]
    write_html(path, render_template("gallery.html", title=title, sections=shown))


def check_output(path: PathLike, *, others: Sequence[str] = ()) -> None:
    """Refuse a file that `write_images` would not write, before images are read.

    Parameters
    ----------
    path : path
        Path of the page or of the sheet.
    others : sequence of str
        Further suffixes that the caller writes itself, for the error.

    Raises
    ------
    FeatxError
        If the suffix is none of a page or a sheet, if the file cannot be written, or if a file that
        featx has not written is there: it may be an image of the user.
    """
    path = Path(path)
    if path.suffix.lower() not in (*PAGES, *SHEETS):
        raise FeatxError(
            subject=str(path),
            expected=f"a file that ends in {', '.join((PAGES[0], *SHEETS, *others))}",
            got=path.suffix or "none of these",
            remedy="Name the file sheet.png for one image, or page.html for a page.",
        )
    check_replaceable(path, "a page or sheet", _is_own)


def check_replaceable(path: Path, kind: str, is_own: Callable[[Path], bool]) -> None:
    """Refuse a file that cannot be written, or that featx has not written, and so does not replace.

    Parameters
    ----------
    path : Path
        Path of the file.
    kind : str
        What is to be written there, such as ``"a page or sheet"``.
    is_own : callable
        Function that tells whether featx wrote a file that is there.
    """
    check_destination(path, overwrite=True, error=FeatxError)
    if path.exists() and not is_own(path):
        raise FeatxError(
            subject=str(path),
            expected=f"no file, or {kind} that featx wrote",
            got="another file",
            remedy="Pass another path, or move the file.",
        )


def _is_own(path: Path) -> bool:
    """Return whether featx wrote a page or a sheet, or the file is empty."""
    with path.open("rb") as stream:
        start = stream.read(MAX_STAMP)
    if not start or path.suffix.lower() in PAGES:
        return not start or STAMP in start
    return is_sheet(path)


def write_images(
    path: PathLike,
    title: str,
    sections: Sequence[Section],
    *,
    n_columns: int = 8,
    side: int = 160,
) -> None:
    """Write sections as a page or as one contact sheet, by the suffix of the file.

    Parameters
    ----------
    path : path
        Path of the file: ``.html`` for a page; ``.png``, ``.jpg`` or ``.webp`` for a sheet.
    title : str
        Title of the page.
    sections : sequence of Section
        What to show. On a sheet, each image of a card has the caption of the card.
    n_columns, side : int
        Number of images in a line of a sheet, and the side of each in pixels.

    Raises
    ------
    FeatxError
        If the file cannot be written, or if there are too many images for a sheet.
    """
    check_output(path)
    path = Path(path)
    if path.suffix.lower() in PAGES:
        write_gallery(path, title, sections)
        return
    cells = list(_iter_cells(sections))
    sheet = draw_sheet(
        [image for image, _, _ in cells],
        [caption for _, caption, _ in cells],
        groups=[group for _, _, group in cells],
        n_columns=n_columns,
        side=side,
    )
    with replacing(path, error=FeatxError, overwrite=True) as draft, draft.open("wb") as stream:
        save_sheet(sheet, stream, SHEETS[path.suffix.lower()])


def _iter_cells(sections: Sequence[Section]) -> Iterator[tuple[Image | None, str, str]]:
    """Yield each image with its caption and its heading."""
    for section in sections:
        for card in section.cards:
            for image in card.images:
                assert not isinstance(image, str), "a sheet needs the images themselves"
                yield image, "\n".join(card.lines), section.title


def _prepare(card: Card) -> dict[str, Any]:
    """Return what the template shows of a card."""
    return {
        "sources": [
            image if isinstance(image, str | None) else encode_thumbnail(image)
            for image in card.images
        ],
        "name": card.lines[0] if card.lines else "image",
        "lines": card.lines,
    }


def encode_thumbnail(
    image: Image, side: int = SIDE, *, form: Literal["jpeg", "webp"] = "jpeg"
) -> str:
    """Encode an image as the address of a small image that holds its bytes.

    Parameters
    ----------
    image : PIL.Image.Image
        The image, which is not changed.
    side : int
        Largest side in pixels.
    form : {"jpeg", "webp"}
        Format of the small image. WebP takes two thirds of the bytes of a JPEG, and a third below
        64 pixels; it is slower: 1.4 ms for 224 pixels.
    """
    small = image.convert("RGB") if image.mode != "RGB" else image.copy()
    small.thumbnail((side, side))
    stream = io.BytesIO()
    small.save(stream, form, quality=QUALITY, **({"method": 2} if form == "webp" else {}))
    return f"data:image/{form};base64,{base64.b64encode(stream.getvalue()).decode()}"
