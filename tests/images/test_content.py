"""The bytes of one image, with the size and time that belong to them."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from featx.images import content
from featx.images.content import RECENT_NS, Content

NOW_NS = 1_800_000_000_000_000_000


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A file of ten different bytes, last changed long ago."""
    path = tmp_path / "archive.tar"
    path.write_bytes(b"0123456789")
    os.utime(path, ns=(NOW_NS, NOW_NS))
    return path


@pytest.mark.parametrize(
    ("offset", "size", "limit", "expected"),
    [
        (0, -1, None, b"0123456789"),
        (4, -1, None, b"456789"),
        (4, 3, None, b"456"),
        (4, 3, 2, b"45"),
        (4, 3, 9, b"456"),
        (0, -1, 4, b"0123"),
        (4, 0, None, b""),
    ],
)
def test_read_gives_the_range(
    archive: Path, offset: int, size: int, limit: int | None, expected: bytes
) -> None:
    assert Content(str(archive), offset, size).read(limit) == expected


def test_read_range_beyond_the_end_is_an_error(archive: Path) -> None:
    with pytest.raises(OSError, match="archive ends after 2 of 5 bytes"):
        Content(str(archive), 8, 5).read()


@pytest.mark.parametrize(("size", "expected"), [(-1, 10), (3, 3)])
def test_stat_is_that_of_the_image(archive: Path, size: int, expected: int) -> None:
    assert Content(str(archive), 0, size).stat() == (expected, NOW_NS)


@pytest.mark.parametrize(
    ("age_ns", "is_old"), [(0, False), (RECENT_NS, False), (RECENT_NS + 1, True)]
)
def test_read_whole_of_a_recent_file_tells_no_time(
    archive: Path, monkeypatch: pytest.MonkeyPatch, age_ns: int, is_old: bool
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: NOW_NS + age_ns)
    found = Content(str(archive)).read_whole()
    assert found == (b"0123456789", 10, NOW_NS if is_old else -1)


def test_read_whole_of_a_file_that_changes_meanwhile_is_an_error(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Content.read

    def read_and_grow(self: Content, size: int | None = None) -> bytes:
        data = read(self, size)
        archive.write_bytes(b"more than it was before")
        return data

    monkeypatch.setattr(content.Content, "read", read_and_grow)
    with pytest.raises(OSError, match="changed while it was read"):
        Content(str(archive)).read_whole()


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX pipes")
def test_read_of_a_pipe_is_an_error_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        Content(str(tmp_path / "pipe")).read()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("1.jpg", True), ("1.JPG", True), ("1.dat", False), ("1", False), ("1.jpg.txt", False)],
)
def test_looks_like_image_goes_by_suffix_where_bytes_are_none(
    archive: Path, name: str, expected: bool
) -> None:
    assert Content(str(archive)).looks_like_image(name) is expected


def test_looks_like_image_goes_by_first_bytes(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    path = make_image(tmp_path / "1.dat", format="PNG")
    assert Content(str(path)).looks_like_image("1.dat")
    with pytest.raises(FileNotFoundError):
        Content(str(tmp_path / "gone.dat")).looks_like_image("gone.dat")
