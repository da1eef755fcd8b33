"""Labels and splits of a table without such columns: what the folders of its paths say."""

from __future__ import annotations

import os
from pathlib import Path

from featx.core.address import Address
from featx.core.columns import Texts, TextsBuilder
from featx.core.errors import SourceError
from featx.images.entries import Entries
from featx.images.layout import read_layout
from featx.images.remote import Location


def fill_from_folders(
    table: Location, entries: Entries, *, has_labels: bool, has_splits: bool
) -> tuple[Entries, list[str]]:
    """Read the labels or splits that a table does not state from the folders of its paths.

    The rules are those of a folder. They are applied only if all images are files below the folder
    of the table, and if the folders name several labels or several splits.

    Parameters
    ----------
    table : Path or Address
        The table.
    entries : Entries
        Its rows.
    has_labels, has_splits : bool
        Whether the table has a column of labels, and one of splits.

    Returns
    -------
    entries : Entries
        The rows with what the folders say.
    notes : list of str
        Sentences that say so; empty if nothing was read from folders.
    """
    names = None if has_labels and has_splits else _find_names(table, entries)
    if not names:
        return entries, []
    try:
        layout = read_layout(names, str(table))
    except SourceError:  # a table may name some images of a folder that is no source
        return entries, []
    labels, splits = layout.labels, layout.splits
    n_labels, n_splits = len(labels.count()), len(splits.count())
    reads_labels = not has_labels and n_labels > 1
    reads_splits = not has_splits and (n_splits > 1 or (reads_labels and n_splits > 0))
    read = ["label"] * reads_labels + ["split"] * reads_splits
    if not read:
        return entries, []
    rows = entries.rows
    rows = rows.replace(label=labels) if reads_labels else rows
    rows = rows.replace(split=splits) if reads_splits else rows
    what = " and ".join(f"{part}s" for part in read)
    lacks = " and ".join(f"no column {part}" for part in read)
    note = f"the table has {lacks}: {what} are read from the folders of its paths"
    return Entries(rows, entries.contents), [f"{note}, as {layout.pattern}", *layout.notes]


def find_prefix(table: Location) -> str:
    """Find what stands before the paths in a table: its folder, unless that is the current one."""
    if isinstance(table, Address):
        return f"{table.parent.text}/"
    return os.path.join(table.parent, "") if table.parent != Path() else ""


def _find_names(table: Location, entries: Entries) -> Texts | None:
    """Find the paths of all images below the folder of the table; None if some lie elsewhere."""
    prefix = find_prefix(table)
    names = TextsBuilder()
    if entries.contents.others:
        return None
    for file in entries.contents.files:
        name = file[len(prefix) :].replace(os.sep, "/")
        is_elsewhere = name.startswith(("/", "../")) or "/" not in name or "://" in name
        if is_elsewhere or not file.startswith(prefix):
            return None
        names.append(name)
    return names.build()
