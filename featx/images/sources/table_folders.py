"""Labels and splits of a table without such columns: what the folders of its paths say."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from featx.core.errors import SourceError
from featx.images.content import Content
from featx.images.labels import clean_label
from featx.images.layout import read_layout
from featx.images.manifest import Entry


def fill_from_folders(
    table: Path, entries: Sequence[Entry], *, has_labels: bool, has_splits: bool
) -> tuple[list[Entry], list[str]]:
    """Read the labels or splits that a table does not state from the folders of its paths.

    The rules are those of a folder. They are applied only if all images are files below the folder
    of the table, and if the folders name several labels or several splits.

    Parameters
    ----------
    table : Path
        The table.
    entries : sequence of Entry
        Its rows.
    has_labels, has_splits : bool
        Whether the table has a column of labels, and one of splits.

    Returns
    -------
    entries : list of Entry
        The rows with what the folders say.
    notes : list of str
        Sentences that say so; empty if nothing was read from folders.
    """
    names = [] if has_labels and has_splits else _list_names(table, entries)
    if not names:
        return [*entries], []
    try:
        layout = read_layout(names, str(table))
    except SourceError:  # a table may name some images of a folder that is no source
        return [*entries], []
    n_labels = len({one.label for one in layout.meanings} - {None})
    n_splits = len({one.split for one in layout.meanings} - {None})
    reads_labels = not has_labels and n_labels > 1
    reads_splits = not has_splits and (n_splits > 1 or (reads_labels and n_splits > 0))
    read = ["label"] * reads_labels + ["split"] * reads_splits
    if not read:
        return [*entries], []
    filled = []
    for entry, meaning in zip(entries, layout.meanings, strict=True):
        row = entry.row
        if reads_labels:
            row = replace(row, label=clean_label(meaning.label or ""))
        if reads_splits:
            row = replace(row, split=meaning.split)
        filled.append(replace(entry, row=row))
    what = " and ".join(f"{part}s" for part in read)
    lacks = " and ".join(f"no column {part}" for part in read)
    note = f"the table has {lacks}: {what} are read from the folders of its paths"
    return filled, [f"{note}, as {layout.pattern}", *layout.notes]


def find_prefix(table: Path) -> str:
    """Find what stands before the paths in a table: its folder, unless that is the current one."""
    return os.path.join(table.parent, "") if table.parent != Path() else ""


def _list_names(table: Path, entries: Sequence[Entry]) -> list[str]:
    """List the paths of all images below the folder of the table; none if some lie elsewhere."""
    prefix = find_prefix(table)
    names = []
    for entry in entries:
        content = entry.content
        if type(content) is not Content or not content.file.startswith(prefix):
            return []
        name = content.file[len(prefix) :].replace(os.sep, "/")
        if name.startswith(("/", "../")) or "/" not in name:
            return []
        names.append(name)
    return names
