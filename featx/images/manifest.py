"""The manifest: one row for each image of a source, and the bytes that belong to the row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from featx.core.columns import Rows, Table, Texts
from featx.core.errors import SourceError
from featx.core.lookup import TextIndex
from featx.core.text import count_noun
from featx.core.typing import IntArray, Split, list_choices
from featx.images.entries import Entries, Entry, as_columns
from featx.images.ignored import count_files, describe_ignored
from featx.images.labels import list_label_notes

N_LABELS_SHOWN = 10
"""Number of labels that the description of a manifest counts."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The rows of a source, in a stable order.

    Attributes
    ----------
    source : str
        The source as the user named it.
    entries : sequence of Entry
        Rows with unique ids. They are kept as columns: an entry is made when it is asked for.
    ignored : mapping of str to int
        Number of files that are passed over, by suffix (``".txt"``, or ``""`` for none), and of
        folders of the system, by name with a slash (``"@eaDir/"``).
    pattern : str
        The folders as featx reads them, such as ``dataset/SPLIT/LABEL``; empty if they mean
        nothing.
    doubts : tuple of str
        Sentences about what the source does not say clearly, apart from its labels.
    archives : mapping of str to (int, int)
        States of the tars and tables at addresses that hold images, when they were listed.
    is_single_image : bool
        Whether the source is one image file. The id of its row is then the path of the file.
    """

    source: str
    entries: Sequence[Entry]
    ignored: Mapping[str, int] = field(default_factory=dict)
    pattern: str = ""
    doubts: tuple[str, ...] = ()
    archives: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    is_single_image: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", as_columns(self.entries))

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def rows(self) -> Table:
        """Columns id and path of the rows, and what the source says: label, split, group."""
        return as_columns(self.entries).rows

    def take(self, rows: Rows) -> Manifest:
        """Return a manifest of some rows.

        Parameters
        ----------
        rows : slice or ndarray
            Rows to take, as numpy indexes them; none negative.
        """
        return replace(self, entries=as_columns(self.entries)[rows])

    def find(self, texts: Texts, *, column: Literal["id", "path"] = "id") -> IntArray:
        """Find the rows that have certain ids, or paths.

        Parameters
        ----------
        texts : Texts
            Ids or paths, ``(n,)``.
        column : {"id", "path"}
            Column to look in.

        Returns
        -------
        ndarray of int64
            ``(n,)``, number of the first row of each text; -1 for none.
        """
        return TextIndex(self.rows[column]).find(texts)

    @property
    def n_ignored(self) -> int:
        """Number of files that are not images, neither by suffix nor by content."""
        return count_files(self.ignored)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the user: what is passed over, and what is doubtful."""
        counts = self.rows["label"].count()
        notes = (describe_ignored(self.ignored), *self.doubts, *list_label_notes(counts))
        return tuple(note for note in notes if note)

    def describe(self) -> str:
        """Say in one line how the source is read.

        Examples
        --------
        >>> from featx.core.rows import Row
        >>> from featx.images.content import Content
        >>> rows = [Row(id=str(n), path="", label="ab"[n % 2], split="train") for n in range(3)]
        >>> entries = [Entry(row, Content("")) for row in rows]
        >>> Manifest(source="photos", entries=entries, pattern="SPLIT/LABEL").describe()
        '3 images, 2 labels (a: 2, b: 1), splits train 3, read as SPLIT/LABEL'
        """
        labels, splits = self.rows["label"].count(), self.rows["split"].count()
        n_rows = len(self)
        n_plain, n_unsplit = (n_rows - sum(counts.values()) for counts in (labels, splits))
        parts = [count_noun(n_rows, "image")]
        if labels:
            order = sorted(labels, key=order_label)
            shown = [f"{label}: {labels[label]}" for label in order[:N_LABELS_SHOWN]]
            if len(labels) > N_LABELS_SHOWN:
                shown.append(f"{len(labels) - N_LABELS_SHOWN} more")
            parts.append(f"{count_noun(len(labels), 'label')} ({', '.join(shown)})")
            parts += [f"{n_plain} without a label"] if n_plain else []
        else:
            parts.append("no labels")
        if splits:
            names = [f"{name} {splits[name]}" for name in list_choices(Split) if name in splits]
            parts.append(f"splits {', '.join(names)}")
            parts += [f"{n_unsplit} without a split"] if n_unsplit else []
        parts += [f"read as {self.pattern}"] if self.pattern else []
        return ", ".join(parts)


def order_label(label: str) -> tuple[int, int, str]:
    """Return the key by which labels are sorted: short numbers by value, then others by name.

    Parameters
    ----------
    label : str
        Label of a row.
    """
    is_number = label.isascii() and label.isdecimal() and len(label) < 10
    return (0, int(label), label) if is_number else (1, 0, label)


def build_manifest(
    source: str,
    entries: Entries,
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
    entries : Entries
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
        entries=entries,
        ignored=dict(ignored),
        pattern=pattern,
        doubts=tuple(filter(None, doubts)),
    )
    if not len(manifest):
        what = describe_ignored(ignored)
        raise SourceError(
            subject=source,
            expected="at least one image",
            got=f"none among {manifest.n_ignored} files{what and f' ({what})'}",
            remedy=hint,
        )
    return manifest
