"""Look at a path: "nothing is there" and "the system does not let look" are two answers."""

from __future__ import annotations

import os

from featx.core.typing import PathLike


def find_status(path: PathLike) -> os.stat_result | None:
    """Find what lies at a path; links are followed.

    `pathlib.Path.exists` and its like answer False for some errors, and differ between versions of
    Python.

    Parameters
    ----------
    path : path
        Path of anything.

    Returns
    -------
    os.stat_result or None
        Status of what lies there; None if nothing is there, or if a link leads to nothing.

    Raises
    ------
    OSError
        If the system cannot tell: a folder may not be entered, a disk fails, a link leads to
        itself, or the name is too long.
    """
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def find_obstacle(path: PathLike) -> str:
    """Find out why a file cannot be read.

    Parameters
    ----------
    path : path
        Path of anything.

    Returns
    -------
    str
        The reason of the system; empty if the file can be read, or is no file that could be.
    """
    try:
        if os.path.isfile(path):
            os.close(os.open(path, os.O_RDONLY))
        else:
            find_status(path)
    except OSError as error:
        return str(error.strerror)
    return ""
