"""Read a cache, each part when it is asked for."""

from __future__ import annotations

import contextlib
import functools
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from featx.cache.format import (
    FORMAT_NAME,
    EmbeddingInfo,
    open_sealed,
    read_column,
    read_table,
    take_rows,
)
from featx.core.errors import CacheError, suggest
from featx.core.rows import SPLITS, Failure, Row

Array = np.ndarray[Any, Any]


def open_cache(path: str | os.PathLike[str]) -> Cache:
    """Open a cache for reading.

    Parameters
    ----------
    path : path
        A file that `featx.extract` wrote.

    Returns
    -------
    Cache
        To be used in a ``with`` block, or closed.

    Raises
    ------
    CacheError
        If it is missing, no HDF5 file, or no cache of this format.

    Examples
    --------
    >>> with open_cache("photos.h5") as cache:
    ...     X, y = cache.read_arrays(split="train")
    """
    return Cache(path)


def is_cache_file(path: str | os.PathLike[str]) -> bool:
    """Tell a cache, whole or not, from images: by the first bytes of HDF5."""
    return os.path.isfile(path) and bool(h5py.is_hdf5(path))


RECORD_SPLIT = "Record one: featx split CACHE --val 0.2; or pass --split all."
"""What to do where a cache has no splits."""


class Cache:
    """An open cache. Columns are read when first used and kept; vectors are read each time.

    Attributes
    ----------
    path : Path
    embeddings : tuple of str
        Names of its embeddings, such as ``resnet50`` and ``resnet50@layer3``.
    source : str
        What its rows were read from.
    digest : str
        Of the whole file: two caches of one digest are the same bytes.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        with contextlib.ExitStack() as stack:
            self._file, self._sealed = stack.enter_context(open_sealed(path, FORMAT_NAME))
            try:
                self._infos = {
                    name: EmbeddingInfo.from_group(name, group)
                    for name, group in self._file["embeddings"].items()
                }
                self.source: str = self._file.attrs["source"]
                self._n_rows = len(self._file["rows/id"])
            except (KeyError, TypeError, ValueError, OSError) as error:
                if isinstance(error, CacheError):
                    raise
                raise CacheError(
                    f"{self.path}: expected a whole cache, got one that lacks {error}. "
                    "Extract again."
                ) from error
            self._stack = stack.pop_all()
        self.embeddings = tuple(self._infos)
        self.digest = self._sealed.digest

    def __enter__(self) -> Cache:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self._n_rows

    def __repr__(self) -> str:
        return f"<Cache {self.path.name}: {len(self)} rows, {', '.join(self.embeddings)}>"

    def close(self) -> None:
        """Close the file."""
        self._stack.close()

    @functools.cached_property
    def ids(self) -> Array:
        """Identity of each row within the source, str ``(n_rows,)``."""
        return self._read_column("id")

    @functools.cached_property
    def paths(self) -> Array:
        """Where each image lay, str ``(n_rows,)``."""
        return self._read_column("path")

    @functools.cached_property
    def labels(self) -> Array:
        """Class names, str ``(n_rows,)``; empty where there is none."""
        return self._read_column("label")

    @functools.cached_property
    def splits(self) -> Array:
        """``train``, ``val``, ``test`` or empty, str ``(n_rows,)``."""
        return self._read_column("split")

    @functools.cached_property
    def groups(self) -> Array:
        """Rows of one group must not be parted, str ``(n_rows,)``; empty where there is none."""
        return self._read_column("group")

    @functools.cached_property
    def digests(self) -> Array:
        """SHA-256 of each file, str ``(n_rows,)``."""
        return self._read_column("digest")

    @functools.cached_property
    def sizes(self) -> Array:
        """Width and height of each image in pixels, int32 ``(n_rows, 2)``."""
        return np.stack([self._read_column("width"), self._read_column("height")], axis=1)

    @functools.cached_property
    def rows(self) -> list[Row]:
        """All that the cache knows of each row."""
        with self._sealed.guard():
            return read_table(self._file["rows"], Row)

    @functools.cached_property
    def failures(self) -> tuple[Failure, ...]:
        """The ledger: images that lack an embedding, and why."""
        with self._sealed.guard():
            return tuple(read_table(self._file["failures"], Failure))

    def list_splits(self) -> list[str]:
        """List the splits that have rows."""
        found = set(np.unique(self.splits))
        return [name for name in SPLITS if name in found]

    def get_info(self, embedding: str | None = None) -> EmbeddingInfo:
        """Return an embedding's fingerprint and provenance.

        Parameters
        ----------
        embedding : str, optional
            May be left out where the cache has one embedding only.

        Raises
        ------
        CacheError
            If there is none of that name, or several and none was named.
        """
        if embedding is None and len(self.embeddings) == 1:
            embedding = self.embeddings[0]
        if embedding is None or embedding not in self._infos:
            got = "none named" if embedding is None else f"{embedding!r}"
            nearest = "" if embedding is None else f" {suggest(embedding, self.embeddings)}"
            raise CacheError(
                f"{self.path}: expected one of its embeddings ({', '.join(self.embeddings)}), "
                f"got {got}. Pass --embedding NAME.{nearest}"
            )
        return self._infos[embedding]

    def read_vectors(
        self, embedding: str | None = None, rows: Array | slice | None = None
    ) -> Array:
        """Read vectors.

        Parameters
        ----------
        embedding : str, optional
            As in `get_info`.
        rows : ndarray of int or bool, or slice, optional
            Which rows, as numpy indexes: in any order, negative from the end. Default: all.

        Returns
        -------
        ndarray
            ``(n, dim)`` in the stored dtype.
        """
        info = self.get_info(embedding)
        rows = np.arange(len(self))[slice(None) if rows is None else rows]
        lacking = rows[~self.read_present(info.name)[rows]]
        if len(lacking):
            raise CacheError(
                f"{self.path}, embedding {info.name}: expected a vector for each row asked for, "
                f"got none for {len(lacking)} of {len(rows)}, such as {self.ids[lacking[0]]}. "
                f"Bring it up to date with featx extract, or select_rows(embedding={info.name!r})."
            )
        with self._sealed.guard():
            return take_rows(self._file[f"embeddings/{info.name}/vectors"], rows)

    def read_present(self, embedding: str | None = None) -> Array:
        """Tell which rows have a vector in an embedding, bool ``(n_rows,)``.

        All have, but where the cache was extended by another backbone alone, or the network's
        output was not finite.
        """
        info = self.get_info(embedding)
        with self._sealed.guard():
            return np.asarray(self._file[f"embeddings/{info.name}/present"][:], bool)

    def count_vectors(self, embedding: str | None = None) -> int:
        """Count the rows of an embedding's vectors, those without one among them."""
        info = self.get_info(embedding)
        with self._sealed.guard():
            return len(self._file[f"embeddings/{info.name}/vectors"])

    def get_dtype(self, embedding: str | None = None) -> str:
        """Return the dtype of an embedding's vectors, ``float32`` or ``float16``."""
        info = self.get_info(embedding)
        with self._sealed.guard():
            return str(self._file[f"embeddings/{info.name}/vectors"].dtype)

    def select_rows(
        self, split: str | None = None, *, labelled: bool = False, embedding: str | None = None
    ) -> Array:
        """Return the indices of rows, ascending, int64 ``(n,)``.

        Parameters
        ----------
        split : str, optional
            ``train``, ``val``, ``test``, or ``all``. Default: all.
        labelled : bool
            Only rows with a label.
        embedding : str, optional
            Only rows with a vector in this embedding.

        Raises
        ------
        CacheError
            If the cache has no rows in that split.
        """
        mask = np.ones(len(self), bool)
        if split not in (None, "all"):
            mask = self.splits == split
            if not mask.any():
                have = ", ".join(self.list_splits()) or "no splits"
                raise CacheError(
                    f"{self.path}: expected rows in split {split!r}, got {have}. "
                    + ("Pass one of these, or all." if self.list_splits() else RECORD_SPLIT)
                )
        if labelled:
            mask &= self.labels != ""
        if embedding is not None:
            mask &= self.read_present(embedding)
        return np.flatnonzero(mask)

    def read_arrays(
        self, split: str | None = None, *, embedding: str | None = None
    ) -> tuple[Array, Array]:
        """Read what scikit-learn takes.

        Parameters
        ----------
        split : str, optional
            As in `select_rows`.
        embedding : str, optional
            Of the embedding, as in `get_info`.

        Returns
        -------
        X : ndarray
            ``(n, dim)``, labelled rows only.
        y : ndarray of str
            ``(n,)``.
        """
        name = self.get_info(embedding).name
        rows = self.select_rows(split, labelled=True, embedding=name)
        return self.read_vectors(name, rows), self.labels[rows]

    def _read_column(self, name: str) -> Array:
        with self._sealed.guard():
            return read_column(self._file["rows"], name)
