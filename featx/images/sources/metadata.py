"""Tables ``metadata.csv`` that lie beside the images of a folder, as Hugging Face has them."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from featx.core.columns import Texts
from featx.core.errors import SourceError
from featx.core.lookup import TextIndex
from featx.core.text import show_text
from featx.images.content import Content
from featx.images.entries import Entries, Entry
from featx.images.names import escape_name
from featx.images.remote import Location, name_file
from featx.images.sources.cells import Findings
from featx.images.sources.columns import PathlessError
from featx.images.sources.parquet_image import ParquetImage
from featx.images.sources.table import read_entries

METADATA_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
"""Names of the tables that are read together with the images of their folder."""


def is_metadata(name: str) -> bool:
    """Tell whether a file in a folder describes the images beside it and below.

    Parameters
    ----------
    name : str
        Path of the file within the folder.
    """
    return posixpath.basename(name) in METADATA_NAMES


def join_metadata(
    folder: Location, tables: Sequence[str], entries: Entries
) -> tuple[Entries, list[str]]:
    """Give the images of a folder the labels, splits and groups of the tables beside them.

    A label of a table replaces that of a folder; a table without a column of labels leaves it. A
    row whose image is not among those of the folder becomes an entry too, which fails if there is
    no such file. Ids stay paths within the folder.

    Parameters
    ----------
    folder : Path or Address
        The folder.
    tables : sequence of str
        Paths of the tables within the folder.
    entries : Entries
        The images of the folder.

    Returns
    -------
    entries : Entries
        The images with what the tables say, then the rows whose image the folder lacks.
    doubts : list of str
        Sentences about what the user should know.

    Raises
    ------
    SourceError
        If a table cannot be read, or if two rows describe one image.
    """
    if not tables:
        return entries, []
    joined, keys = entries, _list_keys(entries)
    own_labels = entries.rows["label"]
    described = np.zeros(len(entries), bool)
    doubts: list[str] = []
    for name in tables:
        findings = Findings()
        try:
            rows = read_entries(folder / name, findings)
        except PathlessError as error:
            doubts.append(f"{escape_name(name)} is not read: {error.reason}.")
            continue
        sought = _list_keys(rows)
        places = TextIndex(keys).find(sought)
        is_second = TextIndex(sought).find(sought) != np.arange(len(rows))
        is_second[places >= 0] |= described[places[places >= 0]]
        if is_second.any():
            raise _refuse_second(folder / name, rows[int(np.flatnonzero(is_second)[0])])
        new = np.flatnonzero(places < 0)
        if len(new):
            places[new] = np.arange(len(joined), len(joined) + len(new))
            ids = Texts.from_list(_name(folder, key) for key in sought[new])
            added = Entries(rows.rows[new].replace(id=ids), rows.contents[new])
            joined, keys = Entries.concat([joined, added]), Texts.concat([keys, sought[new]])
            described = np.concatenate([described, np.zeros(len(new), bool)])
        described[places] = True
        label, split, group = (rows.rows[column] for column in ("label", "split", "group"))
        own = joined.rows[places]
        n_other = 0
        if any("label" in columns.indices for columns in findings.columns):
            is_own = places < len(entries)
            theirs, ours = label[is_own], own_labels[places[is_own]]
            n_other = int((~theirs.equal(ours) & (theirs.codes > 0) & (ours.codes > 0)).sum())
        else:
            label = own["label"]
        columns = {"label": label, "split": split.or_else(own["split"]), "group": group}
        said = {column: joined.rows[column].put(places, columns[column]) for column in columns}
        joined = Entries(joined.rows.replace(**said), joined.contents)
        doubts += [f"{escape_name(name)}: {doubt}" for doubt in findings.list_doubts()]
        if n_other:
            doubts.append(
                f"{escape_name(name)} has other labels than the folders: its labels count "
                f"({n_other} of {len(rows)} rows)."
            )
        if not said["label"].count():
            unread = findings.describe_unread()
            doubts += [f"{escape_name(name)}: {unread}"] if unread else []
    n_without = int((~described).sum()) if described.any() else 0
    if n_without:
        doubts.append(f"images without a row in a metadata table: {n_without} of {len(joined)}.")
    return joined, doubts


def _list_keys(entries: Entries) -> Texts:
    """Identify images by the paths of their files; images inside a table by their own paths."""
    return Texts.from_list(
        os.path.normpath(content.file)
        if isinstance(content, Content) and not isinstance(content, ParquetImage)
        else path
        for path, content in zip(entries.rows["path"], entries.contents, strict=True)
    )


def _name(folder: Location, key: str) -> str:
    return escape_name(Path(os.path.relpath(key, os.path.normpath(name_file(folder)))).as_posix())


def _refuse_second(table: Location, entry: Entry) -> SourceError:
    return SourceError(
        subject=str(table),
        expected="one row for each image",
        got=f"a second one for {show_text(entry.row.path)}",
        remedy="Remove one of them.",
    )
