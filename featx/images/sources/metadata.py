"""Tables ``metadata.csv`` that lie beside the images of a folder, as Hugging Face has them."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from featx.core.errors import SourceError
from featx.core.text import show_text
from featx.images.content import Content
from featx.images.manifest import Entry
from featx.images.names import escape_name
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
    folder: Path, tables: Iterable[str], entries: Sequence[Entry]
) -> tuple[list[Entry], list[str]]:
    """Give the images of a folder the labels, splits and groups of the tables beside them.

    A label of a table replaces that of a folder; a table without a column of labels leaves it. A
    row whose image is not among those of the folder becomes an entry too, which fails if there is
    no such file. Ids stay paths within the folder.

    Parameters
    ----------
    folder : Path
        The folder.
    tables : iterable of str
        Paths of the tables within the folder.
    entries : sequence of Entry
        The images of the folder.

    Returns
    -------
    entries : list of Entry
        The images with what the tables say, then the rows whose image the folder lacks.
    doubts : list of str
        Sentences about what the user should know.

    Raises
    ------
    SourceError
        If a table cannot be read, or if two rows describe one image.
    """
    joined = {_find_key(entry): entry for entry in entries}
    own_labels = {key: entry.row.label for key, entry in joined.items()}
    described: set[str] = set()
    doubts: list[str] = []
    for name in tables:
        findings = Findings()
        try:
            rows = read_entries(folder / name, findings)
        except PathlessError as error:
            doubts.append(f"{escape_name(name)} is not read: {error.reason}.")
            continue
        has_labels = any("label" in columns.indices for columns in findings.columns)
        n_other = 0
        for entry in rows:
            key = _find_key(entry)
            if key in described:
                raise _refuse_second(folder / name, entry)
            described.add(key)
            own = joined.get(key) or replace(entry, row=replace(entry.row, id=_name(folder, key)))
            label = entry.row.label if has_labels else own.row.label
            n_other += None not in (label, own_labels.get(key)) and label != own_labels.get(key)
            split, group = entry.row.split or own.row.split, entry.row.group
            joined[key] = replace(own, row=replace(own.row, label=label, split=split, group=group))
        doubts += [f"{escape_name(name)}: {doubt}" for doubt in findings.list_doubts()]
        if n_other:
            doubts.append(
                f"{escape_name(name)} has other labels than the folders: its labels count "
                f"({n_other} of {len(rows)} rows)."
            )
        if not any(entry.row.label for entry in joined.values()):
            unread = findings.describe_unread()
            doubts += [f"{escape_name(name)}: {unread}"] if unread else []
    n_without = len(joined.keys() - described) if described else 0
    if n_without:
        doubts.append(f"images without a row in a metadata table: {n_without} of {len(joined)}.")
    return list(joined.values()), doubts


def _find_key(entry: Entry) -> str:
    """Identify an image by the path of its file; images inside a table by their own path."""
    content = entry.content
    if isinstance(content, Content) and not isinstance(content, ParquetImage):
        return os.path.normpath(content.file)
    return entry.row.path


def _name(folder: Path, key: str) -> str:
    return escape_name(Path(os.path.relpath(key, folder)).as_posix())


def _refuse_second(table: Path, entry: Entry) -> SourceError:
    return SourceError(
        subject=str(table),
        expected="one row for each image",
        got=f"a second one for {show_text(entry.row.path)}",
        remedy="Remove one of them.",
    )
