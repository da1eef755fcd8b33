"""What the user points at, told apart: a folder, a table, tars, or image files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from featx.errors import SourceError
from featx.images.folders import read_folder
from featx.images.manifest import Content, Entry, InMemory, Manifest, Place, build_entry
from featx.images.tables import read_table
from featx.images.tars import read_tars
from featx.rows import Row

PathLike = str | os.PathLike[str]


def read_manifest(sources: PathLike | Sequence[PathLike]) -> Manifest:
    """List the images of a source.

    Parameters
    ----------
    sources : path or sequence of paths
        One folder, one ``.csv`` or ``.parquet`` table, one or several plain ``.tar``; or several
        image files and folders, whose rows then carry the path as given in their ids.

    Returns
    -------
    Manifest
        In a stable order, ids unique.

    Raises
    ------
    SourceError
        If a source is missing, holds no image, or is damaged.
    """
    given = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    paths = [Path(source) for source in given]
    if not paths:
        raise SourceError("source: expected at least one path, got none. Name a folder of images.")
    if all(path.suffix == ".tar" for path in paths):
        for path in paths:
            _check_there(path)
        return read_tars(paths)
    if len(paths) == 1:
        _check_there(paths[0])
        return _read_one(paths[0])
    entries: dict[str, Entry] = {}
    n_ignored = 0
    for path in paths:
        manifest = _read_one(path)
        n_ignored += manifest.n_ignored
        alone = path.is_file() or not path.exists()
        for entry in manifest.entries:
            row = entry.row if alone else replace(entry.row, id=entry.row.path)
            entries.setdefault(row.id, Entry(row, entry.content))
    return Manifest(", ".join(str(path) for path in paths), tuple(entries.values()), n_ignored)


def list_entries(images: Any) -> list[Entry]:
    """List what a notebook holds: paths, Pillow images, arrays, one of these or many.

    Parameters
    ----------
    images : path, PIL image, array, or sequence of these
        A path stands for all images of its source, an array of four axes for a batch.

    Returns
    -------
    list of Entry
        In the order given, repeats kept.

    Raises
    ------
    SourceError
        As `read_manifest` raises it.
    """
    if isinstance(images, str | os.PathLike):
        return list(read_manifest(images).entries)
    single = images.ndim < 4 if isinstance(images, np.ndarray) else not isinstance(images, Iterable)
    entries: list[Entry] = []
    for number, image in enumerate([images] if single else images):
        if isinstance(image, str | os.PathLike):
            entries.extend(read_manifest(image).entries)
        else:
            entries.append(Entry(Row(str(number), f"image {number}"), InMemory(image)))
    return entries


def _check_there(path: Path) -> None:
    if not path.exists():
        raise SourceError(
            f"{path}: expected a folder, table, tar or image, got nothing there. Check the path."
        )


def _read_one(path: Path) -> Manifest:
    if path.is_dir():
        return read_folder(path)
    if path.suffix in (".csv", ".parquet"):
        return read_table(path)
    if path.suffix == ".tar":
        return read_tars([path])
    if path.name.endswith((".tar.gz", ".tgz", ".zip", ".tar.bz2", ".tar.xz", ".tar.zst")):
        raise SourceError(
            f"{path}: expected a plain .tar, got a compressed archive. "
            "Decompress it once: images hardly shrink, and a plain tar can be read anywhere in it."
        )
    entry = build_entry(path.as_posix(), path, Place(None, None), Content(str(path)))
    return Manifest(str(path), (entry,))
