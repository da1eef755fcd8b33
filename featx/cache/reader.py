"""Read a cache, each part when it is asked for."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from featx.cache.format import FAILURE_TEXTS, ROW_TEXTS, EmbeddingInfo, open_file
from featx.errors import CacheError, suggest
from featx.rows import SPLITS, Failure

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
    names : tuple of str
        Its embeddings: ``resnet50``, ``resnet50@layer3``.
    source : str
        What its rows were read from.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file = open_file(path)
        try:
            self._infos = {
                name: EmbeddingInfo.from_group(name, group)
                for name, group in self._file["embeddings"].items()
            }
            self.source: str = self._file.attrs["source"]
        except (KeyError, TypeError, ValueError, OSError) as error:
            self._file.close()
            raise CacheError(
                f"{self.path}: expected a whole cache, got one that lacks {error}. Extract again."
            ) from error
        self.names = tuple(self._infos)

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
        return len(self._file["rows/id"])

    def __repr__(self) -> str:
        return f"<Cache {self.path.name}: {len(self)} rows, {', '.join(self.names)}>"

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @functools.cached_property
    def ids(self) -> Array:
        """Identity of each row within the source, str ``(n_rows,)``."""
        return self._read_text("id")

    @functools.cached_property
    def paths(self) -> Array:
        """Where each image lay, str ``(n_rows,)``."""
        return self._read_text("path")

    @functools.cached_property
    def labels(self) -> Array:
        """Class names, str ``(n_rows,)``; empty where there is none."""
        return self._read_text("label")

    @functools.cached_property
    def splits(self) -> Array:
        """``train``, ``val``, ``test`` or empty, str ``(n_rows,)``."""
        return self._read_text("split")

    @functools.cached_property
    def groups(self) -> Array:
        """Rows of one group must not be parted, str ``(n_rows,)``; empty where there is none."""
        return self._read_text("group")

    @functools.cached_property
    def digests(self) -> Array:
        """SHA-256 of each file, str ``(n_rows,)``."""
        return self._read_text("digest")

    @functools.cached_property
    def sizes(self) -> Array:
        """Width and height of each image in pixels, int32 ``(n_rows, 2)``."""
        rows = self._file["rows"]
        return np.stack([rows["width"][:], rows["height"][:]], axis=1)

    @functools.cached_property
    def failures(self) -> tuple[Failure, ...]:
        """The rows that have no embedding, and why."""
        group = self._file["failures"]
        columns = [group[name].asstr()[:] for name in FAILURE_TEXTS]
        return tuple(Failure(*texts) for texts in zip(*columns, strict=True))

    def list_splits(self) -> list[str]:
        """List the splits that have rows."""
        found = set(np.unique(self.splits))
        return [name for name in SPLITS if name in found]

    def get_info(self, name: str | None = None) -> EmbeddingInfo:
        """Return an embedding's fingerprint and provenance.

        Parameters
        ----------
        name : str, optional
            May be left out where the cache has one embedding only.

        Raises
        ------
        CacheError
            If there is none of that name, or several and none was named.
        """
        if name is None and len(self.names) == 1:
            name = self.names[0]
        if name is None or name not in self._infos:
            got = "none named" if name is None else f"{name!r}"
            nearest = "" if name is None else f" {suggest(name, self.names)}"
            raise CacheError(
                f"{self.path}: expected one of its embeddings ({', '.join(self.names)}), "
                f"got {got}. Pass --embedding NAME.{nearest}"
            )
        return self._infos[name]

    def read_vectors(self, name: str | None = None, rows: Array | slice | None = None) -> Array:
        """Read vectors.

        Parameters
        ----------
        name : str, optional
            As in `get_info`.
        rows : ndarray of int or bool, or slice, optional
            Which rows, as numpy indexes: in any order, negative from the end. Default: all.

        Returns
        -------
        ndarray
            ``(n, dim)`` in the stored dtype.
        """
        dataset = self._file[f"embeddings/{self.get_info(name).name}/vectors"]
        if rows is None or isinstance(rows, slice):
            return np.asarray(dataset[rows if rows is not None else slice(None)])
        rows = np.arange(len(self))[rows]
        if len(rows) == 0:
            return np.empty((0, dataset.shape[1]), dataset.dtype)
        # HDF5 takes ascending indices only, and is slow with many: read the span they lie in
        # where they fill most of it.
        order, inverse = np.unique(rows, return_inverse=True)
        first, last = int(order[0]), int(order[-1]) + 1
        dense = len(order) * 4 > last - first
        values = dataset[first:last][order - first] if dense else dataset[order]
        return np.asarray(values[inverse])

    def select_rows(self, split: str | None = None, *, labelled: bool = False) -> Array:
        """Return the indices of rows, ascending, int64 ``(n,)``.

        Parameters
        ----------
        split : str, optional
            ``train``, ``val``, ``test``, or ``all``. Default: all.
        labelled : bool
            Only rows with a label.

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
        return np.flatnonzero(mask)

    def read_arrays(
        self, split: str | None = None, *, name: str | None = None
    ) -> tuple[Array, Array]:
        """Read what scikit-learn takes.

        Parameters
        ----------
        split : str, optional
            As in `select_rows`.
        name : str, optional
            Of the embedding, as in `get_info`.

        Returns
        -------
        X : ndarray
            ``(n, dim)``, labelled rows only.
        y : ndarray of str
            ``(n,)``.
        """
        rows = self.select_rows(split, labelled=True)
        return self.read_vectors(name, rows), self.labels[rows]

    def _read_text(self, name: str) -> Array:
        assert name in ROW_TEXTS
        return np.asarray(self._file[f"rows/{name}"].asstr()[:])
