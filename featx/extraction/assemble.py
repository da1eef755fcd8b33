"""Decide what the updated cache contains. Nothing is read and nothing is written here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from featx.cache.format import EmbeddingInfo
from featx.cache.reader import Cache
from featx.core.columns import Table, Texts
from featx.core.digests import is_known
from featx.core.lookup import DigestIndex, TextIndex
from featx.core.rows import Failure
from featx.core.typing import Array, BoolArray, IntArray
from featx.extraction.inventory import READ, Inventory
from featx.extraction.plan import Plan
from featx.labels.carry import carry_over
from featx.labels.element import Labels


@dataclass(frozen=True, kw_only=True)
class CacheContent:
    """The rows, failures and embeddings that the updated cache will contain.

    Attributes
    ----------
    infos : tuple of EmbeddingInfo
        All embeddings; those of the existing cache come first.
    rows : Table
        Rows in the order of their arrival: those of the existing cache where they are, then new
        ones in the order of the source. A renamed file keeps its row. Their label, split and group
        are the source's.
    labels : Labels
        What the source and people say of the rows, and what holds.
    origin : ndarray of int
        ``(n_rows,)``, row of the existing cache that each row was; -1 for a new one.
    places : mapping of str to ndarray of int
        Where the vector of each row lies, as `Inventory.locate` says it, by embedding.
    changed : ndarray of int
        Rows of the existing cache whose columns or vectors differ now.
    keeps_all : bool
        Whether all rows of the existing cache stay where they are.
    failures : list of Failure
        Lines of the ledger, in the order of the source.
    n_failed : int
        Number of images of the source that lack a requested embedding.
    n_removed : int
        Number of rows that the source no longer has; renamed files are not counted.
    """

    infos: tuple[EmbeddingInfo, ...]
    rows: Table
    labels: Labels
    origin: IntArray
    places: Mapping[str, IntArray]
    changed: IntArray
    keeps_all: bool
    failures: list[Failure]
    n_failed: int
    n_removed: int

    def differs_from(self, base: Cache) -> bool:
        """Tell whether rows, failures or embeddings differ from those of a cache."""
        return (
            not self.keeps_all
            or len(self.rows) > len(base)
            or len(self.changed) > 0
            or self.failures != list(base.failures)
            or [info.name for info in self.infos] != list(base.embeddings)
        )


def assemble(
    plan: Plan,
    inventory: Inventory,
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
        Rows of the source; vectors and failures that the cache and the shards hold now.
    infos : sequence of EmbeddingInfo
        All embeddings that the cache will have.
    unread : mapping of str to Failure
        Failures by id of files that could not be read.
    prune : bool
        True to drop rows that the source no longer has.
    """
    reads = _join_reads(plan, inventory)
    is_lost = np.zeros(len(inventory.source), bool)
    if unread:
        is_lost = TextIndex(Texts.from_list(unread)).find(inventory.source["id"]) >= 0
    places = {
        info.name: inventory.locate(info.name, reads["digest"], inventory.origin) for info in infos
    }
    failures, n_failed = _list_failures(inventory, reads, is_lost, unread)
    first = np.full(len(is_lost), -1, np.int64)
    for found in places.values():
        first = np.where(first >= 0, first, found)
    is_kept = ~is_lost & (first >= 0)
    origin, gone, renamed = _find_origin(inventory, reads, is_kept)
    stays = gone[:0] if prune else gone[~renamed]
    slots = np.full(inventory.n_base, -1, np.int64)  # what becomes of each row of the cache
    moved = np.flatnonzero(is_kept & (origin >= 0))
    slots[origin[moved]] = moved
    slots[stays] = len(is_lost) + np.arange(len(stays))
    is_there = slots >= 0
    new = np.flatnonzero(is_kept & (origin < 0))
    order = np.concatenate([slots[is_there], new])
    rows = _build_rows(inventory, reads, first)
    if len(stays):
        rows = Table.concat([rows, inventory.base.rows[stays].select(rows.names)])
    for name in places:
        own = inventory.locate(name, inventory.base.rows["digest"][stays], stays)
        places[name] = np.concatenate([places[name], own])[order]
    rows = rows[order]
    origin = np.concatenate([np.flatnonzero(is_there), np.full(len(new), -1)])
    keeps_all = bool(is_there.all())
    return CacheContent(
        infos=tuple(infos),
        rows=rows,
        labels=carry_over(
            inventory.base.labels, rows, origin=origin, base_keys=inventory.base.rows, keys=rows
        ),
        origin=origin,
        places=places,
        changed=_find_changed(inventory, rows, places) if keeps_all else origin[:0],
        keeps_all=keeps_all,
        failures=failures,
        n_failed=n_failed,
        n_removed=int((~renamed).sum()),
    )


def _join_reads(plan: Plan, inventory: Inventory) -> Table:
    """Join the reads of unchanged files with those of this extraction, for all rows."""
    is_unchanged, done = plan.reads.is_usable, inventory.work.reads
    if is_unchanged.all():
        return plan.reads.table
    if not is_unchanged.any():
        return done
    return Table(
        {
            name: np.where(_align(is_unchanged, done[name]), plan.reads.table[name], done[name])
            for name in READ
        }
    )


def _align(mask: BoolArray, column: Array) -> Array:
    return mask.reshape(-1, *[1] * (column.ndim - 1))


def _list_failures(
    inventory: Inventory, reads: Table, is_lost: BoolArray, unread: Mapping[str, Failure]
) -> tuple[list[Failure], int]:
    """List the failures of all rows of the source, and count the rows that lack a target."""
    failing = np.zeros(len(is_lost), bool)
    failing[inventory.find_failing(reads["digest"])] = True
    failures: list[Failure] = []
    n_failed = 0
    for row in inventory.describe_rows(reads, np.flatnonzero(failing | is_lost)):
        found = [unread[row.id]] if row.id in unread else inventory.list_failures(row)
        failures += found
        n_failed += any(map(inventory.concerns_targets, found))
    return failures, n_failed


def _find_origin(
    inventory: Inventory, reads: Table, is_kept: BoolArray
) -> tuple[IntArray, IntArray, BoolArray]:
    """Find the row of the cache that each row of the source was; a renamed file is the same row.

    Returns
    -------
    origin : ndarray of int
        ``(n_rows,)``, row of the cache; -1 for a new row.
    gone : ndarray of int
        ``(n_gone,)``, rows of the cache that have an id that the source has no longer.
    renamed : ndarray of bool
        ``(n_gone,)``, those of them whose content the source has under a new id.
    """
    origin, base = inventory.origin.copy(), inventory.base.rows
    has_id = np.zeros(inventory.n_base, bool)
    has_id[origin[origin >= 0]] = True
    gone, new = np.flatnonzero(~has_id), np.flatnonzero(is_kept & (origin < 0))
    if not len(gone) or not len(new):
        return origin, gone, np.zeros(len(gone), bool)
    digests = base["digest"][gone]
    found = DigestIndex(reads["digest"][new]).find(digests)
    renamed = (found >= 0) & is_known(digests)
    taken, first = np.unique(found[renamed], return_index=True)
    origin[new[taken]] = gone[renamed][first]
    return origin, gone, renamed


def _build_rows(inventory: Inventory, reads: Table, places: IntArray) -> Table:
    """Build all columns of the rows of the source; sizes are those of their contents."""
    sizes = {}
    in_base = places < inventory.n_base
    for name in ("width", "height"):
        sizes[name] = np.zeros(len(places), np.int32)
        for table, rows, chosen in (
            (inventory.base.rows, places, (places >= 0) & in_base),
            (inventory.work.contents, places - inventory.n_base, ~in_base),
        ):
            sizes[name][chosen] = table[name][rows[chosen]]
    columns = {**{name: reads[name] for name in READ}, **sizes}
    return inventory.source.replace(**columns)


def _find_changed(inventory: Inventory, rows: Table, places: Mapping[str, IntArray]) -> IntArray:
    """Find the rows of the cache whose columns or vectors differ now."""
    base, n_base = inventory.base, inventory.n_base
    differs = ~rows[:n_base].equal(base.rows.select(rows.names))
    for name in base.present:
        differs[inventory.find_moved(name, places[name][:n_base])] = True
    return np.flatnonzero(differs)


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
