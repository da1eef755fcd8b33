"""Seal a finished file: digests behind its end, so that a changed byte is found, not read.

FORMAT.md specifies the layout. HDF5 itself reads past none of it, and other programs read a sealed
file as any HDF5 file.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from featx.core.errors import CacheDamagedError, CacheError

MAGIC = b"featx-seal-1\r\n\x1a\n"
BLOCK_SIZE = 1 << 16
"""Bytes under one digest: a row read alone costs the digest of one or two blocks, 50 µs each."""

FOOTER = struct.Struct("<16sQQ32s")
"""Magic, bytes sealed, bytes per block, digest of all before it in the seal."""

DIGEST_SIZE = 32
KEPT_BLOCKS = 64
"""Verified blocks kept in memory: HDF5 reads strings in small pieces, many out of one block."""


def seal_file(path: Path) -> str:
    """Append a seal to a finished file, and flush both to the disk.

    Returns
    -------
    str
        The file's digest, in hexadecimal.
    """
    with path.open("r+b") as stream:
        table = b"".join(_iter_digests(stream))
        n_bytes = stream.seek(0, os.SEEK_END)
        digest = _digest_seal(table, n_bytes, BLOCK_SIZE)
        stream.write(table + FOOTER.pack(MAGIC, n_bytes, BLOCK_SIZE, digest))
        stream.flush()
        os.fsync(stream.fileno())
    return digest.hex()


def unseal_file(path: Path) -> None:
    """Cut the seal off, before a file is changed."""
    with SealedFile(path) as sealed:
        n_bytes = len(sealed)
    os.truncate(path, n_bytes)


def check_seal(path: Path) -> None:
    """Read a whole sealed file.

    Raises
    ------
    CacheError
        If a byte of it is not what was sealed.
    """
    with SealedFile(path) as sealed:
        damaged = sealed.verify()
        if damaged:
            raise sealed.explain(f"bytes {damaged[0][0]} to {damaged[0][1]}")


def _iter_digests(stream: BinaryIO) -> Iterator[bytes]:
    """Digest each block from the start of a file to its end."""
    stream.seek(0)
    while block := stream.read(BLOCK_SIZE):
        yield hashlib.sha256(block).digest()


def _digest_seal(table: bytes, n_bytes: int, block_size: int) -> bytes:
    return hashlib.sha256(MAGIC + struct.pack("<QQ", n_bytes, block_size) + table).digest()


class SealedFile(io.RawIOBase):
    """Read a sealed file; every byte is checked against its digest before it is returned.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    digest : str
        The file's digest, in hexadecimal: of all its bytes, by the digests of its blocks.
    damage : str or None
        What `guard` found wrong in its last block: HDF5 passes over some failed reads.

    Raises
    ------
    CacheError
        If there is no seal, or it is damaged or of a file of another length.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.damage: str | None = None
        self._position = 0
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        # Unbuffered: what is kept is kept once, verified.
        with self._explain_errors():
            self._stream = path.open("rb", buffering=0)
        try:
            self._read_seal()
        except BaseException:
            self._stream.close()
            raise

    def _read_seal(self) -> None:
        size = self._stream.seek(0, os.SEEK_END)
        footer = self._read_at(max(size - FOOTER.size, 0), FOOTER.size)
        if len(footer) < FOOTER.size or not footer.startswith(MAGIC):
            raise CacheDamagedError(
                f"{self.path}: expected a sealed cache, got a file without featx's seal at its "
                "end: cut short, changed by another program, or none of featx's. Extract again, "
                "or restore a copy."
            )
        _, self._n_bytes, self._block_size, digest = FOOTER.unpack(footer)
        table_size = size - FOOTER.size - self._n_bytes
        n_blocks = -(-self._n_bytes // self._block_size) if self._block_size else -1
        if table_size != n_blocks * DIGEST_SIZE:
            raise self.explain("its seal")
        self._table = self._read_at(self._n_bytes, table_size)
        if _digest_seal(self._table, self._n_bytes, self._block_size) != digest:
            raise self.explain("its seal")
        self.digest = digest.hex()

    def __len__(self) -> int:
        return int(self._n_bytes)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        super().close()

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._n_bytes}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with verified bytes.

        Raises
        ------
        CacheError
            If a block under it is not what was sealed.
        """
        view = memoryview(buffer).cast("B")
        end = min(self._position + len(view), self._n_bytes)
        done = 0
        while self._position < end:
            number, inside = divmod(self._position, self._block_size)
            part = memoryview(self._read_block(number))[inside : inside + end - self._position]
            view[done : done + len(part)] = part
            done += len(part)
            self._position += len(part)
        return done

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Say of damage that it is damage, whatever HDF5 made of it in the block."""
        self.damage = None
        try:
            yield
        except Exception as error:
            if self.damage is not None and not isinstance(error, CacheError):
                raise self.explain(self.damage) from error
            raise
        if self.damage is not None:
            raise self.explain(self.damage)

    def verify(self) -> list[tuple[int, int]]:
        """Check every block.

        Returns
        -------
        list of (int, int)
            First byte and end of each damaged run of blocks, ascending.
        """
        damaged: list[tuple[int, int]] = []
        for number in range(-(-self._n_bytes // self._block_size)):
            start = number * self._block_size
            block = self._read_at(start, min(self._block_size, self._n_bytes - start))
            if self._is_sound(number, block):
                continue
            end = min(start + self._block_size, self._n_bytes)
            if damaged and damaged[-1][1] == start:
                start = damaged.pop()[0]
            damaged.append((start, end))
        return damaged

    def _read_block(self, number: int) -> bytes:
        block = self._kept.get(number)
        if block is not None:
            self._kept.move_to_end(number)
            return block
        start = number * self._block_size
        block = self._read_at(start, min(self._block_size, self._n_bytes - start))
        if not self._is_sound(number, block):
            raise self.explain(f"bytes {start} to {start + len(block)}")
        self._kept[number] = block
        if len(self._kept) > KEPT_BLOCKS:
            self._kept.popitem(last=False)
        return block

    def _is_sound(self, number: int, block: bytes) -> bool:
        expected = self._table[number * DIGEST_SIZE : (number + 1) * DIGEST_SIZE]
        return hashlib.sha256(block).digest() == expected

    def _read_at(self, start: int, size: int) -> bytes:
        """Read so many bytes, fewer only at the end of the file."""
        parts: list[bytes] = []
        with self._explain_errors():
            self._stream.seek(start)
            while size > 0 and (part := self._stream.read(size)):
                parts.append(part)
                size -= len(part)
        return b"".join(parts)

    @contextmanager
    def _explain_errors(self) -> Iterator[None]:
        """Turn what the operating system says into one line."""
        try:
            yield
        except OSError as error:
            raise CacheError(
                f"{self.path}: expected a file that can be read, got {error.strerror or error}. "
                "Check its permissions and its disk."
            ) from error

    def explain(self, place: str) -> CacheDamagedError:
        """Note damage, and build the error that tells it."""
        self.damage = place
        return CacheDamagedError(
            f"{self.path}: expected what featx wrote, got {place} changed since. "
            "Look: featx verify. Then restore a copy, or extract again."
        )
