"""The table of formats: what is read, what is known, and how a file is told."""

import io
import re
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from featx.images.format_table import FORMATS, PREFIX_SIZE, Format
from featx.images.formats import (
    BY_SUFFIX,
    find_by_name,
    is_image,
    is_placeholder,
    iter_by_content,
)

PILLOW = {"JPEG 2000": "JPEG2000", "Sun raster": "SUN", "WebP": "WEBP"}
"""Pillow's names of formats that a person calls something else."""

READ = [format for format in FORMATS if format.plugin]
BY_DEFAULT = [format for format in FORMATS if format.reading == "always"]


def get_accept(name: str) -> Any:
    Image.init()
    return Image.OPEN[PILLOW.get(name, name)][1]


@pytest.mark.parametrize("format", READ, ids=lambda format: format.name)
def test_plugin_of_a_format_is_the_one_that_pillow_registers(format: Format) -> None:
    Image.init()
    module, name = format.plugin.split(".")
    factory = Image.OPEN[PILLOW.get(format.name, format.name)][0]
    assert (factory.__module__, factory.__qualname__) == (f"PIL.{module}", name)


STARTS = [
    *(b"....ftyp" + brand for brand in (b"avif", b"avis", b"mif1", b"msf1", b"heic", b"isom")),
    b"BM", b"GIF87a", b"GIF89a", b"GIF88a", b"\xff\xd8\xff", b"\xff\xd8", b"\xff\x4f\xff\x51",
    b"\0\0\0\x0cjP  \r\n\x87\n", b"\x89PNG\r\n\x1a\n", *(b"P%d" % n for n in range(10)), b"Pf",
    b"Py", b"P\n", b"II*\0", b"MM\0*", b"MM*\0", b"II\0*", b"MM\0+", b"II+\0", b"MM+\0",
    *(b"RIFF....WEBPVP8" + end for end in (b" ", b"L", b"X", b"Y")), b"RIFF....AVI ",
]  # fmt: skip


@given(st.sampled_from(STARTS), st.binary(max_size=24), st.integers(0, 20))
def test_magic_of_formats_read_by_default_is_that_of_pillow(
    start: bytes, rest: bytes, n_cut: int
) -> None:
    prefix = (start[: max(0, len(start) - n_cut)] + rest).ljust(32, b"\0")
    for format in BY_DEFAULT:
        told = re.compile(format.magic, re.S).match(prefix) is not None
        assert told == bool(get_accept(format.name)(prefix)), format.name


def test_suffixes_are_promised_once_and_cover_those_of_pillow() -> None:
    assert len(BY_SUFFIX) == sum(len(format.suffixes) for format in FORMATS)
    known = {PILLOW.get(format.name, format.name): format for format in READ}
    for suffix, name in Image.registered_extensions().items():
        if name in known and suffix not in (".vst", ".fli"):  # .vst is a sound plug-in, too
            assert BY_SUFFIX[suffix] in (known[name], known.get("MPO")), suffix


def test_formats_that_are_not_read_say_what_to_do() -> None:
    for format in FORMATS:
        if not format.plugin:
            assert re.fullmatch(r"[A-Z].*\.", format.remedy), format


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.JPG", "JPEG"), ("a.tar/b.Heic", "HEIC"), ("a.nii.gz", "NIfTI, a volume"),
        ("a.nii", "NIfTI, a volume"), ("a.jpg.gz", None), ("a.gz", None), ("jpg", None),
        (".jpg", None), ("a.txt", None), ("a.jpg.txt", None), ("a.psd", "PSD"), ("a.svs", "TIFF"),
        (".5.jpg.icloud", "a placeholder"), ("5.heic.nextcloud", "a placeholder"),
        (".5.txt.icloud", None), (".icloud", None), ("a.mp4", None), ("", None),
    ],
)  # fmt: skip
def test_find_by_name_goes_by_the_suffix(name: str, expected: str | None) -> None:
    format = find_by_name(name)
    assert (format and format.name.split(":")[0]) == expected
    assert is_placeholder(name) is (expected == "a placeholder")


SAMPLES = {
    "HEIC": b"\0\0\0\x18ftypheic",
    "JPEG XL": b"\xff\n\xfa\x1f",
    "JPEG XR": b"II\xbc\x01",
    "JPEG-LS": b"\xff\xd8\xff\xf7\0",
    "PSB, a large Photoshop document": b"8BPS\0\x02",
    "SVG, a drawing without pixels": b'<?xml version="1.0"?>\n<!-- by hand -->\n<svg xmlns="">',
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "DICOM": bytes(128) + b"DICM",
    "NIfTI, a volume": struct.pack("<i", 348) + bytes(340) + b"n+1\0",
    "OpenEXR": b"v/1\x01",
    "XCF, a document of GIMP": b"gimp xcf v011",
    "a raw file of a camera": b"\0\0\0\x18ftypcrx ",
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\n",
    "a pointer of git-annex": b"/annex/objects/SHA256E-s1--00.jpg\n",
    "an HTML page": b"\n<!doctype HTML>\n<html>",
    "an XML document": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "a JSON document": b'{"error": "not found"}',
    "a PDF document": b"%PDF-1.7\n",
    "a ZIP archive": b"PK\x03\x04",
    "an MP4 or QuickTime video": b"\0\0\0\x18ftypisom",
    "a video": b"RIFF....AVI LIST",
    "a NumPy array": b"\x93NUMPY\x01\0",
    "a property list of macOS": b"bplist00" + bytes(20),
    "a file that begins with zeros": bytes(300),
    "text": "Zugriff verweigert: schön\n".encode(),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_iter_by_content_names_what_a_file_really_is(name: str) -> None:
    assert next(iter_by_content(SAMPLES[name])).name == name


NO_IMAGES = {"PostScript", *(format.name for format in FORMATS if format.reading == "other")}


@pytest.mark.parametrize("name", SAMPLES)
def test_is_image_takes_images_that_are_not_read_and_nothing_else(name: str) -> None:
    assert is_image(SAMPLES[name]) is (name not in NO_IMAGES)


@pytest.mark.parametrize(
    "format", [format for format in READ if format.name not in ("FLI", "XPM", "Sun raster", "CUR")],
    ids=lambda format: format.name,
)  # fmt: skip
def test_formats_that_pillow_writes_are_told(format: Format) -> None:
    name = format.name
    pillow, stream = PILLOW.get(name, name), io.BytesIO()
    mode = {"XBM": "1"}.get(name, "RGB")
    image = Image.new(mode, (32, 32))
    if pillow not in Image.SAVE:
        pytest.skip("Pillow does not write it")
    image.save(stream, pillow)
    found = next(iter_by_content(stream.getvalue()[:PREFIX_SIZE]))
    assert found.name == name
    assert is_image(stream.getvalue()[:PREFIX_SIZE]) is (format.reading == "always")


def test_noise_is_hardly_ever_taken_for_an_image() -> None:
    rng = np.random.default_rng(0)
    taken = [is_image(rng.bytes(PREFIX_SIZE)) for _ in range(2000)]
    assert sum(taken) <= 2


@pytest.mark.parametrize(
    "prefix", [b"", b"P", b"B", b"I", b"some text", b"%PDF-1.7", b"PK\x03\x04", b"%!PS"], ids=repr
)
def test_is_image_refuses_others(prefix: bytes) -> None:
    assert not is_image(prefix)
