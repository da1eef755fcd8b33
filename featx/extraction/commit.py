"""Write what an extraction has put together to the cache, unless the cache is up to date."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from featx.cache.format import EmbeddingInfo
from featx.cache.writer import Column, Placement, check_same, update_cache, write_cache
from featx.core.learnt import Digests
from featx.core.typing import Array, IntArray
from featx.extraction.assemble import CacheContent
from featx.extraction.inventory import Inventory
from featx.extraction.workspace import Workspace


def commit(
    output: Path,
    workspace: Workspace,
    inventory: Inventory,
    content: CacheContent,
    *,
    learnt: Mapping[str, Digests],
    overwrite: bool,
) -> bool:
    """Write the cache unless it is up to date, and remove the unfinished work.

    A cache that another program put there meanwhile is not replaced, unless `overwrite` is True.

    Returns
    -------
    bool
        True if the cache was written.
    """
    base, shards = workspace.base, workspace.shards
    # The rows may be the same, for example those of another embedding, and still have new vectors.
    is_changed = base is None or inventory.adds_vectors or content.differs_from(base)
    if base is not None and not is_changed:  # the weights may say now what they did not say before
        is_changed = any(
            len(learnt[name]) > len(base.read_learnt_digests(name)) for name in base.embeddings
        )

    def check() -> None:
        workspace.lock.check()
        if base is not None:
            check_same(output, base.digest)

    if is_changed:
        columns = [
            _build_column(workspace, inventory, info, content, learnt=learnt[info.name])
            for info in content.infos
        ]
        overwrite = overwrite or base is not None
        placement = Placement(overwrite=overwrite, folder=shards.folder, check=check)
        source = workspace.manifest.source
        if base is not None and content.keeps_all:
            update_cache(
                output,
                content.rows,
                columns,
                base=base,
                failures=content.failures,
                source=source,
                labels=content.labels,
                placement=placement,
            )
        else:
            write_cache(
                output,
                content.rows,
                columns,
                failures=content.failures,
                source=source,
                labels=content.labels,
                keep=base,
                placement=placement,
            )
    shards.remove()
    return is_changed


def _build_column(
    workspace: Workspace,
    inventory: Inventory,
    info: EmbeddingInfo,
    content: CacheContent,
    *,
    learnt: Digests,
) -> Column:
    """Describe where the vectors of one embedding are read from."""
    base, shards, dtype = workspace.base, workspace.shards, workspace.dtype
    if base is not None and info.name in base.embeddings:
        dtype = base.get_dtype(info.name)
    places, n_base = content.places[info.name], inventory.n_base
    contents = inventory.work.contents
    differing = None
    if content.keeps_all and info.name in inventory.base.present:
        differing = inventory.find_moved(info.name, places[:n_base])

    def read(rows: IntArray) -> Array:
        values = np.full((len(rows), info.fingerprint.dim), np.nan, dtype)
        some = places[rows]
        in_base = (some >= 0) & (some < n_base)
        if in_base.any():
            assert base is not None
            values[in_base] = base.read_vectors(info.name, some[in_base])
        in_shards = np.flatnonzero(some >= n_base)
        done = some[in_shards] - n_base
        for shard in np.unique(contents["shard"][done]).tolist():
            chosen = contents["shard"][done] == shard
            indices = contents["row"][done[chosen]].astype(np.int64)
            values[in_shards[chosen]] = shards.read_vectors(info.name, shard, indices)
        return values

    return Column(info=info, dtype=dtype, read=read, rows=differing, learnt=learnt)
