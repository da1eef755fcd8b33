"""Files that are not there: what lies in their place, under a name that nearly is theirs."""

from __future__ import annotations

import contextlib
import functools
import os
import unicodedata
from collections.abc import Iterator, Sequence

from featx.images.format_table import PLACEHOLDERS
from featx.images.formats import find_by_name
from featx.images.names import quote_name

COMMON_SUFFIXES = (".jpg", ".png", ".jpeg", ".JPG", ".PNG", ".JPEG", ".tif", ".tiff")
"""Suffixes that tables leave out, the commonest first."""

REASON = "No such file or directory"
"""First words of each reason, those of the system."""

N_FOLDERS = 16
"""Number of folders that are looked into for a file that is not found."""


def explain_missing(path: str) -> str:
    """Say why a file is not found, by looking for a few names that people confuse.

    Parameters
    ----------
    path : str
        Path of a file that does not exist.

    Returns
    -------
    str
        The reason of the system, and what is there instead if one of these names is: the name in
        the other Unicode form (macOS writes NFD), with another case, with another spelling of the
        suffix (``.jpeg`` for ``.jpg``, or none), a placeholder of a cloud, or the name in a folder
        beside it (``train/1.jpg`` for ``1.jpg``).
    """
    with contextlib.suppress(OSError):  # no link
        return f"{REASON}: a symbolic link to {quote_name(os.readlink(path))}, which is not there"
    folder, base = os.path.split(path)
    for name in _list_placeholders(base):
        if os.path.lexists(os.path.join(folder, name)):
            return f"{REASON}, but a placeholder: the image is in the cloud. Download it"
    for form in ("NFC", "NFD"):
        other = unicodedata.normalize(form, path)
        if other != path and os.path.lexists(other):
            return f"{REASON}, but one of the same name in Unicode {form}. Write names in that form"
    for name in _list_spellings(base):
        if name != base and os.path.lexists(os.path.join(folder, name)):
            return f"{REASON}, but {quote_name(name)} is there. Correct the name"
    for inner in _list_folders(folder):
        for name in (base, *_list_suffixed(base)):
            if os.path.lexists(os.path.join(folder, inner, name)):
                return f"{REASON}, but {quote_name(f'{inner}/{name}')} is there. Correct the path"
    return REASON


@functools.lru_cache(maxsize=4)
def _list_folders(folder: str) -> Sequence[str]:
    """List the first folders in a folder, once for all files that are missing there."""
    with contextlib.suppress(OSError), os.scandir(folder or ".") as listed:
        return sorted(entry.name for entry in listed if entry.is_dir())[:N_FOLDERS]
    return ()


def _list_placeholders(base: str) -> Iterator[str]:
    yield from (f"{dot}{base}{suffix}" for dot in (".", "") for suffix in PLACEHOLDERS)


def _list_spellings(base: str) -> Iterator[str]:
    """Yield the base name with other cases, and with suffixes of the same format or of any."""
    stem, suffix = os.path.splitext(base)
    yield from _list_suffixed(base)
    yield from (base.lower(), base.upper(), base.strip())
    for group in ((".jpg", ".jpeg"), (".tif", ".tiff")):
        others = group if suffix.lower() in group else (suffix,)
        for other in others:
            yield from (stem + other.lower(), stem + other.upper())


def _list_suffixed(base: str) -> Sequence[str]:
    """List names with a suffix for a base name that has none of an image."""
    return () if find_by_name(base) else [f"{base}{suffix}" for suffix in COMMON_SUFFIXES]
