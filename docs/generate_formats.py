"""Write the page of image formats from the table that featx itself uses.

python docs/generate_formats.py
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from featx.images.format_table import FORMATS, Format, Reading

PAGE = Path(__file__).parent / "reference" / "formats.md"

HEADER = """\
# Image formats

This page is generated from the table that featx uses: `python docs/generate_formats.py`.

A file becomes a row if its suffix promises an image, or if its first bytes are those of an image.
Its bytes, not its name, decide how it is decoded. An image that featx does not read is listed
with the reason and with what to do (`featx info photos.h5 --failures`).
"""

PARTS: dict[Reading, str] = {
    "always": """\
## Read by default
These formats are also told by their first bytes, without a suffix.
""",
    "extra": """\
## Read with an extra
The extra `heic` (`pip install '.[heic]'` from a clone, or `pip install pillow-heif`) reads the
photos of iPhones. The turn that the file itself states is applied; the EXIF orientation is ignored,
as the format demands. An image of 10 or 12 bits becomes one of 8 bits. The fingerprint is the same
as for other formats.
""",
    "named": """\
## Read where somebody promises them
A file of these formats is an image if its suffix says so, or if you name the file itself: the
first bytes alone are too weak a sign. Of several icons the largest is read. A Photoshop document
must hold its layers merged as one image.
""",
    "never": """\
## Known, but not read
Such a file is listed as a failure. The suffixes of raw files, thumbnails, placeholders and some
files of microscopes are believed whatever the bytes are, because Pillow would read a preview in
place of the image. So is a TIFF not read whose first page is a preview, a mask, or the pixels of
a camera's sensor.
""",
    "other": """\
## No images
If a file whose suffix promises an image is really one of these, the reason says so.
""",
}


def render() -> str:
    """Return the page."""
    return "\n".join([HEADER, *(f"{text}\n{_render(part)}" for part, text in PARTS.items())])


def _render(reading: Reading) -> str:
    formats = [format for format in FORMATS if format.reading == reading]
    if reading in ("always", "extra", "named"):
        lines = ["| format | suffixes |", "|---|---|"]
        lines += [f"| {format.name} | {_join(format.suffixes)} |" for format in formats]
    elif reading == "never":
        lines = ["| format | suffixes | what to do |", "|---|---|---|"]
        lines += [
            f"| {name} | {_join(suffixes)} | {remedy} |"
            for (name, remedy), suffixes in _iter_merged(formats)
        ]
    else:
        lines = ["| what | what to do |", "|---|---|"]
        lines += [f"| {format.name} | {format.remedy} |" for format in formats]
    return "\n".join(lines) + "\n"


def _iter_merged(formats: Iterable[Format]) -> Iterator[tuple[tuple[str, str], list[str]]]:
    """Yield each name and remedy once, with the suffixes of all its entries."""

    def get_words(format: Format) -> tuple[str, str]:
        return format.name, format.remedy

    for words, entries in groupby(sorted(formats, key=get_words), key=get_words):
        yield words, sorted(suffix for format in entries for suffix in format.suffixes)


def _join(suffixes: Iterable[str]) -> str:
    return " ".join(f"`{suffix}`" for suffix in suffixes)


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
