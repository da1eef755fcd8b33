"""Recognise the kinds of files that featx writes, by their first bytes: a wrong path is told so."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from featx.core.typing import PathLike

FileContent = Literal["cache", "head", "weights"]
"""Kinds of files that featx reads and writes."""

_HDF5 = b"\x89HDF\r\n\x1a\n"
_USER_BLOCKS = (0, 512, 1024, 2048)
"""Positions at which the superblock of an HDF5 file is looked for."""

_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""First bytes of a file that ``torch.save`` of PyTorch before 1.6 wrote: a pickled constant."""


def recognise_file(path: PathLike) -> FileContent | None:
    """Recognise a cache, a head or a file of weights by its first bytes.

    Parameters
    ----------
    path : path
        Path of anything.

    Returns
    -------
    {"cache", "head", "weights"} or None
        ``"cache"`` for any HDF5 file, ``"head"`` for any uncompressed pickle, ``"weights"`` for a
        ``.safetensors`` or PyTorch file. None for another file, and for a path that is no regular
        file.
    """
    path = Path(path)
    try:
        if not path.is_file():
            return None
        with path.open("rb") as stream:
            start = stream.read(_USER_BLOCKS[-1] + len(_HDF5))
    except OSError:
        return None
    if any(start.startswith(_HDF5, position) for position in _USER_BLOCKS):
        return "cache"
    # torch writes a zip whose first member is ARCHIVE/data.pkl; a header of JSON in braces stands
    # behind eight bytes of length in .safetensors.
    is_zip = start.startswith(b"PK\x03\x04") and b"/data.pkl" in start[:300]
    if is_zip or start.startswith(_OLD_TORCH) or start[8:10] in (b'{"', b"{}"):
        return "weights"
    return "head" if start[:1] == b"\x80" and 2 <= start[1] <= 5 else None
