"""Measure the three parts of an extraction alone: decoding, the network, and writing."""

from __future__ import annotations

import itertools
import math
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np

from featx.backbones.backbone import Backbone
from featx.core.typing import Decode, PathLike, UInt8Array
from featx.engines.engine import Engine, Slot
from featx.images.content import Content
from featx.images.decode import decode_reduced, encode_image
from featx.images.large import read_content
from featx.images.manifest import Entry
from featx.images.sources.inputs import list_entries
from featx.images.sources.read import read_manifest

N_SAMPLE = 100
"""Number of images that are decoded."""

N_GENERATED = 20
"""Number of different images that are generated if there is no source."""

N_TRIES = 3
"""Largest number of measurements. The best one counts, because other programs can only slow it
down."""

N_WRITTEN = 64 << 20
"""Number of bytes that are written."""


def list_sample(source: PathLike | Sequence[PathLike] | None, folder: Path) -> list[Entry]:
    """List images to decode: a random sample of a source, or generated images.

    Parameters
    ----------
    source : path, sequence of paths or None
        The source to draw from; None generates images of 500 × 375 pixels.
    folder : Path
        Folder for generated images.

    Raises
    ------
    SourceError
        If the source cannot be read.
    """
    rng = np.random.default_rng(0)
    if source is None:
        for number in range(N_GENERATED):
            data = encode_image(generate_image(rng), "JPEG")
            (folder / f"{number}.jpg").write_bytes(data)
        return list_entries(sorted(folder.glob("*.jpg"))) * (N_SAMPLE // N_GENERATED)
    entries = read_manifest(source).entries
    chosen = rng.choice(len(entries), min(N_SAMPLE, len(entries)), replace=False)
    return [entries[number] for number in sorted(chosen)]


def generate_image(rng: np.random.Generator) -> UInt8Array:
    """Generate clouds with some grain, about as hard to decode as a photo: ``(375, 500, 3)``."""
    y, x = np.mgrid[0:375, 0:500] / 100  # (375, 500) each
    waves = rng.uniform(-3, 3, (8, 3, 3))
    clouds = np.zeros((375, 500, 3))
    for fx, fy, phase in waves:
        clouds += np.sin(fx * x[..., None] + fy * y[..., None] + phase)
    grain = rng.normal(0, 14, (375, 500, 3))
    image: UInt8Array = np.clip(128 + 24 * clouds + grain, 0, 255).astype(np.uint8)
    return image


def measure_decoding(
    entries: Sequence[Entry],
    backbone: Backbone,
    *,
    workers: int,
    decode: Decode = "exact",
    seconds: float = 1.0,
) -> float:
    """Measure reading, decoding and preprocessing, in images per second.

    Parameters
    ----------
    entries : sequence of Entry
        Images to decode; images that cannot be decoded count too.
    backbone : Backbone
        Network whose preprocessing is applied.
    workers : int
        Number of threads.
    decode : {"exact", "fast"}
        Way to decode.
    seconds : float
        Seconds after which no further measurement begins.
    """
    is_exact = decode == "exact"

    def prepare(entry: Entry) -> None:
        assert isinstance(entry.content, Content)
        with suppress(Exception):  # a bad image counts too: it was read
            min_side = None if is_exact else backbone.preprocess.min_side
            image, _ = decode_reduced(read_content(entry.content)[0], min_side)
            backbone.preprocess.prepare(image, exact=is_exact)

    with ThreadPoolExecutor(workers) as pool:

        def time_all() -> float:
            start = time.perf_counter()
            deque(pool.map(prepare, entries), maxlen=0)
            return time.perf_counter() - start

        return len(entries) / _find_shortest(time_all, seconds)


def _find_shortest(measure: Callable[[], float], seconds: float) -> float:
    """Measure up to `N_TRIES` times within some seconds, at least once; return the least."""
    times = [measure()]
    while len(times) < N_TRIES and sum(times) < seconds:
        times.append(measure())
    return min(times)


def measure_network(engine: Engine, seconds: float) -> float:
    """Measure a network on batches from memory, in images per second.

    Parameters
    ----------
    engine : Engine
        Engine that runs the network.
    seconds : float
        Seconds after which no further measurement begins; a third of them is the length of one.
    """
    # One round is one batch per slot. With whole rounds, no slot is idle while the last batches
    # run.
    n_beside = max(1, len(engine.slots) - 1)
    warm_up_s = _time_batches(engine, n_beside)
    n_batches = n_beside * max(1, math.ceil(seconds / N_TRIES / warm_up_s))
    shortest_s = _find_shortest(lambda: _time_batches(engine, n_batches), seconds)
    return n_batches * engine.batch_size / shortest_s


def _time_batches(engine: Engine, n_batches: int) -> float:
    """Run some batches with all slots busy, and return the seconds."""
    in_flight: deque[Slot] = deque()
    start = time.perf_counter()
    for slot in itertools.islice(itertools.cycle(engine.slots), n_batches):
        if len(in_flight) == len(engine.slots):
            in_flight.popleft().wait()
        slot.start(engine.batch_size)
        in_flight.append(slot)
    while in_flight:
        in_flight.popleft().wait()
    return time.perf_counter() - start


def measure_writing(folder: Path) -> float:
    """Measure writing one file and flushing it to the disk, in MB per second."""
    data = os.urandom(1 << 20)

    def time_all() -> float:
        start = time.perf_counter()
        with (folder / "written").open("wb") as stream:
            for _ in range(N_WRITTEN // len(data)):
                stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        return time.perf_counter() - start

    return N_WRITTEN / 1e6 / _find_shortest(time_all, 1.0)
