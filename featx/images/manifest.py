"""The manifest: one row for each image of a source, and the bytes that belong to the row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from featx.core.errors import SourceError
from featx.core.rows import Row
from featx.images.content import Content, InMemory
from featx.images.layout import FolderMeaning
from featx.images.names import escape_name


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a manifest.

    Attributes
    ----------
    row : Row
        Identity of the image: id, path, label, split and group.
    content : Content or InMemory
        The bytes of the image, or the image itself.
    """

    row: Row
    content: Content | InMemory


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The rows of a source, in a stable order.

    Attributes
    ----------
    source : str
        The source as the user named it.
    entries : tuple of Entry
        Rows with unique ids.
    n_ignored : int
        Number of files that are not images, neither by suffix nor by content.
    is_single_image : bool
        Whether the source is one image file. The id of its row is then the path of the file.
    """

    source: str
    entries: tuple[Entry, ...]
    n_ignored: int = 0
    is_single_image: bool = False

    def __len__(self) -> int:
        return len(self.entries)


def build_manifest(source: str, entries: Iterable[Entry], n_ignored: int, hint: str) -> Manifest:
    """Build a manifest that has at least one row.

    Parameters
    ----------
    source : str
        The source as the user named it.
    entries : iterable of Entry
        Rows with unique ids, in a stable order.
    n_ignored : int
        Number of files that are not images.
    hint : str
        Remedy for a source without images, a sentence in the imperative.

    Returns
    -------
    Manifest
        The rows of the source.

    Raises
    ------
    SourceError
        If there is no row.
    """
    manifest = Manifest(source=source, entries=tuple(entries), n_ignored=n_ignored)
    if not manifest.entries:
        raise SourceError(
            subject=source,
            expected="at least one image",
            got=f"none among {n_ignored} files",
            remedy=hint,
        )
    return manifest


def build_entry(name: str, path: str | Path, meaning: FolderMeaning, content: Content) -> Entry:
    """Build the row of one file.

    Parameters
    ----------
    name : str
        Path of the file within its source; becomes the id of the row.
    path : str or Path
        Path of the file as a person would open it.
    meaning : FolderMeaning
        Label and split that the folders give.
    content : Content
        The bytes of the file.

    Returns
    -------
    Entry
        The row, its names escaped to one line each.
    """
    label = None if meaning.label is None else escape_name(meaning.label)
    row = Row(id=escape_name(name), path=escape_name(str(path)), label=label, split=meaning.split)
    return Entry(row, content)
