"""The manifest: one row for each image of a source, and the bytes that belong to the row."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

from featx.core.errors import SourceError
from featx.core.rows import Row
from featx.core.text import count_noun
from featx.images.content import Content, InMemory
from featx.images.ignored import count_files, describe_ignored
from featx.images.labels import clean_label, list_label_notes
from featx.images.layout import FolderMeaning
from featx.images.names import escape_name

N_LABELS_SHOWN = 10
"""Number of labels that the description of a manifest counts."""


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
    ignored : mapping of str to int
        Number of files that are passed over, by suffix (``".txt"``, or ``""`` for none), and of
        folders of the system, by name with a slash (``"@eaDir/"``).
    pattern : str
        The folders as featx reads them, such as ``dataset/SPLIT/LABEL``; empty if they mean
        nothing.
    doubts : tuple of str
        Sentences about what the source does not say clearly, apart from its labels.
    is_single_image : bool
        Whether the source is one image file. The id of its row is then the path of the file.
    """

    source: str
    entries: tuple[Entry, ...]
    ignored: Mapping[str, int] = field(default_factory=dict)
    pattern: str = ""
    doubts: tuple[str, ...] = ()
    is_single_image: bool = False

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def n_ignored(self) -> int:
        """Number of files that are not images, neither by suffix nor by content."""
        return count_files(self.ignored)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the user: what is passed over, and what is doubtful."""
        labels, _ = self._counts
        notes = (describe_ignored(self.ignored), *self.doubts, *list_label_notes(labels))
        return tuple(note for note in notes if note)

    @functools.cached_property
    def _counts(self) -> tuple[Counter[str], Counter[str]]:
        """Numbers of rows by label and by split, counted in one pass: rows may be millions."""
        labels: Counter[str] = Counter()
        splits: Counter[str] = Counter()
        pairs = Counter(map(attrgetter("row.label", "row.split"), self.entries))
        for (label, split), count in pairs.items():
            labels.update({label: count} if label else {})
            splits.update({split: count} if split else {})
        return labels, splits

    def describe(self) -> str:
        """Say in one line how the source is read.

        Examples
        --------
        >>> rows = [Row(id=str(n), path="", label="ab"[n % 2], split="train") for n in range(3)]
        >>> entries = tuple(Entry(row, InMemory(None)) for row in rows)
        >>> Manifest(source="photos", entries=entries, pattern="SPLIT/LABEL").describe()
        '3 images, 2 labels (a: 2, b: 1), splits train 3, read as SPLIT/LABEL'
        """
        labels, splits = self._counts
        n_rows = len(self.entries)
        n_plain, n_unsplit = n_rows - labels.total(), n_rows - splits.total()
        parts = [count_noun(n_rows, "image")]
        if labels:
            order = sorted(labels, key=_order_label)
            shown = [f"{label}: {labels[label]}" for label in order[:N_LABELS_SHOWN]]
            if len(labels) > N_LABELS_SHOWN:
                shown.append(f"{len(labels) - N_LABELS_SHOWN} more")
            parts.append(f"{count_noun(len(labels), 'label')} ({', '.join(shown)})")
            parts += [f"{n_plain} without a label"] if n_plain else []
        else:
            parts.append("no labels")
        if splits:
            names = [f"{name} {splits[name]}" for name in ("train", "val", "test") if splits[name]]
            parts.append(f"splits {', '.join(names)}")
            parts += [f"{n_unsplit} without a split"] if n_unsplit else []
        parts += [f"read as {self.pattern}"] if self.pattern else []
        return ", ".join(parts)


def _order_label(label: str) -> tuple[int, int, str]:
    """Order short numbers by value, before other labels by name."""
    is_number = label.isascii() and label.isdecimal() and len(label) < 10
    return (0, int(label), label) if is_number else (1, 0, label)


def build_manifest(
    source: str,
    entries: Iterable[Entry],
    ignored: Mapping[str, int],
    hint: str,
    *,
    pattern: str = "",
    doubts: Iterable[str] = (),
) -> Manifest:
    """Build a manifest that has at least one row.

    Parameters
    ----------
    source : str
        The source as the user named it.
    entries : iterable of Entry
        Rows with unique ids, in a stable order.
    ignored : mapping of str to int
        What is passed over, as `Manifest` has it.
    hint : str
        Remedy for a source without images, a sentence in the imperative.
    pattern : str
        The folders as featx reads them.
    doubts : iterable of str
        Sentences about what the source does not say clearly; empty ones are left out.

    Returns
    -------
    Manifest
        The rows of the source.

    Raises
    ------
    SourceError
        If there is no row.
    """
    manifest = Manifest(
        source=source,
        entries=tuple(entries),
        ignored=dict(ignored),
        pattern=pattern,
        doubts=tuple(filter(None, doubts)),
    )
    if not manifest.entries:
        what = describe_ignored(ignored)
        raise SourceError(
            subject=source,
            expected="at least one image",
            got=f"none among {manifest.n_ignored} files{what and f' ({what})'}",
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
    label = None if meaning.label is None else clean_label(meaning.label)
    row = Row(id=escape_name(name), path=escape_name(str(path)), label=label, split=meaning.split)
    return Entry(row, content)
