"""Rows: one record for each image of a source, and one for each image that failed."""

from __future__ import annotations

from dataclasses import dataclass

from featx.core.typing import Split, Stage

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""Names that folders and tables give to the three splits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One image.

    Attributes
    ----------
    id : str
        Stable identity within the source: the path within the source, with ``/`` between parts.
    path : str
        Path of the image for a person to open: a file, or ``archive.tar/member``.
    label : str or None
        Class name.
    split : {"train", "val", "test"} or None
        Split that the source assigns.
    group : str or None
        Name that the user gives to rows that belong together. A split never separates rows of one
        group.
    digest : str
        SHA-256 of the file's bytes, hexadecimal; empty until the image has been read.
    width, height : int
        Size in pixels after the EXIF orientation was applied; 0 until the image has been decoded.
    n_bytes, mtime_ns : int
        Size of the file in bytes, and time of its last change in nanoseconds since 1970, both from
        the moment when the file was read; -1 if unknown. The time is also -1 if the file had
        changed so recently that the clock of the file system might not show another change.
    """

    id: str
    path: str
    label: str | None = None
    split: Split | None = None
    group: str | None = None
    digest: str = ""
    width: int = 0
    height: int = 0
    n_bytes: int = -1
    mtime_ns: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One image that has no embedding.

    Attributes
    ----------
    id, path : str
        Identity and path of the image, as in `Row`.
    digest : str
        SHA-256 of the file's bytes, hexadecimal; empty if the bytes could not be read.
    stage : {"read", "decode", "preprocess", "embed"}
        Step at which the image failed.
    reason : str
        Cause of the failure in one line.
    embedding : str
        Name of the embedding that the image lacks; empty if the image failed before any network was
        run, so that the image lacks all embeddings.
    n_bytes, mtime_ns : int
        Size and time of the file, as in `Row`.
    """

    id: str
    path: str
    digest: str
    stage: Stage
    reason: str
    embedding: str = ""
    n_bytes: int = -1
    mtime_ns: int = -1


def parse_split(text: str | None) -> Split | None:
    """Return the split that a folder or a table names, or None for another text.

    Parameters
    ----------
    text : str or None
        One of `SPLIT_NAMES`, in any case.

    Examples
    --------
    >>> parse_split("Validation")
    'val'
    """
    return SPLIT_NAMES.get((text or "").strip().lower())
