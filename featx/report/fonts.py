"""Fonts of this machine for captions: the first that has every character of a text."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

NAMES = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial Unicode.ttf", "segoeui.ttf", "Arial.ttf"),
    *("LiberationSans-Regular.ttf", "NotoSansCJK-Regular.ttc", "msyh.ttc", "PingFang.ttc"),
    *("NotoSansArabic-Regular.ttf", "NotoSansHebrew-Regular.ttf"),
)
"""Files of fonts that Linux, macOS and Windows have, those with most alphabets first."""

ABSENT = "\U0010ffff"
"""Character that no font has: each font draws its sign for a character that it lacks."""


def find_font(text: str, size: int) -> Font:
    """Find a font that shows a text.

    Parameters
    ----------
    text : str
        Text to show.
    size : int
        Height of the letters in pixels.

    Returns
    -------
    PIL.ImageFont.FreeTypeFont or PIL.ImageFont.ImageFont
        The first font of the machine that has all characters of the text. If there is none, the
        font that Pillow would take first: boxes stand for the characters that it lacks.
    """
    others = sorted({character for character in text if ord(character) > 127})
    if others:
        for font in iter_fonts(size):
            if all(has_sign(font, character) for character in others):
                return font
    return next(iter_fonts(size))


def iter_fonts(size: int) -> Iterator[Font]:
    """Yield the fonts of the machine, and at last the one that Pillow brings.

    Parameters
    ----------
    size : int
        Height of the letters in pixels.
    """
    for name in NAMES:
        font = _open_font(name, size)
        if font is not None:
            yield font
    yield _open_default(size)


@functools.cache
def _open_font(name: str, size: int) -> Font | None:
    try:
        return ImageFont.truetype(name, size)
    except OSError:  # Pillow looks into the folders of fonts of the system
        return None


@functools.cache
def _open_default(size: int) -> Font:
    return ImageFont.load_default(size)


@functools.lru_cache(maxsize=4096)
def has_sign(font: Font, character: str) -> bool:
    """Tell whether a font has a sign of its own for a character.

    Parameters
    ----------
    font : PIL.ImageFont.FreeTypeFont or PIL.ImageFont.ImageFont
        The font.
    character : str
        One character.
    """
    if not isinstance(font, ImageFont.FreeTypeFont):
        return False
    mask, absent = font.getmask(character), font.getmask(ABSENT)
    return mask.size != absent.size or bytes(mask) != bytes(absent)
