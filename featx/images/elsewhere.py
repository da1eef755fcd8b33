"""Paths that mean nothing here: addresses, paths of Windows, what only a shell expands."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import unquote

from featx.core.address import find_address
from featx.images.content import Content, Unreadable
from featx.images.remote import build_content

IS_POSIX = os.sep == "/"

DOWNLOAD = "Download the images, and name their files."
RELATIVE = "Write the path as this machine has it, or relative to the table."
SHELL = "Write the path in full: only a shell expands it."

FORMS: Mapping[str, tuple[str, str]] = {
    # One slash is left of two if the address has been a Path.
    r"[A-Za-z][A-Za-z0-9+.-]+:/": ("an address", DOWNLOAD),
    r"data:": ("an image inside the text (a data URI)", "Decode its text to a file."),
    r"~": ("a path with ~ for a home folder", SHELL),
    r"\$\w|\$\{|%\w+%": ("a path with a variable", SHELL),
    **(
        {
            r"[A-Za-z]:[\\/]": ("a path of a drive of Windows", RELATIVE),
            r"\\\\": ("a path of a network of Windows", RELATIVE),
            r".*\\": ("a path with backslashes, as on Windows", "Write it with slashes."),
        }
        if IS_POSIX
        else {}
    ),
    r".*[*?]": ("a pattern", "Name the files that it stands for: only a shell expands it."),
}
"""Forms of paths by the regular expression of their beginning: what each is, and what to do."""


def describe_elsewhere(path: str) -> tuple[str, str] | None:
    """Tell what a path looks like that is not found on this machine.

    Parameters
    ----------
    path : str
        The path as written.

    Returns
    -------
    (str, str) or None
        What it is, a noun phrase, and what to do, a sentence; None if nothing is odd about it.

    Examples
    --------
    >>> describe_elsewhere("s3://bucket/1.jpg")[0]
    'an address'
    """
    return next((told for form, told in FORMS.items() if re.match(form, path, re.S)), None)


def read_file_address(path: str) -> str:
    """Read an address such as ``file:///photos/1.jpg`` as the path that it stands for.

    Parameters
    ----------
    path : str
        A path or an address.

    Returns
    -------
    str
        The path; any other path or address as it is.

    Examples
    --------
    >>> read_file_address("file:///photos/my%20cat.jpg")
    '/photos/my cat.jpg'
    """
    found = re.fullmatch(r"file:(?://(?:localhost)?(?=/)|(?=/[^/]))(/.*)", path, re.S | re.I)
    return os.fsdecode(unquote(found[1])) if found else path


def join_reason(told: tuple[str, str]) -> str:
    """Say in one line why an image cannot be read, and what to do.

    Parameters
    ----------
    told : (str, str)
        What its path is, and what to do, as `describe_elsewhere` gives them.
    """
    return f"{told[0]}. {told[1].removesuffix('.')}"


def find_content(path: str) -> Content:
    """Find the bytes of one image file; there may be none, and then reading says why.

    Parameters
    ----------
    path : str
        Path of the file.
    """
    told = describe_elsewhere(path)
    if told is None or os.path.lexists(path):
        return Content(path)
    if find_address(path) is not None:
        return build_content(path)
    return Unreadable(path, reason=join_reason(told))
