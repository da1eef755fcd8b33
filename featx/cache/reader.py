"""Read a cache. Each part of the file is read when it is needed."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from featx.cache.format import ANEW, USER_GROUP, EmbeddingInfo
from featx.cache.labels import has_statements, read_label_group
from featx.cache.open import OpenedFile, open_sealed
from featx.cache.selectable import SelectableCache
from featx.cache.tables import (
    BLOCK_ROWS,
    check_learnt,
    check_unique,
    convert_flags,
    is_finite,
    read_column,
    read_numbers,
    read_table,
    take_rows,
)
from featx.cache.texts import read_attribute_text
from featx.core.columns import Table, iter_blocks
from featx.core.digests import SIZE as DIGEST_SIZE
from featx.core.digests import unpack_digests
from featx.core.errors import CacheError, suggest
from featx.core.learnt import Digests, find_learnt, join_digests
from featx.core.row_tables import FAILURE_KINDS, READ_KINDS, ROW_KINDS, UNKNOWN, list_failures
from featx.core.rows import Failure
from featx.core.typing import Array, BoolArray, IntArray, PathLike, StrArray, VectorDtype, Vectors
from featx.labels.element import Labels


class Cache(SelectableCache):
    """An open cache. Columns are read on first use and kept; vectors are read on each call.

    Parameters
    ----------
    path : path
        A file that `featx.extract` wrote.

    Attributes
    ----------
    path : Path
        The file. Of several caches that are read as one, their folder or their names.
    embeddings : tuple of str
        Names of the embeddings, such as ``resnet50`` and ``resnet50@layer3``.
    source : str
        Source of the rows, as the user named it.
    digest : str
        SHA-256 that stands for every byte of the file, hexadecimal.

    Examples
    --------
    >>> with featx.open_cache("photos.h5") as cache:
    ...     rows = cache.select_rows("val", labelled=True)
    ...     print(len(cache), cache.embeddings, cache.list_splits(), cache.ids[rows[0]])
    12 ('mini',) ['train', 'val'] val/ants/0.jpg
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        with contextlib.ExitStack() as stack:
            opened = stack.enter_context(self._open())
            self._file, self._sealed, lengths = opened
            self._n_rows = lengths["n_rows"]
            with self._sealed.guard():
                self.source: str = read_attribute_text(self._file, "source", self._sealed)
                self._infos = {
                    name: EmbeddingInfo.from_group(
                        name, group, self._sealed, dim=lengths[f"dim of {name}"]
                    )
                    for name, group in self._file["embeddings"].items()
                }
            self._stack = stack.pop_all()
        self.embeddings = tuple(self._infos)
        self.digest = self._sealed.digest

    def _open(self) -> OpenedFile:
        return open_sealed(self.path, "featx-cache")

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self._n_rows

    def __repr__(self) -> str:
        return f"<Cache {self.path.name}: {len(self)} rows, {', '.join(self.embeddings)}>"

    def close(self) -> None:
        """Close the file."""
        self.is_open = False
        self._stack.close()

    @property
    def members(self) -> tuple[Cache, ...]:
        """The caches that are read as one: this one, unless several were opened together."""
        return (self,)

    @property
    def starts(self) -> IntArray:
        """Number of the first row of each member, then that of all rows: ``(n_members + 1,)``."""
        return np.cumsum([0, *map(len, self.members)])

    @functools.cached_property
    def ids(self) -> StrArray:
        """Identity of each row within the source, str ``(n_rows,)``."""
        self.check_ids()
        ids: StrArray = self.read_column("id").to_array()
        return ids

    @functools.cached_property
    def paths(self) -> StrArray:
        """Path of each image when it was read, str ``(n_rows,)``."""
        paths: StrArray = self.read_column("path").to_array()
        return paths

    @functools.cached_property
    def digests(self) -> StrArray:
        """SHA-256 of each image's bytes, hexadecimal, str ``(n_rows,)``."""
        return np.array(unpack_digests(self.read_column("digest")), object)

    @functools.cached_property
    def sizes(self) -> Array:
        """Width and height of each image in pixels, int32 ``(n_rows, 2)``."""
        return np.stack([self.read_column(name) for name in ("width", "height")], axis=1)

    @functools.cached_property
    def failures(self) -> tuple[Failure, ...]:
        """Ledger of the images that lack an embedding, with the reason."""
        return tuple(list_failures(self.read_ledger()))

    def read_ledger(self) -> Table:
        """Read the ledger of failures as columns: those of `featx.Failure`, by name."""
        with self._sealed.guard():
            return read_table(self._file["failures"], FAILURE_KINDS)

    def check_ids(self) -> None:
        """Refuse a cache that has rows of the same id.

        Raises
        ------
        CacheError
            If an id occurs twice.
        """
        check_unique(self.read_column("id"), self.path)

    def read_column(self, name: str, start: int = 0, stop: int | None = None) -> Any:
        """Read one column of a run of rows, as it is stored.

        Parameters
        ----------
        name : str
            Name of the column: ``id``, ``path``, ``label``, ``split``, ``group``, ``digest``,
            ``width``, ``height``, ``n_bytes``, ``mtime_ns``, or one of `columns`.
        start : int
            Number of the first row.
        stop : int, optional
            Number of the row behind the last one. Default: all rows up to the end.

        Returns
        -------
        Texts, Categories or ndarray
            The values. Digests are their 32 bytes, uint8 ``(n_rows, 32)``; zeros for one not known.
        """
        if name not in ROW_KINDS:
            return self._hold_column(name)[start:stop]
        with self._sealed.guard():
            group = self._file["rows" if name in READ_KINDS else "labels"]
            if name in group or name not in UNKNOWN:
                return read_column(group, name, start, stop)
        n_rows = len(range(*slice(start, stop).indices(len(self))))
        if name == "digest":
            return np.zeros((n_rows, DIGEST_SIZE), np.uint8)
        return np.full(n_rows, UNKNOWN[name], ROW_KINDS[name])

    def read_rows(
        self, names: Sequence[str] | None = None, start: int = 0, stop: int | None = None
    ) -> Table:
        """Read columns of a run of rows.

        Parameters
        ----------
        names : sequence of str, optional
            Names of the columns, as `read_column` takes them. Default: all.
        start : int
            Number of the first row.
        stop : int, optional
            Number of the row behind the last one. Default: all rows up to the end.

        Returns
        -------
        Table
            The columns by name. A loop over blocks of rows needs little memory.
        """
        chosen = tuple(ROW_KINDS) if names is None else names
        return Table({name: self.read_column(name, start, stop) for name in chosen})

    @property
    def has_history(self) -> bool:
        """Whether people said anything of the rows after the extraction."""
        with self._sealed.guard():
            return has_statements(self._file)

    def _read_labels(self) -> Labels:
        with self._sealed.guard():
            return read_label_group(self._file)

    @property
    def has_user_group(self) -> bool:
        """Whether users keep something below ``/user/`` in the file."""
        return USER_GROUP in self._file

    def get_info(self, embedding: str | None = None) -> EmbeddingInfo:
        """Return the name, the fingerprint and the provenance of an embedding.

        Parameters
        ----------
        embedding : str, optional
            Name of the embedding. Default: the only one.

        Raises
        ------
        CacheError
            If the cache has no embedding of this name, or has several and `embedding` is None.
        """
        if embedding is None and len(self.embeddings) == 1:
            embedding = self.embeddings[0]
        if embedding is None or embedding not in self._infos:
            nearest = "" if embedding is None else f" {suggest(embedding, self.embeddings)}"
            raise CacheError(
                subject=str(self.path),
                expected=f"one of its embeddings ({', '.join(self.embeddings)})",
                got="none named" if embedding is None else repr(embedding),
                remedy=f"Pass embedding=NAME.{nearest}",
            )
        return self._infos[embedding]

    def read_vectors(
        self, embedding: str | None = None, rows: IntArray | BoolArray | slice | None = None
    ) -> Vectors:
        """Read vectors of one embedding.

        Parameters
        ----------
        embedding : str, optional
            Name of the embedding. Default: the only one.
        rows : ndarray of int or bool, or slice, optional
            Rows to read, as numpy indexes them: in any order; negative numbers count from the end.
            Default: all.

        Returns
        -------
        ndarray
            Vectors ``(n, dim)`` in the stored dtype.

        Raises
        ------
        CacheError
            If a row that is asked for has no vector in this embedding, or if a vector is not
            finite.
        """
        info = self.get_info(embedding)
        numbers = np.arange(len(self))[slice(None) if rows is None else rows]
        lacking = numbers[~self.read_present(info.name)[numbers]]
        if len(lacking):
            first = int(lacking[0])
            example = self.read_column("id", first, first + 1)[0]
            raise CacheError(
                subject=f"{self.path}, embedding {info.name}",
                expected="a vector for each row asked for",
                got=f"none for {len(lacking)} of {len(numbers)}, such as {example}",
                remedy="Add the vectors with featx.extract(source, output=path), or read only the "
                "rows that read_present finds.",
            )
        vectors = np.empty((len(numbers), info.fingerprint.dim), self.get_dtype(info.name))
        # Rows in the order of the file are read block by block: memory holds them once.
        is_ordered = bool((numbers[1:] > numbers[:-1]).all())
        for block in iter_blocks(len(numbers), BLOCK_ROWS if is_ordered else max(1, len(numbers))):
            vectors[block] = self.take_vectors(info.name, numbers[block])
            if not is_finite(vectors[block]):
                raise CacheError(
                    subject=f"{self.path}, /embeddings/{info.name}/vectors",
                    expected="finite vectors",
                    got="NaN or infinity",
                    remedy=ANEW,
                )
        return vectors

    def take_vectors(self, embedding: str, numbers: IntArray) -> Vectors:
        """Read the entries of rows as they are stored, also of rows without a vector.

        Parameters
        ----------
        embedding : str
            Name of the embedding.
        numbers : ndarray of int
            Indices of rows ``(n,)``, none negative.

        Returns
        -------
        ndarray
            ``(n, dim)`` in the stored dtype.
        """
        with self._sealed.guard():
            return take_rows(self._file[f"embeddings/{embedding}/vectors"], numbers)

    def read_present(self, embedding: str | None = None) -> BoolArray:
        """Read which rows have a vector in an embedding, bool ``(n_rows,)``.

        A row lacks a vector if only another backbone embedded it, or if the output of the network
        was not finite.

        Parameters
        ----------
        embedding : str, optional
            Name of the embedding. Default: the only one.
        """
        info = self.get_info(embedding)
        with self._sealed.guard():
            flags = read_numbers(self._file[f"embeddings/{info.name}"], "present")
        return convert_flags(flags, f"{self.path}, /embeddings/{info.name}/present")

    def read_learnt(self, embedding: str | None = None) -> BoolArray:
        """Read which rows the network of an embedding has learnt from, bool ``(n_rows,)``.

        A score of these rows, by cross-validation too, is too high and says nothing of new images.

        Parameters
        ----------
        embedding : str, optional
            Name of the embedding. Default: the only one.
        """
        learnt = self.read_learnt_digests(embedding)
        if not len(learnt):
            return np.zeros(len(self), bool)
        return find_learnt(self.read_column("digest"), learnt)

    def read_learnt_digests(self, embedding: str | None = None) -> Digests:
        """Read the digests of all images that the network has learnt from, uint64 ``(n_images,)``.

        They are the first 16 hexadecimal digits of each SHA-256, ascending. There are none for
        weights that `featx.fine_tune` did not write.

        Parameters
        ----------
        embedding : str, optional
            Name of the embedding. Default: the only one.
        """
        info = self.get_info(embedding)
        with self._sealed.guard():
            group = self._file[f"embeddings/{info.name}"]
            learnt = read_numbers(group, "learnt") if "learnt" in group else join_digests([])
        return check_learnt(learnt, f"{self.path}, /embeddings/{info.name}/learnt")

    def get_dtype(self, embedding: str | None = None) -> VectorDtype:
        """Return the dtype of the stored vectors, ``float32`` or ``float16``.

        Parameters
        ----------
        embedding : str, optional
            Name of the embedding. Default: the only one.
        """
        info = self.get_info(embedding)
        with self._sealed.guard():
            dtype: VectorDtype = self._file[f"embeddings/{info.name}/vectors"].dtype.name
        return dtype


@contextlib.contextmanager
def reading_file(cache: Cache) -> Iterator[tuple[h5py.File, int]]:
    """Read the HDF5 file of a cache of one file within the block.

    Parameters
    ----------
    cache : Cache
        The open cache.

    Yields
    ------
    (h5py.File, int)
        The file, and its length in bytes.
    """
    with cache._sealed.guard():
        yield cache._file, len(cache._sealed)
