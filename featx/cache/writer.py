"""Write a whole cache beside its destination, then put it there in one step."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from featx.cache.format import (
    CHUNK_ROWS,
    FORMAT_NAME,
    FORMAT_VERSION,
    EmbeddingInfo,
    create_vectors,
    write_table,
)
from featx.cache.lock import CacheLock
from featx.cache.reader import open_cache
from featx.cache.seal import check_seal, seal_file, unseal_file
from featx.cache.writable import open_writable
from featx.core.errors import CacheError
from featx.core.files import remove_partials, replacing
from featx.core.rows import Failure, Row

Array = np.ndarray[Any, Any]

BLOCK_ROWS = 16 * CHUNK_ROWS
"""Rows held in memory at a time."""


@dataclass(frozen=True)
class Column:
    """One embedding on its way into a cache.

    Attributes
    ----------
    info : EmbeddingInfo
    dtype : {"float32", "float16"}
        Of the stored vectors.
    read : callable
        Takes first and end of a run of rows and returns ``(n, dim)``; NaN where a row has no
        vector.
    """

    info: EmbeddingInfo
    dtype: str
    read: Callable[[int, int], Array]


def write_cache(
    path: Path,
    rows: Sequence[Row],
    columns: Sequence[Column],
    *,
    failures: Sequence[Failure] = (),
    source: str,
    partial: Path | None = None,
    lock: CacheLock | None = None,
) -> str:
    """Write a cache, verify it, and put it at its destination whole or not at all.

    Parameters
    ----------
    path : Path
        The destination; what is there is replaced.
    rows : sequence of Row
    columns : sequence of Column
        One per embedding.
    failures : sequence of Failure
        The ledger.
    source : str
        What the rows were read from.
    partial : Path, optional
        Where to write meanwhile, on the same file system. Default: a hidden sibling.
    lock : CacheLock, optional
        Asked once more before the destination is replaced.

    Returns
    -------
    str
        The file's digest.

    Raises
    ------
    CacheError
        If it cannot be written; the destination is as it was.
    """
    with replacing(path, error=CacheError, partial=partial) as draft:
        with open_writable(draft, "w") as (file, check):
            write_stamp(file, FORMAT_NAME)
            file.attrs["source"] = source
            write_table(file.create_group("rows"), Row, rows)
            write_table(file.create_group("failures"), Failure, failures)
            file.create_group("embeddings")
            for column in columns:
                _write_column(file, column, len(rows), check)
        digest = seal_file(draft)
        check_seal(draft)
        open_cache(draft).close()
        if lock is not None:
            lock.check()
    return digest


def write_stamp(file: h5py.File, kind: str) -> None:
    """Say what the file is."""
    file.attrs["format"] = kind
    file.attrs["format_version"] = FORMAT_VERSION


def _write_column(file: h5py.File, column: Column, n_rows: int, check: Callable[[], None]) -> None:
    """Stream the vectors of one embedding."""
    group = file.create_group(f"embeddings/{column.info.name}")
    column.info.write_attributes(group)
    vectors = create_vectors(group, "vectors", n_rows, column.info.fingerprint.dim, column.dtype)
    present = np.zeros(n_rows, np.uint8)
    for start in range(0, n_rows, BLOCK_ROWS):
        end = min(start + BLOCK_ROWS, n_rows)
        block = column.read(start, end)
        present[start:end] = ~np.isnan(block).all(axis=1)
        vectors[start:end] = block
        check()
    group.create_dataset("present", data=present)


@contextmanager
def rewrite_cache(
    path: str | os.PathLike[str], *, digest: str | None = None
) -> Iterator[h5py.File]:
    """Open a copy of a cache for changes; it takes the cache's place when the block ends well.

    Parameters
    ----------
    path : path
    digest : str, optional
        Of the file that the changes were made for; another one is refused.

    Raises
    ------
    CacheLockedError
        If another process writes it.
    """
    path = Path(path).resolve()
    with CacheLock(path) as lock:
        with open_cache(path) as cache:
            if digest not in (None, cache.digest):
                raise CacheError(
                    f"{path}: expected the file that was read, got another: it was written "
                    "meanwhile. Run the command again."
                )
        remove_partials(path)
        with replacing(path, error=CacheError) as partial:
            check_seal(path)  # a copy of damage would be sealed as if it were sound
            shutil.copyfile(path, partial)
            unseal_file(partial)
            with open_writable(partial, "r+") as (file, _):
                yield file
            seal_file(partial)
            check_seal(partial)
            lock.check()


def write_splits(
    path: str | os.PathLike[str], splits: Sequence[str], *, digest: str | None = None
) -> None:
    """Record every row's split in a cache that is there.

    Parameters
    ----------
    path : path
    splits : sequence of str
        One per row: train, val, test, or empty for none.
    digest : str, optional
        Of the file whose rows these are.
    """
    with rewrite_cache(path, digest=digest) as file:
        assert len(splits) == len(file["rows/split"])
        file["rows/split"][:] = np.array(splits, dtype=object)
