"""Sources, caches and finished work that exist in memory only: cases for tables."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from featx.cache.index import WorkIndex
from featx.core.columns import Table
from featx.core.row_tables import READ_KINDS, ROW_KINDS, build_table
from featx.core.rows import Failure, Row
from featx.core.typing import Split, Stage
from featx.extraction.inventory import BaseIndex, Inventory
from featx.images.content import Content
from featx.images.contents import NOWHERE
from featx.images.entries import Entry
from featx.images.manifest import Manifest
from featx.labels.element import Labels

TARGET = "tiny"
OTHER = "other"

FileState = tuple[int, int]


def digest(word: str) -> str:
    """Return the digest that stands for a short word in these tests; "" for an empty one."""
    return hashlib.sha256(word.encode()).hexdigest() if word else ""


def row(name: str, content: str = "", *, split: Split | None = None, mtime_ns: int = 7) -> Row:
    """Build the row of an image that was read; its size in bytes is always 10."""
    size = (24, 20) if content else (0, 0)
    return Row(
        id=name,
        path=f"/photos/{name}",
        label="ants",
        split=split,
        digest=digest(content),
        width=size[0],
        height=size[1],
        n_bytes=10,
        mtime_ns=mtime_ns,
    )


def fail(name: str, content: str, embedding: str = "", reason: str = "broken") -> Failure:
    """Build a line of the ledger."""
    stage: Stage = "embed" if embedding else "decode"
    return Failure(
        id=name,
        path=f"/photos/{name}",
        digest=digest(content),
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
    """Build the index of a cache; `without` lists contents that an embedding lacks."""
    lacks = {name: list(map(digest, words)) for name, words in (without or {}).items()}
    table = build_table(rows, ROW_KINDS)
    return BaseIndex(
        rows=table,
        labels=Labels.of_source(table),
        failures=tuple(failures),
        present={
            name: np.array([one.digest not in lacks.get(name, ()) for one in rows], bool)
            for name in names
        },
    )


@dataclass(frozen=True)
class Work:
    """The finished work of one extraction, all in shard 1."""

    rows: Sequence[Row] = ()
    repeats: Sequence[Row] = ()
    failures: Sequence[Failure] = ()


def inventory(
    there: BaseIndex | None = None,
    done: Work | None = None,
    *,
    source: Sequence[Entry] | None = None,
    targets: Sequence[str] = (TARGET,),
    retry_failed: bool = False,
) -> Inventory:
    """Build an inventory of a source, a cache and finished work."""
    listed = entries("a.png", "b.png") if source is None else source
    rows = Manifest(source="/photos", entries=listed).rows
    done, index = done or Work(), WorkIndex(rows)
    read, repeats = (build_table(some, READ_KINDS) for some in (done.rows, done.repeats))
    index.add(1, read, repeats, done.failures)
    return Inventory(rows, there or base(), index, targets, retry_failed=retry_failed)


def observe(given: Inventory, states: Mapping[str, FileState]) -> Table:
    """Build what `observe_files` finds: the states of files by id; others are not there."""
    nowhere = (NOWHERE, NOWHERE)
    found = np.array([states.get(name, nowhere) for name in given.source["id"]], np.int64)
    return Table({"n_bytes": found[:, 0], "mtime_ns": found[:, 1]})
