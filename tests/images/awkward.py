"""A generated corpus of awkward files, each with what is to come of it.

As a script it extracts a corpus that `write_corpus` has written, under a user who may not read
everything, and says on standard output what came of it:

    python tests/images/awkward.py FOLDER
"""

import dataclasses
import functools
import importlib.util
import io
import json
import os
import re
import socket
import struct
import sys
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, features

from featx.core.typing import UInt8Array

NOBODY = 65534
"""Root may read any file: as root, the extraction is run as this user."""

N_GOOD = 14

NOT_READ = "expected an image in a format that featx reads"

NO_HEADER = "expected a whole image, got [A-Z]+ whose header cannot be read"

TOO_LARGE = "expected at most 178,956,970 pixels, got .* Cut the image into tiles"


@dataclass(frozen=True)
class Case:
    """One awkward file.

    Attributes
    ----------
    name : str
        Path within the folder, as `os.fsdecode` gives it.
    write : callable
        Takes the path.
    outcome : {"embedded", "failed", "ignored", "passed over"}
        What is ignored is counted; what is passed over (hidden, or no file) is not.
    id : str
        As it has to be in the cache.
    size : tuple of int
        Width and height.
    pixels : array_like or None
        What has to be decoded: ``(height, width, 3)``, or one colour; None where no rule says.
    tolerance : int
        By how much a pixel may differ.
    stage, reason : str
        Where it has to fail, and a pattern that is found in the reason.
    """

    name: str
    write: Callable[[Path], object]
    outcome: str
    id: str
    size: tuple[int, int] = (0, 0)
    pixels: object = None
    tolerance: int = 0
    stage: str = ""
    reason: str = ""


CASES: dict[str, Case] = {}


def add(
    name: str, write: Callable[[Path], object], outcome: str, id: str | None = None, **expected: Any
) -> None:
    assert name not in CASES, name
    CASES[name] = Case(name, write, outcome, name if id is None else id, **expected)


def write_bytes(data: bytes | Callable[[], bytes], path: Path) -> None:
    path.write_bytes(data() if callable(data) else data)


def embedded(
    name: str,
    data: bytes | Callable[[], bytes],
    pixels: Any = None,
    size: tuple[int, int] | None = None,
    tolerance: int = 0,
    id: str | None = None,
) -> None:
    """Expect a row; the size is that of the pixels where they are an array."""
    if size is None:
        size = np.shape(pixels)[1::-1] if np.ndim(pixels) == 3 else SIZE
    write = functools.partial(write_bytes, data)
    add(name, write, "embedded", id, size=size, pixels=pixels, tolerance=tolerance)


def failed(
    name: str,
    data: bytes | Callable[[], bytes],
    reason: str,
    id: str | None = None,
    stage: str = "decode",
) -> None:
    """Expect a line in the ledger."""
    write = functools.partial(write_bytes, data)
    add(name, write, "failed", id, stage=stage, reason=reason)


# --- pictures

SIZE = (64, 48)
ramp_y, ramp_x = np.mgrid[0:48, 0:64]
PICTURE = np.stack(
    [ramp_x * 255 // 63, ramp_y * 255 // 47, np.where(ramp_x < 32, 200, 40)], axis=-1
).astype(np.uint8)
"""No two of its eight orientations are alike, and JPEG hardly harms it."""
GRAY = np.repeat(np.asarray(Image.fromarray(PICTURE).convert("L"))[:, :, None], 3, axis=2)
JPEG_NOISE = 6
RED, BLUE, WHITE, BLACK = (255, 0, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def encode(image: Image.Image | UInt8Array, format: str, **options: Any) -> bytes:
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    stream = io.BytesIO()
    image.save(stream, format=format, **options)
    return stream.getvalue()


def encode_jpeg(image: Image.Image | UInt8Array = PICTURE, **options: Any) -> bytes:
    """Without subsampling: colours stay where they are."""
    return encode(image, "JPEG", **({"quality": 95, "subsampling": 0} | options))


def encode_noise(seed: int) -> bytes:
    """Encode a plain photo of its own."""
    noise = np.random.default_rng(seed).integers(0, 64, (48, 64, 3), dtype=np.uint8)
    return encode_jpeg(PICTURE // 2 + noise)


def encode_fill(
    format: str,
    colour: Any = RED,
    mode: str = "RGB",
    size: tuple[int, int] = (2, 1),
    **options: Any,
) -> bytes:
    return encode(Image.new(mode, size, colour), format, **options)


JPEG = encode_jpeg()
PNG = encode(PICTURE, "PNG")
SCAN = JPEG.index(b"\xff\xda") + 14
"""Where the entropy-coded data of `JPEG` begins."""


def build_gray(*values: int) -> UInt8Array:
    """Expect one line of gray pixels."""
    return np.repeat(np.array(values, np.uint8)[None, :, None], 3, axis=2)


def build_line(*colours: Any) -> UInt8Array:
    """Expect one line of pixels."""
    return np.array([colours], np.uint8)


# --- formats written by hand


def build_png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))


def build_png(
    size: tuple[int, int], depth: int, colour: int, raw: bytes | None, *chunks: tuple[bytes, bytes]
) -> bytes:
    """Write a PNG out of rows that carry their filter byte; chunks go before the pixels."""
    header = struct.pack(">LLBBBBB", *size, depth, colour, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            build_png_chunk(b"IHDR", header),
            *(build_png_chunk(*chunk) for chunk in chunks),
            build_png_chunk(b"IDAT", zlib.compress(raw)) if raw is not None else b"",
            build_png_chunk(b"IEND", b""),
        ]
    )


def insert_png_chunk(name: bytes, data: bytes) -> bytes:
    """Put a chunk behind the header of `PNG`."""
    return PNG[:33] + build_png_chunk(name, data) + PNG[33:]


def break_checksum(name: bytes) -> bytes:
    """Zero the checksum of the first chunk of that name in `PNG`."""
    start = PNG.index(name)
    (length,) = struct.unpack(">L", PNG[start - 4 : start])
    end = start + 4 + length
    return PNG[:end] + bytes(4) + PNG[end + 4 :]


def build_interlaced_png() -> bytes:
    """Write `PICTURE` in the seven passes of Adam7."""
    passes = ["0088", "4088", "0448", "2044", "0224", "1022", "0112"]
    raw = b""
    for left, top, right, down in (map(int, digits) for digits in passes):
        for row in PICTURE[top::down, left::right]:
            raw += b"\0" + row.tobytes()
    plain = build_png(SIZE, 8, 2, raw)
    header = plain[16:28] + b"\x01"
    return plain[:8] + build_png_chunk(b"IHDR", header) + plain[33:]


def build_big_endian(*values: int) -> bytes:
    return struct.pack(f">{len(values)}H", *values)


def build_tiff(
    size: tuple[int, int], bits: Any, photometric: int, data: bytes, *entries: Any, order: str = "<"
) -> bytes:
    """Write a TIFF of one strip; entries are (tag, type 3 or 4, values), by ascending tag."""
    letters = {3: "H", 4: "L"}
    found = [
        (256, 4, [size[0]]),
        (257, 4, [size[1]]),
        (258, 3, bits),
        (259, 3, [1]),
        (262, 3, [photometric]),
        (273, 4, [0]),  # where the strip begins, known below
        (277, 3, [len(bits)]),
        (278, 4, [size[1]]),
        (279, 4, [len(data)]),
        *entries,
    ]
    directory = 8 + 2 + 12 * len(found) + 4
    sizes = [len(values) * 2 * (kind - 2) for _, kind, values in found]
    n_tail = sum(n_bytes for n_bytes in sizes if n_bytes > 4)
    body = tail = b""
    for tag, kind, values in found:
        values = [directory + n_tail] if tag == 273 else values
        value = struct.pack(f"{order}{len(values)}{letters[kind]}", *values)
        if len(value) > 4:
            value, tail = struct.pack(order + "L", directory + len(tail)), tail + value
        body += struct.pack(order + "HHL", tag, kind, len(values)) + value.ljust(4, b"\0")
    start = struct.pack(order + "2sHLH", b"II" if order == "<" else b"MM", 42, 8, len(found))
    return start + body + bytes(4) + tail + data


def build_bmp(
    size: tuple[int, int],
    bits: int,
    data: bytes,
    compression: int = 0,
    palette: bytes = b"",
    masks: bytes = b"",
) -> bytes:
    header = struct.pack(
        "<LllHHLLllLL", 40, *size, 1, bits, compression, len(data), 0, 0, len(palette) // 4, 0
    )
    start = 14 + len(header + masks + palette)
    return (
        b"BM"
        + struct.pack("<LHHL", start + len(data), 0, 0, start)
        + header
        + masks
        + palette
        + data
    )


def build_gif(
    size: tuple[int, int],
    indices: Any,
    *,
    screen: tuple[int, int] | None = None,
    at: tuple[int, int] = (0, 0),
    transparent: int | None = None,
) -> bytes:
    """Write a GIF of red, blue, lime and black; its codes are not compressed."""
    bits = "".join(f"{code:03b}"[::-1] for index in indices for code in (4, index))
    bits += f"{5:03b}"[::-1]
    data = bytes(int(bits[i : i + 8][::-1], 2) for i in range(0, len(bits), 8))
    control = b""
    if transparent is not None:
        control = b"\x21\xf9\x04\x01\0\0" + bytes([transparent]) + b"\0"
    return b"".join(
        [
            b"GIF89a" + struct.pack("<HHBBB", *(screen or size), 0x81, 0, 0),
            bytes([*RED, *BLUE, 0, 255, 0, *BLACK]),
            control,
            b"," + struct.pack("<HHHHB", *at, *size, 0),
            b"\2" + bytes([len(data)]) + data + b"\0;",
        ]
    )


def build_segment(marker: int, data: bytes) -> bytes:
    """Write a segment of a JPEG."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def insert_segment(marker: int, data: bytes) -> bytes:
    """Put a segment at the beginning of `JPEG`."""
    return JPEG[:2] + build_segment(marker, data) + JPEG[2:]


def patch_frame(offset: int, data: bytes) -> bytes:
    """Overwrite bytes behind the marker of `JPEG`'s frame header."""
    start = JPEG.index(b"\xff\xc0") + offset
    return JPEG[:start] + data + JPEG[start + len(data) :]


def damage_scan(count: int) -> bytes:
    """Overwrite that many bytes of `JPEG`'s entropy-coded data, without making a marker."""
    rng = np.random.default_rng(0)
    data = bytearray(JPEG)
    for place in rng.integers(SCAN, len(JPEG) - 2, count):
        if 0xFF not in data[place - 1 : place + 1]:
            data[place] = int(rng.integers(0, 255))
    return bytes(data)


def build_ycck() -> bytes:
    """Write red as Photoshop does: YCbCr of the inverted inks, and black inverted."""
    red_ink = np.array([0, 255, 255])  # cyan, magenta, yellow
    ink: Any = Image.new("RGB", (1, 1), tuple(red_ink)).convert("YCbCr").getpixel((0, 0))
    luma, blue, red = ink
    # Pillow stores each plane inverted, and tells by the marker that nothing was transformed.
    stored = Image.new("CMYK", SIZE, (255 - luma, 255 - blue, 255 - red, 0))
    data = bytearray(encode_jpeg(stored))
    data[data.index(b"Adobe") + 11] = 2
    return bytes(data)


def build_arithmetic() -> bytes:
    """Write a JPEG of one progressive scan, arithmetic-coded: any bits, even none, are a picture.

    Pillow cannot.
    """
    return b"".join(
        [
            b"\xff\xd8",
            build_segment(0xDB, b"\0" + b"\x10" * 64),
            build_segment(0xCA, struct.pack(">BHHB", 8, 16, 24, 1) + b"\x01\x11\0"),
            build_segment(0xDA, b"\x01\x01\0\0\0\0"),
            b"\xff\xd9",
        ]
    )


def can_decode(data: bytes) -> bool:
    """Tell whether this build of Pillow decodes it."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except OSError:
        return False
    return True


def build_exif(*entries: Any) -> bytes:
    """Write EXIF out of (tag, type, count, four bytes)."""
    body = b"".join(
        struct.pack("<HHL", tag, kind, n) + value.ljust(4, b"\0") for tag, kind, n, value in entries
    )
    return b"Exif\0\0II*\0" + struct.pack("<LH", 8, len(entries)) + body + bytes(4)


# --- cut off

CUTS = {
    # What is left, and what the reason says.
    "jpeg": [(20, NO_HEADER), (100, "truncated"), (0.5, "truncated"), (-1, "truncated")],
    "png": [(20, "truncated"), (40, NO_HEADER), (0.5, "truncated"), (-30, "truncated")],
    "gif": [(8, NO_HEADER), (100, NO_HEADER), (0.5, "truncated"), (-4, "truncated")],
    "tiff": [(8, NO_HEADER), (40, NO_HEADER), (0.5, "truncated"), (-1, "truncated")],
    "webp": [(12, NOT_READ), (40, "decode"), (0.5, "decode"), (-1, "decode")],
    "bmp": [(8, NO_HEADER), (40, "truncated"), (0.5, "truncated"), (-1, "truncated")],
    "ppm": [(8, "EOF"), (0.5, "truncated"), (-1, "truncated")],
    "avif": [(0.5, NO_HEADER), (-1, "truncated")],
    "jpeg2000": [(20, "read"), (0.5, "broken data stream"), (-1, "broken data stream")],
}
OPTIONAL = {"avif": "avif", "jpeg2000": "jpg_2000"}
"""Formats that not every build of Pillow reads, by its name of the feature."""

for format, cuts in CUTS.items():
    if format in OPTIONAL and not features.check(OPTIONAL[format]):
        continue
    noise = np.random.default_rng(0).integers(0, 64, PICTURE.shape, dtype=np.uint8)
    whole = encode(PICTURE // 2 + noise, format.upper())
    suffix = {"jpeg": ".jpg", "jpeg2000": ".jp2"}.get(format, f".{format}")
    for part, reason in cuts:
        size = int(len(whole) * part) if isinstance(part, float) else part
        failed(f"cut-{part}{suffix}", whole[:size], f"(?i){reason}")

embedded("cut-before-end.png", PNG[:-12], PICTURE)
embedded("cut-before-end.gif", build_gif((2, 1), [0, 1])[:-1], build_line(RED, BLUE))
failed("cut-progressive.jpg", encode_jpeg(progressive=True)[:-80], "truncated")
# Whoever ends a JPEG early but properly is not found out: libjpeg fills in gray.
embedded("cut-and-ended.jpg", JPEG[: SCAN + 300] + b"\xff\xd9")

# --- not what the name says

TIFF = encode(PICTURE, "TIFF")
failed("empty.jpg", b"", "^expected an image, got an empty file")
failed("text.jpg", "Just a note, löl\n".encode(), "got text that begins with 'Just a note, löl")
failed("noise.png", np.random.default_rng(0).bytes(4000), NOT_READ)
failed(
    "page.jpeg",
    b"<!DOCTYPE html>\n<html><title>404 Not Found</title></html>\n",
    f"{NOT_READ}, got an HTML page. Download",
)
failed("postscript.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", NOT_READ)
failed("drawing.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", NOT_READ)
embedded("icon.png", encode_fill("ICO", size=(16, 16)), RED, size=(16, 16))
failed("zeros.tif", bytes(4096), NOT_READ)
failed("newline-before.jpg", b"\n" + JPEG, NOT_READ)
failed("line-ends-translated.png", PNG.replace(b"\r\n", b"\n"), NOT_READ)
embedded("png-called.jpg", PNG, PICTURE)
embedded("jpeg-called.gif", JPEG, PICTURE, tolerance=JPEG_NOISE)
embedded("jpeg-without-suffix", JPEG, PICTURE, tolerance=JPEG_NOISE)
embedded("jpeg-called.txt", JPEG, PICTURE, tolerance=JPEG_NOISE)
embedded("tiff-called.png", TIFF, PICTURE)
embedded("UPPER-CASE.PNG", PNG, PICTURE)
add("ignored-empty", functools.partial(write_bytes, b""), "ignored")
add("ignored-Thumbs.db", functools.partial(write_bytes, b"\xd0\xcf\x11\xe0"), "ignored")
failed("not-read.dng", b"II*\0\x08\0\0\0" + bytes(99), NOT_READ, stage="read")
add("ignored.csv", functools.partial(write_bytes, b"path\nempty.jpg\n"), "ignored")
add("ignored-icon", functools.partial(write_bytes, encode_fill("ICO", size=(16, 16))), "ignored")

# --- formats that are read where the suffix promises them, and formats that are known

TGA = encode(PICTURE, "TGA")
embedded("promised.tga", TGA, PICTURE)
embedded("promised.ico", encode_fill("ICO", size=(16, 16)), RED, size=(16, 16))
embedded("promised-pcx.png", encode(PICTURE, "PCX"), PICTURE)
embedded("promised.sgi", encode(PICTURE, "SGI"), PICTURE)
add("ignored-tga", functools.partial(write_bytes, TGA), "ignored")
failed("known.cr2", TIFF, f"{NOT_READ}, got a raw file of a camera", stage="read")
failed("known.thm", JPEG, f"{NOT_READ}, got a thumbnail that a camera keeps", stage="read")
failed("known.jpg.nextcloud", b"", "a placeholder", id="known.jpg", stage="read")
for name, data, what in [
    ("known-raw-told-by-content", b"FUJIFILMCCD-RAW 0201", "a raw file of a camera"),
    ("known.jxl", b"\xff\n\xfa\x1f", "JPEG XL"),
    ("known.exr", b"v/1\x01\x02", "OpenEXR"),
    ("known.nii.gz", b"\x1f\x8b\x08", "NIfTI, a volume"),
]:
    failed(name, data, f"{NOT_READ}, got {what}")

# --- JPEG

embedded("jpeg-cmyk.jpg", encode_jpeg(Image.new("CMYK", SIZE, (0, 255, 255, 0))), RED, tolerance=9)
embedded("jpeg-ycck.jpg", build_ycck(), RED, tolerance=9)
embedded("jpeg-gray.jpg", encode_jpeg(GRAY[:, :, 0]), GRAY, tolerance=JPEG_NOISE)
embedded("jpeg-progressive.jpg", encode_jpeg(progressive=True), PICTURE, tolerance=JPEG_NOISE)
if can_decode(build_arithmetic()):
    embedded("jpeg-arithmetic.jpg", build_arithmetic(), size=(24, 16))
RESTARTS = encode_jpeg(restart_marker_blocks=1)
embedded("jpeg-restarts.jpg", RESTARTS, PICTURE, tolerance=JPEG_NOISE)
# libjpeg goes on over damage in the entropy-coded data, and Pillow does not tell.
embedded("jpeg-restarts-lost.jpg", re.sub(rb"\xff[\xd0-\xd7]", b"", RESTARTS))
embedded("jpeg-damaged-little.jpg", damage_scan(5))
embedded("jpeg-damaged-much.jpg", damage_scan(400))
embedded("jpeg-trailing.jpg", JPEG + b"garbage" * 99, PICTURE, tolerance=JPEG_NOISE)
embedded("jpeg-twice.jpg", JPEG + JPEG, PICTURE, tolerance=JPEG_NOISE)
embedded(
    "jpeg-of-two-pictures.jpg",
    encode(
        Image.new("RGB", SIZE, RED),
        "MPO",
        save_all=True,
        append_images=[Image.new("RGB", SIZE, BLUE)],
    ),
    RED,
    tolerance=JPEG_NOISE,
)
embedded(
    "jpeg-malformed-mpo.jpg", insert_segment(0xE2, b"MPF\0garbage"), PICTURE, tolerance=JPEG_NOISE
)
embedded("jpeg-comment.jpg", insert_segment(0xFE, b"\xff\xfe\n\0"), PICTURE, tolerance=JPEG_NOISE)
embedded(
    "jpeg-huge-profile.jpg",
    lambda: encode_jpeg(icc_profile=np.random.default_rng(0).bytes(3 << 20)),
    PICTURE,
    tolerance=JPEG_NOISE,
)
failed("jpeg-of-no-width.jpg", patch_frame(7, b"\0\0"), NO_HEADER)
failed("jpeg-of-12-bit.jpg", patch_frame(4, b"\x0c"), NO_HEADER)
failed("jpeg-bomb.jpg", patch_frame(5, b"\xff" * 4), TOO_LARGE)
failed("jpeg-without-tables.jpg", re.sub(rb"(?s)\xff\xdb.*(?=\xff\xc0)", b"", JPEG), "broken data")
failed("jpeg-junk-inside.jpg", JPEG[:2] + bytes(4) + JPEG[2:], NOT_READ)

# --- EXIF

STORED: dict[int, Callable[[UInt8Array], UInt8Array]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}
"""How a camera held so stores the picture, by EXIF orientation."""

for orientation, store in STORED.items():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = np.ascontiguousarray(store(PICTURE))
    data = encode_jpeg(stored, exif=exif)
    embedded(f"orientation-{orientation}.jpg", data, PICTURE, tolerance=JPEG_NOISE)

ASIDE = np.ascontiguousarray(STORED[6](PICTURE))
SIX = (0x112, 3, 1, b"\x06\0")
BROKEN_EXIF = {
    "garbage": b"Exif\0\0\x93garbage that is no TIFF",
    "short": b"Exif\0\0II*",
    "without-entries": b"Exif\0\0II*\0\x08\0\0\0",
    "far-away": b"Exif\0\0II*\0\xff\xff\xff\x7f",
    "orientation-0": build_exif((0x112, 3, 1, b"\0")),
    "orientation-9": build_exif((0x112, 3, 1, b"\x09")),
    "orientation-in-letters": build_exif((0x112, 2, 2, b"6\0")),
    "orientation-elsewhere": build_exif((0x112, 5, 1, struct.pack("<L", 9999))),
}
for name, broken in BROKEN_EXIF.items():
    data = encode_jpeg(exif=broken)
    embedded(f"exif-{name}.jpg", data, PICTURE, tolerance=JPEG_NOISE)
    embedded(f"exif-{name}.png", insert_png_chunk(b"eXIf", broken[6:]), PICTURE)
    data = encode(PICTURE, "WEBP", lossless=True, exif=broken)
    embedded(f"exif-{name}.webp", data, PICTURE)
TURNED_EXIF = {
    # Tags that are read but cannot be written, as ImageOps.exif_transpose would.
    "unwritable": build_exif((0x100, 2, 4, b"abc\0"), SIX),
    "cut": build_exif(SIX, (0x132, 2, 200, struct.pack("<L", 5000))),
    "circular": build_exif(SIX, (0x8769, 4, 1, struct.pack("<L", 8))),
}
for name, turned in TURNED_EXIF.items():
    data = encode_jpeg(ASIDE, exif=turned)
    embedded(f"exif-turned-{name}.jpg", data, PICTURE, tolerance=JPEG_NOISE)

# --- PNG

PALETTE = (b"PLTE", bytes([*RED, *BLUE]))
embedded("png-1.png", build_png((2, 1), 1, 0, b"\0\x40"), build_gray(0, 255))
embedded("png-2-bit.png", build_png((4, 1), 2, 0, b"\0\x1b"), build_gray(0, 85, 170, 255))
embedded("png-4-bit.png", build_png((2, 1), 4, 0, b"\0\x1f"), build_gray(17, 255))
embedded("png-l.png", build_png((2, 1), 8, 0, b"\0\x07\x09"), build_gray(7, 9))
embedded("png-la.png", build_png((2, 1), 8, 4, b"\0\x07\xff\x07\0"), build_gray(7, 255))
embedded(
    "png-rgba.png",
    build_png((3, 1), 8, 6, bytes([0, *RED, 255, *RED, 0, *BLACK, 128])),
    build_line(RED, WHITE, (127, 127, 127)),
    tolerance=1,
)
embedded(
    "png-rgb-transparent-colour.png",
    build_png((2, 1), 8, 2, bytes([0, *RED, *BLUE]), (b"tRNS", build_big_endian(*RED))),
    build_line(WHITE, BLUE),
)
embedded("png-p.png", build_png((2, 1), 8, 3, b"\0\0\x01", PALETTE), build_line(RED, BLUE))
embedded(
    "png-p-transparent-index.png",
    build_png((2, 1), 8, 3, b"\0\0\x01", PALETTE, (b"tRNS", b"\xff\0")),
    build_line(RED, WHITE),
)
embedded(
    "png-p-transparent-bytes.png",
    build_png((2, 1), 8, 3, b"\0\0\x01", PALETTE, (b"tRNS", b"\x80\x40")),
    build_line((255, 127, 127), (191, 191, 255)),
    tolerance=1,
)
VALUES = (0, 128, 129, 1000, 32896, 65535)
SCALED = [(value + 128) // 257 for value in VALUES]
embedded(
    "png-16-bit-gray.png",
    build_png((6, 1), 16, 0, b"\0" + build_big_endian(*VALUES)),
    build_gray(*SCALED),
)
embedded(
    "png-16-bit-gray-transparent.png",
    build_png((6, 1), 16, 0, b"\0" + build_big_endian(*VALUES), (b"tRNS", build_big_endian(1000))),
    build_gray(*SCALED[:3], 255, *SCALED[4:]),
)
# With colour or alpha Pillow reads the high bytes alone.
embedded(
    "png-16-bit-rgb.png",
    build_png((2, 1), 16, 2, b"\0" + build_big_endian(1000, 33000, 65535, 255, 256, 511)),
    build_line((3, 128, 255), (0, 1, 1)),
)
embedded(
    "png-16-bit-rgba.png",
    build_png((2, 1), 16, 6, b"\0" + build_big_endian(1000, 33000, 65535, 65535, 1, 2, 3, 0)),
    build_line((3, 128, 255), WHITE),
)
embedded("png-interlaced.png", build_interlaced_png(), PICTURE)
embedded(
    "png-animated.png",
    encode_fill("PNG", save_all=True, append_images=[Image.new("RGB", (2, 1), BLUE)]),
    build_line(RED, RED),
)
embedded("png-animation-malformed.png", insert_png_chunk(b"acTL", bytes(8)), PICTURE)
embedded("png-trailing.png", PNG + b"garbage" * 99, PICTURE)
embedded("png-checksum-of-pixels.png", break_checksum(b"IDAT"), PICTURE)
embedded(
    "png-huge-profile.png",
    lambda: encode(PICTURE, "PNG", icc_profile=np.random.default_rng(0).bytes(900 << 10)),
    PICTURE,
)
failed(
    "png-enormous-profile.png",
    lambda: encode(PICTURE, "PNG", icc_profile=np.random.default_rng(0).bytes(2 << 20)),
    "too large",
)
failed(
    "png-text-bomb.png",
    lambda: insert_png_chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(4 << 20))),
    "too large",
)
failed("png-checksum-of-header.png", break_checksum(b"IHDR"), NO_HEADER)
failed("png-without-palette.png", build_png((2, 1), 8, 3, b"\0\0\x01"), "AssertionError: no reason")
failed("png-without-pixels.png", build_png((2, 1), 8, 0, None), "cannot load")
failed("png-of-no-width.png", build_png((0, 1), 8, 0, b"\0"), NO_HEADER)
failed("png-of-3-bit.png", build_png((1, 1), 3, 0, b"\0\0"), NO_HEADER)
failed("png-filter-unknown.png", build_png((1, 1), 8, 0, b"\x07\0"), "unrecognized data")
failed("png-bomb.png", lambda: build_png((50_000, 50_000), 8, 0, bytes(1 << 20)), TOO_LARGE)
# Pillow warns of more than 89 million pixels, and refuses twice that many.
embedded(
    "png-of-90-million-pixels.png",
    lambda: build_png((9500, 9500), 1, 0, bytes(9500 * 1189)),
    size=(9500, 9500),
)

# --- sizes

embedded("size-one-pixel.png", encode_fill("PNG", size=(1, 1)), build_line(RED))
embedded("size-column.png", encode_fill("PNG", size=(1, 300)), RED, size=(1, 300))
embedded("size-line.png", encode_fill("PNG", size=(20_000, 1)), RED, size=(20_000, 1))

# --- GIF, WEBP

FRAMES: dict[str, Any] = {"save_all": True, "append_images": [Image.new("RGB", (2, 1), BLUE)]}
embedded("gif-palette.gif", build_gif((2, 1), [0, 1]), build_line(RED, BLUE))
embedded("gif-transparent.gif", build_gif((2, 1), [0, 1], transparent=1), build_line(RED, WHITE))
embedded("gif-animated.gif", encode_fill("GIF", **FRAMES), build_line(RED, RED))
embedded(
    "gif-beyond-its-screen.gif",
    build_gif((3, 1), [0, 1, 2], screen=(1, 1)),
    build_line(RED, BLUE, (0, 255, 0)),
)
embedded("gif-part-of-screen.gif", build_gif((1, 1), [1], screen=(3, 1), at=(1, 0)), size=(3, 1))
failed("gif-without-picture.gif", build_gif((2, 1), [])[:25] + b";", NO_HEADER)
failed("gif-too-few-pixels.gif", build_gif((2, 2), [0, 1]), "truncated")
failed("gif-bomb.gif", build_gif((1, 1), [0], screen=(65_535, 65_535)), TOO_LARGE)
embedded("webp-lossy.webp", encode(PICTURE, "WEBP", quality=95), PICTURE, tolerance=90)
embedded("webp-animated.webp", encode_fill("WEBP", lossless=True, **FRAMES), build_line(RED, RED))
embedded(
    "webp-transparent.webp",
    encode_fill("WEBP", (9, 9, 9, 0), "RGBA", lossless=True, exact=True),
    build_line(WHITE, WHITE),
)

# --- TIFF

LITTLE = np.array(VALUES, "<u2").tobytes()
embedded("tiff-16-bit.tif", build_tiff((6, 1), [16], 1, LITTLE), build_gray(*SCALED))
embedded(
    "tiff-16-bit-big-endian.tif",  # Pillow's mode I;16B
    build_tiff((6, 1), [16], 1, build_big_endian(*VALUES), order=">"),
    build_gray(*SCALED),
)
embedded(
    "tiff-32-bit-of-16.tif",
    build_tiff((2, 1), [32], 1, np.array([1000, 65535], "<u4").tobytes()),
    build_gray(4, 255),
)
embedded("tiff-1.tif", build_tiff((2, 1), [1], 1, b"\x40"), build_gray(0, 255))
embedded("tiff-white-is-zero.tif", build_tiff((2, 1), [8], 0, b"\0\x09"), build_gray(255, 246))
embedded("tiff-cmyk.tif", build_tiff((1, 1), [8] * 4, 5, bytes([0, 255, 255, 0])), build_line(RED))
embedded(
    "tiff-palette.tif",
    build_tiff(
        (2, 1),
        [8],
        3,
        b"\0\x01",
        (320, 3, [65535] + [0] * 255 + [0] * 256 + [0, 65535] + [0] * 254),
    ),
    build_line(RED, BLUE),
)
embedded(
    "tiff-alpha.tif",
    build_tiff((2, 1), [8] * 4, 2, bytes([*RED, 0, *RED, 255]), (338, 3, [2])),
    build_line(WHITE, RED),
)
embedded("tiff-pages.tif", encode_fill("TIFF", **FRAMES), build_line(RED, RED))
embedded("tiff-lab.tif", build_tiff((1, 1), [8] * 3, 8, bytes([255, 0, 0])), size=(1, 1))
if features.check("libtiff"):
    embedded("tiff-lzw.tif", encode(PICTURE, "TIFF", compression="tiff_lzw"), PICTURE)
    embedded(
        "tiff-fax.tif",
        encode(Image.frombytes("1", (2, 1), b"\x40"), "TIFF", compression="group4"),
        build_gray(0, 255),
    )
    LZW = encode(PICTURE, "TIFF", compression="tiff_lzw")
    failed("tiff-lzw-damaged.tif", LZW[:8] + bytes(4000) + LZW[4008:], "(?i)error|decod|broken")
failed(
    "tiff-float.tif",
    build_tiff((1, 1), [32], 1, bytes(4), (339, 3, [3])),
    "expected 8-bit or 16-bit pixels, got floating-point pixels",
)
failed(
    "tiff-double.tif",
    build_tiff((1, 1), [64], 1, bytes(8), (339, 3, [3])),
    "got TIFF of 1 sample of 64 bit, floating-point",
)
failed(
    "tiff-negative.tif",
    build_tiff((1, 1), [16], 1, b"\xff\xff", (339, 3, [2])),
    r"expected pixels in 0\.\.65535",
)
failed("tiff-bomb.tif", build_tiff((60_000, 60_000), [8], 1, b"\0"), TOO_LARGE)

# --- BMP, PNM

BMP_PALETTE = bytes([0, 0, 255, 0, 255, 0, 0, 0])
BMP_ROWS = bytes([0, 0, 255, 0, 255, 0, 0, 0])  # red, then blue, each padded to four bytes
embedded("bmp-24.bmp", build_bmp((1, 2), 24, BMP_ROWS), np.array([[BLUE], [RED]], np.uint8))
embedded("bmp-top-down.bmp", build_bmp((1, -2), 24, BMP_ROWS), np.array([[RED], [BLUE]], np.uint8))
embedded("bmp-32.bmp", build_bmp((2, 1), 32, BMP_ROWS), build_line(RED, BLUE))
embedded("bmp-1.bmp", build_bmp((2, 1), 1, b"\x40\0\0\0", 0, BMP_PALETTE), build_line(RED, BLUE))
embedded("bmp-4.bmp", build_bmp((2, 1), 4, b"\x01\0\0\0", 0, BMP_PALETTE), build_line(RED, BLUE))
embedded("bmp-8.bmp", build_bmp((2, 1), 8, b"\0\x01\0\0", 0, BMP_PALETTE), build_line(RED, BLUE))
embedded(
    "bmp-run-length.bmp",
    build_bmp((4, 1), 8, bytes([2, 0, 2, 1, 0, 0, 0, 1]), 1, BMP_PALETTE),
    build_line(RED, RED, BLUE, BLUE),
)
embedded(
    "bmp-16.bmp",
    build_bmp((2, 1), 16, b"\0\xf8\x1f\0", 3, masks=struct.pack("<LLL", 0xF800, 0x7E0, 0x1F)),
    build_line(RED, BLUE),
)
failed("bmp-run-length-cut.bmp", build_bmp((4, 2), 8, b"\x02", 1, BMP_PALETTE), "not enough")
failed("bmp-holding-jpeg.bmp", build_bmp((4, 1), 24, JPEG, 4), "(?i)unsupported BMP compression")
failed("bmp-bomb.bmp", build_bmp((60_000, 60_000), 24, b""), TOO_LARGE)
embedded("pnm-1.pbm", b"P1\n# a comment\n2 1\n0 1\n", build_gray(255, 0))
embedded("pnm-2.pgm", b"P2 2 1 100\n50 100\n", build_gray(128, 255))
embedded("pnm-3.ppm", b"P3 1 1 255\n1 2 3\n", build_line((1, 2, 3)))
embedded("pnm-4.pbm", b"P4 2 1\n\x40", build_gray(255, 0))
embedded("pnm-5.pgm", b"P5 2 1 255\n\x07\x09", build_gray(7, 9))
embedded("pnm-5-16-bit.pgm", b"P5 6 1 65535\n" + build_big_endian(*VALUES), build_gray(*SCALED))
embedded("pnm-6.ppm", b"P6 1 1 255\n\x01\x02\x03", build_line((1, 2, 3)))
failed("pnm-float.pnm", b"Pf\n1 1\n-1.0\n" + bytes(4), "floating-point pixels")
failed("pnm-words.ppm", b"P6\nwide high\n255\n", "ValueError")
failed("pnm-bomb.ppm", b"P6\n50000 50000\n255\n", TOO_LARGE)

# --- formats that not every Pillow reads

if features.check("avif"):
    embedded("avif.avif", encode(PICTURE, "AVIF", quality=95), PICTURE, tolerance=90)
    failed("avif-garbage.avif", b"\0\0\0\x1cftypavif" + bytes(99), NO_HEADER)
if features.check("jpg_2000"):
    embedded("jpeg-2000.jp2", encode(PICTURE, "JPEG2000"), PICTURE, tolerance=1)
    embedded("jpeg-2000-without-suffix", encode(PICTURE, "JPEG2000", no_jp2=True), PICTURE)

# --- names

NAMES = {
    "name-not-utf8-\udce9.png": r"name-not-utf8-\xe9.png",
    "name-not-utf8-\udcff\udcfe/inside.png": r"name-not-utf8-\xff\xfe/inside.png",
    "name-two\nlines.png": r"name-two\u000alines.png",
    "name-two\\u000alines.png": r"name-two\\u000alines.png",
    "name-tab\t.png": r"name-tab\u0009.png",
    "name-back\\slash.png": r"name-back\\slash.png",
    "name-carriage\rreturn.png": r"name-carriage\u000dreturn.png",
    "name-red\x1b[31m.png": r"name-red\u001b[31m.png",
    "name-" + "x" * 241 + ".png": None,
    "name-" + "é" * 120 + ".png": None,
    " name-after-a-blank.png": None,
    "name-before-a-blank.png ": None,
    "-name-like-an-option.png": None,
    "name-🐜.png": None,
    "name-👩\u200d🔬.png": r"name-👩\u200d🔬.png",
    "name-נמלה-نملة.png": None,
    "name-\u202egnp.turned.png": r"name-\u202egnp.turned.png",
    "name-'quoted\",%s{0}$HOME*?.png": None,
    "name-nfc-é.png": None,
    "name-nfc-e\u0301.png": None,
    "same-name-a/image.png": None,
    "same-name-b/image.png": None,
    "folder-with-suffix.jpg/inside.png": None,
}
for number, (name, id) in enumerate(NAMES.items()):
    # Each content once: a row that came by another's name would be seen.
    gray = PICTURE // 2 + np.uint8(number)
    embedded(name, encode(gray, "PNG"), gray, id=id)
failed("name-of-failed\n-\udce9.jpg", b"text", NOT_READ, id=r"name-of-failed\u000a-\xe9.jpg")

for name in (".hidden.jpg", ".hidden-folder/inside.jpg", "._resource-fork.jpg"):
    add(name, functools.partial(write_bytes, JPEG), "passed over")

embedded("same-content-1.png", PNG, PICTURE)
embedded("same-content-2.png", PNG, PICTURE)
failed("same-failure-1.png", b"the same text", NOT_READ)
failed("same-failure-2.png", b"the same text", NOT_READ)


# --- links, and what is no file


def link(target: str, path: Path) -> None:
    path.symlink_to(target)


def link_again(path: Path) -> None:
    """Write an image, and links back to its folder and to the one above."""
    path.write_bytes(PNG)
    path.with_name("again").symlink_to(".")
    path.with_name("above").symlink_to("..")


def bind_socket(path: Path) -> None:
    # By its name alone: a socket's path must be short.
    here = os.getcwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def lock(path: Path) -> None:
    path.write_bytes(JPEG)
    path.chmod(0)


add("link.png", functools.partial(link, "tiff-called.png"), "embedded", size=SIZE, pixels=PICTURE)
add(
    "link-to-folder",
    functools.partial(link, "same-name-a"),
    "embedded",
    id="link-to-folder/image.png",
    size=SIZE,
)
dangling = functools.partial(link, "nowhere.jpg")
add("link-dangling.jpg", dangling, "failed", stage="read", reason="(?i)no such file")
add("link-dangling", dangling, "failed", stage="read", reason="(?i)no such file")
itself = functools.partial(link, "link-to-itself.jpg")
add("link-to-itself.jpg", itself, "failed", stage="read", reason="(?i)symbolic links")
add("loop/image.png", link_again, "embedded", size=SIZE, pixels=PICTURE)
NO_FILE: dict[str, Any] = {"stage": "read", "reason": "not a regular file|No such device"}
add("pipe.jpg", os.mkfifo, "failed", **NO_FILE)
add("only-a-pipe", os.mkfifo, "ignored")
add("link-to-pipe.jpg", functools.partial(link, "pipe.jpg"), "failed", **NO_FILE)
add("link-to-device.jpg", functools.partial(link, "/dev/zero"), "failed", **NO_FILE)
add("socket.jpg", bind_socket, "failed", **NO_FILE)
add("empty-folder.jpg", Path.mkdir, "passed over")
add("locked.jpg", lock, "failed", stage="read", reason="(?i)permission denied")
add("locked-without-suffix", lock, "failed", stage="read", reason="(?i)permission denied")


# --- changed under our hands: `tamper` does so when the bytes are read


def become_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def grow(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(b"more")


BEFORE_READING: dict[str, tuple[Callable[[Path], object], str]] = {
    "changing-vanishes.jpg": (Path.unlink, "(?i)no such file"),
    "changing-becomes-pipe.jpg": (become_pipe, "not a regular file"),
}
AFTER_READING: dict[str, tuple[Callable[[Path], object], str]] = {
    "changing-grows.jpg": (grow, "changed while it was read"),
    "changing-shrinks.jpg": (lambda path: os.truncate(path, 99), "changed while it was read"),
}
for name, (_, reason) in (BEFORE_READING | AFTER_READING).items():
    failed(name, encode_noise(len(name)), reason, stage="read")


def tamper() -> None:
    """Change some files of the corpus while featx reads them, in this process and for good."""
    from featx.images.content import Content

    read = Content.read

    def read_tampered(self: Content, size: int | None = None) -> bytes:
        path = Path(self.file)
        change, _ = BEFORE_READING.get(path.name, (None, None))
        if size is None and change:
            change(path)
        data = read(self, size)
        change, _ = AFTER_READING.get(path.name, (None, None))
        if size is None and change:
            change(path)
        return data

    setattr(Content, "read", read_tampered)  # noqa: B010


# --- the corpus

# Letters, so that they sort among the others.
GOOD = {f"{chr(ord('b') + number)}.jpg": number for number in range(N_GOOD)}
"""Plain photos by name, each with its seed."""


def write_corpus(folder: Path) -> set[str]:
    """Write all files, the good ones also alone; return names that this file system refuses.

    They come to lie in ``all`` and ``good``, and belong to the user who will read them.
    """
    refused = set()
    (folder / "all").mkdir()
    (folder / "good").mkdir()
    for name, seed in GOOD.items():
        data = encode_noise(seed)
        (folder / "all" / name).write_bytes(data)
        (folder / "good" / name).write_bytes(data)
    for case in CASES.values():
        path = folder / "all" / case.name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            case.write(path)
        except OSError:
            refused.add(case.name)
    if os.geteuid() == 0:
        for inside, folders, files in os.walk(folder):
            for name in (".", *folders, *files):
                os.chown(os.path.join(inside, name), NOBODY, NOBODY, follow_symlinks=False)
    return refused


def extract_corpus(folder: Path) -> None:
    """Extract the good files alone, then all as a user with few rights; print what came of it."""
    from featx.core.errors import FeatxWarning
    from featx.extraction.extract import extract

    place = Path(__file__).resolve().parents[1] / "conftest.py"
    spec = importlib.util.spec_from_file_location("featx_tests_conftest", place)
    assert spec is not None
    assert spec.loader is not None
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)
    options = {
        "backbone": conftest.tiny_backbone.__wrapped__(),
        "max_failures": "100%",
        "batch_size": 8,
        "progress": False,
    }
    # First, as whoever we are: what is imported late may not be readable to nobody.
    extract(folder / "good", folder / "good.h5", **options)
    tamper()
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    warnings.simplefilter("always")
    warnings.filterwarnings("ignore", category=FeatxWarning)  # notes are what is to be said
    report = extract(folder / "all", folder / "all.h5", **options)
    json.dump(dataclasses.asdict(report), sys.stdout, default=str)


if __name__ == "__main__":
    extract_corpus(Path(sys.argv[1]))
