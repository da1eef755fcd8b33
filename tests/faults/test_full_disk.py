"""A disk that is full, or a limit on the size of files, costs nothing that was done."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import extract_words, read_content, read_finished


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Any]:
    """A file system in memory of so many bytes; a factory."""
    mounted = []

    def make(size: Any) -> Any:
        folder = tmp_path / "disk"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if os.getuid() != 0 or shutil.which("mount") is None:
            pytest.skip("needs root, to mount a small disk")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"needs the right to mount: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="module")
def expected(server: Any, photo_folder: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("expected")
    done = server.run(extract_words(photo_folder, folder / "photos.h5"), folder / "log")
    assert done["code"] == 0, done["stderr"]
    return read_content(folder / "photos.h5")


@pytest.mark.slow
def test_extract_on_a_full_disk_tells_and_goes_on_with_room(
    server: Any, photo_folder: Any, tmp_path: Path, small_disk: Any, expected: Any
) -> None:
    disk = small_disk(500_000)
    output = disk / "photos.h5"
    words = extract_words(photo_folder, output)
    done = server.run(words, tmp_path / "full.log")
    assert done["code"] == 1
    assert "No space left on device" in done["stderr"]
    assert "Traceback" not in done["stderr"]
    assert not output.exists()
    finished = read_finished(output)
    assert finished
    subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
    done = server.run(words, tmp_path / "again.log")
    assert done["code"] == 0, done["stderr"]
    assert finished.isdisjoint((tmp_path / "again.log").read_text().split())
    assert read_content(output) == expected


@pytest.mark.slow
@pytest.mark.parametrize("limit", [20_000, 100_000])
def test_extract_under_a_file_size_limit_tells_and_goes_on_without(
    server: Any, photo_folder: Any, tmp_path: Path, expected: Any, limit: Any
) -> None:
    output = tmp_path / "photos.h5"
    words = extract_words(photo_folder, output)
    done = server.run(words, tmp_path / "limited.log", max_file_bytes=limit)
    assert done["code"] == 1
    assert "File too large" in done["stderr"]
    assert "Traceback" not in done["stderr"]
    finished = read_finished(output)
    done = server.run(words, tmp_path / "again.log")
    assert done["code"] == 0, done["stderr"]
    assert finished.isdisjoint((tmp_path / "again.log").read_text().split())
    assert read_content(output) == expected


@pytest.mark.slow
def test_extract_over_a_cache_on_a_full_disk_leaves_the_cache(
    server: Any, photo_folder: Any, tmp_path: Path, small_disk: Any
) -> None:
    some = tmp_path / "some"
    shutil.copytree(photo_folder, some)
    for path in sorted(some.glob("class2/*.jpg")):
        path.unlink()
    disk = small_disk("20m")
    output = disk / "photos.h5"
    assert server.run(extract_words(some, output), tmp_path / "1.log")["code"] == 0
    before = output.read_bytes()
    subprocess.run(["mount", "-o", f"remount,size={len(before) + 200_000}", str(disk)], check=True)
    done = server.run(extract_words(photo_folder, output), tmp_path / "2.log")
    assert done["code"] == 1
    assert "No space left on device" in done["stderr"]
    assert output.read_bytes() == before
