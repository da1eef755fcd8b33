"""Read a sealed file: each block is compared with its digest before a byte of it is used.

The seal lies in the user block of the HDF5 file, which no HDF5 library reads or writes, so other
programs read a sealed file like any HDF5 file.
"""

from __future__ import annotations

import io
import os
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from featx.cache.user_block import Seal, read_at, read_seal
from featx.core.copies import copy_content
from featx.core.errors import CacheDamagedError, CacheError, FeatxError
from featx.core.files import explain_reading

UNREADABLE = (
    *(OSError, RuntimeError, ValueError, KeyError, TypeError, MemoryError),
    struct.error,
)
"""Errors that h5py and numpy raise for a file that breaks its format."""

KEPT_BLOCKS = 64
"""Checked blocks kept in memory: HDF5 reads strings in small pieces, many from one block."""

MAX_OPEN = 64
"""Number of files that are open at a time, of those that are read as one."""

WRITERS = "by the disk, or by a program that wrote to the file, such as h5py, pandas or R's hdf5r"
"""Who may have changed a sealed file."""

VOUCH = (
    "See what differs with featx.seal_cache(path, dry_run=True). If you made the change, seal the "
    "file anew with featx.seal_cache(path). Otherwise restore a copy, or extract again."
)
"""Remedy for a file that was changed."""


def check_seal(path: Path) -> None:
    """Compare every byte of a file with its seal.

    Raises
    ------
    CacheDamagedError
        If a byte has changed since the file was sealed, or the file has no seal.
    """
    with SealedFile(path) as sealed:
        sealed.check()


class ReadPool:
    """Streams and checked blocks of one or more sealed files; the number of both is bounded.

    A file whose stream was closed for another file is opened again when it is read: its blocks are
    checked like those of a file that was changed.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._streams: OrderedDict[object, io.FileIO] = OrderedDict()
        self._blocks: OrderedDict[tuple[object, int], bytes] = OrderedDict()

    @contextmanager
    def open(self, key: object, path: Path) -> Iterator[io.FileIO]:
        """Open a file, unless it is open, and keep it open within the block.

        Parameters
        ----------
        key : object
            Object that stands for the file.
        path : Path
            Path of the file.
        """
        with self._lock:
            if key not in self._streams:
                if len(self._streams) >= MAX_OPEN:
                    _close(self._streams.popitem(last=False)[1])
                # Unbuffered: each block is kept in memory once, and only after it was checked.
                self._streams[key] = path.open("rb", buffering=0)
            self._streams.move_to_end(key)
            yield self._streams[key]

    def find(self, key: object, number: int) -> bytes | None:
        """Find a block of a file among those that are kept."""
        with self._lock:
            block = self._blocks.get((key, number))
            if block is not None:
                self._blocks.move_to_end((key, number))
            return block

    def keep(self, key: object, number: int, block: bytes) -> None:
        """Keep a checked block of a file, in place of the one that was used longest ago."""
        with self._lock:
            self._blocks[key, number] = block
            if len(self._blocks) > KEPT_BLOCKS:
                self._blocks.popitem(last=False)

    def close(self, key: object) -> None:
        """Close a file, and drop its blocks."""
        with self._lock:
            if key in self._streams:
                _close(self._streams.pop(key))
            for one in [one for one in self._blocks if one[0] is key]:
                del self._blocks[one]


def _close(stream: io.FileIO) -> None:
    """Close a file. A file that was only read has nothing to lose: errors pass."""
    with suppress(OSError):
        stream.close()


class SealedFile(io.RawIOBase):
    """The HDF5 data of a sealed file, open for reading. Each block is checked before it is used.

    Parameters
    ----------
    path : Path
        The file.
    pool : ReadPool, optional
        What this file shares with others that are read as one. Default: nothing is shared.

    Attributes
    ----------
    seal : Seal
        Lengths and digests, as the user block has them.
    digest : str
        Digest of the file, hexadecimal: it stands for every byte.
    damage : str or None
        Damage that was found within the last `guard` block, because HDF5 ignores some failed reads.

    Raises
    ------
    CacheDamagedError
        If there is no seal, or the seal is damaged or belongs to a file of another length.
    CacheError
        If the file cannot be read.
    """

    def __init__(self, path: Path, pool: ReadPool | None = None) -> None:
        super().__init__()
        self.path = path
        self.damage: str | None = None
        self._lock = threading.RLock()
        self._position = 0
        self._pool, self._key = pool or ReadPool(), object()
        with explain_reading(path, error=CacheError):
            if path.exists() and not path.is_file():
                raise OSError("a folder, a pipe or a device")
            try:
                with self._pool.open(self._key, path) as stream:
                    self.seal = self._read_seal(stream.fileno())
            except BaseException:
                self.close()
                raise
        self.digest = self.seal.digest.hex()

    def _read_seal(self, descriptor: int) -> Seal:
        try:
            seal = read_seal(descriptor)
        except ValueError as error:
            raise self.explain("its seal") from error
        if seal is None:
            raise CacheDamagedError(
                subject=str(self.path),
                expected="a sealed cache",
                got="a file without featx's seal at its start: not written by featx, or written "
                "anew by another program, such as h5repack",
                remedy="If it is a cache and you trust it, check and seal it with "
                "featx.seal_cache(path). Otherwise restore a copy, or extract again.",
            )
        size = os.fstat(descriptor).st_size
        if size != seal.start + seal.n_bytes:
            raise CacheDamagedError(
                subject=str(self.path),
                expected=f"the {seal.start + seal.n_bytes} bytes that were sealed",
                got=f"{size}: cut off or changed, {WRITERS}",
                remedy=VOUCH,
            )
        return seal

    def __len__(self) -> int:
        return self.seal.n_bytes

    def close(self) -> None:
        """Close the file."""
        self._pool.close(self._key)
        super().close()

    def copy(self, path: Path) -> None:
        """Copy the whole file, seal included, into an empty file; nothing is checked.

        Parameters
        ----------
        path : Path
            The empty file.
        """
        with self._pool.open(self._key, self.path) as stream:
            copy_content(stream, path)

    def read_at(self, start: int, size: int) -> bytes:
        """Read checked bytes from a position; fewer at the end of the data."""
        data = bytearray(max(0, min(size, len(self) - start)))
        self.seek(start)
        self.readinto(data)
        return bytes(data)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position in the HDF5 data."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: len(self)}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """Return the position in the HDF5 data."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with checked bytes.

        Raises
        ------
        CacheDamagedError
            If a block that is read has changed since it was sealed.
        """
        view = memoryview(buffer).cast("B")
        end = min(self._position + len(view), len(self))
        done = 0
        while self._position < end:
            number, inside = divmod(self._position, self.seal.block_size)
            part = memoryview(self._read_block(number))[inside : inside + end - self._position]
            view[done : done + len(part)] = part
            done += len(part)
            self._position += len(part)
        return done

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Raise a `CacheDamagedError` for damage found in the block, even if HDF5 ignored it.

        An error of HDF5, numpy or a decoder becomes a `CacheError`: the bytes are as they were
        sealed, and break the format. Threads that share the file enter one after the other: it has
        one position, and HDF5 itself reads in one thread at a time.
        """
        with self._lock:
            self.damage = None
            try:
                yield
            except Exception as error:
                if self.damage is not None and not isinstance(error, CacheError):
                    raise self.explain(self.damage) from error
                if isinstance(error, UNREADABLE) and not isinstance(error, FeatxError):
                    raise CacheError(
                        subject=str(self.path),
                        expected="a whole cache",
                        got=f"one that HDF5 cannot read ({error})",
                        remedy="Extract again with featx.extract(source, output=path).",
                    ) from error
                raise
            if self.damage is not None:
                raise self.explain(self.damage)

    def verify(self, numbers: Iterable[int] | None = None) -> list[tuple[int, int]]:
        """Compare blocks with their digests.

        Parameters
        ----------
        numbers : iterable of int, optional
            Numbers of the blocks, ascending. Default: all.

        Returns
        -------
        list of (int, int)
            Start and end in bytes, from the start of the file, of each run of damaged blocks,
            ascending.
        """
        damaged: list[tuple[int, int]] = []
        for number in range(self.seal.n_blocks) if numbers is None else numbers:
            if self.seal.is_sound(number, self._load_block(number)):
                continue
            start, end = self._locate(number)
            if damaged and damaged[-1][1] == start:
                start = damaged.pop()[0]
            damaged.append((start, end))
        return damaged

    def check(self, numbers: Iterable[int] | None = None) -> None:
        """Refuse a file of which blocks differ from their digests.

        Parameters
        ----------
        numbers : iterable of int, optional
            Numbers of the blocks, ascending. Default: all.

        Raises
        ------
        CacheDamagedError
            If a block has changed since it was sealed.
        """
        damaged = self.verify(numbers)
        if damaged:
            raise self.explain("bytes {} to {}".format(*damaged[0]))

    def check_copy(self, number: int, descriptor: int) -> None:
        """Refuse a copy of the file of which a block differs from its digest.

        Parameters
        ----------
        number : int
            Number of the block.
        descriptor : int
            Descriptor of the copy.

        Raises
        ------
        CacheDamagedError
            If the block has changed since it was sealed.
        """
        start, size = self.seal.locate(number)
        if not self.seal.is_sound(number, read_at(descriptor, self.seal.start + start, size)):
            raise self.explain("bytes {} to {}".format(*self._locate(number)))

    def _read_block(self, number: int) -> bytes:
        block = self._pool.find(self._key, number)
        if block is None:
            block = self._load_block(number)
            if not self.seal.is_sound(number, block):
                raise self.explain("bytes {} to {}".format(*self._locate(number)))
            self._pool.keep(self._key, number, block)
        return block

    def _load_block(self, number: int) -> bytes:
        if self.closed:
            raise ValueError("a file that was closed")
        start, size = self.seal.locate(number)
        with (
            explain_reading(self.path, error=CacheError),
            self._pool.open(self._key, self.path) as stream,
        ):
            return read_at(stream.fileno(), self.seal.start + start, size)

    def _locate(self, number: int) -> tuple[int, int]:
        """Return start and end of a block in the whole file."""
        start, size = self.seal.locate(number)
        return self.seal.start + start, self.seal.start + start + size

    def explain(self, part: str) -> CacheDamagedError:
        """Note damage, and build the error for it.

        Parameters
        ----------
        part : str
            The damaged part of the file, such as ``"bytes 4096 to 69632"``.
        """
        self.damage = part
        return CacheDamagedError(
            subject=str(self.path),
            expected="the bytes that featx wrote",
            got=f"changes in {part}, {WRITERS}",
            remedy=VOUCH,
        )
