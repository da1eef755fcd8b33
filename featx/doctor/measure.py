"""Measure the three parts of an extraction alone: decoding, the network, and writing."""

from __future__ import annotations

import itertools
import math
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featx.backbones.backbone import Backbone
from featx.core.rows import Failure
from featx.core.typing import Decode, PathLike, UInt8Array
from featx.embedding.decoding import prepare_image
from featx.engines.engine import Engine, Slot
from featx.images.decode import encode_image
from featx.images.entries import Entry
from featx.images.opening import PILLOW_SETTINGS
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
        return list_entries(sorted(folder.glob("*.jpg")))
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


@dataclass(frozen=True, kw_only=True)
class DecodingSpeed:
    """How fast images are read and decoded, and which are not.

    Attributes
    ----------
    rate : float
        Images per second that were decoded.
    failures : tuple of Failure
        The images that cannot be decoded, each once.
    """

    rate: float
    failures: tuple[Failure, ...] = ()


def measure_decoding(
    entries: Sequence[Entry],
    backbone: Backbone,
    *,
    workers: int,
    decode: Decode = "exact",
    seconds: float = 1.0,
) -> DecodingSpeed:
    """Measure reading, decoding and preprocessing, in images per second.

    Images that cannot be decoded are not counted as decoded; the time that they take counts.

    Parameters
    ----------
    entries : sequence of Entry
        Images to decode; fewer than `N_SAMPLE` are decoded several times, so that no thread is
        idle.
    backbone : Backbone
        Network whose preprocessing is applied.
    workers : int
        Number of threads.
    decode : {"exact", "fast"}
        Way to decode.
    seconds : float
        Seconds after which no further measurement begins.
    """
    repeated = list(itertools.islice(itertools.cycle(entries), max(len(entries), N_SAMPLE)))
    failures: dict[str, Failure] = {}

    def prepare(entry: Entry) -> bool:
        prepared = prepare_image(entry, backbone=backbone, skip_digests=None, decode=decode)
        if prepared.failure is not None:
            failures[prepared.row.id] = prepared.failure
        return prepared.failure is None

    with ThreadPoolExecutor(workers) as pool, PILLOW_SETTINGS:

        def measure() -> float:
            start = time.perf_counter()
            n_decoded = sum(pool.map(prepare, repeated))
            return n_decoded / (time.perf_counter() - start)

        rate = _find_best(measure, seconds)
    return DecodingSpeed(rate=rate, failures=tuple(failures.values()))


def _find_best(measure: Callable[[], float], seconds: float) -> float:
    """Measure a rate up to `N_TRIES` times within some seconds, at least once; return the best."""
    start = time.perf_counter()
    rates = [measure()]
    while len(rates) < N_TRIES and time.perf_counter() - start < seconds:
        rates.append(measure())
    return max(rates)


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
    n_images = n_batches * engine.batch_size
    return _find_best(lambda: n_images / _time_batches(engine, n_batches), seconds)


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

    def measure() -> float:
        start = time.perf_counter()
        with (folder / "written").open("wb") as stream:
            for _ in range(N_WRITTEN // len(data)):
                stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        return N_WRITTEN / 1e6 / (time.perf_counter() - start)

    return _find_best(measure, 1.0)
