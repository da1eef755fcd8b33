"""What a row is: one image of a source, and one that failed."""

from __future__ import annotations

from dataclasses import dataclass

SPLITS = ("train", "val", "test")
"""Names of splits, in the order in which they are shown."""

SPLIT_ALIASES = {"valid": "val", "validation": "val", "dev": "val", "training": "train"}
"""Other names that folders and tables give to the same three splits."""


@dataclass(frozen=True, slots=True)
class Row:
    """One image.

    Attributes
    ----------
    id : str
        Stable identity within the source: the path within it, with ``/`` between parts.
    path : str
        Where the image lies, for a person to open: a file, or ``archive.tar/member``.
    label, split, group : str or None
        Class name; ``train``, ``val`` or ``test``; rows of one group stay on one side of a split.
    digest : str
        SHA-256 of the file's bytes, in hexadecimal; empty until the image was read.
    width, height : int
        Pixels, after the EXIF orientation was applied; 0 until the image was decoded.
    n_bytes, mtime_ns : int
        Size of the file, and its time of last change in nanoseconds since 1970, when it was read;
        -1 where unknown, or too recent to tell a later change by.
    """

    id: str
    path: str
    label: str | None = None
    split: str | None = None
    group: str | None = None
    digest: str = ""
    width: int = 0
    height: int = 0
    n_bytes: int = -1
    mtime_ns: int = -1


@dataclass(frozen=True, slots=True)
class Failure:
    """One image that has no embedding.

    Attributes
    ----------
    id, path, digest : str
        As in `Row`; the digest is empty where the bytes could not be read.
    stage : {"read", "decode", "preprocess", "embed"}
        Where it failed.
    reason : str
        One line for a person.
    embedding : str
        Which one it lacks; empty where it failed before any network: it lacks them all.
    n_bytes, mtime_ns : int
        As in `Row`.
    """

    id: str
    path: str
    digest: str
    stage: str
    reason: str
    embedding: str = ""
    n_bytes: int = -1
    mtime_ns: int = -1


def read_split(text: str | None) -> str | None:
    """Return the split that a folder or table names (``valid`` is ``val``), or None for another."""
    name = (text or "").strip().lower()
    name = SPLIT_ALIASES.get(name, name)
    return name if name in SPLITS else None
