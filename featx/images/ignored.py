"""What a source passes over: files that are no images, folders of the system, placeholders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from featx.core.text import count_noun, show_text
from featx.images.formats import is_placeholder
from featx.images.names import escape_name

SYSTEM_FOLDERS = frozenset(
    [
        *("#recycle", "#snapshot", "@eadir", "@sharebin", "@tmp"),  # Synology
        *("@__thumb", "@recently-snapshot", "@recycle"),  # QNAP, Asustor
        *("trashbox", "~snapshot"),  # Buffalo, NetApp
        *("$extend", "$recycle.bin", "recycler", "system volume information"),  # Windows
        *("lost+found", "lost.dir"),  # Linux, Android
        *("__macosx", "network trash folder", "temporary items"),  # macOS
        "__pycache__",
    ]
)
"""Folders, in lower case, that systems and network storage make for themselves. Their images are
thumbnails, deleted files or older versions."""

SYSTEM_NAMES = re.compile(
    r"found\.\d{3}"  # pieces of files, which a check of a disk by Windows puts there
    r"|.+\.(?:photoslibrary|photolibrary|aplibrary|lrdata|lrlibrary)"  # previews beside originals
)
"""Forms of further names of such folders, in lower case: those of a system, or of a program."""

PLACEHOLDER_REASON = (
    "expected an image, got a placeholder: the image is in the cloud, not on this disk. Download it"
)
"""Reason why an image fails that a placeholder stands for."""

TABLES = (".csv", ".jsonl", ".parquet", ".tsv")
"""Suffixes of files that may hold the labels of images beside them."""

N_SHOWN = 8
"""Number of kinds of ignored files that a note names."""


def is_system_folder(name: str) -> bool:
    """Tell whether a folder belongs to the system, by its name alone.

    Parameters
    ----------
    name : str
        Name of the folder.

    Examples
    --------
    >>> is_system_folder("@eaDir"), is_system_folder("#recycle"), is_system_folder("recycled")
    (True, True, False)
    """
    return name.lower() in SYSTEM_FOLDERS or SYSTEM_NAMES.fullmatch(name.lower()) is not None


def find_placeholder(name: str) -> str | None:
    """Find the name of the image that a placeholder stands for.

    Parameters
    ----------
    name : str
        Name of the placeholder, without its folder.

    Returns
    -------
    str or None
        Name of the image in the cloud; None if the name is not that of such a placeholder.

    Examples
    --------
    >>> find_placeholder(".5.jpg.icloud")
    '5.jpg'
    """
    if not is_placeholder(name):
        return None
    return os.path.splitext(name)[0].removeprefix(".")


def name_kind(name: str) -> str:
    """Name the kind of an ignored file: its suffix in lower case, or ``""`` if it has none.

    Parameters
    ----------
    name : str
        Name of the file.
    """
    suffix = PurePosixPath(name).suffix.lower()
    return escape_name(suffix) if len(suffix) <= 12 else ""


def describe_ignored(counts: Mapping[str, int]) -> str:
    """Say what was passed over.

    Parameters
    ----------
    counts : mapping of str to int
        Number of files by suffix, of folders by their name with a slash, and of things that are no
        files by what they are.

    Returns
    -------
    str
        A clause; empty if nothing was passed over.

    Examples
    --------
    >>> describe_ignored({".txt": 6, "": 1, "@eaDir/": 2})
    'passed over 6 .txt, 1 file without a suffix, 2 folders @eaDir'
    """
    kinds = sorted(counts, key=lambda kind: (kind.endswith("/"), -counts[kind], kind))
    parts = [_describe_kind(kind, counts[kind]) for kind in kinds[:N_SHOWN]]
    if len(kinds) > N_SHOWN:
        parts.append(f"{sum(counts[kind] for kind in kinds[N_SHOWN:])} of other kinds")
    return f"passed over {', '.join(parts)}" if parts else ""


def count_files(counts: Mapping[str, int]) -> int:
    """Count the ignored files, without the folders of the system.

    Parameters
    ----------
    counts : mapping of str to int
        As `describe_ignored` takes it.
    """
    return sum(count for kind, count in counts.items() if not kind.endswith("/"))


def describe_tables(names: Iterable[str]) -> str:
    """Say that tables lie among images, and that their labels are not read.

    Parameters
    ----------
    names : iterable of str
        Names of ignored files within the source.

    Returns
    -------
    str
        A sentence; empty if no name is that of a table.
    """
    tables = [name for name in names if name_kind(name) in TABLES]
    if not tables:
        return ""
    shown = ", ".join(map(show_text, tables[:3]))
    more = f" and {len(tables) - 3} more" if len(tables) > 3 else ""
    return (
        f"tables lie among the images ({shown}{more}): their labels are not read. "
        "Name a table as the source to read them."
    )


def _describe_kind(kind: str, count: int) -> str:
    if kind.endswith("/"):
        return f"{count_noun(count, 'folder')} {kind[:-1]}"
    if not kind:
        return f"{count_noun(count, 'file')} without a suffix"
    return f"{count} {kind}" if kind.startswith(".") else count_noun(count, kind)
