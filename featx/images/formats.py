"""Tell the format of a file by its name or by its first bytes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from featx.images.format_table import FORMATS, PLACEHOLDERS, Format

BY_SUFFIX = {suffix: format for format in FORMATS for suffix in format.suffixes}
"""Format by the suffix that promises it."""

SUFFIXES = frozenset(BY_SUFFIX)
"""Suffixes that promise an image: such a file is always a row, or a failure with a reason."""

HIDING_SUFFIXES = tuple(suffix for suffix, format in BY_SUFFIX.items() if format.hides_image)
"""Suffixes of files in which Pillow would find only a preview, or a stand-in, of the image."""

_MAGIC = [(format, re.compile(format.magic, re.S).match) for format in FORMATS if format.magic]

_TOLD = re.compile(
    b"|".join(b"(?:%b)" % format.magic for format in FORMATS if format.is_told and format.magic),
    re.S,
)


def find_by_name(name: str) -> Format | None:
    """Find the image format that a name promises; None if it promises none.

    Parameters
    ----------
    name : str
        Name or path of a file. A placeholder of a cloud, such as ``.1.jpg.icloud``, promises an
        image only if the name inside it does.

    Examples
    --------
    >>> find_by_name("IMG_1.HEIC").name
    'HEIC'
    >>> find_by_name("brain.nii.gz").name
    'NIfTI, a volume'
    >>> find_by_name(".notes.txt.icloud") is None
    True
    """
    stem, suffix = os.path.splitext(name.lower())
    if suffix == ".gz":
        suffix = os.path.splitext(stem)[1] + suffix
    format = BY_SUFFIX.get(suffix)
    if suffix in PLACEHOLDERS and os.path.splitext(stem)[1] not in SUFFIXES:
        return None
    return format


def is_placeholder(name: str) -> bool:
    """Decide whether a file only stands for an image that is in the cloud.

    Parameters
    ----------
    name : str
        Name of the file. macOS hides placeholders: ``.1.jpg.icloud`` stands for ``1.jpg``.
    """
    return os.path.splitext(name.lower())[1] in PLACEHOLDERS and find_by_name(name) is not None


def iter_by_content(prefix: bytes) -> Iterator[Format]:
    """Yield the formats that a file may have by its first bytes, the likeliest first.

    Parameters
    ----------
    prefix : bytes
        First `PREFIX_SIZE` bytes of the file, or all bytes of a shorter file.
    """
    return (format for format, match in _MAGIC if match(prefix))


def is_image(prefix: bytes) -> bool:
    """Decide by the first bytes alone whether a file is an image, read by featx or not.

    Parameters
    ----------
    prefix : bytes
        First `PREFIX_SIZE` bytes of the file, or all bytes of a shorter file.
    """
    return _TOLD.match(prefix) is not None
