"""Sources, caches and finished work that exist in memory only: cases for tables."""

from collections.abc import Mapping, Sequence

from featx.cache.index import WorkIndex
from featx.core.rows import Failure, Row
from featx.core.typing import Split, Stage
from featx.extraction.inventory import BaseIndex, Inventory
from featx.images.content import Content
from featx.images.manifest import Entry, Manifest

TARGET = "tiny"
OTHER = "other"


def row(name: str, digest: str = "", *, split: Split | None = None, mtime_ns: int = 7) -> Row:
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
    stage: Stage = "embed" if embedding else "decode"
    return Failure(
        id=name,
        path=f"/photos/{name}",
        digest=digest,
        stage=stage,
        reason=reason,
        embedding=embedding,
        n_bytes=10,
        mtime_ns=7,
    )


def entries(*names: str, split: Split | None = None) -> tuple[Entry, ...]:
    """Build rows of a source, before they are read."""
    return tuple(
        Entry(
            Row(id=name, path=f"/photos/{name}", label="ants", split=split),
            Content(f"/photos/{name}"),
        )
        for name in names
    )


def manifest(*names: str) -> Manifest:
    """Build a source."""
    return Manifest(source="/photos", entries=entries(*names))


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


def work(
    rows: Sequence[Row] = (), repeats: Sequence[Row] = (), failures: Sequence[Failure] = ()
) -> WorkIndex:
    """Build the index of the finished work of one extraction, all in shard 1."""
    index = WorkIndex()
    index.add(1, rows, repeats, failures)
    return index


def inventory(
    there: BaseIndex | None = None,
    done: WorkIndex | None = None,
    *,
    targets: Sequence[str] = (TARGET,),
    retry_failed: bool = False,
) -> Inventory:
    """Build an inventory of both."""
    return Inventory(there or base(), done or work(), targets, retry_failed=retry_failed)
