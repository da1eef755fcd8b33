"""The loop that sends images through a frozen network. Every use of a backbone shares it.

Three stages run side by side, with bounded queues between them: threads read, decode and resize;
one thread feeds the network, which computes asynchronously; the caller takes the vectors.
"""

from __future__ import annotations

import functools
import operator
import queue
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

import joblib

from featx.backbones.backbone import Backbone
from featx.core.lookup import SeenDigests
from featx.core.progress import open_bar
from featx.core.typing import Decode, EngineName, VectorDtype
from featx.embedding.batching import EmbeddedBatch, iter_batches
from featx.embedding.decoding import CHUNK, MIN_AHEAD, DepthTally, iter_chunks, iter_prepared
from featx.embedding.handover import Handover
from featx.embedding.options import RunOptions
from featx.embedding.timings import SHORT_S, Timings
from featx.engines.choose import list_precisions
from featx.engines.engine import Engine
from featx.engines.limits import find_limit
from featx.images.entries import Entry
from featx.images.prefetch import iter_fetched

T = TypeVar("T")

READY_BYTES = 8 << 20
"""Bytes of vectors that may wait for the caller, so that the network runs while a shard is
written."""


def iter_embedded(
    entries: Iterable[Entry],
    backbone: Backbone,
    engine: Engine,
    options: RunOptions,
    *,
    skip_digests: SeenDigests | None = None,
    dtype: VectorDtype = "float32",
    decode: Decode = "exact",
    timings: Timings | None = None,
) -> Generator[EmbeddedBatch, None, DepthTally]:
    """Embed the entries of a manifest, in their order.

    Memory holds a few batches, even for millions of entries. Entries that are no sequence are taken
    in the caller's thread, one after the other, when they are needed. An image that cannot be
    embedded becomes a failure and does not affect other images. A caller that stops early closes
    the generator. No state of the process is changed, neither inside nor between the batches.

    Parameters
    ----------
    entries : iterable of Entry
        The images.
    backbone : Backbone
        The network, whose preprocessing is applied.
    engine : Engine
        The engine that runs the network.
    options : RunOptions
        Number of decoding threads, and whether to show a progress bar.
    skip_digests : SeenDigests, optional
        Digests of contents that are not embedded. Each digest that is read is added, so that no
        content is embedded twice. Default: embed every entry.
    dtype : {"float32", "float16"}
        Dtype of the vectors.
    decode : {"exact", "fast"}
        Way to decode images.
    timings : Timings, optional
        Record that is filled with the seconds of each phase.

    Yields
    ------
    EmbeddedBatch
        Rows with vectors, failures and repeats.

    Returns
    -------
    DepthTally
        Count of images of 16 bit, of which the user is told.

    Raises
    ------
    DeviceError
        If the engine fails or belongs to another process, or the machine refuses threads.
    """
    engine.check_process()
    timings = Timings() if timings is None else timings
    workers, depths = options.n_workers, DepthTally()
    n_ahead, handover = max(2 * engine.batch_size, MIN_AHEAD) + workers * CHUNK, None
    chunks: Iterable[Sequence[Entry]] = iter_fetched(iter_chunks(entries))
    if not isinstance(entries, Sequence):
        chunks = handover = Handover(iter_chunks(entries))
        n_ahead = 2 * workers * CHUNK  # images that wait as the caller gave them fill the memory
    n_images = operator.length_hint(entries)
    bar = open_bar("embedding", n_images, unit="images", show=options.progress)
    with bar, ThreadPoolExecutor(workers, "featx-decode") as pool:
        prepared = iter_prepared(
            pool,
            chunks,
            backbone,
            n_ahead=n_ahead,
            skip_digests=skip_digests,
            decode=decode,
            timings=timings,
            depths=depths,
        )
        batches = iter_batches(
            prepared, engine, skip_digests=skip_digests, dtype=dtype, timings=timings
        )
        timings.n_workers, timings.n_cores = workers, int(joblib.cpu_count())
        timings.engine, timings.device = engine.name, engine.device
        timings.precision, timings.decode = engine.precision, decode
        n_ready = max(2, READY_BYTES // (4 * engine.batch_size * sum(backbone.dims.values())))
        busy_s = engine.busy_s
        with timings.measure():
            try:
                for batch in _iter_in_thread(batches, n_ready, timings, handover):
                    bar.update(len(batch))
                    with timings.write():
                        yield batch
            except (RuntimeError, MemoryError) as error:
                limit = find_limit(error, "decoding and embedding")
                if limit is None:
                    raise
                raise limit from error
        if engine.busy_s is not None and busy_s is not None:
            timings.busy_s = engine.busy_s - busy_s
        if timings.wall_s >= SHORT_S and engine.name in ("torch", "openvino"):
            name: EngineName = "torch" if engine.name == "torch" else "openvino"
            timings.precisions = tuple(list_precisions(name, engine.device))
    depths.warn()
    return depths


def _iter_in_thread(
    items: Iterator[T], depth: int, timings: Timings, handover: Handover[Any] | None
) -> Iterator[T]:
    """Run an iterator in its own thread, at most ``depth`` items ahead of the consumer."""
    ready: queue.Queue[T | Handover[Any] | None] = queue.Queue(depth)
    if handover is not None:
        handover.ask = functools.partial(ready.put, handover)
    stopped = threading.Event()
    errors: list[BaseException] = []

    def fill() -> None:
        try:
            for item in items:
                with timings.wait("write"):
                    ready.put(item)
                if stopped.is_set():
                    break
        except BaseException as error:  # raised again in the consumer's thread
            errors.append(error)
        finally:
            items.close()  # type: ignore[attr-defined]
            ready.put(None)

    # A daemon: a caller who forgets to close the generator must not keep Python from ending.
    thread = threading.Thread(target=fill, name="featx-network", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, Handover):
                item.answer()
            else:
                yield item
    finally:
        stopped.set()
        if handover is not None:
            handover.end()
        while thread.is_alive():  # empty the queue, so that a thread that waits for it can end
            with suppress(queue.Empty):
                while True:
                    ready.get_nowait()
            thread.join(0.05)
    if errors:
        raise errors[0]
