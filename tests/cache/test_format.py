"""What HDF5 is told of a failed write: nothing, and the caller all."""

import errno
import signal
from io import FileIO

import h5py
import numpy as np
import pytest

from featx.cache.format import Sink, check_dtype, open_writable
from featx.errors import CacheError


class FailingFile(FileIO):
    """Fails in one write, and works again after."""

    fail_at = -1
    n_writes = 0

    def write(self, data):
        self.n_writes += 1
        if self.n_writes == self.fail_at:
            self.fail()
        return super().write(data)

    def fail(self):
        raise OSError(errno.ENOSPC, "No space left on device")


class InterruptedFile(FailingFile):
    """Meets Ctrl-C in one write."""

    def fail(self):
        signal.raise_signal(signal.SIGINT)


class ShortFile(FailingFile):
    """Writes three bytes at a time, as a system may."""

    def write(self, data):
        return FileIO.write(self, data[:3])


def write_numbers(path):
    with open_writable(path, "w") as (file, _):
        for name in "abc":
            file[name] = np.arange(50_000)
            file[f"text {name}"] = [f"{name} {i}" for i in range(100)]


@pytest.fixture
def n_writes(tmp_path, monkeypatch):
    """How often HDF5 writes in `write_numbers`."""
    files = []

    class CountedFile(FailingFile):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            files.append(self)

    with monkeypatch.context() as patch:
        patch.setattr("featx.cache.format.FileIO", CountedFile)
        write_numbers(tmp_path / "counted.h5")
    return files[0].n_writes


@pytest.mark.parametrize(
    ("kind", "error"), [(FailingFile, OSError), (InterruptedFile, KeyboardInterrupt)]
)
def test_open_writable_any_one_failed_write_is_raised(tmp_path, monkeypatch, n_writes, kind, error):
    passed_over = []
    monkeypatch.setattr("featx.cache.format.FileIO", kind)
    for number in range(1, n_writes + 1):
        monkeypatch.setattr(kind, "fail_at", number)
        try:
            write_numbers(tmp_path / "c.h5")
        except error:
            continue
        passed_over.append(number)
    assert n_writes > 10
    assert passed_over == []


def test_open_writable_short_writes_are_continued(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("featx.cache.format.FileIO", ShortFile)
        write_numbers(tmp_path / "c.h5")
    with h5py.File(tmp_path / "c.h5") as file:
        np.testing.assert_array_equal(file["c"][:], np.arange(50_000))
        assert file["text b"].asstr()[99] == "b 99"


def test_open_writable_existing_file_is_changed_in_place(tmp_path):
    write_numbers(tmp_path / "c.h5")
    with open_writable(tmp_path / "c.h5", "r+") as (file, _):
        file["a"][7] = -1
    with h5py.File(tmp_path / "c.h5") as file:
        assert file["a"][:9].tolist() == [0, 1, 2, 3, 4, 5, 6, -1, 8]
        assert file["b"][7] == 7


def test_sink_check_tells_the_first_error(tmp_path):
    with FailingFile(tmp_path / "file", "w+") as stream:
        sink = Sink(stream)
        sink.check()
        stream.fail_at = 1
        sink.write(b"lost")
        sink.write(b"kept")
        with pytest.raises(OSError, match=r"No space left on device"):
            sink.check()


def test_check_dtype_unknown_is_refused():
    with pytest.raises(CacheError, match=r"dtype: expected one of float32, float16, got 'float8'"):
        check_dtype("float8")
