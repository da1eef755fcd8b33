"""Contact sheets: many images with captions on one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import IO

from PIL import ExifTags, Image, ImageDraw

from featx.core.errors import FeatxError
from featx.core.text import escape_text, show_text
from featx.report.fonts import find_font

MARGIN, GAP = 16, 10
"""Pixels around the sheet, and between two images."""

CAPTION, HEADING = 12, 18
"""Height of letters in pixels."""

INK, PAPER, EMPTY = "#222222", "#ffffff", "#e4e4e4"

MAX_PIXELS = 120_000_000
"""Largest number of pixels of a sheet, 0.4 GB of memory."""

MAX_SIDE = 65_000
"""Largest height of a sheet: programs that show images refuse more."""

NO_IMAGE = "no image"

PROGRAM = "featx"
"""Program that wrote a sheet, by its EXIF data."""


def draw_sheet(
    images: Sequence[Image.Image | None],
    captions: Sequence[str],
    *,
    n_columns: int = 8,
    side: int = 160,
    groups: Sequence[str] | None = None,
) -> Image.Image:
    r"""Draw images in lines and columns, each with its caption.

    Parameters
    ----------
    images : sequence of PIL.Image.Image or None
        Images of any size and mode; None draws an empty field.
    captions : sequence of str
        Text below each image. A ``"\n"`` begins another line. A line that is wider than its image
        loses its middle.
    n_columns : int
        Number of images in a line.
    side : int
        Side of the field of an image in pixels. A smaller image is enlarged to it.
    groups : sequence of str, optional
        Heading of each image. Images that follow each other under one heading stand together.

    Returns
    -------
    PIL.Image.Image
        The sheet, of mode RGB.

    Raises
    ------
    FeatxError
        If there is no image, or too many for one sheet.

    Examples
    --------
    >>> from PIL import Image
    >>> sheet = draw_sheet([Image.new("RGB", (40, 30), "red"), None], ["ants", "bees"])
    >>> sheet.mode, sheet.width
    ('RGB', 362)
    """
    if not images:
        raise FeatxError(
            subject="contact sheet",
            expected="at least one image",
            got="none",
            remedy="Choose other rows.",
        )
    lines = [[escape_text(line) for line in text.split("\n")] for text in captions]
    step = CAPTION * 4 // 3
    rows = _arrange(len(images), groups, n_columns)
    n_columns = max(len(numbers) for _, numbers in rows)
    heights = [
        (HEADING * 2 if name else 0) + side + max(len(lines[one]) for one in numbers) * step + GAP
        for name, numbers in rows
    ]
    width = 2 * MARGIN + n_columns * (side + GAP) - GAP
    height = 2 * MARGIN + sum(heights) - GAP
    if width * height > MAX_PIXELS or height > MAX_SIDE:
        raise FeatxError(
            subject="contact sheet",
            expected=f"at most {MAX_PIXELS // 1_000_000} megapixels, and {MAX_SIDE:,} in height",
            got=f"{width:,} x {height:,} pixels for {len(images):,} images",
            remedy="Show fewer images, or write a page: name a file that ends in .html.",
        )
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = MARGIN
    for (name, numbers), used in zip(rows, heights, strict=True):
        y = top
        if name:
            text = fit_text(name, HEADING, width - 2 * MARGIN)
            draw.text((MARGIN, y), text, INK, find_font(text, HEADING))
            y += HEADING * 2 - HEADING // 2
        for column, number in enumerate(numbers):
            x = MARGIN + column * (side + GAP)
            _paste(sheet, images[number], (x, y), side)
            for place, line in enumerate(lines[number]):
                text = fit_text(line, CAPTION, side)
                position = x, y + side + 2 + place * step
                draw.text(position, text, INK, find_font(text, CAPTION))
        top += used
    return sheet


def _arrange(
    n_images: int, groups: Sequence[str] | None, n_columns: int
) -> list[tuple[str, list[int]]]:
    """Divide images into lines: the heading above each line, if it has one, and its images."""
    headings = [""] * n_images if groups is None else [show_text(name) for name in groups]
    rows = []
    for name, run in groupby(range(n_images), key=headings.__getitem__):
        numbers = list(run)
        starts = range(0, len(numbers), n_columns)
        rows += [("" if start else name, numbers[start : start + n_columns]) for start in starts]
    return rows


def fit_text(text: str, size: int, width: int) -> str:
    """Leave out the middle of a text that is wider than its place.

    Parameters
    ----------
    text : str
        Text of one line.
    size : int
        Height of the letters in pixels.
    width : int
        Largest width in pixels.
    """
    font = find_font(text, size)
    if font.getlength(text) <= width:
        return text
    short, long = 0, len(text)  # the longest text that fits has between these numbers of characters
    while long - short > 1:
        middle = (short + long) // 2
        fits = font.getlength(_cut(text, middle)) <= width
        short, long = (middle, long) if fits else (short, middle)
    return _cut(text, short)


def _cut(text: str, n_kept: int) -> str:
    """Keep some characters of a text, more of its beginning than of its end."""
    n_end = n_kept * 2 // 5
    return f"{text[: n_kept - n_end]}…{text[len(text) - n_end :]}"


def _paste(
    sheet: Image.Image, image: Image.Image | None, place: tuple[int, int], side: int
) -> None:
    """Paste an image into the middle of its field, as large as it fits."""
    x, y = place
    if image is None:
        draw = ImageDraw.Draw(sheet)
        draw.rectangle((x, y, x + side - 1, y + side - 1), EMPTY)
        draw.text(
            (x + side // 2, y + side // 2), NO_IMAGE, INK, find_font("", CAPTION), anchor="mm"
        )
        return
    factor = side / max(image.size)
    size = tuple(max(1, round(length * factor)) for length in image.size)
    fitted = image.convert("RGB").resize((size[0], size[1]), Image.Resampling.BICUBIC)
    sheet.paste(fitted, (x + (side - size[0]) // 2, y + (side - size[1]) // 2))


def save_sheet(sheet: Image.Image, stream: IO[bytes], kind: str) -> None:
    """Save a sheet, which says that featx wrote it.

    Parameters
    ----------
    sheet : PIL.Image.Image
        The sheet.
    stream : binary file
        File to write to.
    kind : str
        Pillow's name of the format.
    """
    exif = Image.Exif()
    exif[ExifTags.Base.Software] = PROGRAM
    sheet.save(stream, kind, exif=exif)


def is_sheet(path: Path) -> bool:
    """Return whether a file is a sheet that featx wrote.

    Parameters
    ----------
    path : Path
        Path of the file.
    """
    try:
        with Image.open(path) as sheet:
            return bool(sheet.getexif().get(ExifTags.Base.Software) == PROGRAM)
    except (OSError, SyntaxError, ValueError):
        return False
