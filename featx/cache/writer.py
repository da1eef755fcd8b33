"""Write a cache beside its destination, then put it there in one step."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from featx.cache.format import (
    CHUNK_ROWS,
    DTYPES,
    FAILURE_TEXTS,
    FORMAT_NAME,
    FORMAT_VERSION,
    ROW_NUMBERS,
    ROW_TEXTS,
    TEXT,
    EmbeddingInfo,
    open_file,
)
from featx.errors import CacheError
from featx.files import check_destination, explain_errors, name_partial, replace_file
from featx.rows import Failure, Row

Array = np.ndarray[Any, Any]

BUFFER_ROWS = 4096
"""Rows kept in memory before they are written; a multiple of `CHUNK_ROWS`."""


class CacheWriter:
    """Append rows with their vectors to a new cache; a context manager.

    The destination is untouched until `commit`, which replaces it by a whole and flushed file.
    Leaving the context without a commit removes what was written.

    Parameters
    ----------
    path : path
        The destination, whose folder must exist.
    infos : sequence of EmbeddingInfo
        One per embedding; every row has a vector in each.
    source : str
        What the rows were read from.
    dtype : {"float32", "float16"}
        Of the stored vectors.
    overwrite : bool
        Replace a cache that is there.

    Attributes
    ----------
    n_rows, n_failures : int
        Appended so far.

    Raises
    ------
    CacheError
        If the destination cannot be written, or is there and not to be replaced.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        infos: Sequence[EmbeddingInfo],
        *,
        source: str,
        dtype: str = "float32",
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        check_dtype(dtype)
        check_destination(self.path, overwrite=overwrite, error=CacheError)
        self._dtype = np.dtype(dtype)
        self.n_rows = 0
        self.n_failures = 0
        self._rows: list[Row] = []
        self._failures: list[Failure] = []
        self._vectors: dict[str, list[Array]] = {info.name: [] for info in infos}
        self._partial = name_partial(self.path)
        self._file = h5py.File(self._partial, "w")
        self._file.attrs["format"] = FORMAT_NAME
        self._file.attrs["format_version"] = FORMAT_VERSION
        self._file.attrs["source"] = source
        for name in ROW_TEXTS:
            _create(self._file, f"rows/{name}", TEXT)
        for name in ROW_NUMBERS:
            _create(self._file, f"rows/{name}", "i4")
        for name in FAILURE_TEXTS:
            _create(self._file, f"failures/{name}", TEXT)
        for info in infos:
            name = f"embeddings/{info.name}"
            _create(self._file, f"{name}/vectors", dtype, info.fingerprint.dim)
            info.write_attributes(self._file[name])

    def __enter__(self) -> CacheWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._partial.unlink(missing_ok=True)

    def append(self, rows: Sequence[Row], vectors: Mapping[str, Array]) -> None:
        """Add rows.

        Parameters
        ----------
        rows : sequence of Row
        vectors : mapping of str to ndarray
            Per embedding ``(len(rows), dim)``, finite.
        """
        self._rows.extend(rows)
        self.n_rows += len(rows)
        for name, parts in self._vectors.items():
            assert len(vectors[name]) == len(rows)
            with np.errstate(over="ignore"):
                values = vectors[name].astype(self._dtype)
            if not np.isfinite(values).all():
                raise CacheError(
                    f"{self.path}, embedding {name}: expected values within {self._dtype}, got "
                    f"{np.abs(vectors[name]).max():g}. Pass --dtype float32."
                )
            parts.append(values)
        if len(self._rows) >= BUFFER_ROWS:
            self._flush()

    def append_failures(self, failures: Sequence[Failure]) -> None:
        """Add rows that have no vectors, with the reason."""
        self._failures.extend(failures)
        self.n_failures += len(failures)

    def commit(self) -> None:
        """Put the file at its destination, whole or not at all."""
        self._flush()
        with explain_errors(self.path, error=CacheError):
            self._file.close()
            replace_file(self._partial, self.path)

    def _flush(self) -> None:
        with explain_errors(self.path, error=CacheError):
            self._write_buffers()

    def _write_buffers(self) -> None:
        for name in ROW_TEXTS:
            texts = [getattr(row, name) or "" for row in self._rows]
            _extend(self._file[f"rows/{name}"], np.array(texts, dtype=object))
        for name in ROW_NUMBERS:
            numbers = [getattr(row, name) for row in self._rows]
            _extend(self._file[f"rows/{name}"], np.array(numbers, dtype="i4"))
        for name, parts in self._vectors.items():
            if parts:
                _extend(self._file[f"embeddings/{name}/vectors"], np.concatenate(parts))
            parts.clear()
        for name in FAILURE_TEXTS:
            texts = [getattr(failure, name) for failure in self._failures]
            _extend(self._file[f"failures/{name}"], np.array(texts, dtype=object))
        self._rows.clear()
        self._failures.clear()


def check_dtype(dtype: str) -> None:
    """Refuse a dtype that vectors are not stored in.

    Raises
    ------
    CacheError
    """
    if dtype not in DTYPES:
        raise CacheError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}. Fix it.")


@contextmanager
def rewrite_cache(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Open a copy of a cache for changes; it takes the cache's place when the block ends well."""
    path = Path(path).resolve()
    open_file(path).close()
    partial = name_partial(path)
    try:
        with explain_errors(path, error=CacheError):
            shutil.copyfile(path, partial)
            with open_file(partial, "r+") as file:
                yield file
            replace_file(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_splits(path: str | os.PathLike[str], splits: Sequence[str]) -> None:
    """Record every row's split in a cache that is there.

    Parameters
    ----------
    path : path
    splits : sequence of str
        One per row: train, val, test, or empty for none.
    """
    with rewrite_cache(path) as file:
        file["rows/split"][:] = np.array(splits, dtype=object)


def _create(file: h5py.File, name: str, dtype: Any, dim: int | None = None) -> None:
    """Create an empty dataset that grows by rows."""
    width = () if dim is None else (dim,)
    file.create_dataset(
        name, (0, *width), dtype, maxshape=(None, *width), chunks=(CHUNK_ROWS, *width)
    )


def _extend(dataset: h5py.Dataset, values: Array) -> None:
    start = len(dataset)
    dataset.resize(start + len(values), axis=0)
    dataset[start:] = values
