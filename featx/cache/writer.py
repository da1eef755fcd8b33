"""Write a cache, whole or as a changed copy, beside its destination, and put it in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from featx.cache.datasets import ROW_BYTES, is_mostly_unused, resize, store
from featx.cache.format import USER_GROUP, EmbeddingInfo, require_element, stamp_file
from featx.cache.label_columns import read_labels
from featx.cache.labels import write_labels
from featx.cache.lock import CacheLock
from featx.cache.reader import Cache, reading_file
from featx.cache.seal import SealedFile
from featx.cache.sealing import choose_user_block, seal_file
from featx.cache.tables import (
    BLOCK_ROWS,
    CHUNK_ROWS,
    create_vectors,
    write_table,
)
from featx.cache.writable import Revision, open_writable
from featx.core.columns import Table
from featx.core.errors import CacheError
from featx.core.files import explain_errors, replacing
from featx.core.learnt import Digests
from featx.core.row_tables import FAILURE_KINDS, READ_KINDS, build_table
from featx.core.rows import Failure
from featx.core.typing import Array, IntArray, PathLike, VectorDtype
from featx.labels.carry import carry_over
from featx.labels.element import KEYS, Labels


@dataclass(frozen=True, kw_only=True)
class Column:
    """One embedding that is to be written.

    Attributes
    ----------
    info : EmbeddingInfo
        Name, fingerprint and provenance of the embedding.
    dtype : {"float32", "float16"}
        Dtype of the stored vectors.
    read : callable
        Function that takes indices of rows ``(n,)``, ascending, and returns their vectors
        ``(n, dim)``, with NaN for a row without a vector.
    rows : ndarray of int or None
        Rows, ascending, whose vector differs from the one in the cache that is updated; new rows
        are written in any case. None if that is not known: all are written.
    learnt : ndarray of uint64
        ``(n_images,)``, ascending: shortened digests of the images that the network has learnt
        from.
    """

    info: EmbeddingInfo
    dtype: VectorDtype
    read: Callable[[IntArray], Array]
    rows: IntArray | None = None
    learnt: Digests = field(default_factory=lambda: np.empty(0, np.uint64))


@dataclass(frozen=True, kw_only=True)
class Placement:
    """How a finished cache is put in place.

    Attributes
    ----------
    overwrite : bool
        Whether to replace a file that is there when the cache is finished.
    folder : Path or None
        Folder for the unfinished file, on the same file system. None: that of the destination.
    check : callable or None
        Function that is called last before the destination is replaced, and raises an error to
        prevent it.
    """

    overwrite: bool = True
    folder: Path | None = None
    check: Callable[[], None] | None = None

    @contextmanager
    def replacing(self, path: Path) -> Iterator[Path]:
        """Yield a draft of a cache, and put it in place at the end of the block.

        Parameters
        ----------
        path : Path
            Destination.
        """
        with replacing(
            path,
            error=CacheError,
            overwrite=self.overwrite,
            folder=self.folder,
            check=self.check,
        ) as draft:
            yield draft


PLACEMENT = Placement()


def write_cache(
    path: Path,
    rows: Table,
    columns: Sequence[Column],
    *,
    failures: Sequence[Failure] | Table = (),
    source: str,
    labels: Labels | None = None,
    keep: Cache | None = None,
    placement: Placement = PLACEMENT,
) -> str:
    """Write a cache, check it, and put it in place: the whole file, or nothing.

    Parameters
    ----------
    path : Path
        Destination.
    rows : Table
        Rows of the cache, in their order.
    columns : sequence of Column
        Embeddings of the cache.
    failures : sequence of Failure or Table
        Ledger of the cache.
    source : str
        Source of the rows, as the user named it.
    labels : Labels, optional
        What is said of the rows. Default: what the columns `label`, `split` and `group` of the rows
        say, as the words of the source.
    keep : Cache, optional
        The cache that this one replaces: what users keep in it is copied.
    placement : Placement
        How the finished file is put in place.

    Returns
    -------
    str
        Digest of the file, hexadecimal.

    Raises
    ------
    CacheError
        If the file cannot be written. The destination is unchanged.
    """
    row_bytes = ROW_BYTES + sum(
        column.info.fingerprint.dim * np.dtype(column.dtype).itemsize for column in columns
    )
    with placement.replacing(path) as draft:
        user_block = choose_user_block(len(rows) * row_bytes)
        with open_writable(draft, "w", user_block=user_block) as (file, check_writes):
            stamp_file(file, "featx-cache")
            file.attrs["source"] = source
            _write_rows(file, rows, failures, labels or Labels.of_source(rows))
            file.create_group("embeddings")
            for column in columns:
                _write_column(file, column, len(rows), check_writes)
            if keep is not None:
                with reading_file(keep) as (kept, _):
                    if USER_GROUP in kept:
                        kept.copy(USER_GROUP, file)
        digest = seal_file(draft)
        Cache(draft).close()
    return digest


def update_cache(
    path: Path,
    rows: Table,
    columns: Sequence[Column],
    *,
    base: Cache,
    failures: Sequence[Failure] | Table = (),
    source: str,
    labels: Labels | None = None,
    placement: Placement = PLACEMENT,
) -> None:
    """Write what differs to a copy of a cache, and put it in place: the whole file, or nothing.

    If most of the file is left over from earlier changes, the cache is written anew. The caller
    holds the lock of the cache.

    Parameters
    ----------
    path : Path
        The cache.
    rows : Table
        All rows: those of the cache in its order, then the new ones.
    columns : sequence of Column
        All embeddings: those of the cache, then the new ones.
    base : Cache
        The cache at the path, open.
    failures : sequence of Failure or Table
        Ledger of the cache.
    source : str
        Source of the rows, as the user named it.
    labels : Labels, optional
        What is said of the rows. Default: what people said is kept, and the columns of the rows are
        the words of the source.
    placement : Placement
        How the finished file is put in place.

    Raises
    ------
    CacheError
        If the cache was replaced meanwhile, a part of it that is used is damaged, or the file
        cannot be written. The cache is unchanged.
    """
    labels = labels or carry_over(
        read_labels(base),
        rows,
        origin=np.where(np.arange(len(rows)) < len(base), np.arange(len(rows)), -1),
        base_keys=rows.select(KEYS)[: len(base)].replace(digest=base.read_column("digest")),
        keys=rows,
    )
    with reading_file(base) as (stored, n_bytes):
        is_rewrite_due = is_mostly_unused(stored, n_bytes)
    if is_rewrite_due:
        write_cache(
            path,
            rows,
            columns,
            failures=failures,
            source=source,
            labels=labels,
            keep=base,
            placement=placement,
        )
        return
    with _revising(path, base.digest, placement) as (file, check_writes):
        if base.source != source:
            file.attrs["source"] = source
        _write_rows(file, rows, failures, labels)
        for column in columns:
            if column.info.name not in base.embeddings:
                _write_column(file, column, len(rows), check_writes)
                continue
            if base.get_info(column.info.name) != column.info:
                column.info.write_attributes(file[f"embeddings/{column.info.name}"])
            some = np.arange(len(rows))
            if column.rows is not None:
                some = np.concatenate([column.rows, some[len(base) :]])
            _update_column(file, column, some, check_writes)


def _write_rows(
    file: h5py.File, rows: Table, failures: Sequence[Failure] | Table, labels: Labels
) -> None:
    """Write rows, labels and ledger; of those that are there, only what differs."""
    write_table(file, "rows", "rows", rows.select(READ_KINDS))
    write_labels(file, labels)
    if not isinstance(failures, Table):
        failures = build_table(failures, FAILURE_KINDS)
    write_table(file, "failures", "failures", failures)


def _write_column(file: h5py.File, column: Column, n_rows: int, check: Callable[[], None]) -> None:
    """Write the vectors of one embedding, block by block."""
    group = require_element(file["embeddings"], column.info.name, "embedding")
    column.info.write_attributes(group)
    create_vectors(group, "vectors", (n_rows, column.info.fingerprint.dim), column.dtype)
    present = np.zeros(n_rows, np.uint8)
    for _ in _write_vectors(group, column, present, np.arange(n_rows)):
        check()
    store(group, "present", present)
    if len(column.learnt):
        store(group, "learnt", column.learnt.astype("<u8"))


def _update_column(
    file: h5py.File, column: Column, rows: IntArray, check: Callable[[], None]
) -> None:
    """Write the vectors of some rows, which may lie behind the end, to an embedding."""
    group = file[f"embeddings/{column.info.name}"]
    old = group["present"][:]
    present = np.zeros(max(len(old), int(rows.max(initial=-1)) + 1), np.uint8)
    present[: len(old)] = old
    resize(group, "vectors", len(present), chunk_rows=CHUNK_ROWS)
    for _ in _write_vectors(group, column, present, rows):
        check()
    store(group, "present", present)
    if len(column.learnt):
        store(group, "learnt", column.learnt.astype("<u8"))


def _write_vectors(
    group: h5py.Group, column: Column, present: Array, rows: IntArray
) -> Iterator[None]:
    """Write the vectors of rows in blocks, and note in `present` which of them there are."""
    vectors = group["vectors"]
    for number in np.unique(rows // BLOCK_ROWS):
        first = int(number) * BLOCK_ROWS
        some = rows[slice(*np.searchsorted(rows, [first, first + BLOCK_ROWS]))]
        values = column.read(some)
        present[some] = ~np.isnan(values).all(axis=1)
        start, end = int(some[0]), int(some[-1]) + 1
        if end - start > len(some):  # HDF5 is slow with many indices
            block = vectors[start:end]
            block[some - start] = values
            values = block
        vectors[start:end] = values
        yield


def check_same(path: Path, digest: str) -> None:
    """Refuse to replace a cache that another program has replaced since it was read.

    Parameters
    ----------
    path : Path
        The cache.
    digest : str
        Digest of the file that was read.

    Raises
    ------
    CacheError
        If the file has another digest, or cannot be read.
    """
    with SealedFile(path) as sealed:
        _check_digest(path, sealed.digest, digest)


def _check_digest(path: Path, found: str, digest: str) -> None:
    if found != digest:
        raise CacheError(
            subject=str(path),
            expected="the file that was read",
            got="a file that was written in the meantime",
            remedy="Try again on the new file.",
        )


@contextmanager
def _revising(
    path: Path, digest: str, placement: Placement
) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """Open a copy of a cache for changes, and put it in place if the block ends without an error.

    The copy is made at the speed of the disk. Only blocks that HDF5 reads or writes are compared
    with their digests, and only written ones are hashed and read back.
    """
    with placement.replacing(path) as draft:
        with SealedFile(path) as sealed:
            _check_digest(path, sealed.digest, digest)
            sealed.copy(draft)
            revision = Revision(sealed)
            with open_writable(draft, "r+", revision=revision) as opened:
                yield opened
        seal_file(draft, old=sealed.seal, written=revision.written)
        Cache(draft).close()


@contextmanager
def rewrite_cache(path: PathLike, *, digest: str | None = None) -> Iterator[h5py.File]:
    """Open a copy of a cache for changes, and put it in place if the block ends without an error.

    It costs a copy of the file at the speed of the disk, and the blocks that are written.

    Parameters
    ----------
    path : path
        The cache.
    digest : str, optional
        Digest of the file that the changes were made for. A file with another digest is refused.

    Yields
    ------
    h5py.File
        The copy, open for reading and writing.

    Raises
    ------
    CacheError
        If the cache was replaced meanwhile, a part of it that is used is damaged, the copy breaks
        the format, or it cannot be written.
    CacheLockedError
        If another process writes the cache.
    """
    path = Path(path).resolve()
    with CacheLock(path) as lock, explain_errors(path, error=CacheError):
        with Cache(path) as cache:
            digest = digest or cache.digest

        def check() -> None:
            lock.check()
            check_same(path, digest)

        with _revising(path, digest, Placement(check=check)) as (file, _):
            yield file
