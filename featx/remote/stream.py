"""Read an object like a file: forwards and at any position, in blocks."""

from __future__ import annotations

import io
import os
from typing import Any

from featx.core.address import Address
from featx.remote.failures import ChangedError
from featx.remote.objects import find_state, read_range

MIN_BLOCK, MAX_BLOCK = 1 << 20, 1 << 23
"""Numbers of bytes that are asked for at a time: few after a jump, more while reading goes on."""


class RemoteStream(io.RawIOBase):
    """An object as an open binary file.

    Parameters
    ----------
    address : Address
        The object.

    Attributes
    ----------
    state : (int, int)
        State of the object when it was opened, as `featx.remote.objects.find_state` gives it.

    Raises
    ------
    RemoteError
        If there is no object, or if it cannot be read.
    """

    def __init__(self, address: Address) -> None:
        super().__init__()
        self._address = address
        self.state = find_state(address)
        self._size, self._position = self.state[0], 0
        self._start, self._block = 0, b""
        self._n_ahead = MIN_BLOCK
        if self._size < 0:  # a server that does not say how long its files are
            self._block = read_range(address)
            self._size = len(self._block)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to another position, as a file does; nothing is read."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read bytes into a buffer; fewer than fit only at the end of the object."""
        view = memoryview(buffer).cast("B")
        n_read, n_wanted = 0, min(len(view), self._size - self._position)
        while n_read < n_wanted:
            end = self._start + len(self._block)
            if not self._start <= self._position < end:
                self._fetch(n_wanted - n_read, self._position - end)
            at = self._position - self._start
            data = self._block[at : at + n_wanted - n_read]
            view[n_read : n_read + len(data)] = data
            n_read += len(data)
            self._position += len(data)
        return n_read

    def _fetch(self, n_asked: int, n_skipped: int) -> None:
        """Read a block at the position, larger than the last one unless much was skipped."""
        is_jump = not 0 <= n_skipped <= self._n_ahead
        self._n_ahead = MIN_BLOCK if is_jump else min(2 * self._n_ahead, MAX_BLOCK)
        end = min(self._size, self._position + max(n_asked, self._n_ahead))
        data = read_range(self._address, self._position, end)
        if len(data) != end - self._position:
            raise ChangedError(
                f"{self._size} bytes", f"an end after {self._position + len(data)}", "Try again"
            )
        self._start, self._block = self._position, data
