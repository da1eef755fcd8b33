"""HDF5 does not see a failed write or a signal; the caller does."""

import errno
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from featx.cache import writable as writable_module
from featx.cache.seal import SealedFile
from featx.cache.sealing import seal_file
from featx.cache.writable import RevisedFile, Revision, WritableFile, open_writable
from featx.core.errors import CacheDamagedError


class FailingFile(FileIO):
    """Fails in one write, and works again after."""

    fail_at = -1
    n_writes = 0

    def write(self, data: Any) -> int:
        type(self).n_writes += 1
        if self.n_writes == self.fail_at:
            self.fail()
        return super().write(data)

    def fail(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


class FailingWritableFile(WritableFile, FailingFile):
    pass


class InterruptedWritableFile(WritableFile, FailingFile):
    def fail(self) -> None:
        signal.raise_signal(signal.SIGINT)


class ShortFile(FileIO):
    """Writes seven bytes at a time, as a system may."""

    def write(self, data: Any) -> int:
        return super().write(data[:7])


class ShortWritableFile(WritableFile, ShortFile):
    pass


def write_numbers(path: Path) -> None:
    with open_writable(path, "w") as (file, _):
        for name in "abc":
            file[name] = np.arange(5_000)
            file[f"text {name}"] = [f"{name} {i}" for i in range(100)]


def check_numbers(path: Path) -> None:
    with h5py.File(path) as file:
        for name in "abc":
            np.testing.assert_array_equal(file[name][:], np.arange(5_000))
            assert file[f"text {name}"].asstr()[:].tolist() == [f"{name} {i}" for i in range(100)]


@pytest.mark.parametrize(
    ("kind", "error"),
    [(FailingWritableFile, OSError), (InterruptedWritableFile, KeyboardInterrupt)],
)
def test_open_writable_any_failed_write_or_signal_is_raised(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[FailingWritableFile | InterruptedWritableFile],
    error: type[BaseException],
) -> None:
    monkeypatch.setattr(writable_module, "WritableFile", kind)
    monkeypatch.setattr(kind, "n_writes", 0)
    write_numbers(tmp_path / "c.h5")
    check_numbers(tmp_path / "c.h5")
    n_writes = kind.n_writes
    not_raised = []
    for number in range(1, n_writes + 1):
        monkeypatch.setattr(kind, "n_writes", 0)
        monkeypatch.setattr(kind, "fail_at", number)
        try:
            write_numbers(tmp_path / "c.h5")
        except error:
            continue
        not_raised.append(number)
    assert n_writes > 10
    assert not_raised == []


def test_open_writable_signal_waits_until_the_file_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writable_module, "WritableFile", InterruptedWritableFile)
    monkeypatch.setattr(InterruptedWritableFile, "n_writes", 0)
    monkeypatch.setattr(InterruptedWritableFile, "fail_at", 3)
    with pytest.raises(KeyboardInterrupt):
        write_numbers(tmp_path / "c.h5")
    check_numbers(tmp_path / "c.h5")


def test_open_writable_short_writes_are_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writable_module, "WritableFile", ShortWritableFile)
    write_numbers(tmp_path / "c.h5")
    check_numbers(tmp_path / "c.h5")


def test_open_writable_existing_file_is_changed_in_place(tmp_path: Path) -> None:
    write_numbers(tmp_path / "c.h5")
    with open_writable(tmp_path / "c.h5", "r+") as (file, check):
        file["a"][7] = -1
        check()
    with h5py.File(tmp_path / "c.h5") as file:
        assert file["a"][:9].tolist() == [0, 1, 2, 3, 4, 5, 6, -1, 8]
        assert file["b"][7] == 7


def test_open_writable_end_that_is_not_written_is_there(tmp_path: Path) -> None:
    with open_writable(tmp_path / "c.h5", "w") as (file, _):
        file.create_dataset("late", (50_000,), "i8")[:3] = 7
    with h5py.File(tmp_path / "c.h5") as file:  # refused where the file is too short
        assert file["late"][:3].tolist() == [7, 7, 7]
    assert (tmp_path / "c.h5").stat().st_size > 8 * 50_000


def go_on_after(path: Path, step: Callable[[], None], passed: list[str]) -> None:
    with open_writable(path, "w") as (file, check):
        file["a"] = np.arange(100_000)
        step()
        check()
        passed.append("check")


def raise_error() -> None:
    raise KeyError("what HDF5 made of it")


@pytest.mark.parametrize("step", [lambda: None, raise_error], ids=["check", "other-error"])
def test_open_writable_failed_write_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: Callable[[], None]
) -> None:
    monkeypatch.setattr(writable_module, "WritableFile", FailingWritableFile)
    monkeypatch.setattr(FailingWritableFile, "n_writes", 0)
    monkeypatch.setattr(FailingWritableFile, "fail_at", 1)
    passed: list[str] = []
    with pytest.raises(OSError, match=r"No space left on device"):
        go_on_after(tmp_path / "c.h5", step, passed)
    assert passed == []


def test_open_writable_check_lets_a_signal_in(tmp_path: Path) -> None:
    passed: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        go_on_after(tmp_path / "c.h5", lambda: signal.raise_signal(signal.SIGINT), passed)
    assert passed == []


def test_writable_file_reads_zeros_behind_the_end(tmp_path: Path) -> None:
    with WritableFile(tmp_path / "file", "w+") as stream:
        stream.write(b"abc")
        stream.seek(1)
        buffer = bytearray(b"\xff" * 6)
        assert stream.readinto(buffer) == 6
    assert buffer == b"bc\0\0\0\0"


def test_writable_file_after_failed_write_reads_what_was_to_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FailingWritableFile, "n_writes", 0)
    monkeypatch.setattr(FailingWritableFile, "fail_at", 2)
    with FailingWritableFile(tmp_path / "file", "w+") as stream:
        for place, data in ((0, b"on disk"), (3, b"DISK"), (12, b"end"), (5, b"xx")):
            stream.seek(place)
            stream.write(data)
        stream.truncate(20)
        stream.seek(2)
        buffer = bytearray(b"\xff" * 12)
        stream.readinto(buffer)
        with pytest.raises(OSError, match=r"No space left on device"):
            stream.check()
    assert buffer == b" DIxx\0\0\0\0\0en"
    assert (tmp_path / "file").read_bytes() == b"on disk"


class UnreadableFile(FileIO):
    def readinto(self, buffer: Any, /) -> int:
        raise OSError(errno.EIO, "Input/output error")


class UnreadableWritableFile(WritableFile, UnreadableFile):
    pass


def test_writable_file_failed_read_is_told_and_reads_as_zeros(tmp_path: Path) -> None:
    with UnreadableWritableFile(tmp_path / "file", "w+") as stream:
        stream.write(b"abc")
        stream.check()
        stream.seek(0)
        buffer = bytearray(b"\xff" * 4)
        assert stream.readinto(buffer) == 4
        with pytest.raises(OSError, match=r"Input/output error"):
            stream.check()
    assert buffer == bytes(4)


class LostFile(FileIO):
    """A file of which one call of seek fails."""

    n_seeks = 0
    fail_at = 0

    def seek(self, offset: int, whence: int = 0, /) -> int:
        type(self).n_seeks += 1
        if self.n_seeks == self.fail_at:
            raise OSError(errno.EIO, "Input/output error")
        return super().seek(offset, whence)


class LostWritableFile(WritableFile, LostFile):
    pass


def test_writable_file_failed_seek_is_told_and_reads_as_zeros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LostWritableFile, "n_seeks", 0)
    monkeypatch.setattr(LostWritableFile, "fail_at", 2)
    with LostWritableFile(tmp_path / "file", "w+") as stream:
        stream.write(b"abcdef")
        assert stream.seek(2) == stream.tell() == 2
        assert stream.seek(0, os.SEEK_END) == 6
        buffer = bytearray(b"\xff" * 2)
        stream.readinto(buffer)
        assert buffer == bytes(2)
        assert stream.seek(4) == 4
        stream.readinto(buffer)
        assert buffer == b"ef"
        stream.seek(0)
        stream.write(b"new")
        with pytest.raises(OSError, match=r"Input/output error"):
            stream.check()
    assert (tmp_path / "file").read_bytes() == b"abcdef"


def write_groups(path: Path) -> None:
    with open_writable(path, "w") as (file, _):
        for number in range(3):
            file.create_dataset(f"group-{number}/numbers", data=np.arange(1000))


def test_open_writable_tells_whichever_seek_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writable_module, "WritableFile", LostWritableFile)
    monkeypatch.setattr(LostWritableFile, "n_seeks", 0)
    write_groups(tmp_path / "c.h5")
    n_seeks = LostWritableFile.n_seeks
    assert n_seeks > 10
    for number in range(1, n_seeks + 1):
        monkeypatch.setattr(LostWritableFile, "n_seeks", 0)
        monkeypatch.setattr(LostWritableFile, "fail_at", number)
        with pytest.raises(OSError, match=r"Input/output error"):
            write_groups(tmp_path / "c.h5")


def test_writable_file_tells_the_first_of_several_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Both(WritableFile, UnreadableFile, FailingFile):
        pass

    monkeypatch.setattr(Both, "fail_at", 1)
    with Both(tmp_path / "file", "w+") as stream:
        stream.write(b"abc")
        stream.readinto(bytearray(2))
        with pytest.raises(OSError, match=r"No space left"):
            stream.check()


@pytest.mark.parametrize(("size", "returned"), [(7, 7), (0, 0), (None, 0)])
def test_writable_file_truncate_after_an_error_answers_as_if_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int | None, returned: int
) -> None:
    monkeypatch.setattr(FailingWritableFile, "n_writes", 0)
    monkeypatch.setattr(FailingWritableFile, "fail_at", 1)
    with FailingWritableFile(tmp_path / "file", "w+") as stream:
        stream.write(b"abc")
        assert stream.truncate(size) == returned
    assert (tmp_path / "file").stat().st_size == 0


@pytest.fixture
def revision(tmp_path: Path) -> Iterator[Revision]:
    """A sealed file of three blocks, open, beside a copy."""
    path = tmp_path / "file"
    path.write_bytes(bytes(150_000))
    seal_file(path)
    shutil.copyfile(path, tmp_path / "copy")
    with SealedFile(path) as sealed:
        yield Revision(sealed)


def test_revised_file_notes_the_blocks_that_are_written(tmp_path: Path, revision: Revision) -> None:
    with RevisedFile(tmp_path / "copy", revision) as stream:
        stream.seek(4096 + 65530)
        assert stream.readinto(bytearray(10)) == 10
        assert revision.written == set()
        stream.write(b"x" * 6)
        assert revision.written == {1}  # the position stands behind the ten bytes, in block 1
        stream.seek(4096 + 4 * 65536)
        stream.write(b"x")
        stream.check()
    assert revision.written == {1, 4}


def test_revised_file_hides_damage_from_hdf5_and_tells_the_caller(
    tmp_path: Path, revision: Revision
) -> None:
    with (tmp_path / "copy").open("r+b") as stream:
        stream.seek(4096 + 70_000)
        stream.write(b"\1")
    with RevisedFile(tmp_path / "copy", revision) as revised:
        revised.seek(4096)
        revised.write(b"x")
        revised.check()
        revised.seek(4096 + 65536)
        buffer = bytearray(8)
        assert revised.readinto(buffer) == revised.write(buffer) == 8
        assert revised.truncate(5) == 5
        message = r"file: expected the bytes that featx wrote, got changes in bytes 69632 to 135168"
        with pytest.raises(CacheDamagedError, match=message):
            revised.check()
