"""Decide what the updated cache contains. Nothing is read and nothing is written here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from featx.cache.format import EmbeddingInfo
from featx.cache.reader import Cache
from featx.core.rows import Failure, Row
from featx.extraction.inventory import Inventory
from featx.extraction.plan import Plan
from featx.images.manifest import Entry


@dataclass(frozen=True, kw_only=True)
class CacheContent:
    """The rows, failures and embeddings that the updated cache will contain.

    Attributes
    ----------
    infos : tuple of EmbeddingInfo
        All embeddings; those of the existing cache come first.
    rows : list of Row
        Rows in the order of the source. Kept rows whose file the source no longer has come last.
    failures : list of Failure
        Lines of the ledger, in the order of the source.
    n_failed : int
        Number of images of the source that lack a requested embedding.
    n_removed : int
        Number of rows that the source no longer has; renamed files are not counted.
    """

    infos: tuple[EmbeddingInfo, ...]
    rows: list[Row]
    failures: list[Failure]
    n_failed: int
    n_removed: int

    def differs_from(self, base: Cache) -> bool:
        """Tell whether rows, failures or embeddings differ from those of a cache."""
        return (
            self.rows != base.rows
            or self.failures != list(base.failures)
            or [info.name for info in self.infos] != list(base.embeddings)
        )


def assemble(
    plan: Plan,
    inventory: Inventory,
    entries: Sequence[Entry],
    infos: Sequence[EmbeddingInfo],
    *,
    unread: Mapping[str, Failure],
    prune: bool,
) -> CacheContent:
    """Join the rows of a source with the vectors and failures that are known for them.

    Parameters
    ----------
    plan : Plan
        The decision that was carried out.
    inventory : Inventory
        Vectors and failures that the cache and the shards hold now.
    entries : sequence of Entry
        Rows of the source.
    infos : sequence of EmbeddingInfo
        All embeddings that the cache will have.
    unread : mapping of str to Failure
        Failures by id of files that could not be read.
    prune : bool
        True to drop rows that the source no longer has.
    """
    has_splits = any(entry.row.split for entry in entries)
    splits = {} if has_splits else inventory.list_splits()
    rows: list[Row] = []
    failures: list[Failure] = []
    n_failed = 0
    for entry in entries:
        if entry.row.id in unread:
            failures.append(unread[entry.row.id])
            n_failed += 1
            continue
        read = plan.unchanged.get(entry.row.id) or inventory.work.rows[entry.row.id]
        row = replace(entry.row, digest=read.digest, n_bytes=read.n_bytes, mtime_ns=read.mtime_ns)
        found = inventory.list_failures(row)
        failures.extend(found)
        n_failed += any(map(inventory.concerns_targets, found))
        if any(inventory.has_vector(info.name, row.digest) for info in infos):
            width, height = inventory.find_size(row.digest)
            split = row.split or splits.get(row.id) or splits.get(row.digest)
            rows.append(replace(row, width=width, height=height, split=split))
    gone = _list_gone(inventory, entries, rows)
    return CacheContent(
        infos=tuple(infos),
        rows=rows if prune else rows + gone,
        failures=failures,
        n_failed=n_failed,
        n_removed=len(gone),
    )


def _list_gone(inventory: Inventory, entries: Sequence[Entry], rows: Sequence[Row]) -> list[Row]:
    """List rows of the cache whose file is gone; a renamed file is not gone."""
    ids = {entry.row.id for entry in entries}
    base_rows = inventory.base.rows
    renamed = {row.digest for row in rows if row.id not in base_rows}
    return [row for row in base_rows.values() if row.id not in ids and row.digest not in renamed]


def list_infos(
    base: Mapping[str, EmbeddingInfo], infos: Sequence[EmbeddingInfo], n_embedded: int
) -> list[EmbeddingInfo]:
    """List the embeddings of the updated cache with their provenance.

    Parameters
    ----------
    base : mapping of str to EmbeddingInfo
        Embeddings of the existing cache, by name. Each one keeps its provenance; a run that added
        vectors is appended to the provenance.
    infos : sequence of EmbeddingInfo
        Requested embeddings.
    n_embedded : int
        Number of distinct images that this extraction embedded.
    """
    listed = dict(base)
    for info in infos:
        ours = replace(info.provenance, n_embedded=n_embedded)
        if info.name not in listed:
            listed[info.name] = replace(info, provenance=ours)
        elif n_embedded:
            old = listed[info.name].provenance
            extended = replace(old, updates=(*old.updates, ours))
            listed[info.name] = replace(info, provenance=extended)
    return list(listed.values())
