"""Open what a user names: one cache, or several caches that are read as one."""

from __future__ import annotations

import contextlib
import functools
import glob
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from featx.cache.format import EmbeddingInfo
from featx.cache.label_columns import read_labels
from featx.cache.open import OpenedFile, check_exists, open_sealed
from featx.cache.reader import Cache
from featx.cache.seal import ReadPool
from featx.core.address import list_paths, name_caches
from featx.core.columns import Table, concat_columns
from featx.core.errors import CacheError
from featx.core.fingerprint import check_comparable
from featx.core.learnt import Digests, join_digests
from featx.core.lookup import TextIndex
from featx.core.notes import note
from featx.core.parts import check_parts, describe_missing, find_part, list_missing, list_part_files
from featx.core.provenance import Provenance
from featx.core.row_tables import ROW_KINDS
from featx.core.typing import Array, BoolArray, CachePaths, IntArray, StrArray, VectorDtype, Vectors
from featx.labels.element import FIELDS, KEYS, Labels
from featx.labels.join import join_labels
from featx.remote.copies import localise


def open_cache(path: CachePaths) -> Cache:
    """Open a cache for reading, or several caches as one.

    Parameters
    ----------
    path : path or sequence of paths
        A file that `featx.extract` wrote; a folder of parts (see its argument `part`); a pattern
        such as ``"caches/*.h5"``; or several of these. The rows of several caches follow each other
        in the order of the caches. What lies at an address such as ``s3://bucket/photos.h5`` is
        copied to this machine first.

    Returns
    -------
    Cache
        The open cache: use it in a ``with`` block, or close it.

    Warns
    -----
    FeatxWarning
        If some of the parts of a source are missing.

    Raises
    ------
    CacheError
        If a file is missing, damaged, or no cache of this format. If several caches have rows of
        the same id, or store the vectors of one embedding in several dtypes.
    FingerprintError
        If several caches have embeddings of one name that were made differently.

    See Also
    --------
    featx.extract : Make a cache.
    featx.merge_caches : Write several caches to one file.
    featx.verify_cache : Check every byte of a cache.

    Examples
    --------
    >>> with featx.open_cache("photos.h5") as cache:
    ...     X, y = cache.read_arrays(split="train")
    >>> X.shape, sorted(set(y))
    ((8, 768), ['ants', 'bees'])
    """
    paths = fetch_caches(path)
    files = list_cache_files(paths)
    if files == paths and len(files) == 1:
        return Cache(files[0])
    cache = JoinedCache(files, Path(name_caches(path)))
    missing = list_missing(files)
    if missing:
        note(f"{cache.path}: {describe_missing(missing, files)}.")
    return cache


def fetch_caches(caches: CachePaths) -> list[Path]:
    """Copy what lies at an address to this machine.

    Parameters
    ----------
    caches : path or sequence of paths
        What the user gives: paths, addresses, or both.

    Returns
    -------
    list of Path
        Paths as they are, and those of the copies.

    Raises
    ------
    CacheError
        If nothing is at an address, or if the store refuses or does not answer.
    """
    return [localise(one) for one in list_paths(caches)]


def list_cache_files(caches: CachePaths) -> list[Path]:
    """List the files that a user means by a path, a folder of parts, a pattern, or several of them.

    Parameters
    ----------
    caches : path or sequence of paths
        What the user gives.

    Returns
    -------
    list of Path
        At least one path, none of them twice. Nobody has looked whether the files are caches.

    Raises
    ------
    CacheError
        If a folder has no parts, a pattern matches nothing, a cache is named twice, or parts of
        several divisions are among the files.
    """
    files: list[Path] = []
    for path in fetch_caches(caches):
        if os.path.isdir(path):
            found = list_part_files(path)
        else:
            is_pattern = glob.has_magic(str(path)) and not os.path.lexists(path)
            found = [Path(name) for name in sorted(glob.glob(str(path)))] if is_pattern else [path]
        if not found:
            check_exists(path)
        files += found
    subject = name_caches(caches)
    if len({os.path.realpath(file) for file in files}) < max(1, len(files)):
        raise CacheError(
            subject=subject,
            expected="each cache once",
            got="one of them twice" if files else "none",
            remedy="Name each cache once.",
        )
    check_parts(files, subject)
    return files


class _Member(Cache):
    """A cache that is read as one with others: together they keep few files open, and few blocks.

    Parameters
    ----------
    path : Path
        The file.
    pool : ReadPool
        What the members share.
    """

    def __init__(self, path: Path, pool: ReadPool) -> None:
        self._pool = pool
        super().__init__(path)

    def _open(self) -> OpenedFile:
        return open_sealed(self.path, "featx-cache", self._pool)


class JoinedCache(Cache):
    """Several open caches that are read as one: the rows of each follow those of the one before.

    Parameters
    ----------
    paths : sequence of Path
        Files of the caches.
    path : Path
        Name of all of them, for messages.
    """

    def __init__(self, paths: Sequence[Path], path: Path) -> None:
        self.path = path
        with contextlib.ExitStack() as stack:
            pool = ReadPool()
            self._members = tuple(stack.enter_context(_Member(one, pool)) for one in paths)
            self._n_rows = sum(map(len, self._members))
            names = dict.fromkeys(name for cache in self.members for name in cache.embeddings)
            self._infos = {name: self._join_infos(name) for name in names}
            self.embeddings = tuple(self._infos)
            self.source = ", ".join(dict.fromkeys(cache.source for cache in self.members))
            digests = "".join(cache.digest for cache in self.members)
            self.digest = hashlib.sha256(digests.encode()).hexdigest()
            if not all(map(find_part, paths)):  # a row is in one part only, by the hash of its id
                self.check_ids()
            self._stack = stack.pop_all()

    @property
    def members(self) -> tuple[Cache, ...]:
        """The caches that are read as one."""
        return self._members

    @functools.cached_property
    def starts(self) -> IntArray:
        """Number of the first row of each member, then that of all rows: ``(n_members + 1,)``."""
        return super().starts

    def _list_owners(self, embedding: str) -> list[Cache]:
        return [cache for cache in self.members if embedding in cache.embeddings]

    def _join_infos(self, name: str) -> EmbeddingInfo:
        """Join the provenance of an embedding; refuse caches that made it differently."""
        first, *others = self._list_owners(name)
        info = first.get_info(name)
        for cache in others:
            subject = f"{cache.path}, embedding {name}"
            check_comparable(
                info.fingerprint,
                cache.get_info(name).fingerprint,
                subject=subject,
                because=f"as in {first.path}",
                remedy="Leave the cache out, or extract it again as the others were.",
            )
            if cache.get_dtype(name) != first.get_dtype(name):
                raise CacheError(
                    subject=subject,
                    expected=f"{first.get_dtype(name)}, as in {first.path}",
                    got=cache.get_dtype(name),
                    remedy="Leave the cache out, or extract it again with the dtype of the others.",
                )
        histories = [cache.get_info(name).provenance for cache in (first, *others)]
        return replace(info, provenance=_join_provenance(histories))

    def _join(self, read: Callable[[Cache], Array]) -> Any:
        return np.concatenate([read(cache) for cache in self.members])

    @functools.cached_property
    def ids(self) -> StrArray:
        """Identity of each row, str ``(n_rows,)``."""
        self.check_ids()
        ids: StrArray = self.read_column("id").to_array()
        return ids

    def check_ids(self) -> None:
        """Refuse caches that have rows of the same id."""
        ids = self.read_column("id")
        index = TextIndex(ids)
        repeat = index.find_repeat()
        if repeat is not None:
            rows = [int(index.find(ids[repeat : repeat + 1])[0]), repeat]
            pair = [self.members[self._find_member(row)].path for row in rows]
            raise CacheError(
                subject=str(self.path),
                expected="each id in one of the caches",
                got=f"{ids[repeat]!r} in {pair[0]} and in {pair[1]}",
                remedy="Leave one of the two caches out. If their images are others, extract "
                "both sources to one cache: featx.extract([source, other], output=path).",
            )

    def _find_member(self, rows: Any) -> Any:
        """Find the member of each row by the row's number."""
        return np.searchsorted(self.starts, rows, side="right") - 1

    def read_column(self, name: str, start: int = 0, stop: int | None = None) -> Any:
        """Read one column of a run of rows, as it is stored."""
        start, stop, _ = slice(start, stop).indices(len(self))
        if name not in ROW_KINDS:
            return self._hold_column(name)[start:stop]
        if name in FIELDS and self.has_history:
            return self._joined_labels[name][start:stop]
        parts = []
        for cache, first in zip(self.members, self.starts.tolist(), strict=False):
            own_start, own_stop = max(start - first, 0), min(stop - first, len(cache))
            if own_start < own_stop:
                parts.append(cache.read_column(name, own_start, own_stop))
        return concat_columns(parts) if parts else self.members[0].read_column(name, 0, 0)

    @functools.cached_property
    def has_history(self) -> bool:
        """Whether people said anything of the rows after the extraction."""
        return any(cache.has_history for cache in self.members)

    @functools.cached_property
    def has_user_group(self) -> bool:
        """Whether users keep something below ``/user/`` in one of the files."""
        return any(cache.has_user_group for cache in self.members)

    @functools.cached_property
    def _joined_labels(self) -> Table:
        """What holds: what was said of an image holds for its copies in other caches, too."""
        return self._read_labels().held

    def _read_labels(self) -> Labels:
        return join_labels([read_labels(one) for one in self.members], self.read_rows(KEYS))

    def read_ledger(self) -> Table:
        """Read the ledger of failures as columns: those of `featx.Failure`, by name."""
        return Table.concat([cache.read_ledger() for cache in self.members])

    def take_vectors(self, embedding: str, numbers: IntArray) -> Vectors:
        """Read the entries of rows as they are stored, also of rows without a vector."""
        owners = self._find_member(numbers)
        shape = len(numbers), self.get_info(embedding).fingerprint.dim
        vectors: Vectors = np.full(shape, np.nan, self.get_dtype(embedding))
        for number in np.unique(owners).tolist():
            cache = self.members[number]
            if embedding in cache.embeddings:
                mask = owners == number
                rows = numbers[mask] - self.starts[number]
                vectors[mask] = cache.take_vectors(embedding, rows)
        return vectors

    def read_present(self, embedding: str | None = None) -> BoolArray:
        """Read which rows have a vector in an embedding, bool ``(n_rows,)``."""
        name = self.get_info(embedding).name

        def read(cache: Cache) -> BoolArray:
            has = name in cache.embeddings
            return cache.read_present(name) if has else np.zeros(len(cache), bool)

        present: BoolArray = self._join(read)
        return present

    def read_learnt_digests(self, embedding: str | None = None) -> Digests:
        """Read the digests of all images that the network has learnt from."""
        name = self.get_info(embedding).name
        return join_digests(cache.read_learnt_digests(name) for cache in self._list_owners(name))

    def get_dtype(self, embedding: str | None = None) -> VectorDtype:
        """Return the dtype of the stored vectors, ``float32`` or ``float16``."""
        name = self.get_info(embedding).name
        return self._list_owners(name)[0].get_dtype(name)


def _join_provenance(histories: Sequence[Provenance]) -> Provenance:
    """Join the runs that made an embedding in several caches, oldest first."""
    runs = [run for made in histories for run in (replace(made, updates=()), *made.updates)]
    runs = [run for run in runs if run.n_embedded] or runs[:1]
    first, *updates = sorted(runs, key=lambda run: run.time)
    return replace(first, updates=tuple(updates))
