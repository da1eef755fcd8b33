"""Shards: sealed files in the work folder of an unfinished extraction; no shard is rewritten."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from featx.cache.datasets import ROW_BYTES
from featx.cache.format import EmbeddingInfo, FileKind, stamp_file
from featx.cache.index import WorkIndex, WorkPlan
from featx.cache.lock import CacheLock
from featx.cache.open import open_sealed
from featx.cache.seal import SealedFile, check_seal
from featx.cache.sealing import choose_user_block, seal_file
from featx.cache.tables import create_vectors, is_finite, read_table, take_rows, write_table
from featx.cache.texts import read_attribute_text
from featx.cache.writable import open_writable
from featx.core.address import find_address, name_location
from featx.core.columns import Table
from featx.core.errors import CacheDamagedError, CacheError
from featx.core.files import WORK_SUFFIX, explain_errors, remove_work_dir, replacing, sync_folder
from featx.core.row_tables import FAILURE_KINDS, READ_KINDS, build_table, list_failures
from featx.core.rows import Failure, Row
from featx.core.signals import hold_signals
from featx.core.typing import Array, IntArray, VectorDtype, Vectors

KIND: FileKind = "featx-shard"

SHARD_NAME = re.compile(r"shard-\d{6}\.h5", re.ASCII)
"""Name of a shard in the work folder."""

MAX_OPEN = 16
"""Largest number of shards that are open at once while shards are joined to a cache."""

MAX_PENDING_BYTES = 16 << 20
"""Bytes in memory after which a shard is due, even if little time has passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """The results of one batch that are not yet in a shard."""

    rows: tuple[Row, ...]
    vectors: dict[str, Array]
    repeats: tuple[Row, ...]
    failures: tuple[Failure, ...]


def _join(batches: Sequence[_Batch]) -> tuple[Table, Table, list[Failure]]:
    """Join the rows, the repeats and the failures of several batches."""
    rows, repeats = (
        build_table([row for batch in batches for row in getattr(batch, name)], READ_KINDS)
        for name in ("rows", "repeats")
    )
    return rows, repeats, [failure for batch in batches for failure in batch.failures]


class Shards:
    """The work folder of one extraction: a new one, or the one that an earlier run left.

    Parameters
    ----------
    folder : Path
        The work folder, beside the cache. It is created if it does not exist.
    infos : sequence of EmbeddingInfo
        The embeddings that are computed.
    source : Table
        Columns id and path of the rows of the source.
    dtype : {"float32", "float16"}
        Dtype of the stored vectors.
    batch_size : int
        Number of rows in every batch.
    fresh : bool
        True to delete the shards of another extraction. Otherwise, such shards are refused.
    lock : CacheLock, optional
        Lock of the cache, checked before a shard gets its name and before the folder is deleted.

    Attributes
    ----------
    index : WorkIndex
        Contents and rows of all shards.
    n_damaged : int
        Number of shards that were deleted because they were damaged. Their rows are embedded again.

    Raises
    ------
    CacheError
        If the folder holds shards of another extraction, or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        infos: Sequence[EmbeddingInfo],
        *,
        source: Table,
        dtype: VectorDtype,
        batch_size: int,
        fresh: bool = False,
        lock: CacheLock | None = None,
    ) -> None:
        self.folder = folder
        self.index = WorkIndex(source)
        self.n_damaged = 0
        self._lock = lock
        self._digests: dict[int, str] = {}
        self._infos = infos
        self._dtype: VectorDtype = dtype
        n_values = sum(info.fingerprint.dim for info in infos)
        self._row_bytes = n_values * np.dtype(dtype).itemsize + ROW_BYTES
        self._last = 0
        self._clear()
        self._opened: dict[int, tuple[contextlib.ExitStack, h5py.File, SealedFile]] = {}
        self._plan = WorkPlan(
            embeddings={info.name: info.fingerprint for info in infos},
            dtype=dtype,
            batch_size=batch_size,
            origin=infos[0].provenance.origin,
        )
        with explain_errors(folder, error=CacheError):
            folder.mkdir(exist_ok=True)
            sync_folder(folder.parent)
            for name in sorted(filter(SHARD_NAME.fullmatch, os.listdir(folder))):
                path = folder / name
                self._index_shard(path, fresh=fresh)

    def _clear(self) -> None:
        self._pending: list[_Batch] = []
        self._n_pending = 0
        self._since = time.monotonic()

    def _index_shard(self, path: Path, *, fresh: bool) -> None:
        """Add a shard to the index; delete it if it is damaged or to be dropped."""
        number = int(path.stem.removeprefix("shard-"))
        self._last = max(self._last, number)
        try:
            check_seal(path)
            with open_sealed(path, KIND) as (file, sealed, lengths), sealed.guard():
                digest, plan = sealed.digest, _read_plan(file, sealed, lengths)
                rows, repeats = (read_table(file[name], READ_KINDS) for name in ("rows", "repeats"))
                failures = list_failures(read_table(file["failures"], FAILURE_KINDS))
        except CacheDamagedError:
            self.n_damaged += 1
            path.unlink()
            return
        if plan == self._plan:
            self._digests[number] = digest
            self.index.add(number, rows, repeats, failures)
        elif fresh:
            path.unlink()
        else:
            raise CacheError(
                subject=str(self.folder),
                expected="the unfinished work of this extraction",
                got=self._plan.describe_difference(plan),
                remedy="Finish that extraction with the arguments that it was begun with, or "
                f"delete its work with: rm -r {self.folder}{self._name_copies()}",
            )

    def _name_copies(self) -> str:
        """Name what else must be deleted if the cache is that of an address; empty if it is not."""
        cache = name_location(str(self.folder).removesuffix(WORK_SUFFIX))
        copies = f" and, if they are there, the objects below {cache}{WORK_SUFFIX}/"
        return "" if find_address(cache) is None else copies

    def append(
        self,
        rows: Sequence[Row],
        vectors: Mapping[str, Array],
        *,
        repeats: Sequence[Row] = (),
        failures: Sequence[Failure] = (),
    ) -> None:
        """Add the results of one batch. The next `seal` makes them durable.

        Parameters
        ----------
        rows : sequence of Row
            Rows whose contents are new to the shards.
        vectors : mapping of str to ndarray
            Finite vectors ``(len(rows), dim)`` of each embedding. The caller must not change the
            arrays afterwards.
        repeats : sequence of Row
            Rows whose content has a vector already.
        failures : sequence of Failure
            Images that have no vector.
        """
        cast: dict[str, Array] = {}
        for name, values in vectors.items():
            cast[name] = values.astype(self._dtype, copy=False)
            assert np.isfinite(cast[name]).all()
        # One statement, so that a signal cannot separate rows from their vectors.
        self._pending.append(
            _Batch(rows=tuple(rows), vectors=cast, repeats=tuple(repeats), failures=tuple(failures))
        )
        self._n_pending += len(rows) + len(repeats)

    def seal_when_due(self, seconds: float) -> None:
        """Call `seal` if `seconds` have passed since the last call, or if much is pending."""
        due = time.monotonic() - self._since >= seconds
        if due or self._n_pending * self._row_bytes >= MAX_PENDING_BYTES:
            self.seal()

    def seal(self) -> None:
        """Write all that is pending to a new shard.

        The shard is written under a temporary name, flushed and read back before it gets its final
        name. Signals wait until it is written: an exception between the name and the note that
        nothing is pending would let the next call write the same again.

        Raises
        ------
        CacheError
            If the shard cannot be written. The results stay pending.
        CacheLockedError
            If another process has taken the lock.
        """
        if not self._pending:
            self._since = time.monotonic()
            return
        joined = _join(self._pending)
        path = self._name_shard(self._last + 1)
        with hold_signals():
            with replacing(
                path, error=CacheError, overwrite=False, check=self._check_lock
            ) as draft:
                self._write(draft, *joined)
                digest = seal_file(draft)
            self._last += 1
            self._digests[self._last] = digest
            self.index.add(self._last, *joined)
            self._clear()

    def _write(self, path: Path, rows: Table, repeats: Table, failures: list[Failure]) -> None:
        user_block = choose_user_block(len(rows) * self._row_bytes)
        with open_writable(path, "w", user_block=user_block) as (file, _):
            stamp_file(file, KIND)
            file.attrs["plan"] = self._plan.to_json()
            write_table(file, "rows", "rows", rows)
            write_table(file, "repeats", "rows", repeats)
            write_table(file, "failures", "failures", build_table(failures, FAILURE_KINDS))
            group = file.create_group("vectors")
            for info in self._infos:
                shape = len(rows), info.fingerprint.dim
                dataset = create_vectors(group, info.name, shape, self._dtype)
                parts = [batch.vectors[info.name] for batch in self._pending if batch.rows]
                if parts:
                    dataset[:] = np.concatenate(parts)

    def _check_lock(self) -> None:
        if self._lock is not None:
            self._lock.check()

    def _name_shard(self, number: int) -> Path:
        return self.folder / f"shard-{number:06}.h5"

    def read_vectors(self, embedding: str, shard: int, rows: IntArray) -> Vectors:
        """Read vectors of one shard.

        Parameters
        ----------
        embedding : str
            Name of the embedding.
        shard : int
            Number of the shard.
        rows : ndarray of int
            Indices ``(n,)`` within the shard, in any order.

        Returns
        -------
        ndarray
            ``(n, dim)`` in the stored dtype.

        Raises
        ------
        CacheDamagedError
            If the shard has been replaced since it was opened or written.
        CacheError
            If a vector is not finite.
        """
        if shard not in self._opened:
            if len(self._opened) >= MAX_OPEN:
                self._opened.pop(next(iter(self._opened)))[0].close()
            stack = contextlib.ExitStack()
            file, sealed, _ = stack.enter_context(open_sealed(self._name_shard(shard), KIND))
            self._opened[shard] = stack, file, sealed
            if sealed.digest != self._digests[shard]:  # written by a process whose lock was broken
                raise sealed.explain("the whole shard")
        _, file, sealed = self._opened[shard]
        with sealed.guard():
            vectors = take_rows(file[f"vectors/{embedding}"], rows)
        if not is_finite(vectors):
            raise CacheError(
                subject=f"{self._name_shard(shard)}, /vectors/{embedding}",
                expected="finite vectors",
                got="NaN or infinity",
                remedy=f"Delete the unfinished work with: rm -r {self.folder}",
            )
        return vectors

    def close(self) -> None:
        """Close all open shards."""
        while self._opened:
            self._opened.popitem()[1][0].close()

    def remove(self) -> None:
        """Delete the shards, and the folder if nothing else is in it; hold the lock.

        Raises
        ------
        CacheLockedError
            If another process has taken the lock.
        """
        self.close()
        self._check_lock()
        remove_work_dir(self.folder, SHARD_NAME.fullmatch)


def find_plan(folder: Path) -> WorkPlan | None:
    """Find the plan of unfinished work, which the next run must follow; None if there is none.

    Parameters
    ----------
    folder : Path
        Work folder of an extraction; it need not exist.
    """
    for path in sorted(folder.glob("shard-*.h5")):
        with contextlib.suppress(CacheDamagedError), open_sealed(path, KIND) as opened:
            file, sealed, lengths = opened
            with sealed.guard():
                return _read_plan(file, sealed, lengths)
    return None


def _read_plan(file: h5py.File, sealed: SealedFile, lengths: Mapping[str, int]) -> WorkPlan:
    """Read the plan of a shard; refuse vectors of other embeddings or dims than it names."""
    plan = WorkPlan.from_json(read_attribute_text(file, "plan", sealed))
    dims = {f"dim of {name}": fingerprint.dim for name, fingerprint in plan.embeddings.items()}
    found = {axis: length for axis, length in lengths.items() if axis.startswith("dim of ")}
    if found != dims:
        raise ValueError(f"vectors with {found} in place of {dims}")
    return plan
