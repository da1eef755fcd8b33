"""Images of many bytes are read in pieces: same pixels, same digest, bounded memory."""

import hashlib
import os
import re
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.core.errors import DecodeError
from featx.images import large
from featx.images.content import Content
from featx.images.decode import decode_image
from featx.images.large import LargeContent, read_content

from .awkward import JPEG, PICTURE, PNG, build_tiff, encode


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "LARGE", 100)


FORMATS = {
    "jpeg": JPEG,
    "png": PNG,
    "tiff": encode(PICTURE, "TIFF"),
    "tiff lzw": encode(PICTURE, "TIFF", compression="tiff_lzw"),
    "webp": encode(PICTURE, "WEBP"),
    "bmp": encode(PICTURE, "BMP"),
    "gif": encode(PICTURE, "GIF"),
    "ppm": encode(PICTURE, "PPM"),
    "jpeg 2000": encode(PICTURE, "JPEG2000"),
    "avif": encode(PICTURE, "AVIF"),
    "tga": encode(PICTURE, "TGA"),
}


@pytest.mark.usefixtures("small_limit")
@pytest.mark.parametrize(
    "around", [(b"", b""), (b"before it", b"behind it")], ids=["file", "range"]
)
@pytest.mark.parametrize("format", FORMATS)
def test_large_image_has_the_pixels_and_the_digest_of_its_bytes(
    tmp_path: Path, format: str, around: tuple[bytes, bytes]
) -> None:
    data = FORMATS[format]
    path = tmp_path / "image"
    path.write_bytes(around[0] + data + around[1])
    content = Content(str(path), len(around[0]), len(data) if around[0] else -1)
    found, digest, n_bytes, mtime_ns = read_content(content)
    assert isinstance(found, LargeContent)
    assert (digest, n_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    assert mtime_ns in (-1, path.stat().st_mtime_ns)
    assert decode_image(found).tobytes() == decode_image(data).tobytes()


def test_small_image_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    os.utime(tmp_path / "a.png", (10**9, 10**9))
    digest = hashlib.sha256(PNG).hexdigest()
    found = read_content(Content(str(tmp_path / "a.png")))
    assert found == (PNG, digest, len(PNG), 10**18)


@pytest.mark.usefixtures("small_limit")
def test_large_image_that_changes_meanwhile_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    found, *_ = read_content(Content(str(path)))
    with path.open("ab") as stream:
        stream.write(b"more")
    with pytest.raises(DecodeError, match="the file changed while it was read"):
        decode_image(found)
    with pytest.raises(OSError, match="the file changed while it was read"):
        found.compute_digest()  # type: ignore[union-attr]


@pytest.mark.usefixtures("small_limit")
@pytest.mark.parametrize("format", ["webp", "avif", "photoshop"])
def test_large_image_that_is_needed_whole_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    monkeypatch.setattr(large, "MAX_HELD", 300)
    (tmp_path / "a").write_bytes((FORMATS | {"photoshop": PHOTOSHOP})[format])
    found, *_ = read_content(Content(str(tmp_path / "a")))
    with pytest.raises(DecodeError, match="MiB of the file would be held in memory"):
        decode_image(found)


PHOTOSHOP = b"8BPS\0\x01" + bytes(6) + b"\0\x03\0\0\0\x01\0\0\0\x01\0\x08\0\x03" + b"\x7f" * 999
"""A header that asks for two gigabytes."""

HUGE = {
    "tiff": build_tiff((100_000, 100_000), [8], 1, b"\0"),
    "png": PNG[:16] + b"\0\x0f\0\0" * 2 + PNG[24:],
    "bmp": encode(PICTURE, "BMP")[:18] + b"\0\xff\xff\x7f" + encode(PICTURE, "BMP")[22:],
    "zeros": b"",
    "noise": bytes(range(1, 99)),
}


@pytest.mark.parametrize("format", HUGE)
def test_large_file_that_is_no_image_for_featx_costs_no_memory(tmp_path: Path, format: str) -> None:
    path = tmp_path / "huge.tif"
    path.write_bytes(HUGE[format])
    os.truncate(path, large.LARGE + (32 << 20))  # sparse
    decode_image(PNG)
    tracemalloc.start()
    try:
        found, digest, *_ = read_content(Content(str(path)))
        with pytest.raises(DecodeError) as caught:
            decode_image(found, path.name)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert "\n" not in str(caught.value)


def test_range_of_a_file_reads_and_seeks_as_a_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = rng.bytes(5000)
    (tmp_path / "a").write_bytes(b"xx" + data + b"yyy")
    content = Content(str(tmp_path / "a"), 2, len(data))
    with LargeContent(content, content.stat()).open() as stream:
        for _ in range(200):
            start, size = (int(value) for value in rng.integers(0, 6000, 2))
            assert stream.seek(start) == start
            assert stream.read(size) == data[start : start + size]
        assert stream.seek(-10, os.SEEK_END) == 4990
        assert stream.read() == data[-10:]
        with pytest.raises(OSError, match="fileno"):
            stream.fileno()


def test_large_image_in_an_archive_that_is_cut_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large, "LARGE", 10)
    (tmp_path / "a").write_bytes(PNG[:50])
    with pytest.raises(OSError, match=f"archive ends after 50 of {len(PNG)} bytes"):
        read_content(Content(str(tmp_path / "a"), 0, len(PNG)))


@pytest.mark.slow
def test_slide_of_three_gigabytes_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    path.write_bytes(HUGE["tiff"])
    os.truncate(path, 3 << 30)
    tracemalloc.start()
    try:
        found: Any = read_content(Content(str(path)))[0]
        with pytest.raises(DecodeError, match="Cut the image into tiles"):
            decode_image(found)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
