"""Seal a finished file: checksums behind its end, so that no changed byte is read as data.

FORMAT.md specifies the layout. An HDF5 library does not read past the end of its own data, so other
programs read a sealed file like any HDF5 file.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from featx.core.errors import CacheDamagedError, CacheError, FeatxError
from featx.core.files import explain_reading

MAGIC = b"featx-seal-1\r\n\x1a\n"
BLOCK_SIZE = 1 << 16
"""Bytes per digest: reading a single row costs one or two blocks, 50 µs each."""

FOOTER = struct.Struct("<16sQQ32s")
"""Magic, length of the sealed data, bytes per block, digest of the seal up to here."""

UNREADABLE = (
    *(OSError, RuntimeError, ValueError, KeyError, TypeError, MemoryError),
    struct.error,
)
"""Errors that h5py and numpy raise for a file that breaks its format."""

DIGEST_SIZE = 32
KEPT_BLOCKS = 64
"""Checked blocks kept in memory: HDF5 reads strings in small pieces, many from one block."""


def seal_file(path: Path) -> str:
    """Append a seal to a finished file. The caller flushes the file to the disk.

    Parameters
    ----------
    path : Path
        The file, without a seal.

    Returns
    -------
    str
        Digest of the file, hexadecimal.
    """
    with path.open("r+b") as stream:
        table = b"".join(_iter_digests(stream))
        n_bytes = stream.seek(0, os.SEEK_END)
        digest = _digest_seal(table, n_bytes, BLOCK_SIZE)
        stream.write(table + FOOTER.pack(MAGIC, n_bytes, BLOCK_SIZE, digest))
    return digest.hex()


def unseal_file(path: Path) -> None:
    """Cut the seal off, so that the file can be changed.

    Raises
    ------
    CacheError
        If the file has no sound seal.
    """
    with SealedFile(path) as sealed:
        n_bytes = len(sealed)
    os.truncate(path, n_bytes)


def check_seal(path: Path) -> None:
    """Compare every byte of a file with its seal.

    Raises
    ------
    CacheDamagedError
        If a byte has changed since the file was sealed, or the file has no seal.
    """
    with SealedFile(path) as sealed:
        damaged = sealed.verify()
        if damaged:
            raise sealed.explain(f"bytes {damaged[0][0]} to {damaged[0][1]}")


def _read_once(stream: io.FileIO, start: int, size: int) -> bytes | None:
    """Read from a position, which does not move: a forked process would share it."""
    if hasattr(os, "pread"):
        return os.pread(stream.fileno(), size, start)
    stream.seek(start)
    return stream.read(size)


def _iter_digests(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the digest of each block from the start of a file to its end."""
    stream.seek(0)
    while block := stream.read(BLOCK_SIZE):
        yield hashlib.sha256(block).digest()


def _digest_seal(table: bytes, n_bytes: int, block_size: int) -> bytes:
    return hashlib.sha256(MAGIC + struct.pack("<QQ", n_bytes, block_size) + table).digest()


class SealedFile(io.RawIOBase):
    """A sealed file, open for reading. A block is compared with its digest before it is returned.

    Parameters
    ----------
    path : Path
        The file.

    Attributes
    ----------
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

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.damage: str | None = None
        self._lock = threading.RLock()
        self._position = 0
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        # Unbuffered: each block is kept in memory once, and only after it was checked.
        with explain_reading(path, error=CacheError):
            if path.exists() and not path.is_file():
                raise OSError("a folder, a pipe or a device")
            self._stream = path.open("rb", buffering=0)
            try:
                self._read_seal()
            except BaseException:
                self.close()
                raise

    def _read_seal(self) -> None:
        size = self._stream.seek(0, os.SEEK_END)
        footer = self._read_at(max(size - FOOTER.size, 0), FOOTER.size)
        if len(footer) < FOOTER.size or not footer.startswith(MAGIC):
            raise CacheDamagedError(
                subject=str(self.path),
                expected="a sealed cache",
                got="a file without featx's seal at its end: truncated, changed by another "
                "program, or not written by featx",
                remedy="Restore a copy, or extract again with featx.extract(source, output=path).",
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
        """Close the file. A file that was only read has nothing to lose: errors pass."""
        with suppress(OSError):
            self._stream.close()
        super().close()

    def read_at(self, start: int, size: int) -> bytes:
        """Read checked bytes from a position; fewer at the end of the data."""
        data = bytearray(max(0, min(size, self._n_bytes - start)))
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
        """Set the position in the sealed data."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._n_bytes}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """Return the position in the sealed data."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with checked bytes.

        Raises
        ------
        CacheDamagedError
            If a block that is read has changed since it was sealed.
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

    def verify(self) -> list[tuple[int, int]]:
        """Compare every block with its digest.

        Returns
        -------
        list of (int, int)
            Start and end in bytes of each run of damaged blocks, ascending.
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
        """Read `size` bytes from `start`; fewer only at the end of the file."""
        parts: list[bytes] = []
        with explain_reading(self.path, error=CacheError):
            while size > 0 and (part := _read_once(self._stream, start, size)):
                parts.append(part)
                start, size = start + len(part), size - len(part)
        return b"".join(parts)

    def explain(self, part: str) -> CacheDamagedError:
        """Note damage, and build the error for it.

        Parameters
        ----------
        part : str
            The damaged part of the file, such as ``"bytes 0 to 65536"``.
        """
        self.damage = part
        return CacheDamagedError(
            subject=str(self.path),
            expected="the bytes that featx wrote",
            got=f"changes in {part}",
            remedy="List the damage with featx.verify_cache(path), then restore a copy or extract "
            "again.",
        )
