"""Seal a finished HDF5 file: make space for the seal in front of the data, hash the data, write it.

HDF5 files may begin with a *user block*, which HDF5 leaves alone: its length is a power of two, and
all addresses count from its end. So data move behind a larger user block without a change, except
for the two addresses in the superblock that count from the start of the file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

from featx.cache.seal import SealedFile
from featx.cache.user_block import DIGEST_SIZE, HEADER, Seal
from featx.core.errors import CacheError

BLOCK_SIZE = 1 << 16
"""Bytes per digest: reading a single row costs one or two blocks, 50 µs each."""

MIN_USER_BLOCK = 4096
"""Smallest user block: a file system that shares blocks between files aligns them to this."""

SIGNATURE = b"\x89HDF\r\n\x1a\n"
ADDRESSES = {0: 24, 1: 28}
"""Position of the addresses in the superblock, by its version. Later versions have checksums, and
HDF5 writes to them whenever a file is opened for writing."""

SHIFTED_BYTES = 1 << 24


def choose_user_block(n_bytes: int) -> int:
    """Choose the length of a user block, with space for the digests of twice as much data.

    Parameters
    ----------
    n_bytes : int
        Length of the HDF5 data.

    Examples
    --------
    >>> [choose_user_block(n_bytes) for n_bytes in (0, 5 << 20, 2 << 30)]
    [4096, 8192, 4194304]
    """
    n_blocks = -(-n_bytes // BLOCK_SIZE)
    space = HEADER.size + 2 * DIGEST_SIZE * n_blocks
    return max(MIN_USER_BLOCK, 1 << (space - 1).bit_length())


def seal_file(path: Path, *, old: Seal | None = None, written: Collection[int] = ()) -> str:
    """Seal a finished file, and read back what was hashed. The caller flushes the file to the disk.

    Parameters
    ----------
    path : Path
        An HDF5 file, sealed or not.
    old : Seal, optional
        Seal of the file that this file is a changed copy of. Digests of blocks that were not
        written are taken from it.
    written : collection of int
        Numbers of the blocks that were written since.

    Returns
    -------
    str
        Digest of the file, hexadecimal.

    Raises
    ------
    CacheDamagedError
        If the file does not hold what was written to it.
    CacheError
        If the file is an HDF5 file of another kind than FORMAT.md allows.
    """
    with path.open("r+b") as stream:
        start, n_bytes, is_moved = _make_space(stream, path)
        n_blocks = -(-n_bytes // BLOCK_SIZE)
        numbers = _list_changed(old, n_bytes, {*written, 0} if is_moved else written)
        table = bytearray(b"" if old is None else old.table)[: n_blocks * DIGEST_SIZE]
        table.extend(bytes(n_blocks * DIGEST_SIZE - len(table)))
        for number in numbers:
            stream.seek(start + number * BLOCK_SIZE)
            digest = hashlib.sha256(stream.read(BLOCK_SIZE)).digest()
            table[number * DIGEST_SIZE : (number + 1) * DIGEST_SIZE] = digest
        seal = Seal(start=start, n_bytes=n_bytes, block_size=BLOCK_SIZE, table=bytes(table))
        stream.seek(0)
        stream.write(seal.to_bytes())
    with SealedFile(path) as sealed:
        sealed.check(numbers)
    return seal.digest.hex()


def _list_changed(old: Seal | None, n_bytes: int, written: Collection[int]) -> list[int]:
    """List the blocks that must be hashed: those that were written, and all behind the old end."""
    n_blocks = -(-n_bytes // BLOCK_SIZE)
    if old is None or old.block_size != BLOCK_SIZE:
        return list(range(n_blocks))
    n_kept = old.n_blocks if n_bytes == old.n_bytes else min(old.n_bytes, n_bytes) // BLOCK_SIZE
    return sorted({number for number in written if number < n_kept} | {*range(n_kept, n_blocks)})


def _make_space(stream: BinaryIO, path: Path) -> tuple[int, int, bool]:
    """Move the data behind a larger user block if the seal needs it.

    Returns
    -------
    start, n_bytes : int
        Length of the user block, and of the data.
    is_moved : bool
        True if the superblock was changed.
    """
    size = stream.seek(0, os.SEEK_END)
    old = find_data(stream)
    start, n_bytes = old, size - old
    if HEADER.size + DIGEST_SIZE * -(-n_bytes // BLOCK_SIZE) > start:
        start = choose_user_block(n_bytes)
        for end in range(n_bytes, 0, -SHIFTED_BYTES):  # from the back: the two places overlap
            first = max(0, end - SHIFTED_BYTES)
            stream.seek(old + first)
            part = stream.read(end - first)
            stream.seek(start + first)
            stream.write(part)
    return start, n_bytes, _write_addresses(stream, start, n_bytes, path)


def find_data(stream: BinaryIO) -> int:
    """Find the start of the HDF5 data in a file, as HDF5 does; 0 if there is none.

    Parameters
    ----------
    stream : binary file
        The file.
    """
    size = stream.seek(0, os.SEEK_END)
    start = 0
    while start < size:
        stream.seek(start)
        if stream.read(len(SIGNATURE)) == SIGNATURE:
            return start
        start = max(512, 2 * start)
    return 0


def _write_addresses(stream: BinaryIO, start: int, n_bytes: int, path: Path) -> bool:
    """Write start and end of the data to the superblock, unless they are there.

    If they were not, HDF5 would correct them in each file that is opened for writing.
    """
    stream.seek(start)
    superblock = stream.read(64)
    if not superblock.startswith(SIGNATURE):
        return False
    place = ADDRESSES.get(superblock[8])
    if place is None:
        raise CacheError(
            subject=str(path),
            expected="an HDF5 file with a superblock of version 0 or 1",
            got=f"version {superblock[8]}",
            remedy="Write the file with h5py.File(path, 'w', libver='earliest').",
        )
    # Between the two lies the address of free-space information, which no file of featx has.
    wanted = (start.to_bytes(8, "little"), (start + n_bytes).to_bytes(8, "little"))
    found = superblock[place : place + 8], superblock[place + 16 : place + 24]
    if found == wanted:
        return False
    for offset, address in zip((0, 16), wanted, strict=True):
        stream.seek(start + place + offset)
        stream.write(address)
    return True
