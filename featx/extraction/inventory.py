"""Inventory before a run: the rows, vectors and failures of the cache and of the shards."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np

from featx.cache.index import WorkIndex
from featx.cache.reader import Cache
from featx.core.rows import Failure, Row
from featx.core.typing import Array, Split
from featx.images.content import Content
from featx.images.manifest import Entry

IN_BASE = -1
"""Number that stands for the existing cache, in place of the number of a shard."""

FileState = tuple[int, int]
"""Size in bytes, and time of last change in nanoseconds since 1970."""


@dataclass(frozen=True, kw_only=True)
class BaseIndex:
    """The content of the existing cache, indexed by id and by digest.

    Attributes
    ----------
    rows : dict of str to Row
        Rows by id.
    failures : tuple of Failure
        Lines of the ledger whose file could be read.
    indices : dict of str to dict of str to int
        Row index of each embedded content, by embedding and digest.
    """

    rows: dict[str, Row] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    indices: dict[str, dict[str, int]] = field(default_factory=dict)

    @classmethod
    def from_cache(cls, cache: Cache | None) -> BaseIndex:
        """Index a cache; None stands for an empty one."""
        if cache is None:
            return cls()
        rows = cache.rows
        indices = {
            name: {
                rows[index].digest: index
                for index in np.flatnonzero(cache.read_present(name)).tolist()
            }
            for name in cache.embeddings
        }
        return cls(
            rows={row.id: row for row in rows},
            failures=tuple(failure for failure in cache.failures if failure.digest),
            indices=indices,
        )


class Inventory:
    """Everything that is known about images, before and while the network runs.

    Images are identified by the SHA-256 of their bytes; a row says which digest its file had when
    it was read. The shards grow during a run, and the inventory with them.

    Parameters
    ----------
    base : BaseIndex
        Content of the existing cache.
    work : WorkIndex
        Finished work of this extraction.
    targets : sequence of str
        Names of the requested embeddings.
    retry_failed : bool
        True to forget the failures that the cache records for the targets.

    Attributes
    ----------
    skip_digests : set of str
        Contents that have a vector in all targets, or are known to fail.
    """

    def __init__(
        self, base: BaseIndex, work: WorkIndex, targets: Sequence[str], *, retry_failed: bool
    ) -> None:
        self.base, self.work, self.targets = base, work, tuple(targets)
        self._sizes = {row.digest: (row.width, row.height) for row in base.rows.values()}
        self._failures: dict[str, dict[str, Failure]] = {}
        for failure in base.failures:
            if not (retry_failed and self.concerns_targets(failure)):
                self._failures.setdefault(failure.digest, {})[failure.embedding] = failure
        self._read: dict[str, Row | Failure] = {**base.rows} | {
            one.id: one for one in base.failures
        }
        self.skip_digests = self._list_complete()

    def _list_complete(self) -> set[str]:
        complete = set(self.work.locations) | set(self.work.failures)
        for digest, found in self._failures.items():
            if "" in found or all(
                name in found or self.has_vector(name, digest) for name in self.targets
            ):
                complete.add(digest)
        return complete | self._complete_in_base

    @functools.cached_property
    def _complete_in_base(self) -> set[str]:
        """Contents that have a vector in all targets in the existing cache."""
        return set.intersection(*(set(self.base.indices.get(name, ())) for name in self.targets))

    @property
    def adds_vectors(self) -> bool:
        """True if the shards hold a content that the cache lacks."""
        return not self._complete_in_base.issuperset(self.work.locations)

    def find_read(self, entry: Entry, *, rehash: bool) -> Row | Failure | None:
        """Find the row of an earlier read of the same file, if its content needs no more work.

        Parameters
        ----------
        entry : Entry
            One row of the source.
        rehash : bool
            True to trust only the reads of this unfinished run.
        """
        read: Row | Failure | None = self.work.rows.get(entry.row.id)
        if read is None and not rehash:
            read = self._read.get(entry.row.id)
        # A file at another path is another file, even if size and time are equal.
        if read is None or read.path != entry.row.path or read.mtime_ns < 0:
            return None
        return read if read.digest in self.skip_digests else None

    def list_failures(self, row: Row) -> list[Failure]:
        """List why a content has no vector: one failure for each embedding, or one for all."""
        found = self._failures.get(row.digest, {}) | self.work.failures.get(row.digest, {})
        if not found:
            return []
        names = dict.fromkeys([*self.base.indices, *self.targets])
        have = {name for name in names if self.has_vector(name, row.digest)}
        if have and "" in found:  # it has a vector elsewhere, so it does not lack all
            found = {name: replace(found[""], embedding=name) for name in self.targets} | found
        return [
            replace(one, id=row.id, path=row.path, n_bytes=row.n_bytes, mtime_ns=row.mtime_ns)
            for name, one in found.items()
            if name not in have and not (have and name == "")
        ]

    def find_failure(self, row: Row) -> Failure | None:
        """Find why a content lacks a requested embedding; None if it lacks none."""
        return next(filter(self.concerns_targets, self.list_failures(row)), None)

    def concerns_targets(self, failure: Failure) -> bool:
        """Tell whether a failure is one of a requested embedding."""
        return failure.embedding in ("", *self.targets)

    def find_size(self, digest: str) -> tuple[int, int]:
        """Return width and height of a content that has a vector, in pixels."""
        return self.work.sizes.get(digest) or self._sizes[digest]

    def list_splits(self) -> dict[str, Split]:
        """List the splits that the cache records, by id and by digest."""
        splits: dict[str, Split] = {}
        for row in self.base.rows.values():
            if row.split:
                splits[row.id] = splits[row.digest] = row.split
        return splits

    def has_vector(self, embedding: str, digest: str) -> bool:
        """Tell whether a content has a vector in an embedding."""
        return self.find_location(embedding, digest) is not None

    def find_location(self, embedding: str, digest: str) -> tuple[int, int] | None:
        """Return where the vector of a content lies: number of the shard or `IN_BASE`, and row."""
        if embedding in self.targets and digest in self.work.locations:
            return self.work.locations[digest]
        index = self.base.indices.get(embedding, {}).get(digest)
        return None if index is None else (IN_BASE, index)

    def list_locations(self, embedding: str, rows: Iterable[Row]) -> Array:
        """Return the location of each row's vector, int64 ``(n_rows, 2)``; row -1 for none."""
        nowhere = (IN_BASE, -1)
        found = [self.find_location(embedding, row.digest) or nowhere for row in rows]
        return np.array(found, np.int64).reshape(-1, 2)


def observe_files(
    inventory: Inventory, entries: Iterable[Entry], *, rehash: bool
) -> Mapping[str, FileState]:
    """Get size and time of the files that were read before, by id, without opening a file.

    Parameters
    ----------
    inventory : Inventory
        Rows and failures of earlier reads.
    entries : iterable of Entry
        Rows of the source.
    rehash : bool
        True to trust only the reads of this unfinished run.
    """
    states: dict[str, FileState] = {}
    for entry in entries:
        if inventory.find_read(entry, rehash=rehash) is None:
            continue
        assert isinstance(entry.content, Content)
        with suppress(OSError):  # a missing file is tried again, and then fails with its reason
            states[entry.row.id] = entry.content.stat()
    return states
