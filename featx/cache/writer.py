"""Write a whole cache beside its destination, check it, and put it in place in one step."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from featx.cache.format import RECORDED, EmbeddingInfo, stamp_element, stamp_file
from featx.cache.lock import CacheLock
from featx.cache.reader import open_cache
from featx.cache.seal import SealedFile, check_seal, seal_file, unseal_file
from featx.cache.tables import BLOCK_ROWS, create_vectors, write_table
from featx.cache.writable import open_writable
from featx.core.errors import CacheError
from featx.core.files import explain_errors, replacing
from featx.core.learnt import Digests
from featx.core.rows import Failure, Row
from featx.core.typing import Array, PathLike, VectorDtype


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
        Function that takes the start and the end of a run of rows and returns their vectors
        ``(n, dim)``, with NaN for a row without a vector.
    learnt : ndarray of uint64
        ``(n_images,)``, ascending: shortened digests of the images that the network has learnt
        from.
    """

    info: EmbeddingInfo
    dtype: VectorDtype
    read: Callable[[int, int], Array]
    learnt: Digests = field(default_factory=lambda: np.empty(0, np.uint64))


def write_cache(
    path: Path,
    rows: Sequence[Row],
    columns: Sequence[Column],
    *,
    failures: Sequence[Failure] = (),
    source: str,
    overwrite: bool = True,
    folder: Path | None = None,
    check: Callable[[], None] | None = None,
) -> str:
    """Write a cache, check it, and put it in place: the whole file, or nothing.

    Parameters
    ----------
    path : Path
        Destination.
    rows : sequence of Row
        Rows of the cache, in their order.
    columns : sequence of Column
        Embeddings of the cache.
    failures : sequence of Failure
        Ledger of the cache.
    source : str
        Source of the rows, as the user named it.
    overwrite : bool
        Whether to replace a file that is there when the cache is finished.
    folder : Path, optional
        Folder for the unfinished file, on the same file system. Default: that of the destination.
    check : callable, optional
        Function that is called last before the destination is replaced, and raises an error to
        prevent it.

    Returns
    -------
    str
        Digest of the file, hexadecimal.

    Raises
    ------
    CacheError
        If the file cannot be written. The destination is unchanged.
    """
    with replacing(
        path, error=CacheError, overwrite=overwrite, folder=folder, check=check
    ) as file_path:
        with open_writable(file_path, "w") as (file, check_writes):
            stamp_file(file, "featx-cache")
            file.attrs["source"] = source
            write_table(file, "rows", Row, rows)
            write_table(file, "failures", Failure, failures)
            file.create_group("embeddings")
            for column in columns:
                _write_column(file, column, len(rows), check_writes)
        digest = seal_file(file_path)
        check_seal(file_path)
        open_cache(file_path).close()
    return digest


def _write_column(file: h5py.File, column: Column, n_rows: int, check: Callable[[], None]) -> None:
    """Write the vectors of one embedding, block by block."""
    group = file.create_group(f"embeddings/{column.info.name}")
    stamp_element(group, "embedding")
    column.info.write_attributes(group)
    shape = n_rows, column.info.fingerprint.dim
    vectors = create_vectors(group, "vectors", shape, column.dtype)
    present = np.zeros(n_rows, np.uint8)
    for start in range(0, n_rows, BLOCK_ROWS):
        end = min(start + BLOCK_ROWS, n_rows)
        block = column.read(start, end)
        present[start:end] = ~np.isnan(block).all(axis=1)
        vectors[start:end] = block
        check()
    group.create_dataset("present", data=present)
    if len(column.learnt):
        group.create_dataset("learnt", data=column.learnt.astype("<u8"))


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
        found = sealed.digest
    if found != digest:
        raise CacheError(
            subject=str(path),
            expected="the file that was read",
            got="a file that was written in the meantime",
            remedy="Try again on the new file.",
        )


@contextmanager
def rewrite_cache(path: PathLike, *, digest: str | None = None) -> Iterator[h5py.File]:
    """Open a copy of a cache for changes, and put it in place if the block ends without an error.

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
        If the cache is damaged, was replaced meanwhile, or cannot be written.
    CacheLockedError
        If another process writes the cache.
    """
    path = Path(path).resolve()
    with CacheLock(path) as lock, explain_errors(path, error=CacheError):
        with open_cache(path) as cache:
            digest = digest or cache.digest

        def check() -> None:
            lock.check()
            check_same(path, digest)

        check()
        with replacing(path, error=CacheError, overwrite=True, check=check) as draft:
            check_seal(path)  # otherwise, a damaged copy would be sealed as if it were sound
            shutil.copyfile(path, draft)
            unseal_file(draft)
            with open_writable(draft, "r+") as (file, _):
                yield file
            seal_file(draft)
            check_seal(draft)


def write_splits(
    path: PathLike, splits: Sequence[str] | Array, *, digest: str | None = None
) -> None:
    """Replace the splits of all rows of a cache.

    Parameters
    ----------
    path : path
        The cache.
    splits : sequence of str
        Split of each row: train, val, test, or ``""`` for none.
    digest : str, optional
        Digest of the file that the rows were read from. A file with another digest is refused.
    """
    with rewrite_cache(path, digest=digest) as file:
        assert len(splits) == len(file["rows/split"])
        file["rows/split"][:] = np.array(splits, dtype=object)
        file["rows"].attrs[RECORDED] = 1
