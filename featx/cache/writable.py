"""Write an HDF5 file where a write may fail, or a signal come."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, Literal

import h5py


class WritableFile(FileIO):
    """A file for HDF5 to write to, that notes what fails and lets HDF5 go on.

    Told of a failed write, HDF5 crashes on some, and h5py passes over others: what is in the file
    is then not what was written.
    """

    _error: OSError | None = None

    def __init__(self, path: Path, mode: str) -> None:
        super().__init__(path, mode)
        self._kept: list[tuple[int, bytes]] = []

    def check(self) -> None:
        """Raise what was noted.

        Raises
        ------
        OSError
        """
        if self._error is not None:
            raise self._error

    def write(self, data: Any, /) -> int:
        """Write all, or note why not; from then on keep it in memory, for HDF5 to read again."""
        start, rest = self.tell(), memoryview(data).cast("B")
        size = len(rest)
        try:
            self.check()
            while rest:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self._error = error
            self._kept.append((start, bytes(data)))
        return size

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer; with zeros behind the end, as HDF5 expects of a file."""
        start, view = self.tell(), memoryview(buffer).cast("B")
        done = 0
        try:
            while done < len(view) and (count := super().readinto(view[done:])):
                done += count
        except OSError as error:
            self._error = self._error or error
        view[done:] = bytes(len(view) - done)
        for place, data in self._kept:
            first, end = max(start, place), min(start + len(view), place + len(data))
            if first < end:
                view[first - start : end - start] = data[first - place : end - place]
        return len(view)

    def truncate(self, size: int | None = None, /) -> int:
        """Set the size, or note why not."""
        try:
            self.check()
            return super().truncate(size)
        except OSError as error:
            self._error = error
            return size or 0


@contextmanager
def hold_signals() -> Iterator[Callable[[], None]]:
    """Let the handlers of signals wait for the end of the block.

    What a handler raises within a call from HDF5 would be taken for a failed write.

    Yields
    ------
    callable
        Runs the handlers of what has come meanwhile.
    """
    handlers: dict[int, Any] = {}
    waiting: list[int] = []

    def run() -> None:
        while waiting:
            number = waiting.pop(0)
            handlers[number](number, None)

    if threading.current_thread() is threading.main_thread():  # they run in no other
        found = {number: signal.getsignal(number) for number in signal.valid_signals()}
        handlers = {number: handler for number, handler in found.items() if callable(handler)}
    try:
        for number in handlers:
            signal.signal(number, lambda number, _: waiting.append(number))
        yield run
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        run()


@contextmanager
def open_writable(
    path: Path, mode: Literal["w", "r+"]
) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """Open an HDF5 file to write, a new one or one that is there.

    Yields
    ------
    file : h5py.File
    check : callable
        Raises an OSError if a write has failed, and what the handler of a signal raises. The end
        of the block does so too.
    """
    with hold_signals() as run_handlers, WritableFile(path, "w+" if mode == "w" else mode) as sink:

        def check() -> None:
            sink.check()
            run_handlers()

        try:
            with h5py.File(sink, mode) as file:
                yield file, check
        except Exception:
            sink.check()  # the cause, whatever HDF5 made of it
            raise
        sink.check()
