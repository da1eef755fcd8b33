"""What the user points at, told apart: a folder, a table, tars, or image files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from featx.core.errors import SourceError
from featx.core.rows import Row
from featx.images.decode import SUFFIXES
from featx.images.manifest import (
    Content,
    Entry,
    InMemory,
    Manifest,
    Place,
    build_entry,
    escape_name,
)
from featx.images.sources.folder import read_folder
from featx.images.sources.table import read_table
from featx.images.sources.tar import read_tars

PathLike = str | os.PathLike[str]

COMPRESSED = (".tar.gz", ".tgz", ".zip", ".tar.bz2", ".tar.xz", ".tar.zst")


def read_manifest(sources: PathLike | Sequence[PathLike]) -> Manifest:
    """List the images of a source.

    Parameters
    ----------
    sources : path or sequence of paths
        One folder, one ``.csv`` or ``.parquet`` table, one or several plain ``.tar``; or several
        of these and image files, where the id of a row is ``source/id``.

    Returns
    -------
    Manifest
        In a stable order, ids unique.

    Raises
    ------
    SourceError
        If a source is missing, holds no image, is damaged, or comes twice.
    """
    given = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    paths = [Path(source) for source in given]
    if not paths:
        raise SourceError("source: expected at least one path, got none. Name a folder of images.")
    for path in paths:
        if not path.exists():
            raise _miss(path)
    if all(path.suffix.lower() == ".tar" for path in paths):
        return read_tars(paths)
    if len(paths) == 1:
        return _read_one(paths[0])
    entries: dict[str, Entry] = {}
    n_ignored = 0
    for path in paths:
        manifest = _read_one(path)
        n_ignored += manifest.n_ignored
        for entry in manifest.entries:
            # A file's id is its path already.
            prefix = "" if manifest.alone else f"{escape_name(path.as_posix())}/"
            row = replace(entry.row, id=prefix + entry.row.id)
            if row.id in entries:
                raise SourceError(
                    f"{path}: expected each image once, got {row.id!r} again. Name it once."
                )
            entries[row.id] = Entry(row, entry.content)
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
        In the order given, repeats kept. A missing image is among them, and fails when read.

    Raises
    ------
    SourceError
        As `read_manifest` raises it.
    """
    if isinstance(images, np.ndarray):
        single = images.ndim < 4
    else:
        single = isinstance(images, str | os.PathLike) or not isinstance(images, Iterable)
    entries: list[Entry] = []
    for number, image in enumerate([images] if single else images):
        if isinstance(image, str | os.PathLike):
            entries.extend(_read_one(Path(image)).entries)
        else:
            entries.append(Entry(Row(str(number), f"image {number}"), InMemory(image)))
    return entries


def _miss(path: Path) -> SourceError:
    return SourceError(
        f"{path}: expected a folder, table, tar or image, got nothing there. Check the path."
    )


def _read_one(path: Path) -> Manifest:
    suffix = path.suffix.lower()
    if path.is_dir():
        return read_folder(path)
    # A missing image is a row that will fail to be read; anything else that is missing is not.
    if not path.exists() and suffix not in SUFFIXES:
        raise _miss(path)
    if suffix in (".csv", ".parquet"):
        return read_table(path)
    if suffix == ".tar":
        return read_tars([path])
    if path.name.lower().endswith(COMPRESSED):
        raise SourceError(
            f"{path}: expected a plain .tar, got a compressed archive. "
            "Decompress it once: images hardly shrink, and a plain tar can be read anywhere in it."
        )
    entry = build_entry(path.as_posix(), path, Place(None, None), Content(str(path)))
    return Manifest(str(path), (entry,), alone=True)
