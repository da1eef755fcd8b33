"""Inventory before a run: the rows, vectors and failures of the cache and of the shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from featx.cache.index import WorkIndex
from featx.cache.label_columns import read_labels
from featx.cache.reader import Cache
from featx.core.columns import Table, Texts, iter_blocks
from featx.core.digests import is_known, pack_digests
from featx.core.lookup import DigestIndex, DigestSet, TextIndex
from featx.core.row_tables import FAILURE_KINDS, READ_KINDS, ROW_KINDS, build_table, list_rows
from featx.core.rows import Failure, Row
from featx.core.typing import BoolArray, IntArray, UInt8Array
from featx.images.contents import NOWHERE, Contents
from featx.labels.element import FIELDS, Labels

STATE = ("n_bytes", "mtime_ns")
"""Columns that say whether a file is unchanged: its size, and the time of its last change."""

READ = ("digest", *STATE)
"""Columns of one read of a file."""


@dataclass(frozen=True, kw_only=True)
class BaseIndex:
    """The content of the existing cache.

    Attributes
    ----------
    rows : Table
        Its rows, with the columns of `ROW_KINDS`; label, split and group are the source's.
    labels : Labels or None
        Everything that is said of the rows; None for an empty cache.
    failures : tuple of Failure
        Lines of the ledger whose file could be read.
    present : dict of str to ndarray of bool
        ``(n_rows,)``, rows that have a vector, by embedding.
    """

    rows: Table = field(default_factory=lambda: build_table([], ROW_KINDS))
    labels: Labels | None = None
    failures: tuple[Failure, ...] = ()
    present: Mapping[str, BoolArray] = field(default_factory=dict)

    @classmethod
    def from_cache(cls, cache: Cache | None) -> BaseIndex:
        """Read a cache; None stands for an empty one."""
        if cache is None:
            return cls()
        cache.check_ids()
        rows, labels = cache.read_rows(tuple(READ_KINDS)), read_labels(cache)
        return cls(
            rows=rows.replace(**{name: labels.source[name] for name in FIELDS}),
            labels=labels,
            failures=tuple(failure for failure in cache.failures if failure.digest),
            present={name: cache.read_present(name) for name in cache.embeddings},
        )


@dataclass(frozen=True, kw_only=True)
class Reads:
    """Earlier reads of the files of a source.

    Attributes
    ----------
    table : Table
        The columns of `READ`, one row for each row of the source.
    is_usable : ndarray of bool
        ``(n_rows,)``, True for a read of the same file whose content needs no more work.
    """

    table: Table
    is_usable: BoolArray


class Inventory:
    """Everything that is known about images, before and while the network runs.

    Images are identified by the SHA-256 of their bytes; a row says which digest its file had when
    it was read. The shards grow during a run, and the inventory with them.

    Parameters
    ----------
    source : Table
        Rows of the source, with the columns of a manifest.
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
    origin : ndarray of int
        ``(n_rows,)``, row of the cache that has the id of each row of the source; -1 for none.
    """

    def __init__(
        self,
        source: Table,
        base: BaseIndex,
        work: WorkIndex,
        targets: Sequence[str],
        *,
        retry_failed: bool,
    ) -> None:
        self.source, self.base, self.work, self.targets = source, base, work, tuple(targets)
        self.n_base = len(base.rows)
        self.origin = match_ids(source["id"], base.rows["id"])
        self._failures: dict[str, dict[str, Failure]] = {}
        for failure in base.failures:
            if not (retry_failed and self.concerns_targets(failure)):
                self._failures.setdefault(failure.digest, {})[failure.embedding] = failure
        self._by_digest: dict[str, tuple[DigestIndex, IntArray]] = {}

    # --- vectors

    def locate(self, embedding: str, digests: UInt8Array, origin: IntArray) -> IntArray:
        """Find where the vectors of contents lie, int64 ``(n,)``; -1 for none.

        A number below `n_base` is a row of the cache, the row itself if it has the content; a
        number above is a content of the shards, counted from `n_base`.

        Parameters
        ----------
        embedding : str
            Name of the embedding.
        digests : ndarray of uint8
            ``(n, 32)``, the contents.
        origin : ndarray of int
            ``(n,)``, row of the cache that each content is sought for; -1 for none.
        """
        places = np.empty(len(digests), np.int64)
        for block in iter_blocks(len(digests)):
            places[block] = self._locate_block(embedding, digests[block], origin[block])
        return places

    def _locate_block(self, embedding: str, digests: UInt8Array, origin: IntArray) -> IntArray:
        places = np.full(len(digests), -1, np.int64)
        present = self.base.present.get(embedding)
        if present is not None:
            own = np.flatnonzero(origin >= 0)
            own = own[present[origin[own]]]
            same = (self.base.rows["digest"][origin[own]] == digests[own]).all(axis=1)
            places[own[same]] = origin[own[same]]
        left = np.flatnonzero((places < 0) & is_known(digests))
        if embedding in self.targets and self.work.n_contents and len(left):
            found = self.work.find(digests[left])
            places[left] = np.where(found >= 0, found + self.n_base, -1)
            left = left[found < 0]
        places[left] = self._find_in_base(embedding, digests[left])
        return places

    def _find_in_base(self, embedding: str, digests: UInt8Array) -> IntArray:
        """Find the first row of the cache that has a vector of each content; -1 for none."""
        present = self.base.present.get(embedding)
        if present is None or not len(digests):
            return np.full(len(digests), -1, np.int64)
        if embedding not in self._by_digest:
            rows = np.flatnonzero(present)
            self._by_digest[embedding] = DigestIndex(self.base.rows["digest"][rows]), rows
        index, rows = self._by_digest[embedding]
        found = index.find(digests)
        return np.where(found >= 0, rows[found], -1) if len(rows) else found

    def find_moved(self, embedding: str, places: IntArray) -> IntArray:
        """Find the rows of the cache whose vector lies elsewhere now, ascending.

        Parameters
        ----------
        embedding : str
            Name of an embedding of the cache.
        places : ndarray of int
            ``(n_base,)``, where the vector of each row of the cache lies now.
        """
        own = np.where(self.base.present[embedding], np.arange(self.n_base), -1)
        return np.flatnonzero(places != own)

    def _has_vector(self, embedding: str, digest: str) -> bool:
        return bool(self.locate(embedding, pack_digests([digest]), np.array([-1]))[0] >= 0)

    @property
    def adds_vectors(self) -> bool:
        """True if the shards hold a content that the cache lacks."""
        digests = self.work.contents["digest"]
        return any((self._find_in_base(name, digests) < 0).any() for name in self.targets)

    def build_skipped(self) -> DigestSet:
        """Build the set of contents that have a vector in all targets, or are known to fail."""
        has_all = np.ones(self.n_base, bool)
        for name in self.targets:
            has_all &= self.base.present.get(name, False)
        base = self.base.rows["digest"][has_all]
        hopeless = pack_digests(self._list_hopeless())
        parts = [base[is_known(base)], self.work.contents["digest"], hopeless]
        return DigestSet(np.concatenate(parts))

    # --- reads

    def find_reads(self, *, rehash: bool) -> Reads:
        """Find the earlier reads of the files of the source.

        Parameters
        ----------
        rehash : bool
            True to trust only the reads of this unfinished run.
        """
        if rehash:
            table = self.work.reads
            usable = is_known(table["digest"])
        else:
            table, usable = self._find_base_reads()
            for read, later in self._list_later_reads():
                columns = {name: table[name].copy() for name in READ}
                for name in READ:
                    columns[name][read] = later[name]
                table, usable[read] = Table(columns), True
        usable &= table["mtime_ns"] >= 0
        rows = np.flatnonzero(usable)
        hopeless = DigestIndex(pack_digests(self._list_hopeless()))
        for block in iter_blocks(len(rows)):
            some = rows[block]
            digests, done = table["digest"][some], np.ones(len(some), bool)
            for name in self.targets:
                done &= self.locate(name, digests, self.origin[some]) >= 0
            usable[some] = done | (hopeless.find(digests) >= 0)
        return Reads(table=table, is_usable=usable)

    def _find_base_reads(self) -> tuple[Table, BoolArray]:
        """Find the reads that the cache records. A file at another path is another file."""
        origin, rows = self.origin, self.base.rows
        usable = origin >= 0
        if usable.all():
            table = rows.select(READ)[origin]
        else:
            table = Table(
                {
                    name: np.zeros((len(origin), *rows[name].shape[1:]), rows[name].dtype)
                    for name in READ
                }
            )
            for name in READ:
                table[name][usable] = rows[name][origin[usable]]
        for block in iter_blocks(len(origin)):
            some = block.start + np.flatnonzero(usable[block])
            usable[some] = self.source["path"][some].equal(rows["path"][origin[some]])
        return table, usable

    def _list_later_reads(self) -> list[tuple[IntArray, Table]]:
        """List the reads that count more: those of the ledger, then those of this extraction."""
        later = []
        if self.base.failures:
            failed = build_table(self.base.failures, FAILURE_KINDS)
            rows = TextIndex(self.source["id"]).find(failed["id"])
            failed, rows = failed[rows >= 0], rows[rows >= 0]
            same = self.source["path"][rows].equal(failed["path"])
            later.append((rows[same], failed[same]))
        done = np.flatnonzero(is_known(self.work.reads["digest"]))
        later.append((done, self.work.reads[done]))
        return [(rows, reads) for rows, reads in later if len(rows)]

    # --- failures

    def _list_hopeless(self) -> list[str]:
        """List the digests of contents that fail in each target in which they have no vector."""
        return [
            *self.work.failures,
            *(
                digest
                for digest, found in self._failures.items()
                if "" in found
                or all(name in found or self._has_vector(name, digest) for name in self.targets)
            ),
        ]

    def find_failing(self, digests: UInt8Array) -> IntArray:
        """Find the contents that failed somewhere, int64 ``(n_failing,)``: their numbers.

        Parameters
        ----------
        digests : ndarray of uint8
            ``(n, 32)``, the contents.
        """
        failing = {**self._failures, **self.work.failures}
        if not failing:
            return np.empty(0, np.int64)
        return np.flatnonzero(DigestIndex(pack_digests(failing)).find(digests) >= 0)

    def list_failures(self, row: Row) -> list[Failure]:
        """List why a content has no vector: one failure for each embedding, or one for all.

        Parameters
        ----------
        row : Row
            Identity, digest and state of the file.
        """
        found = self._failures.get(row.digest, {}) | self.work.failures.get(row.digest, {})
        if not found:
            return []
        names = dict.fromkeys([*self.base.present, *self.targets])
        have = {name for name in names if self._has_vector(name, row.digest)}
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

    def describe_rows(self, reads: Table, rows: IntArray) -> list[Row]:
        """Describe some rows of the source as records, with what was read of them.

        Parameters
        ----------
        reads : Table
            The columns of `READ`, one row for each row of the source.
        rows : ndarray of int
            Rows of the source.
        """
        said = self.source.select(["id", "path"])[rows]
        return list_rows(said.replace(**{name: reads[name][rows] for name in READ}))

    def concerns_targets(self, failure: Failure) -> bool:
        """Tell whether a failure is one of a requested embedding."""
        return failure.embedding in ("", *self.targets)


def match_ids(ids: Texts, base: Texts) -> IntArray:
    """Find the row of a cache that has each id, int64 ``(n_ids,)``; -1 for none.

    Parameters
    ----------
    ids : Texts
        Ids of the source, each one once.
    base : Texts
        Ids of the cache, each one once.
    """
    n_both = min(len(ids), len(base))
    rows = np.arange(len(ids))
    if ids[:n_both].equal(base[:n_both]).all():  # nothing is new, or all that is new comes last
        rows[n_both:] = -1
        return rows
    return TextIndex(base).find(ids)


def observe_files(reads: Reads, contents: Contents) -> Table:
    """Get size and time of the files that were read before, without opening a file.

    Parameters
    ----------
    reads : Reads
        Earlier reads.
    contents : Contents
        The files of the source.

    Returns
    -------
    Table
        The columns of `STATE`, one row for each row of the source; `NOWHERE` for a file that was
        not looked at, or is not there.
    """
    rows = np.flatnonzero(reads.is_usable)
    found = contents.read_states(rows)
    if len(rows) == len(contents):
        return found
    states = {name: np.full(len(contents), NOWHERE, np.int64) for name in STATE}
    for name in STATE:
        states[name][rows] = found[name]
    return Table(states)
