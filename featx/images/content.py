"""The bytes of one image: where they lie, and how to read them."""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from typing import Any

from featx.images.format_table import PREFIX_SIZE
from featx.images.formats import find_by_name, is_image

RECENT_NS = 2_000_000_000
"""Coarsest clock of a file system in use: two seconds, that of FAT."""


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of one image: a whole file, or a range of bytes in an archive.

    Attributes
    ----------
    file : str
        Path of the file or archive.
    offset : int
        Position of the first byte in the file.
    size : int
        Number of bytes; -1 for all bytes up to the end of the file.
    is_plain : bool
        Whether the file holds the bytes as they are, so that they can be read in pieces.
    """

    is_plain = True
    file: str
    offset: int = 0
    size: int = -1

    def stat(self) -> tuple[int, int]:
        """Read size and time of last change without reading the bytes.

        Returns
        -------
        n_bytes : int
            Number of bytes of the image.
        mtime_ns : int
            Time of the last change of the file or archive, in nanoseconds since 1970.

        Raises
        ------
        OSError
            If the file does not exist.
        """
        status = os.stat(self.file)
        return status.st_size if self.size < 0 else self.size, status.st_mtime_ns

    def read_whole(self, status: tuple[int, int] | None = None) -> tuple[bytes, int, int]:
        """Read all bytes together with the size and time that belong to them.

        Parameters
        ----------
        status : (int, int), optional
            Size and time that `stat` has just given. Default: ask for them.

        Returns
        -------
        data : bytes
            All bytes of the image.
        n_bytes, mtime_ns : int
            Size and time as `stat` gives them. The time is -1 if the last change is so recent that
            the clock of the file system could not show another change after it.

        Raises
        ------
        OSError
            If `read` raises it, or if the file changed while it was read.
        """
        before = status or self.stat()
        data = self.read()
        if self.stat() != before:
            raise OSError("the file changed while it was read")
        return data, before[0], settle_time(before[1])

    def read(self, size: int | None = None) -> bytes:
        """Read the bytes.

        Parameters
        ----------
        size : int, optional
            Largest number of bytes to read from the start. Default: all bytes.

        Returns
        -------
        bytes
            The bytes of the image.

        Raises
        ------
        OSError
            If the file cannot be read or is no regular file (a socket, a pipe), or if an archive
            ends before the last byte of the image.
        """
        limit = self.size if size is None else size if self.size < 0 else min(size, self.size)
        with open_regular(self.file) as stream:
            stream.seek(self.offset)
            data: bytes = stream.read(limit)
        if size is None and 0 <= self.size != len(data):
            raise OSError(f"archive ends after {len(data)} of {self.size} bytes")
        return data

    def looks_like_image(self, name: str) -> bool:
        """Decide whether a file becomes a row of the manifest.

        Parameters
        ----------
        name : str
            Name of the file within its source. A file whose suffix promises an image, whether or
            not featx reads the format, is always a row; for other files, the first bytes decide.

        Raises
        ------
        OSError
            If the first bytes have to decide, and cannot be read.
        """
        return find_by_name(name) is not None or is_image(self.read(PREFIX_SIZE))


@dataclass(frozen=True, slots=True)
class Unreadable(Content):
    """The place of an image whose bytes are known not to be there.

    Attributes
    ----------
    reason : str
        Reason, for the ledger: each way to read the bytes raises `OSError` with it.
    """

    reason: str = ""

    def stat(self) -> tuple[int, int]:
        """Raise `OSError`."""
        raise OSError(self.reason)

    def read(self, size: int | None = None) -> bytes:  # noqa: ARG002
        """Raise `OSError`."""
        raise OSError(self.reason)

    def looks_like_image(self, name: str) -> bool:
        """Decide whether a file becomes a row, as for bytes that can be read."""
        return Content(self.file, self.offset, self.size).looks_like_image(name)


@dataclass(frozen=True, slots=True)
class Unseen(Unreadable):
    """A file that may be an image: the system did not let its first bytes be read."""


def find_image(content: Content, name: str) -> Content | None:
    """Find the content of the row that a file becomes.

    Parameters
    ----------
    content : Content
        The bytes of the file.
    name : str
        Name of the file within its source.

    Returns
    -------
    Content or None
        The content; None if the file is no image. A file that cannot be looked at is `Unseen`: its
        row fails with the reason.
    """
    try:
        return content if content.looks_like_image(name) else None
    except OSError as error:
        reason = error.strerror or str(error)
        return Unseen(content.file, content.offset, content.size, reason)


@dataclass(frozen=True, slots=True)
class InMemory:
    """An image that the caller already has in memory.

    Attributes
    ----------
    image : PIL.Image.Image or ndarray
        The image: a Pillow image, or pixels of dtype uint8 and shape ``(height, width, 3)`` or
        ``(height, width)``.
    """

    image: Any


def settle_time(mtime_ns: int) -> int:
    """Return the time of a change, or -1 if the clock might not show another change after it.

    Parameters
    ----------
    mtime_ns : int
        Time of the last change of a file, in nanoseconds since 1970.
    """
    return mtime_ns if time.time_ns() - mtime_ns > RECENT_NS else -1


def open_regular(path: str, buffering: int = -1) -> Any:
    """Open a file for reading; refuse a pipe, a socket or a device at once.

    Parameters
    ----------
    path : str
        Path of the file.
    buffering : int
        Size of the buffer in bytes, as for `open`.

    Raises
    ------
    OSError
        If the file cannot be opened, or is no regular file.
    """
    stream = open(path, "rb", buffering, opener=_open_without_waiting)  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError("not a regular file")
    return stream


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file; opening a pipe returns at once, even if no process writes to the pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
