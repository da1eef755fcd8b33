"""Read texts of variable length from checked bytes, without HDF5's own code for them.

HDF5 keeps such texts in *global heap collections*, and a column or an attribute holds pointers to
them. HDF5 2.0 runs for ever in a collection with a free object of no length, and allocates whatever
length a pointer names: a file of 20 kB took 2 GB. Here, all is bounded by the length of the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import h5py
import numpy as np
from h5py import h5o

from featx.cache.seal import SealedFile
from featx.core.typing import Array, StrArray

POINTER = np.dtype([("length", "<u4"), ("collection", "<u8"), ("index", "<u4")])
"""A pointer to a text: its length, the address of its collection, and its number in there."""

_SIGNATURE = b"GCOL\x01\0\0\0"
_OBJECT = struct.Struct("<H6xQ")
_HEADER = struct.Struct("<BxHII4x")
_MESSAGE = struct.Struct("<HHB3x")
_CONTINUATION, _ATTRIBUTE = 0x10, 0x0C


def read_column_texts(dataset: h5py.Dataset, sealed: SealedFile) -> StrArray:
    """Read a column of texts, ``(n_rows,)``.

    Parameters
    ----------
    dataset : h5py.Dataset
        Texts of variable length, in one piece.
    sealed : SealedFile
        The file of the dataset.

    Raises
    ------
    ValueError
        If a pointer does not lead to a text.
    """
    offset = dataset.id.get_offset()
    if offset is None:
        return np.empty(0, object)
    data = sealed.read_at(offset, dataset.size * POINTER.itemsize)
    return np.array(_read_texts(np.frombuffer(data, POINTER), sealed), object)


def read_attribute_text(owner: h5py.Group, name: str, sealed: SealedFile) -> str:
    """Read an attribute that is one text.

    Parameters
    ----------
    owner : h5py.Group
        The group that has the attribute.
    name : str
        Name of the attribute.
    sealed : SealedFile
        The file of the group.

    Raises
    ------
    ValueError
        If the attribute is missing, or its pointer does not lead to a text.
    """
    for kind, body in _iter_messages(h5o.get_info(owner.id).addr, sealed):
        if kind == _ATTRIBUTE:
            found, data = _split_attribute(body)
            if found == name.encode():
                pointer = np.frombuffer(data[: POINTER.itemsize], POINTER)
                return _read_texts(pointer, sealed)[0]
    raise ValueError(f"no attribute {name!r}")


def _read_texts(pointers: Array, sealed: SealedFile) -> list[str]:
    """Read the texts of pointers. Pointers to one text share it, so that memory stays bounded."""
    collections: dict[int, dict[int, str]] = {}
    n_left = len(sealed)
    texts: list[str] = []
    append, current, found = texts.append, -1, {}
    for length, address, index in pointers.tolist():
        if not length:
            append("")
            continue
        if address != current:
            if address not in collections:
                body = _read_collection(address, n_left, sealed)
                n_left -= len(body)  # collections do not overlap
                collections[address] = _split_collection(body)
            current, found = address, collections[address]
        text = found.get(index, "")
        if len(text) != length and len(text.encode()) != length:
            raise ValueError(f"no text of {length} bytes at {address}, {index}")
        append(text)
    return texts


def _read_collection(address: int, limit: int, sealed: SealedFile) -> bytes:
    start = sealed.read_at(address, 4096)  # the size of nearly every collection
    size = int.from_bytes(start[8:16], "little")
    if not start.startswith(_SIGNATURE) or not 16 <= size <= limit:
        raise ValueError(f"no collection of texts at {address}")
    return start[:size] if size <= len(start) else sealed.read_at(address, size)


def _split_collection(body: bytes) -> dict[int, str]:
    """Return the texts of a collection by their numbers."""
    texts = {}
    text = body.decode("ascii") if body.isascii() else None  # cut without decoding each part
    unpack, place, last = _OBJECT.unpack_from, 16, len(body) - 16
    while place <= last:
        index, size = unpack(body, place)
        if not index:  # free space up to the end
            break
        start = place + 16
        end = start + size
        texts[index] = body[start:end].decode() if text is None else text[start:end]
        place = end + (-size & 7)
    return texts


def _iter_messages(address: int, sealed: SealedFile) -> Iterator[tuple[int, bytes]]:
    """Yield kind and content of each message in the header of an object (version 1)."""
    version, _, _, size = _HEADER.unpack(sealed.read_at(address, _HEADER.size))
    if version != 1:
        raise ValueError(f"an object header of version {version} at {address}")
    blocks = [(address + _HEADER.size, size)]
    n_left = len(sealed)
    while blocks and n_left > 0:
        block = sealed.read_at(*blocks.pop(0))
        n_left -= len(block)  # blocks do not overlap
        place = 0
        while place + _MESSAGE.size <= len(block):
            kind, length, _ = _MESSAGE.unpack_from(block, place)
            place += _MESSAGE.size
            body = block[place : place + length]
            place += length
            if kind == _CONTINUATION and length >= 16:
                blocks.append(struct.unpack_from("<QQ", body))
            yield kind, body


def _split_attribute(body: bytes) -> tuple[bytes, bytes]:
    """Return name and value of an attribute message."""
    version, name_size, type_size, space_size = struct.unpack_from("<BxHHH", body)
    start = 9 if version == 3 else 8
    name = body[start : start + name_size].split(b"\0")[0]
    for size in (name_size, type_size, space_size):
        start += size + (-size % 8 if version == 1 else 0)
    return name, body[start:]
