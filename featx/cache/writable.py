"""Write an HDF5 file safely, even if a write fails or a signal arrives."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any, Literal

import h5py

from featx.cache.seal import SealedFile
from featx.core.errors import CacheError
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

    _error: Exception | None = None

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
        CacheDamagedError
            If HDF5 has met a damaged block of a copy.
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
        except (OSError, CacheError) as error:
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
        except (OSError, CacheError) as error:
            self._error = error
            return size or 0


@dataclass(frozen=True)
class Revision:
    """What a changed copy of a sealed file takes over from it.

    Attributes
    ----------
    sealed : SealedFile
        The file that was copied, open.
    written : set of int
        Numbers of the blocks of the copy that were written.
    """

    sealed: SealedFile
    written: set[int] = field(default_factory=set)


class RevisedFile(WritableFile):
    """A copy of a sealed file that HDF5 changes. The blocks that HDF5 writes are noted.

    Before HDF5 reads a block or writes to it, the block is compared with its digest: otherwise, a
    damaged block would get a new digest as if it were sound.

    Parameters
    ----------
    path : Path
        The copy.
    revision : Revision
        The file that was copied, and the notes.
    """

    def __init__(self, path: Path, revision: Revision) -> None:
        super().__init__(path, "r+")
        self._revision = revision
        self._checked: set[int] = set()

    def write(self, data: Any, /) -> int:
        """Write all bytes, as `WritableFile` does."""
        self._revision.written.update(self._check_blocks(memoryview(data).nbytes))
        return super().write(data)

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer, as `WritableFile` does."""
        self._check_blocks(memoryview(buffer).nbytes)
        return super().readinto(buffer)

    def _check_blocks(self, size: int) -> range:
        """Check the blocks that the next bytes touch, and return their numbers."""
        sealed, seal = self._revision.sealed, self._revision.sealed.seal
        start = self._position - seal.start
        end = -(-(start + size) // seal.block_size)
        numbers = range(max(0, start // seal.block_size), max(0, end))
        for number in numbers:
            if number < seal.n_blocks and number not in self._checked:
                self._checked.add(number)
                try:
                    sealed.check_copy(number, self.fileno())
                except (OSError, CacheError) as error:
                    self._error = self._error or error
        return numbers


@contextmanager
def open_writable(
    path: Path,
    mode: Literal["w", "r+"],
    *,
    user_block: int = 0,
    revision: Revision | None = None,
) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """Open an HDF5 file for writing; signals wait until the end of the block.

    Otherwise, HDF5 would mistake an exception from the handler of a signal for a failed write.

    Parameters
    ----------
    path : Path
        The file.
    mode : {"w", "r+"}
        Mode of `h5py.File`: a new file, or one that exists.
    user_block : int
        Length in bytes of the user block of a new file.
    revision : Revision, optional
        The sealed file of which this file is a copy.

    Yields
    ------
    file : h5py.File
        The open file.
    check : callable
        Function that raises an error if a write has failed or a block is damaged, and runs the
        handlers of the signals that have arrived. The end of the block does both.
    """
    with ExitStack() as stack:
        signals = stack.enter_context(hold_signals())
        stream = stack.enter_context(
            WritableFile(path, "w+" if mode == "w" else mode)
            if revision is None
            else RevisedFile(path, revision)
        )

        def check() -> None:
            stream.check()
            signals.deliver()

        try:
            with h5py.File(stream, mode, userblock_size=user_block or None) as file:
                yield file, check
        except Exception:
            stream.check()  # the cause, in place of the error that HDF5 raised
            raise
        stream.check()
