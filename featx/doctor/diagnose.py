"""What this machine can do: how fast it decodes, runs a network and writes, and which flags fit."""

from __future__ import annotations

import importlib.util
import itertools
import math
import os
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from featx.backbones.backbone import Backbone
from featx.core.errors import FeatxError
from featx.core.typing import PathLike
from featx.embedding.embed import resolve_backbone
from featx.embedding.options import RunOptions, count_workers
from featx.engines.choose import choose_engine, list_precisions
from featx.engines.engine import Engine, Slot
from featx.images.content import Content
from featx.images.decode import decode_reduced, encode_image
from featx.images.manifest import Entry
from featx.images.sources.read import list_entries, read_manifest

Array = np.ndarray[Any, Any]

N_SAMPLE = 200
"""Images that are decoded."""

N_TRIES = 3
"""The best of so many counts: other work on the machine only ever slows one down."""

N_WRITTEN = 64 << 20
"""Bytes that are written."""

WORTH = 1.15
"""A flag that makes a run faster by less is not recommended."""


@dataclass(frozen=True)
class Diagnosis:
    """What a machine can do.

    Attributes
    ----------
    n_cores : int
        That this process may use.
    device : str
        Where networks run by default.
    decode : dict of str to float
        Images/s, all cores: ``exact`` and ``fast``.
    workers : int
        Threads with which exact decoding was the fastest.
    forward : dict of (str, str) to float
        Images/s through the network, per engine and precision.
    write_mb_per_s : float
        To the disk, flushed.
    expected : dict of (str, str, str) to float
        Images/s of an extraction, per engine, precision and decode.
    advice : tuple of str
        What to pass or to install.
    """

    n_cores: int
    device: str
    decode: dict[str, float]
    workers: int
    forward: dict[tuple[str, str], float]
    write_mb_per_s: float
    expected: dict[tuple[str, str, str], float]
    advice: tuple[str, ...]


def diagnose(
    source: PathLike | Sequence[PathLike] | None = None,
    *,
    backbone: str = "resnet50",
    device: str = "auto",
    folder: PathLike = ".",
    seconds: float = 1.0,
) -> Diagnosis:
    """Measure this machine with a backbone.

    Parameters
    ----------
    source : path or sequence of paths, optional
        Images to decode, as `featx.extract` takes them; a sample is read. Default: drawn ones of
        500 × 375 pixels.
    backbone : str
        Its speed does not depend on its weights: random ones are taken.
    device : str
        As in `featx.embedding.loop.RunOptions`.
    folder : path
        Where writing is measured.
    seconds : float
        How long each of the measurements of the network takes.

    Raises
    ------
    SourceError, BackboneError, DeviceError
        If the source, the backbone or the device cannot be had.
    """
    device = choose_engine("auto", device)[1]
    if not os.access(folder, os.W_OK):
        raise FeatxError(
            f"{folder}: expected a folder one may write to, got none. Name another: --folder."
        )
    with tempfile.TemporaryDirectory(prefix=".featx-doctor-", dir=folder) as scratch:
        entries = _list_sample(source, Path(scratch))
        known = resolve_backbone(backbone, weights="random:0")
        n_cores = int(joblib.cpu_count())
        by_workers = {
            workers: measure_decoding(entries, known, workers=workers)
            for workers in sorted({count_workers(), 2 * count_workers()})
        }
        # More threads than cores must earn it.
        workers = max(by_workers, key=lambda n: by_workers[n] / (1 if n <= n_cores else WORTH))
        decode = {"exact": by_workers[workers]}
        decode["fast"] = measure_decoding(entries, known, workers=workers, decode="fast")
        write_mb_per_s = measure_writing(Path(scratch))
    forward = {
        (engine, precision): measure_forward(
            RunOptions(engine=engine, device=device).build_engine(known, precision), seconds
        )
        for engine in list_engines(device)
        for precision in list_precisions(engine, device)
    }
    expected = {
        (*how, name): combine(rate, network, device)
        for how, network in forward.items()
        for name, rate in decode.items()
    }
    return Diagnosis(
        n_cores,
        device,
        decode,
        workers,
        forward,
        write_mb_per_s,
        expected,
        tuple(_advise(expected, workers, write_mb_per_s, sum(known.dims.values()), device)),
    )


def combine(decode: float, forward: float, device: str) -> float:
    """Say what two rates make together: on a CPU both need the same cores, a GPU runs beside."""
    return 1 / (1 / decode + 1 / forward) if device == "cpu" else min(decode, forward)


def measure_decoding(
    entries: Sequence[Entry],
    backbone: Backbone,
    *,
    workers: int,
    decode: str = "exact",
    n_tries: int = N_TRIES,
) -> float:
    """Read, decode and preprocess, and drop what comes out: images/s, the best of some tries."""
    is_exact = decode == "exact"

    def prepare(entry: Entry) -> None:
        assert isinstance(entry.content, Content)
        with suppress(Exception):  # an image that is none is no matter here
            min_side = None if is_exact else backbone.preprocess.min_side
            image, _ = decode_reduced(entry.content.read_whole()[0], min_side)
            backbone.preprocess.prepare(image, exact=is_exact)

    rates = []
    with ThreadPoolExecutor(workers) as pool:
        for _ in range(n_tries):
            start = time.perf_counter()
            deque(pool.map(prepare, entries), maxlen=0)
            rates.append(len(entries) / (time.perf_counter() - start))
    return max(rates)


def measure_forward(engine: Engine, seconds: float, n_tries: int = N_TRIES) -> float:
    """Run batches from memory for some seconds: images/s, the best of some tries."""
    # So many run at a time: in whole rounds none of them idles while the last ones finish.
    n_beside = max(1, len(engine.slots) - 1)
    _time_batches(engine, n_beside)  # warms it up
    n_rounds = max(3, math.ceil(seconds / _time_batches(engine, n_beside)))
    n_batches = n_rounds * n_beside
    return max(
        n_batches * engine.batch_size / _time_batches(engine, n_batches) for _ in range(n_tries)
    )


def _time_batches(engine: Engine, n_batches: int) -> float:
    """Run some batches, all slots kept busy: seconds."""
    flying: deque[Slot] = deque()
    start = time.perf_counter()
    for slot in itertools.islice(itertools.cycle(engine.slots), n_batches):
        if len(flying) == len(engine.slots):
            flying.popleft().wait()
        slot.start(engine.batch_size)
        flying.append(slot)
    while flying:
        flying.popleft().wait()
    return time.perf_counter() - start


def measure_writing(folder: Path) -> float:
    """Write a file and flush it to the disk: MB/s, the best of some tries."""
    data = os.urandom(1 << 20)
    rates = []
    for _ in range(N_TRIES):
        start = time.perf_counter()
        with (folder / "written").open("wb") as stream:
            for _ in range(N_WRITTEN // len(data)):
                stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        rates.append(N_WRITTEN / 1e6 / (time.perf_counter() - start))
    return max(rates)


def draw_photo(rng: np.random.Generator) -> Array:
    """Draw clouds with some grain, about as hard to decode as a photo: uint8 ``(375, 500, 3)``."""
    y, x = np.mgrid[0:375, 0:500] / 100  # (375, 500) each
    waves = rng.uniform(-3, 3, (8, 3, 3))
    clouds = np.zeros((375, 500, 3))
    for fx, fy, phase in waves:
        clouds += np.sin(fx * x[..., None] + fy * y[..., None] + phase)
    grain = rng.normal(0, 14, (375, 500, 3))
    photo: Array = np.clip(128 + 24 * clouds + grain, 0, 255).astype(np.uint8)
    return photo


def _list_sample(source: PathLike | Sequence[PathLike] | None, folder: Path) -> list[Entry]:
    """Draw from the source, or draw pictures."""
    rng = np.random.default_rng(0)
    if source is None:
        for number in range(20):
            (folder / f"{number}.jpg").write_bytes(encode_image(draw_photo(rng), "JPEG"))
        return list_entries(sorted(folder.glob("*.jpg"))) * (N_SAMPLE // 20)
    entries = read_manifest(source).entries
    chosen = rng.choice(len(entries), min(N_SAMPLE, len(entries)), replace=False)
    return [entries[number] for number in sorted(chosen)]


def list_engines(device: str) -> list[str]:
    """List the engines that run on a device and are installed."""
    has_openvino = device == "cpu" and importlib.util.find_spec("openvino")
    return ["openvino", "torch"] if has_openvino else ["torch"]


def _advise(
    expected: dict[tuple[str, str, str], float],
    workers: int,
    write_mb_per_s: float,
    dim: int,
    device: str,
) -> list[str]:
    """Say which flags make an extraction faster."""
    engines = [
        engine for engine, precision, decode in expected if (precision, decode) == ("fp32", "exact")
    ]
    rates = {engine: expected[engine, "fp32", "exact"] for engine in engines}
    best = max(rates, key=lambda engine: rates[engine])
    advice = []
    if device == "cpu" and "openvino" not in rates:
        advice.append("pip install featx[cpu]: OpenVINO is several times faster on a CPU")
    if best != engines[0] and rates[best] > WORTH * rates[engines[0]]:
        advice.append(f"--engine {best}: {rates[best] / rates[engines[0]]:.1f} times as fast")
    if workers > count_workers():
        advice.append(f"--workers {workers}: more than cores decode faster here")
    now = rates[best]
    faster = {
        precision: expected[best, precision, "exact"] / now
        for engine, precision, decode in expected
        if engine == best and decode == "exact"
    }
    precision = max(faster, key=lambda name: faster[name])
    if faster[precision] > WORTH:
        advice.append(
            f"--precision {precision}: {faster[precision]:.1f} times as fast, "
            "cosines to fp32 mostly above 0.999"
        )
    gain = max(
        expected[best, name, "fast"] / expected[best, name, "exact"] for name in ("fp32", precision)
    )
    if gain > WORTH:
        advice.append(f"--decode fast: up to {gain:.1f} times as fast, pixels differ a little")
    if write_mb_per_s * 1e6 < 4 * max(expected.values()) * dim * 4:
        advice.append("another disk for the output: this one is hardly faster than the embeddings")
    return advice or ["nothing: the defaults are the best"]
