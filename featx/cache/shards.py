"""What an unfinished extraction has done: sealed files that nobody writes to any more."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from featx.cache.format import (
    EmbeddingInfo,
    create_vectors,
    open_sealed,
    read_table,
    take_rows,
    write_table,
)
from featx.cache.lock import CacheLock
from featx.cache.seal import SealedFile, check_seal, seal_file
from featx.cache.writable import open_writable
from featx.cache.writer import write_stamp
from featx.core.errors import CacheDamagedError, CacheError
from featx.core.files import explain_errors, replace_file, sync_folder
from featx.core.rows import Failure, Row

Array = np.ndarray[Any, Any]

KIND = "featx-shard"
MAX_OPEN = 16
"""Shards that are open at a time, in a merge."""

MAX_PENDING = 16 << 20
"""Bytes of vectors that wait for their shard at the most: they are memory that grows with rows."""


@dataclass(frozen=True, slots=True)
class _Done:
    """What came of one batch."""

    rows: tuple[Row, ...]
    vectors: dict[str, Array]
    repeats: tuple[Row, ...]
    failures: tuple[Failure, ...]


def _join(parts: Sequence[_Done]) -> tuple[list[Row], list[Row], list[Failure]]:
    """Join rows, repeats and failures of several batches."""
    return (
        [row for part in parts for row in part.rows],
        [row for part in parts for row in part.repeats],
        [failure for part in parts for failure in part.failures],
    )


class Shards:
    """The work folder of one extraction, opened anew or where a run before it ended.

    What is in it is told by content: a vector belongs to the digest of a file's bytes, and a row
    says which digest its file had.

    Parameters
    ----------
    folder : Path
        Beside the cache.
    infos : sequence of EmbeddingInfo
        What is computed.
    dtype : {"float32", "float16"}
        Of the stored vectors.
    batch_size : int
        The shape of the batches.
    fresh : bool
        Drop the work of another extraction, which is refused otherwise.
    lock : CacheLock, optional
        Looked at before the folder is changed: it may have been broken.

    Attributes
    ----------
    places : dict of str to (int, int)
        Digest of each embedded content, and the shard and row where its vectors are.
    rows : dict of str to Row
        What was read, by id, with digest and size.
    failures : dict of str to dict of str to Failure
        By digest, then by embedding, "" for all. Files that could not be read are not among them:
        they are always tried again.
    sizes : dict of str to (int, int)
        Width and height of each embedded content, by its digest.
    n_damaged : int
        Shards that were not what was sealed, and are done again.

    Raises
    ------
    CacheError
        If the folder holds the work of another extraction, or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        infos: Sequence[EmbeddingInfo],
        *,
        dtype: str,
        batch_size: int,
        fresh: bool = False,
        lock: CacheLock | None = None,
    ) -> None:
        self.folder = folder
        self.places: dict[str, tuple[int, int]] = {}
        self.rows: dict[str, Row] = {}
        self.failures: dict[str, dict[str, Failure]] = {}
        self.sizes: dict[str, tuple[int, int]] = {}
        self.n_damaged = 0
        self._lock = lock
        self._digests: dict[int, str] = {}
        self._infos = infos
        self._dtype = np.dtype(dtype)
        self._row_bytes = sum(info.fingerprint.dim for info in infos) * self._dtype.itemsize
        self._number = 0
        self._clear()
        self._opened: dict[int, tuple[contextlib.ExitStack, h5py.File, SealedFile]] = {}
        self._plan = {
            "embeddings": {info.name: json.loads(info.fingerprint.to_json()) for info in infos},
            "dtype": dtype,
            "batch_size": batch_size,
        }
        with explain_errors(folder, error=CacheError):
            folder.mkdir(exist_ok=True)
            sync_folder(folder.parent)
            for leftover in folder.glob(".*"):
                leftover.unlink()
            for path in sorted(folder.glob("shard-" + "[0-9]" * 6 + ".h5")):
                self._read_index(path, fresh=fresh)

    def _clear(self) -> None:
        self._pending: list[_Done] = []
        self._n_pending = 0
        self._since = time.monotonic()

    def _read_index(self, path: Path, *, fresh: bool) -> None:
        """Learn what a shard holds; drop one that is damaged, so that it is done again."""
        number = int(path.stem.removeprefix("shard-"))
        self._number = max(self._number, number)
        try:
            check_seal(path)
            with open_sealed(path, KIND) as (file, sealed):
                self._digests[number] = sealed.digest
                plan = json.loads(file.attrs["plan"])
                tables = [read_table(file[name], Row) for name in ("rows", "repeats")]
                failures = read_table(file["failures"], Failure)
        except CacheDamagedError:
            self.n_damaged += 1
            path.unlink()
            return
        if plan == self._plan:
            self._learn(number, tables[0], tables[1], failures)
        elif fresh:
            path.unlink()
        else:
            raise CacheError(
                f"{self.folder}: expected the unfinished work of this extraction, got "
                f"{_differ(self._plan, plan)}. Finish it with the arguments it was begun with, or "
                f"drop it: rm -r {self.folder}"
            )

    def _learn(
        self, number: int, rows: list[Row], repeats: list[Row], failures: list[Failure]
    ) -> None:
        for index, row in enumerate(rows):
            self.places[row.digest] = (number, index)
            self.sizes[row.digest] = (row.width, row.height)
        self.rows.update((row.id, row) for row in [*rows, *repeats])
        for failure in failures:
            if failure.digest:
                self.failures.setdefault(failure.digest, {})[failure.embedding] = failure
                self.rows[failure.id] = Row(
                    failure.id,
                    failure.path,
                    digest=failure.digest,
                    n_bytes=failure.n_bytes,
                    mtime_ns=failure.mtime_ns,
                )

    def forget_failures(self) -> None:
        """Forget which contents failed, so that they are tried again."""
        self.failures.clear()

    def append(
        self,
        rows: Sequence[Row],
        vectors: Mapping[str, Array],
        *,
        repeats: Sequence[Row] = (),
        failures: Sequence[Failure] = (),
    ) -> None:
        """Add what came of a batch; it is durable once `seal` was called.

        Parameters
        ----------
        rows : sequence of Row
            Of contents that were not there before.
        vectors : mapping of str to ndarray
            Per embedding ``(len(rows), dim)``, finite; not to be changed afterwards.
        repeats : sequence of Row
            Whose content was there.
        failures : sequence of Failure
        """
        cast: dict[str, Array] = {}
        for name, values in vectors.items():
            cast[name] = values.astype(self._dtype, copy=False)
            assert np.isfinite(cast[name]).all()
        # One step, so that a signal between two cannot part rows from vectors.
        self._pending.append(_Done(tuple(rows), cast, tuple(repeats), tuple(failures)))
        self._n_pending += len(rows)

    def seal_when_due(self, seconds: float) -> None:
        """Make durable what waits, after so many seconds or where it is much."""
        due = time.monotonic() - self._since >= seconds
        if due or self._n_pending * self._row_bytes >= MAX_PENDING:
            self.seal()

    def seal(self) -> None:
        """Make durable what waits: written aside, flushed, read back, then named."""
        if not self._pending:
            self._since = time.monotonic()
            return
        joined = _join(self._pending)
        draft = self.folder / ".shard.h5"
        try:
            with explain_errors(self.folder, error=CacheError):
                self._write(draft, *joined)
                digest = seal_file(draft)
                check_seal(draft)
                if self._lock is not None:
                    self._lock.check()
                replace_file(draft, self._name(self._number + 1))
        finally:
            draft.unlink(missing_ok=True)
        self._number += 1
        self._digests[self._number] = digest
        self._learn(self._number, *joined)
        self._clear()

    def _write(
        self, path: Path, rows: list[Row], repeats: list[Row], failures: list[Failure]
    ) -> None:
        with open_writable(path, "w") as (file, _):
            write_stamp(file, KIND)
            file.attrs["plan"] = json.dumps(self._plan)
            write_table(file.create_group("rows"), Row, rows)
            write_table(file.create_group("repeats"), Row, repeats)
            write_table(file.create_group("failures"), Failure, failures)
            group = file.create_group("vectors")
            for info in self._infos:
                size = len(rows), info.fingerprint.dim
                dataset = create_vectors(group, info.name, *size, self._dtype.name)
                parts = [done.vectors[info.name] for done in self._pending if done.rows]
                if parts:
                    dataset[:] = np.concatenate(parts)

    def _name(self, number: int) -> Path:
        return self.folder / f"shard-{number:06}.h5"

    def read_vectors(self, name: str, number: int, rows: Array) -> Array:
        """Read vectors of one shard, ``(len(rows), dim)``, verified."""
        if number not in self._opened:
            if len(self._opened) >= MAX_OPEN:
                self._opened.pop(next(iter(self._opened)))[0].close()
            stack = contextlib.ExitStack()
            file, sealed = stack.enter_context(open_sealed(self._name(number), KIND))
            self._opened[number] = stack, file, sealed
            if sealed.digest != self._digests[number]:  # whose lock was broken may have written it
                raise sealed.explain("a whole shard")
        _, file, sealed = self._opened[number]
        with sealed.guard():
            return take_rows(file[f"vectors/{name}"], rows)

    def close(self) -> None:
        """Close the shards that are open."""
        while self._opened:
            self._opened.popitem()[1][0].close()

    def remove(self) -> None:
        """Remove the folder."""
        self.close()
        if self._lock is not None:
            self._lock.check()
        # All is done: what cannot be removed is no reason to say otherwise.
        shutil.rmtree(self.folder, ignore_errors=True)


def find_batch_size(folder: Path) -> int | None:
    """Return the batch size of unfinished work, if there is any: it goes on with the same."""
    plan = _find_plan(folder)
    return None if plan is None else int(plan["batch_size"])


def find_names(folder: Path) -> tuple[str, ...]:
    """Name the embeddings of unfinished work; none where there is none."""
    plan = _find_plan(folder)
    return () if plan is None else tuple(plan["embeddings"])


def _find_plan(folder: Path) -> dict[str, Any] | None:
    """Read what the first whole shard of unfinished work says of it."""
    for path in sorted(folder.glob("shard-*.h5")):
        with contextlib.suppress(CacheDamagedError), open_sealed(path, KIND) as (file, _):
            plan: dict[str, Any] = json.loads(file.attrs["plan"])
            return plan
    return None


def _differ(expected: dict[str, Any], got: dict[str, Any]) -> str:
    """Say in what two plans differ."""
    names = sorted(expected["embeddings"]), sorted(got["embeddings"])
    if names[0] != names[1]:
        return f"that of {', '.join(names[1])}"
    for name in names[0]:
        for field, value in expected["embeddings"][name].items():
            if got["embeddings"][name][field] != value:
                return f"another {field} of {name}: {got['embeddings'][name][field]}"
    field = next(key for key in ("dtype", "batch_size") if expected[key] != got[key])
    return f"{field} {got[field]} in place of {expected[field]}"
