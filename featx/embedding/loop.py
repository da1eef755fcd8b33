"""Images through a frozen network: the one loop that all uses of a backbone share.

Three stages run side by side, with bounded queues between them: threads read, decode and resize;
one thread feeds the network, which computes asynchronously; the caller takes what comes out.
"""

from __future__ import annotations

import functools
import queue
import threading
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import compress
from typing import Any, TypeVar

import joblib
import numpy as np
from tqdm import tqdm

from featx.backbones.backbone import Backbone
from featx.core.errors import FeatxError
from featx.core.rows import Failure, Row
from featx.core.typing import Stage
from featx.embedding.options import RunOptions
from featx.embedding.timings import Laps, Timings
from featx.engines.engine import Engine, Slot
from featx.images.content import Content, InMemory
from featx.images.decode import decode_reduced
from featx.images.manifest import Entry
from featx.images.names import escape_name

Array = np.ndarray[Any, Any]
T = TypeVar("T")

MAX_UNREPORTED = 1024
"""Repeats and failures are handed on at the latest with so many, though no batch is full."""

CHUNK = 4
"""Images that a worker takes at a time: a tenth faster for tiny ones than each by itself."""

MIN_AHEAD = 64
"""Images that may be ready before the network asks for them, at least."""

READY_BYTES = 8 << 20
"""Vectors that may wait for the caller: so that the network goes on while a shard is written."""


@dataclass(frozen=True)
class EmbeddedBatch:
    """What came of one batch: rows with their vectors, and those that failed before it.

    Attributes
    ----------
    rows : tuple of Row
        With digest and size.
    vectors : dict of str to ndarray
        Per layer ``(len(rows), dim)``, finite.
    failures : tuple of Failure
    repeats : tuple of Row
        Whose content was known already: with digest, without size.
    """

    rows: tuple[Row, ...]
    vectors: dict[str, Array]
    failures: tuple[Failure, ...]
    repeats: tuple[Row, ...] = ()

    def __len__(self) -> int:
        return len(self.rows) + len(self.failures) + len(self.repeats)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """One image on its way: its row, and its pixels or what went wrong; neither if it is known."""

    row: Row
    laps: Laps
    pixels: Array | None = None
    failure: Failure | None = None


def iter_embedded(
    entries: Sequence[Entry],
    backbone: Backbone,
    engine: Engine,
    options: RunOptions,
    known: set[str] | None = None,
    *,
    dtype: str = "float32",
    decode: str = "exact",
    timings: Timings | None = None,
) -> Generator[EmbeddedBatch, None, None]:
    """Embed the entries of a manifest, in their order.

    Memory holds a few batches, however many entries there are. An image that cannot be embedded
    becomes a failure and leaves its neighbours as they are. Who stops early closes the generator.

    Parameters
    ----------
    entries, backbone, engine, options
        What, by which network, and how.
    known : set of str, optional
        Digests of contents that are not to be embedded; each that is read is added, so that no
        content is embedded twice. Default: embed every entry.
    dtype : {"float32", "float16"}
        Of the vectors.
    decode : {"exact", "fast"}
        As `featx.images.decode.decode_image` takes it.
    timings : Timings, optional
        Filled with where time went.
    """
    timings = Timings() if timings is None else timings
    workers = options.n_workers
    bar = tqdm(
        total=len(entries),
        unit=" images",
        disable=None if options.progress is None else not options.progress,  # None: tqdm asks
    )
    with warnings.catch_warnings(), bar, ThreadPoolExecutor(workers, "featx-decode") as pool:
        # The ledger says what is wrong with a file. Filters belong to the process, not to a thread.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        prepare = functools.partial(_prepare, backbone=backbone, known=known, decode=decode)
        ahead = max(2 * engine.batch_size, MIN_AHEAD) + workers * CHUNK
        prepared = _iter_ahead(pool, prepare, entries, ahead, timings)
        batches = _iter_batches(prepared, engine, known, dtype, timings)
        timings.n_workers, timings.n_cores = workers, int(joblib.cpu_count())
        timings.engine, timings.device = engine.name, engine.device
        timings.precision, timings.decode = engine.precision, decode
        n_ready = max(2, READY_BYTES // (4 * engine.batch_size * sum(backbone.dims.values())))
        busy_s = engine.busy_s
        with timings.measure():
            for batch in _iter_in_thread(batches, n_ready, timings):
                bar.update(len(batch))
                with timings.write():
                    yield batch
        if engine.busy_s is not None and busy_s is not None:
            timings.busy_s = engine.busy_s - busy_s


class _Batch:
    """What waits for the network, and what will never reach it."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._failures: list[Failure] = []
        self._repeats: list[Row] = []

    def __len__(self) -> int:
        return len(self.rows) + len(self._failures) + len(self._repeats)

    def add(self, prepared: _Prepared, known: set[str] | None) -> Array | None:
        """Take one image where it belongs; return the pixels of one for the network."""
        row, digest = prepared.row, prepared.row.digest
        if prepared.failure is None and (prepared.pixels is None or digest in (known or ())):
            self._repeats.append(row)
            return None
        if known is not None and digest:
            known.add(digest)
        if prepared.failure is not None:
            self._failures.append(prepared.failure)
            return None
        self.rows.append(row)
        return prepared.pixels

    def finish(self, output: dict[str, Array], dtype: str) -> EmbeddedBatch:
        """Join the network's output, and take out rows whose embedding is not finite."""
        if not self.rows:
            return EmbeddedBatch((), {}, tuple(self._failures), tuple(self._repeats))
        with np.errstate(over="ignore"):
            vectors = {name: part.astype(dtype, copy=False) for name, part in output.items()}
        finite = np.all([np.isfinite(part).all(axis=1) for part in vectors.values()], axis=0)
        where = "" if dtype == "float32" else f" in {dtype}"
        for row in compress(self.rows, ~finite):
            self._failures.append(_fail(row, "embed", f"the network's output is not finite{where}"))
        kept = tuple(compress(self.rows, finite))
        vectors = {name: part[finite] for name, part in vectors.items()}
        return EmbeddedBatch(kept, vectors, tuple(self._failures), tuple(self._repeats))


def _iter_batches(
    prepared: Iterator[_Prepared],
    engine: Engine,
    known: set[str] | None,
    dtype: str,
    timings: Timings,
) -> Iterator[EmbeddedBatch]:
    """Fill the engine's slots, and yield what comes out of them in order."""
    free = deque(engine.slots)
    flying: deque[tuple[Slot | None, _Batch]] = deque()
    errors: list[BaseException] = []

    def fetch() -> Iterator[_Prepared]:
        try:
            yield from prepared
        except BaseException as error:  # raised again when all before it has landed
            errors.append(error)

    def land() -> EmbeddedBatch:
        slot, batch = flying.popleft()
        if slot is not None:
            free.append(slot)
        with timings.wait("network"):
            output = slot.wait() if slot is not None else {}
        return batch.finish(output, dtype)

    def launch(slot: Slot | None, batch: _Batch) -> None:
        flying.append((slot, batch))
        if slot is not None:
            with timings.wait("network"):  # an engine without a queue computes here
                slot.start(len(batch.rows))

    batch, slot = _Batch(), None
    try:
        for one in fetch():
            timings.add(one.laps)
            pixels = batch.add(one, known)
            if pixels is not None:
                while slot is None and not free:
                    yield land()
                slot = slot or free.popleft()
                slot.pixels[len(batch.rows) - 1] = pixels
            n_unreported = len(batch) - len(batch.rows)
            if len(batch.rows) == engine.batch_size or n_unreported >= MAX_UNREPORTED:
                launch(slot, batch)
                batch, slot = _Batch(), None
                # What never was for the network must not pile up behind what is.
                while len(flying) > len(engine.slots) or (flying and flying[0][0] is None):
                    yield land()
        if len(batch):
            launch(slot, batch)
        while flying:
            yield land()
        if errors:
            raise errors[0]
    finally:
        for slot in (slot for slot, _ in flying if slot is not None):
            with suppress(Exception):  # its memory must not go while the device reads it
                slot.wait()


def _iter_in_thread(items: Iterator[T], depth: int, timings: Timings) -> Iterator[T]:
    """Run an iterator in a thread of its own, so many items ahead of the one who takes them."""
    ready: queue.Queue[T | None] = queue.Queue(depth)
    stopped = threading.Event()
    errors: list[BaseException] = []

    def fill() -> None:
        try:
            for item in items:
                with timings.wait("write"):
                    ready.put(item)
                if stopped.is_set():
                    break
        except BaseException as error:  # raised again where it is expected
            errors.append(error)
        finally:
            items.close()  # type: ignore[attr-defined]
            ready.put(None)

    # A daemon: a caller who forgets to close must not keep Python from ending.
    thread = threading.Thread(target=fill, name="featx-network", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            yield item
    finally:
        stopped.set()
        while thread.is_alive():  # one that waits with a full queue sees that it is to end
            with suppress(queue.Empty):
                ready.get(timeout=0.05)
    if errors:
        raise errors[0]


def _fail(row: Row, stage: Stage, reason: str) -> Failure:
    """Write one line of the ledger."""
    reason = " ".join(reason.split())
    reason = reason if reason.isprintable() else escape_name(reason)
    return Failure(
        id=row.id,
        path=row.path,
        digest=row.digest,
        stage=stage,
        reason=reason,
        n_bytes=row.n_bytes,
        mtime_ns=row.mtime_ns,
    )


def _iter_ahead(
    pool: ThreadPoolExecutor,
    prepare: Callable[[Entry], _Prepared],
    entries: Sequence[Entry],
    ahead: int,
    timings: Timings,
) -> Iterator[_Prepared]:
    """Prepare entries in the pool, about so many ahead, and yield them in order."""
    waiting: deque[Future[list[_Prepared]]] = deque()

    def prepare_all(chunk: Sequence[Entry]) -> list[_Prepared]:
        return [prepare(entry) for entry in chunk]

    def take() -> list[_Prepared]:
        with timings.wait("images"):
            return waiting.popleft().result()

    try:
        for start in range(0, len(entries), CHUNK):
            waiting.append(pool.submit(prepare_all, entries[start : start + CHUNK]))
            if len(waiting) * CHUNK > ahead:
                yield from take()
        while waiting:
            yield from take()
    finally:
        for future in waiting:
            future.cancel()


def _prepare(entry: Entry, *, backbone: Backbone, known: set[str] | None, decode: str) -> _Prepared:
    """Read, decode and preprocess one image."""
    row, laps = entry.row, Laps()
    stage: Stage = "read"
    try:
        data = entry.content.image if isinstance(entry.content, InMemory) else None
        if isinstance(entry.content, Content):
            data, n_bytes, mtime_ns = entry.content.read_whole()
            digest = sha256(data).hexdigest()
            row = replace(row, digest=digest, n_bytes=n_bytes, mtime_ns=mtime_ns)
            laps.end(stage)
            if known is not None and digest in known:
                return _Prepared(row, laps)
        stage = "decode"
        is_exact = decode == "exact"
        min_side = None if is_exact else backbone.preprocess.min_side
        image, (width, height) = decode_reduced(data, min_side)
        row = replace(row, width=width, height=height)
        laps.end(stage)
        stage = "preprocess"
        pixels = backbone.preprocess.prepare(image, exact=is_exact)
        if pixels.shape != backbone.pixel_shape:
            raise ValueError(f"expected shape {backbone.pixel_shape}, got {pixels.shape}")
        laps.end(stage)
        return _Prepared(row, laps, pixels)
    except OSError as error:
        reason = error.strerror or str(error)
    except Exception as error:  # one image, whatever is wrong with it, must not end the run
        text = f"{type(error).__name__}: {error}"
        reason = error.reason if isinstance(error, FeatxError) else text
    laps.end(stage)
    return _Prepared(row, laps, failure=_fail(row, stage, reason))
