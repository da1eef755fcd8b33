"""Write an HDF5 file safely, even if a write fails or a signal arrives."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, Literal

import h5py

from featx.core.signals import hold_signals


class WritableFile(FileIO):
    """A file that HDF5 writes to, and that hides failed calls from HDF5 until `check` is called.

    If a call fails, HDF5 may crash, or h5py may ignore the failure. In the second case, the file
    holds other bytes than were written.

    Parameters
    ----------
    path : Path
        The file.
    mode : str
        Mode of `io.FileIO`.
    """

    _error: OSError | None = None

    def __init__(self, path: Path, mode: str) -> None:
        super().__init__(path, mode)
        self._kept: list[tuple[int, bytes]] = []
        self._position = self._end = 0
        self._is_lost = False

    def check(self) -> None:
        """Raise the first error that was hidden from HDF5.

        Raises
        ------
        OSError
            If any call has failed.
        """
        if self._error is not None:
            raise self._error

    def write(self, data: Any, /) -> int:
        """Write all bytes, or note the error and keep the bytes for HDF5 to read again."""
        start, rest = self._position, memoryview(data).cast("B")
        size = len(rest)
        self._position += size
        self._end = max(self._end, self._position)
        try:
            self.check()
            while rest:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self._error = error
            self._kept.append((start, bytes(data)))
        return size

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer. Bytes past the end of the file are zeros, as HDF5 expects."""
        start, view = self._position, memoryview(buffer).cast("B")
        self._position += len(view)
        done = 0
        try:
            while done < len(view) and (count := self._read_some(view[done:])):
                done += count
        except OSError as error:
            self._error = self._error or error
        view[done:] = bytes(len(view) - done)
        for offset, data in self._kept:
            first, end = max(start, offset), min(start + len(view), offset + len(data))
            if first < end:
                view[first - start : end - start] = data[first - offset : end - offset]
        return len(view)

    def _read_some(self, view: memoryview) -> int | None:
        return 0 if self._is_lost else super().readinto(view)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Set the position, or note the error and remember the position that HDF5 asked for."""
        try:
            self._position = super().seek(offset, whence)
            self._is_lost = False
        except OSError as error:
            self._error, self._is_lost = self._error or error, True
            start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._end}[whence]
            self._position = start + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def truncate(self, size: int | None = None, /) -> int:
        """Set the size of the file, or note the error."""
        try:
            self.check()
            return super().truncate(size)
        except OSError as error:
            self._error = error
            return size or 0


@contextmanager
def open_writable(
    path: Path, mode: Literal["w", "r+"]
) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """Open an HDF5 file for writing; signals wait until the end of the block.

    Otherwise, HDF5 would mistake an exception from the handler of a signal for a failed write.

    Parameters
    ----------
    path : Path
        The file.
    mode : {"w", "r+"}
        Mode of `h5py.File`: a new file, or one that exists.

    Yields
    ------
    file : h5py.File
        The open file.
    check : callable
        Function that raises an OSError if a write has failed, and runs the handlers of the signals
        that have arrived. The end of the block does both.
    """
    with hold_signals() as signals, WritableFile(path, "w+" if mode == "w" else mode) as stream:

        def check() -> None:
            stream.check()
            signals.deliver()

        try:
            with h5py.File(stream, mode) as file:
                yield file, check
        except Exception:
            stream.check()  # the cause, in place of the error that HDF5 raised
            raise
        stream.check()
