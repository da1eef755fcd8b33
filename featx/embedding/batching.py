"""Fill an engine's slots with images, and collect the vectors in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import compress

import numpy as np

from featx.core.lookup import SeenDigests
from featx.core.rows import Failure, Row
from featx.core.typing import Array, Float32Array, VectorDtype
from featx.embedding.decoding import Prepared, build_failure
from featx.embedding.timings import Timings
from featx.engines.engine import Engine, Slot

MAX_UNREPORTED = 1024
"""Number of repeats and failures that are yielded even if no batch is full."""


@dataclass(frozen=True, kw_only=True)
class EmbeddedBatch:
    """The results of one batch: rows with vectors, failures, and repeats.

    Attributes
    ----------
    rows : tuple of Row
        Rows that were embedded, with digest and size.
    vectors : dict of str to ndarray
        Finite vectors ``(len(rows), dim)`` per layer.
    failures : tuple of Failure
        Images that could not be embedded, and the reasons.
    repeats : tuple of Row
        Rows that were skipped because of their digest, with digest and without size.
    """

    rows: tuple[Row, ...]
    vectors: Mapping[str, Array]
    failures: tuple[Failure, ...]
    repeats: tuple[Row, ...] = ()

    def __len__(self) -> int:
        return len(self.rows) + len(self.failures) + len(self.repeats)


class PendingBatch:
    """Images that wait for the network, and images that will never reach it."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._failures: list[Failure] = []
        self._repeats: list[Row] = []

    def __len__(self) -> int:
        return len(self.rows) + len(self._failures) + len(self._repeats)

    def add(self, prepared: Prepared, skip_digests: SeenDigests | None) -> Array | None:
        """Add one image.

        Parameters
        ----------
        prepared : Prepared
            The image.
        skip_digests : SeenDigests or None
            Digests of contents that are not embedded; the digest of the image is added.

        Returns
        -------
        ndarray or None
            Pixels for the network; None if the image failed or is a repeat.
        """
        row, digest = prepared.row, prepared.row.digest
        is_seen = skip_digests is not None and digest in skip_digests
        is_repeat = prepared.pixels is None or is_seen
        if prepared.failure is None and is_repeat:
            self._repeats.append(row)
            return None
        if skip_digests is not None and digest:
            skip_digests.add(digest)
        if prepared.failure is not None:
            self._failures.append(prepared.failure)
            return None
        self.rows.append(row)
        return prepared.pixels

    def finish(self, output: Mapping[str, Float32Array], dtype: VectorDtype) -> EmbeddedBatch:
        """Join rows and vectors; a vector that is not finite makes its row a failure.

        Parameters
        ----------
        output : mapping of str to ndarray
            Vectors ``(len(rows), dim)`` per layer; empty if no row reached the network.
        dtype : {"float32", "float16"}
            Dtype of the vectors in the result.
        """
        failures, repeats = self._failures, tuple(self._repeats)
        if not self.rows:
            return EmbeddedBatch(rows=(), vectors={}, failures=tuple(failures), repeats=repeats)
        with np.errstate(over="ignore"):
            vectors = {name: part.astype(dtype, copy=False) for name, part in output.items()}
        finite = np.all([np.isfinite(part).all(axis=1) for part in vectors.values()], axis=0)
        where = "" if dtype == "float32" else f" in {dtype}"
        reason = f"the network's output is not finite{where}"
        for row in compress(self.rows, ~finite):
            failures.append(build_failure(row, "embed", reason))
        return EmbeddedBatch(
            rows=tuple(compress(self.rows, finite)),
            vectors={name: part[finite] for name, part in vectors.items()},
            failures=tuple(failures),
            repeats=repeats,
        )


def iter_batches(
    prepared: Iterator[Prepared],
    engine: Engine,
    *,
    skip_digests: SeenDigests | None,
    dtype: VectorDtype,
    timings: Timings,
) -> Iterator[EmbeddedBatch]:
    """Keep the engine's slots busy, and yield the results in the order of the images.

    Parameters
    ----------
    prepared : iterator of Prepared
        Decoded images.
    engine : Engine
        The engine that runs the network.
    skip_digests : SeenDigests or None
        Digests of contents that are not embedded; each new digest is added.
    dtype : {"float32", "float16"}
        Dtype of the vectors.
    timings : Timings
        Record of the seconds of each image and of the waits for the network.
    """
    free = deque(engine.slots)
    in_flight: deque[tuple[Slot | None, PendingBatch]] = deque()
    errors: list[BaseException] = []

    def iter_until_error() -> Iterator[Prepared]:
        try:
            yield from prepared
        except BaseException as error:  # raised again after all images before it are collected
            errors.append(error)

    def collect() -> EmbeddedBatch:
        slot, batch = in_flight.popleft()
        if slot is not None:
            free.append(slot)
        with timings.wait("network"):
            output = slot.wait() if slot is not None else {}
        return batch.finish(output, dtype)

    def submit(slot: Slot | None, batch: PendingBatch) -> None:
        in_flight.append((slot, batch))
        if slot is not None:
            with timings.wait("network"):  # an engine without a queue computes here
                slot.start(len(batch.rows))

    batch, slot = PendingBatch(), None
    try:
        for one in iter_until_error():
            timings.add(one.watch.cpu_s, one.watch.read_s)
            pixels = batch.add(one, skip_digests)
            if pixels is not None:
                while slot is None and not free:
                    yield collect()
                slot = slot or free.popleft()
                slot.pixels[len(batch.rows) - 1] = pixels
            n_unreported = len(batch) - len(batch.rows)
            if len(batch.rows) == engine.batch_size or n_unreported >= MAX_UNREPORTED:
                submit(slot, batch)
                batch, slot = PendingBatch(), None
                # Batches without a row for the network are collected at once, so that none pile up.
                while len(in_flight) > len(engine.slots) or (in_flight and in_flight[0][0] is None):
                    yield collect()
        if len(batch):
            submit(slot, batch)
        while in_flight:
            yield collect()
        if errors:
            raise errors[0]
    finally:
        for slot in (slot for slot, _ in in_flight if slot is not None):
            with suppress(Exception):  # its memory must not be freed while the device reads it
                slot.wait()
