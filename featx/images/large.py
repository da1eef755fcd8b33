"""Images of many bytes: read them in pieces, so that memory does not grow with their files."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from featx.images.content import Content, open_regular, settle_time

LARGE = 64 << 20
"""Number of bytes up to which an image is read whole; a larger one stays in its file."""

MAX_HELD = 512 << 20
"""Number of bytes of a larger image that may be held in memory at once."""


def read_content(content: Content) -> tuple[bytes | LargeContent, str, int, int]:
    """Read the bytes of an image, or only their digest if they are many.

    Parameters
    ----------
    content : Content
        The place of the bytes.

    Returns
    -------
    data : bytes or LargeContent
        All bytes; or, if they are more than `LARGE` and lie in the file as they are, the way to
        read them in pieces.
    digest : str
        SHA-256 of the bytes, hexadecimal.
    n_bytes, mtime_ns : int
        Size and time, as in `Content.read_whole`.

    Raises
    ------
    OSError
        If the file cannot be read, or if it changed while it was read.
    """
    status = content.stat()
    if status[0] <= LARGE or not content.is_plain:
        data, n_bytes, mtime_ns = content.read_whole(status)
        return data, hashlib.sha256(data).hexdigest(), n_bytes, mtime_ns
    large = LargeContent(content, status)
    return large, large.compute_digest(), status[0], settle_time(status[1])


@dataclass(frozen=True, slots=True)
class LargeContent:
    """The bytes of an image that are too many to be held in memory.

    Attributes
    ----------
    content : Content
        The place of the bytes.
    status : (int, int)
        Number of bytes, and time of the last change, before the first byte was read.
    """

    content: Content
    status: tuple[int, int]

    @contextmanager
    def open(self) -> Iterator[BoundedReader]:
        """Open the bytes for reading.

        Yields
        ------
        BoundedReader
            All bytes of the image.

        Raises
        ------
        OSError
            If the file cannot be read, or has changed.
        """
        n_bytes, _ = self.status
        raw: io.RawIOBase = open_regular(self.content.file, buffering=0)
        with raw:
            if self.content.size >= 0:
                raw = _Range(raw, self.content.offset, n_bytes)
            with BoundedReader(raw, n_bytes) as stream:
                yield stream
        if self.content.stat() != self.status:
            raise OSError("the file changed while it was read")

    def compute_digest(self) -> str:
        """Compute the SHA-256 of the bytes in pieces, as hexadecimal digits."""
        n_bytes, _ = self.status
        with self.open() as stream:
            digest, n_read = hashlib.file_digest(stream, "sha256"), stream.tell()
        if n_read != n_bytes:
            raise OSError(f"archive ends after {n_read} of {n_bytes} bytes")
        return digest.hexdigest()


class _Range(io.RawIOBase):
    """A range of bytes of an open file. It has no file descriptor of its own."""

    def __init__(self, raw: io.RawIOBase, offset: int, size: int) -> None:
        self._raw, self._offset, self._size, self._position = raw, offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        n_bytes = max(0, min(len(view), self._size - self._position))
        self._raw.seek(self._offset + self._position)
        data = self._raw.read(n_bytes) or b""
        view[: len(data)] = data
        self._position += len(data)
        return len(data)


class BoundedReader(io.BufferedReader):
    """Read a large file without holding more than `MAX_HELD` bytes of it.

    Parameters
    ----------
    raw : RawIOBase
        The file.
    size : int
        Number of its bytes.
    """

    def __init__(self, raw: io.RawIOBase, size: int) -> None:
        super().__init__(raw, 1 << 16)
        self._size, self._n_held, self._is_header = size, 0, True

    def read(self, size: int | None = -1, /) -> bytes:
        """Read some bytes, or all.

        Raises
        ------
        OSError
            If too many bytes are asked for at once, or before the end of the header.
        """
        n_left = max(0, self._size - self.tell())
        n_asked = n_left if size is None or size < 0 else min(size, n_left)
        if self._n_held + n_asked > MAX_HELD:
            raise OSError(f"more than {MAX_HELD >> 20} MiB of the file would be held in memory")
        if self._is_header:
            self._n_held += n_asked
        return super().read(n_asked)  # a buffer of `size` would be allocated first

    def end_header(self) -> None:
        """Tell that the header was read: from now on, what was read is not held any more."""
        self._is_header, self._n_held = False, 0
