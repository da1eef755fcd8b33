"""Read texts of variable length from checked bytes, without HDF5's own code for them.

HDF5 keeps such texts in *global heap collections*, and an attribute holds a pointer to one. HDF5
2.0 runs for ever in a collection with a free object of no length, and allocates whatever length a
pointer names: a file of 20 kB took 2 GB. Here, all is bounded by the length of the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import h5py
from h5py import h5o

from featx.cache.seal import SealedFile

_POINTER = struct.Struct("<IQI")
"""A pointer to a text: its length, the address of its collection, and its number in there."""

_SIGNATURE = b"GCOL\x01\0\0\0"
_OBJECT = struct.Struct("<H6xQ")
_HEADER = struct.Struct("<BxHII4x")
_MESSAGE = struct.Struct("<HHB3x")
_CONTINUATION, _ATTRIBUTE = 0x10, 0x0C


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
                return _read_text(data[: _POINTER.size], sealed)
    raise ValueError(f"no attribute {name!r}")


def _read_text(pointer: bytes, sealed: SealedFile) -> str:
    length, address, index = _POINTER.unpack(pointer)
    if not length:
        return ""
    text = _split_collection(_read_collection(address, len(sealed), sealed)).get(index, "")
    if len(text.encode()) != length:
        raise ValueError(f"no text of {length} bytes at {address}, {index}")
    return text


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
