"""Embeddings that are kept on disk for the next call: small caches in one folder per fingerprint.

A file is never changed: a call writes what it embedded to a file of its own, so that any number of
processes may read and write at once. Many small files are joined to a larger one; a process that
meets a file which is gone by then lists the folder again.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from featx.cache.format import EmbeddingInfo
from featx.cache.reader import Cache
from featx.cache.writer import Column, write_cache
from featx.core.columns import Table
from featx.core.errors import CacheError, FeatxError
from featx.core.learnt import Digests
from featx.core.notes import note
from featx.core.row_tables import ROW_KINDS, build_table
from featx.core.rows import Row
from featx.core.typing import Array, Float32Array

MAX_FILES = 16
"""Number of small files from which they are joined."""

SMALL_BYTES = 64 << 20
"""Size of a file up to which it is joined with others."""

N_TRIES = 3
"""Number of times that the folder is listed if another process joins its files meanwhile."""

Rows = Mapping[str, tuple[Row, Array]]
"""Rows and their vectors ``(dim,)`` by the key of the image."""


class KeptVectors:
    """Vectors of images by the keys of the images, in the files of a folder.

    Parameters
    ----------
    folder : Path
        The folder, which need not exist; its files have one fingerprint.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, keys: Iterable[str]) -> dict[str, Float32Array]:
        """Find the vectors of images.

        Parameters
        ----------
        keys : iterable of str
            Keys of the images.

        Returns
        -------
        dict of str to ndarray
            Vectors float32 ``(dim,)`` by key; images that are not kept are missing. A damaged file
            is removed, and a note says so.
        """
        wanted = set(keys)
        for _ in range(N_TRIES):
            found, is_complete = self._find(wanted)
            if is_complete:
                break
        return found

    def _find(self, wanted: set[str]) -> tuple[dict[str, Float32Array], bool]:
        found: dict[str, Float32Array] = {}
        is_complete = True
        for file in self._list_files() if wanted else ():
            try:
                with Cache(file) as cache:
                    keys = cache.read_column("id").to_list()
                    rows = [row for row, key in enumerate(keys) if key in wanted]
                    vectors = cache.read_vectors(rows=np.array(rows, np.int64))
            except CacheError as error:
                if file.exists():
                    _drop(file, error)
                else:
                    is_complete = False
                continue
            found |= {keys[row]: vector for row, vector in zip(rows, vectors, strict=True)}
        return found, is_complete

    def _list_files(self) -> list[Path]:
        try:
            return sorted(self.folder.glob("[!.]*.h5"))
        except OSError:
            return []

    def add(
        self, rows: Sequence[Row], vectors: Array, info: EmbeddingInfo, learnt: Digests
    ) -> None:
        """Keep vectors; if that fails, a note says why.

        Parameters
        ----------
        rows : sequence of Row
            Rows of the images, each with the key of its image as its id.
        vectors : ndarray of float32
            Their vectors ``(n, dim)``.
        info : EmbeddingInfo
            Name, fingerprint and provenance of the embedding.
        learnt : ndarray of uint64
            Digests of the images that the network has learnt from.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write(build_table(rows, ROW_KINDS), vectors, info, learnt)
            small = [file for file in self._list_files() if _is_small(file)]
            if len(small) >= MAX_FILES:
                self._join(small)
        except (OSError, FeatxError) as error:
            note(f"embeddings are not kept for the next call: {error}")

    def _write(self, rows: Table, vectors: Array, info: EmbeddingInfo, learnt: Digests) -> None:
        column = Column(
            info=info, dtype="float32", read=lambda numbers: vectors[numbers], learnt=learnt
        )
        path = self.folder / f"{uuid.uuid4().hex}.h5"
        write_cache(path, rows, [column], source="featx.ImageEmbedder")

    def _join(self, files: Sequence[Path]) -> None:
        """Write the rows of several files to one, each image once, and remove the files."""
        tables, parts, seen = [], [], set[str]()
        for file in files:
            try:
                with Cache(file) as cache:
                    rows, vectors = cache.read_rows(), cache.read_vectors()
                    info, learnt = cache.get_info(), cache.read_learnt_digests()
            except CacheError:  # another process has joined the files
                return
            is_new = np.array([key not in seen for key in rows["id"]], bool)
            seen.update(rows["id"])
            tables.append(rows[is_new])
            parts.append(vectors[is_new])
        self._write(Table.concat(tables), np.concatenate(parts), info, learnt)
        for file in files:
            file.unlink(missing_ok=True)


def _is_small(file: Path) -> bool:
    """Return whether a file is there and small; another call may have joined it meanwhile."""
    try:
        return file.stat().st_size <= SMALL_BYTES
    except FileNotFoundError:
        return False


def _drop(file: Path, error: CacheError) -> None:
    """Remove a damaged file, whose images are embedded again."""
    with suppress(OSError):
        file.unlink()
        note(f"kept embeddings are damaged, and computed again: {error}")
