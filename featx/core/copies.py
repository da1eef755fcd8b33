"""Copy a file at the speed of the disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import BinaryIO

CANNOT_COPY = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})
"""Errors by which a system says that it cannot copy between files by itself."""

COPIED_BYTES = 1 << 24
"""Bytes that are copied at a time: a signal waits for no more."""


def copy_content(source: BinaryIO, path: Path) -> None:
    """Copy a whole file into an empty one at the speed of the disk.

    A file system whose files can share their blocks, such as Btrfs or XFS, copies nothing.

    Parameters
    ----------
    source : binary file
        The file that is copied, open without a buffer.
    path : Path
        The empty file.

    Raises
    ------
    OSError
        If reading or writing fails.
    """
    done = 0
    with path.open("r+b", buffering=0) as stream:
        while count := _copy_some(source, stream, done):
            done += count


def _copy_some(source: BinaryIO, stream: BinaryIO, start: int) -> int:
    """Copy some bytes from a position on; return their number, 0 at the end of the file."""
    if hasattr(os, "copy_file_range"):
        try:
            return os.copy_file_range(source.fileno(), stream.fileno(), COPIED_BYTES, start, start)
        except OSError as error:
            if error.errno not in CANNOT_COPY:
                raise
    source.seek(start)
    stream.seek(start)
    return stream.write(source.read(COPIED_BYTES))
