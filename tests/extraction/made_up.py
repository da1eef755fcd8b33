"""Sources, caches and finished work that exist in memory only: cases for tables."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import cast

from featx.cache.shards import Shards
from featx.core.rows import Failure, Row
from featx.extraction.inventory import BaseIndex, Inventory
from featx.images.manifest import Content, Entry, Manifest

TARGET = "tiny"
OTHER = "other"


def row(name: str, digest: str = "", *, split: str | None = None, mtime_ns: int = 7) -> Row:
    """Build the row of an image that was read; its size in bytes is always 10."""
    size = (24, 20) if digest else (0, 0)
    return Row(
        id=name,
        path=f"/photos/{name}",
        label="ants",
        split=split,
        digest=digest,
        width=size[0],
        height=size[1],
        n_bytes=10,
        mtime_ns=mtime_ns,
    )


def fail(name: str, digest: str, embedding: str = "", reason: str = "broken") -> Failure:
    """Build a line of the ledger."""
    stage = "embed" if embedding else "decode"
    return Failure(
        name, f"/photos/{name}", digest, stage, reason, embedding, n_bytes=10, mtime_ns=7
    )


def entries(*names: str, split: str | None = None) -> tuple[Entry, ...]:
    """Build rows of a source, before they are read."""
    return tuple(
        Entry(Row(name, f"/photos/{name}", "ants", split), Content(f"/photos/{name}"))
        for name in names
    )


def manifest(*names: str) -> Manifest:
    """Build a source."""
    return Manifest("/photos", entries(*names))


def base(
    rows: Sequence[Row] = (),
    failures: Sequence[Failure] = (),
    *,
    without: Mapping[str, Sequence[str]] | None = None,
    names: Sequence[str] = (TARGET,),
) -> BaseIndex:
    """Build the index of a cache; `without` lists digests that an embedding lacks."""
    lacks = without or {}
    return BaseIndex(
        rows={one.id: one for one in rows},
        failures=tuple(failures),
        indices={
            name: {
                one.digest: index
                for index, one in enumerate(rows)
                if one.digest not in lacks.get(name, ())
            }
            for name in names
        },
    )


def shards(
    rows: Sequence[Row] = (), repeats: Sequence[Row] = (), failures: Sequence[Failure] = ()
) -> Shards:
    """Build the finished work of one extraction, all in shard 1."""
    by_digest: dict[str, dict[str, Failure]] = {}
    for failure in failures:
        by_digest.setdefault(failure.digest, {})[failure.embedding] = failure
    read = [*rows, *repeats, *(row(one.id, one.digest) for one in failures)]
    made_up = SimpleNamespace(
        places={one.digest: (1, index) for index, one in enumerate(rows)},
        rows={one.id: one for one in read},
        failures=by_digest,
        sizes={one.digest: (one.width, one.height) for one in rows},
    )
    return cast(Shards, made_up)


def inventory(
    there: BaseIndex | None = None,
    done: Shards | None = None,
    *,
    targets: Sequence[str] = (TARGET,),
    retry_failed: bool = False,
) -> Inventory:
    """Build an inventory of both."""
    return Inventory(there or base(), done or shards(), targets, retry_failed=retry_failed)
