"""The layout of a seal: what the user block in front of the HDF5 data says of them (FORMAT.md)."""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import dataclass

MAGIC = b"featx-seal-2\r\n\x1a\n"

HEADER = struct.Struct("<16sQQQ32s")
"""Magic, length of the user block, length of the HDF5 data, bytes per block, digest of the file."""

DIGEST_SIZE = 32


@dataclass(frozen=True, kw_only=True)
class Seal:
    """What the user block of a sealed file says.

    Attributes
    ----------
    start : int
        Length of the user block in bytes: the HDF5 data follow.
    n_bytes : int
        Length of the HDF5 data.
    block_size : int
        Bytes per digest.
    table : bytes
        SHA-256 of each block of the HDF5 data, one behind the other.
    """

    start: int
    n_bytes: int
    block_size: int
    table: bytes

    @property
    def n_blocks(self) -> int:
        """Number of blocks; the last one may be shorter."""
        return -(-self.n_bytes // self.block_size)

    @property
    def digest(self) -> bytes:
        """SHA-256 that stands for every byte of the file."""
        head = MAGIC + struct.pack("<QQQ", self.start, self.n_bytes, self.block_size)
        return hashlib.sha256(head + self.table).digest()

    def to_bytes(self) -> bytes:
        """Write the whole user block."""
        head = HEADER.pack(MAGIC, self.start, self.n_bytes, self.block_size, self.digest)
        return (head + self.table).ljust(self.start, b"\0")

    def locate(self, number: int) -> tuple[int, int]:
        """Return the position of a block in the HDF5 data, and the length of the block.

        Parameters
        ----------
        number : int
            Number of the block, from 0.
        """
        start = number * self.block_size
        return start, min(self.block_size, self.n_bytes - start)

    def is_sound(self, number: int, block: bytes) -> bool:
        """Return True if a block has its digest.

        Parameters
        ----------
        number : int
            Number of the block, from 0.
        block : bytes
            Bytes of the block.
        """
        expected = self.table[number * DIGEST_SIZE : (number + 1) * DIGEST_SIZE]
        return hashlib.sha256(block).digest() == expected


def read_seal(descriptor: int) -> Seal | None:
    """Read the seal of an open file.

    Parameters
    ----------
    descriptor : int
        Descriptor of the file.

    Returns
    -------
    Seal or None
        The seal; None if the file does not begin with one.

    Raises
    ------
    ValueError
        If the seal is damaged.
    """
    size = os.fstat(descriptor).st_size
    head = read_at(descriptor, 0, HEADER.size)
    if not head.startswith(MAGIC):
        return None
    if len(head) < HEADER.size:
        raise ValueError("a seal that ends too soon")
    _, start, n_bytes, block_size, digest = HEADER.unpack(head)
    n_blocks = -(-n_bytes // block_size) if block_size else size
    end = HEADER.size + DIGEST_SIZE * n_blocks
    if not end <= start <= size:
        raise ValueError("a seal that does not fit into the file")
    block = read_at(descriptor, 0, start)
    seal = Seal(
        start=start,
        n_bytes=n_bytes,
        block_size=block_size,
        table=block[HEADER.size : end],
    )
    if seal.digest != digest or block[end:].strip(b"\0"):
        raise ValueError("a seal that does not agree with itself")
    return seal


def read_at(descriptor: int, start: int, size: int) -> bytes:
    """Read bytes of an open file; fewer at its end. The position of the file stays where it is.

    Parameters
    ----------
    descriptor : int
        Descriptor of the file.
    start : int
        Position of the first byte.
    size : int
        Number of bytes.
    """
    parts: list[bytes] = []
    while size > 0 and (part := _read_once(descriptor, start, size)):
        parts.append(part)
        start, size = start + len(part), size - len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _read_once(descriptor: int, start: int, size: int) -> bytes:
    """Read without moving the position: a forked process would share it."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, size, start)
    position = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        os.lseek(descriptor, start, os.SEEK_SET)
        return os.read(descriptor, size)
    finally:
        os.lseek(descriptor, position, os.SEEK_SET)
