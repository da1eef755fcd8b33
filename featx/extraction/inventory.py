"""What a run need not do again, and what its cache will hold: decisions, without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from featx.cache.format import DTYPES, EmbeddingInfo
from featx.cache.reader import Cache
from featx.cache.shards import Shards
from featx.cache.writer import Column
from featx.core.errors import CacheError
from featx.core.fingerprint import check_comparable
from featx.core.rows import Failure, Row
from featx.images.manifest import Content, Entry, Manifest

Array = np.ndarray[Any, Any]

IN_BASE = -1
"""Stands for the cache that is there, where a shard has its number."""


class Known:
    """What is known before a run: by the cache that is there, and by shards of unfinished work.

    Content is told by its digest. A row says which digest a path had when it was read.

    Parameters
    ----------
    base : Cache or None
        The cache that is there.
    shards : Shards
    targets : sequence of str
        Names of the embeddings that are asked for.
    retry_failed : bool
        Forget failures.

    Attributes
    ----------
    digests : set of str
        Contents that have a vector in all targets, or are known to fail.
    """

    def __init__(
        self, base: Cache | None, shards: Shards, targets: Sequence[str], *, retry_failed: bool
    ) -> None:
        self.base, self.shards, self.targets = base, shards, tuple(targets)
        self.base_rows: dict[str, Row] = {}
        self._failures: dict[str, dict[str, Failure]] = {}
        self._sizes: dict[str, tuple[int, int]] = {}
        self._read: dict[str, Row | Failure] = {}
        self._places: dict[str, dict[str, int]] = {}
        if retry_failed:
            shards.failures.clear()
        if base is not None:
            self._learn_base(base, retry_failed=retry_failed)
        self.digests = self._find_complete()

    def _learn_base(self, base: Cache, *, retry_failed: bool) -> None:
        rows = base.rows
        self.base_rows = {row.id: row for row in rows}
        for row in rows:
            self._read[row.id] = row
            self._sizes[row.digest] = row.width, row.height
        for name in base.embeddings:
            present = np.flatnonzero(base.read_present(name)).tolist()
            self._places[name] = {rows[index].digest: index for index in present}
        for failure in base.failures:
            if not failure.digest:
                continue
            self._read[failure.id] = failure
            is_ours = not failure.embedding or failure.embedding in self.targets
            if not (is_ours and retry_failed):
                self._failures.setdefault(failure.digest, {})[failure.embedding] = failure

    def _find_complete(self) -> set[str]:
        complete = set(self.shards.places) | set(self.shards.failures)
        for digest, found in self._failures.items():
            if "" in found or all(
                name in found or self._has(name, digest) for name in self.targets
            ):
                complete.add(digest)
        return complete | self._list_in_base()

    def _list_in_base(self) -> set[str]:
        """List contents that have a vector in all targets in the cache that is there."""
        return set.intersection(*(set(self._places.get(name, ())) for name in self.targets))

    def _has(self, name: str, digest: str) -> bool:
        return self.find_place(name, digest) is not None

    @property
    def adds_vectors(self) -> bool:
        """Whether the shards hold a content that the cache lacks."""
        return not self._list_in_base().issuperset(self.shards.places)

    def find_settled(self, entry: Entry, *, rehash: bool) -> Row | None:
        """Return a row with its digest if its file is as it was, by size and time of last change.

        Parameters
        ----------
        entry : Entry
        rehash : bool
            Trust these only for what this unfinished run has read.
        """
        read: Row | Failure | None = self.shards.rows.get(entry.row.id)
        if read is None and not rehash:
            read = self._read.get(entry.row.id)
        # Another path is another file, whatever its size and time.
        if read is None or read.path != entry.row.path or read.mtime_ns < 0:
            return None
        if read.digest not in self.digests:
            return None
        assert isinstance(entry.content, Content)
        try:
            now = entry.content.stat()
        except OSError:
            return None  # tried again, and then a failure with its reason
        if now != (read.n_bytes, read.mtime_ns):
            return None
        return replace(entry.row, digest=read.digest, n_bytes=now[0], mtime_ns=now[1])

    def list_failures(self, row: Row) -> list[Failure]:
        """List why a file's content has no vector, one for each embedding or one for all."""
        found = self._failures.get(row.digest, {}) | self.shards.failures.get(row.digest, {})
        if not found:
            return []
        names = dict.fromkeys([*self._places, *self.targets])
        have = {name for name in names if self._has(name, row.digest)}
        if have and "" in found:  # another network had it: it lacks the others, not all
            found = {name: replace(found[""], embedding=name) for name in self.targets} | found
        return [
            replace(one, id=row.id, path=row.path, n_bytes=row.n_bytes, mtime_ns=row.mtime_ns)
            for name, one in found.items()
            if name not in have and not (have and name == "")
        ]

    def find_size(self, digest: str) -> tuple[int, int]:
        """Return width and height of a content that has a vector."""
        return self.shards.sizes.get(digest) or self._sizes[digest]

    def list_splits(self) -> dict[str, str]:
        """List the splits that the cache records, by id and by digest."""
        splits: dict[str, str] = {}
        for row in self.base_rows.values():
            if row.split:
                splits[row.id] = splits[row.digest] = row.split
        return splits

    def find_place(self, name: str, digest: str) -> tuple[int, int] | None:
        """Return where a content's vector is: shard or `IN_BASE`, and row."""
        if name in self.targets and digest in self.shards.places:
            return self.shards.places[digest]
        index = self._places.get(name, {}).get(digest)
        return None if index is None else (IN_BASE, index)

    def build_column(self, info: EmbeddingInfo, dtype: str, rows: Sequence[Row]) -> Column:
        """Say where the vectors of one embedding come from, for all rows of a cache to be."""
        nowhere = (IN_BASE, -1)
        found = [self.find_place(info.name, row.digest) or nowhere for row in rows]
        places = np.array(found, np.int64).reshape(-1, 2)  # (n_rows, 2)

        def read(start: int, end: int) -> Array:
            block = places[start:end]
            values = np.full((end - start, info.fingerprint.dim), np.nan, dtype)
            there = block[:, 1] >= 0
            for number in np.unique(block[there, 0]):
                mask = there & (block[:, 0] == number)
                values[mask] = self._read_vectors(info.name, int(number), block[mask, 1])
            return values

        return Column(info, dtype, read)

    def _read_vectors(self, name: str, number: int, rows: Array) -> Array:
        if number != IN_BASE:
            return self.shards.read_vectors(name, number, rows)
        assert self.base is not None
        return self.base.read_vectors(name, rows)


@dataclass(frozen=True)
class Outcome:
    """What a cache will hold.

    Attributes
    ----------
    rows : list of Row
        In the order of the source; kept ones that it has no more come last.
    failures : list of Failure
        In the order of the source.
    n_failed : int
        Images of the source that lack an embedding that was asked for.
    n_removed : int
        Rows of the cache that the source has no more, but for renamed ones.
    """

    rows: list[Row]
    failures: list[Failure]
    n_failed: int
    n_removed: int


def assemble(
    known: Known,
    entries: Sequence[Entry],
    settled: Mapping[str, Row],
    unread: Mapping[str, Failure],
    names: Sequence[str],
    *,
    prune: bool,
) -> Outcome:
    """Join a source's rows to what is known of their contents.

    Parameters
    ----------
    known : Known
    entries : sequence of Entry
        The source.
    settled : mapping of str to Row
        By id, files that are as they were; all others the shards know.
    unread : mapping of str to Failure
        By id, where the file could not be read.
    names : sequence of str
        All embeddings that the cache will have.
    prune : bool
        Drop rows that the source has no more.
    """
    has_splits = any(entry.row.split for entry in entries)
    splits = {} if has_splits else known.list_splits()
    rows: list[Row] = []
    failures: list[Failure] = []
    n_failed = 0
    ours = {"", *known.targets}
    for entry in entries:
        if entry.row.id in unread:
            failures.append(unread[entry.row.id])
            n_failed += 1
            continue
        read = settled.get(entry.row.id) or known.shards.rows[entry.row.id]
        row = replace(entry.row, digest=read.digest, n_bytes=read.n_bytes, mtime_ns=read.mtime_ns)
        found = known.list_failures(row)
        failures.extend(found)
        n_failed += any(failure.embedding in ours for failure in found)
        if any(known.find_place(name, row.digest) for name in names):
            width, height = known.find_size(row.digest)
            split = row.split or splits.get(row.id) or splits.get(row.digest)
            rows.append(replace(row, width=width, height=height, split=split))
    gone = _find_gone(known, entries, rows)
    return Outcome(rows if prune else rows + gone, failures, n_failed, len(gone))


def _find_gone(known: Known, entries: Sequence[Entry], rows: Sequence[Row]) -> list[Row]:
    """List rows of the cache whose file is no more; one whose content has a new name is not."""
    ids = {entry.row.id for entry in entries}
    renamed = {row.digest for row in rows if row.id not in known.base_rows}
    return [
        row for row in known.base_rows.values() if row.id not in ids and row.digest not in renamed
    ]


def list_infos(
    base: Cache | None, infos: Sequence[EmbeddingInfo], n_embedded: int
) -> list[EmbeddingInfo]:
    """List the embeddings of a cache to be; those that were there keep their provenance."""
    listed = {name: base.get_info(name) for name in base.embeddings} if base is not None else {}
    for info in infos:
        if info.name not in listed:
            listed[info.name] = replace(
                info, provenance=replace(info.provenance, n_embedded=n_embedded)
            )
        elif n_embedded:
            old = listed[info.name].provenance
            update = replace(info.provenance, n_embedded=n_embedded)
            extended = replace(old, updates=(*old.updates, update))
            listed[info.name] = replace(info, provenance=extended)
    return list(listed.values())


def choose_dtype(base: Cache | None, info: EmbeddingInfo, dtype: str) -> str:
    """Choose a column's dtype: the one it has, else the one that was asked for."""
    return base.get_dtype(info.name) if base is not None and info.name in base.embeddings else dtype


def differs(base: Cache, columns: Sequence[EmbeddingInfo], outcome: Outcome) -> bool:
    """Tell whether a cache would be written anew."""
    return (
        outcome.rows != base.rows
        or outcome.failures != list(base.failures)
        or [info.name for info in columns] != list(base.embeddings)
    )


def settle_storage(
    base: Cache | None, names: Sequence[str], dtype: str | None, batch_size: int | None
) -> tuple[str, int | None]:
    """Choose dtype and batch size: those of the embeddings that are extended.

    Raises
    ------
    CacheError
        If others were asked for, or two of these differ.
    """
    there = [name for name in names if base is not None and name in base.embeddings]
    for name in there:
        assert base is not None
        have: dict[str, Any] = {
            "dtype": base.get_dtype(name),
            "batch size": base.get_info(name).provenance.batch_size,
        }
        for field, asked in (("dtype", dtype), ("batch size", batch_size)):
            if asked not in (None, have[field]):
                raise CacheError(
                    f"{base.path}, embedding {name}: expected {field} {have[field]}, with which it "
                    f"was begun, got {asked}. Leave the option out, extract layers one at a time, "
                    "or pass --overwrite to begin anew."
                )
        dtype, batch_size = have["dtype"], have["batch size"]
    return dtype or DTYPES[0], batch_size


def check_fingerprints(base: Cache, infos: Sequence[EmbeddingInfo]) -> None:
    """Refuse to mix embeddings that cannot be compared."""
    for info in infos:
        if info.name in base.embeddings:
            check_comparable(
                base.get_info(info.name).fingerprint,
                info.fingerprint,
                subject=f"{base.path}, embedding {info.name}",
                remedy="Pass what it was made with, --name to put another beside it, or "
                "--overwrite to begin anew.",
            )


def is_other_source(base: Cache, manifest: Manifest) -> bool:
    """Tell whether a cache was made from something else: another name, and no image in common."""
    ids = {entry.row.id for entry in manifest.entries}
    is_other = base.source != manifest.source and ids.isdisjoint(base.ids.tolist())
    return len(base) > 0 and is_other


def check_same_source(base: Cache, manifest: Manifest) -> None:
    """Refuse another source by mistake: its rows would be added to rows it knows nothing of."""
    if is_other_source(base, manifest):
        raise CacheError(
            f"{base.path}: expected the source it was made from, {base.source}, got "
            f"{manifest.source}, with which it has no image in common. Name another output, or "
            "pass --overwrite to begin anew."
        )
