"""The bytes of images at addresses, and sources at addresses as open files."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx.core.address import Address, find_address
from featx.core.errors import SourceError
from featx.images.content import Content, InMemory, open_regular
from featx.remote.failures import ChangedError, RemoteError
from featx.remote.objects import N_THREADS, State, find_state, is_same, read_range
from featx.remote.stream import RemoteStream

Location = Path | Address
"""A source: a path of this machine, or an address."""

BUFFER_BYTES = 1 << 16
"""Number of bytes of a source that are held while it is read as a file."""


BLOCK = 1024
"""Number of contents that `stat_all` looks at before it yields the first."""


@dataclass(frozen=True, slots=True)
class RemoteContent(Content):
    """The bytes of one image at an address: a whole object, or a range of bytes of it.

    Attributes
    ----------
    file : str
        Address in full.
    state : (int, int) or None
        State of the object when it was listed, as `featx.remote.objects.read_state` gives it; None
        if it is not known.
    """

    is_plain = False
    state: State | None = None

    def stat(self) -> State:
        """Return size and time of last change; ask the store only if the listing did not say them.

        Raises
        ------
        RemoteError
            If the store cannot tell.
        """
        n_bytes, mtime_ns = self.state or find_state(Address(self.file))
        return n_bytes if self.size < 0 else self.size, mtime_ns

    def read_whole(self, status: State | None = None) -> tuple[bytes, int, int]:
        """Read all bytes together with the size and time that belong to them.

        An object is read in one request, so that its bytes are those of one version. If that is
        another one than was listed, its time is not known: the next run reads it again.

        Parameters
        ----------
        status : (int, int), optional
            Size and time that `stat` has just given. Default: ask for them.

        Returns
        -------
        data : bytes
            All bytes of the image.
        n_bytes, mtime_ns : int
            Size, and time as `stat` gives it.

        Raises
        ------
        OSError
            If the bytes cannot be read.
        """
        n_bytes, mtime_ns = status or self.stat()
        data = self.read()
        return data, len(data), mtime_ns if len(data) == n_bytes else -1

    def read(self, size: int | None = None) -> bytes:
        """Read the bytes.

        Parameters
        ----------
        size : int, optional
            Largest number of bytes to read from the start. Default: all bytes.

        Raises
        ------
        RemoteError
            If the bytes cannot be read, or if an archive ends before the last byte of the image.
        """
        limit = self.size if size is None else size if self.size < 0 else min(size, self.size)
        end = None if limit < 0 else self.offset + limit
        data = read_range(Address(self.file), self.offset, end)
        if size is None and 0 <= self.size != len(data):
            raise ChangedError(
                f"{self.size} bytes", f"an end after {len(data)}", "Run the same again"
            )
        return data


@dataclass(frozen=True, slots=True)
class HeldContent(RemoteContent):
    """A small member of a tar at an address, which was read when the tar was listed."""

    data: bytes = b""

    def read(self, size: int | None = None) -> bytes:
        """Return the bytes, or the first of them."""
        return self.data[:size]


def hold_bytes(content: RemoteContent, data: bytes) -> HeldContent:
    """Keep the bytes of a content beside it.

    Parameters
    ----------
    content : RemoteContent
        The content.
    data : bytes
        All its bytes.
    """
    return HeldContent(content.file, content.offset, content.size, content.state, data)


def build_content(
    file: str, offset: int = 0, size: int = -1, state: State | None = None
) -> Content:
    """Build the content of a file of this machine or of an object at an address.

    Parameters
    ----------
    file : str
        Path, or address in full.
    offset, size : int
        Position of the first byte, and number of bytes; -1 for all bytes up to the end.
    state : (int, int), optional
        State of the object when it was listed.
    """
    if "://" in file and find_address(file) is not None:
        return RemoteContent(file, offset, size, state)
    return Content(file, offset, size)


def name_file(location: Location) -> str:
    """Return a path, or an address in full, as `Content` has it.

    Parameters
    ----------
    location : Path or Address
        The file.
    """
    return location.text if isinstance(location, Address) else str(location)


def find_source_state(location: Location) -> State | None:
    """Ask for the state of a tar or a table at an address; None for a file of this machine.

    Parameters
    ----------
    location : Path or Address
        The file.

    Raises
    ------
    RemoteError
        If there is no object, or the store does not answer.
    """
    return find_state(location) if isinstance(location, Address) else None


def list_archives(contents: Iterable[object]) -> dict[str, State]:
    """List the archives at addresses that hold images, each with its state when it was listed.

    Parameters
    ----------
    contents : iterable of Content
        The images.
    """
    return {
        content.file: content.state
        for content in contents
        if isinstance(content, RemoteContent) and content.state and content.size >= 0
    }


def check_archives(archives: Mapping[str, State]) -> None:
    """Refuse archives that are no longer those that were listed: images were read at wrong places.

    Parameters
    ----------
    archives : mapping of str to (int, int)
        State of each archive when it was listed, by its address in full.

    Raises
    ------
    SourceError
        If an archive has changed, or if its store does not answer.
    """
    for name, state in archives.items():
        address = Address(name)
        try:
            has_changed = not is_same(state, find_state(address))
        except RemoteError as error:
            raise error.as_error(SourceError, address) from error
        if has_changed:
            raise SourceError(
                subject=str(address),
                expected="a file that stays as it is while its images are read",
                got="another one at the same address",
                remedy="Run the same again: it reads this file anew.",
            )


def stat_all(contents: Iterable[Content | InMemory]) -> Iterator[State | None]:
    """Yield the size and time of many contents, in their order.

    Those of objects whose state is not known are asked for by several threads.

    Parameters
    ----------
    contents : iterable of Content
        The contents.

    Yields
    ------
    (int, int) or None
        Size and time, as `Content.stat` gives them; None if the system or the store cannot tell.
    """
    left = iter(contents)
    with ThreadPoolExecutor(N_THREADS, "featx-stat") as pool:
        while block := list(itertools.islice(left, BLOCK)):
            asks = any(isinstance(one, RemoteContent) and one.state is None for one in block)
            yield from (pool.map if asks else map)(_find_state, block)


def _find_state(content: Content | InMemory) -> State | None:
    assert isinstance(content, Content)
    with suppress(OSError):
        return content.stat()
    return None


def open_source(location: Location) -> Any:
    """Open a table or a tar for reading.

    Parameters
    ----------
    location : Path or Address
        The file; a pipe, a socket or a device is refused.

    Returns
    -------
    binary file
        The open file, which can be read at any position.

    Raises
    ------
    OSError
        If the file cannot be opened.
    """
    if isinstance(location, Address):
        return io.BufferedReader(RemoteStream(location), BUFFER_BYTES)
    return open_regular(str(location))
