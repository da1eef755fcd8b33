"""Measure what this machine can do, and recommend options."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib

from featx.core.errors import FeatxError
from featx.core.typing import Decode, EngineName, PathLike, Precision
from featx.doctor.measure import list_sample, measure_decoding, measure_network, measure_writing
from featx.embedding.identity import resolve_backbone
from featx.embedding.options import RunOptions, count_workers
from featx.engines.choose import choose_engine, list_precisions

WORTH = 1.15
"""Smallest ratio of speeds for which an option is recommended."""

Way = tuple[EngineName, Precision]
"""One way to run a network."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Speeds of a machine, and advice.

    Attributes
    ----------
    n_cores : int
        Number of cores that this process may use.
    device : str
        Device on which networks run.
    decode : dict of str to float
        Images per second on all cores, by way to decode: ``exact`` and ``fast``.
    workers : int
        Number of threads with which exact decoding was fastest.
    network : dict of (str, str) to float
        Images per second through the network alone, by engine and precision.
    write_mb_per_s : float
        MB per second written and flushed to the disk.
    expected : dict of (str, str, str) to float
        Images per second of a whole extraction, by engine, precision and way to decode.
    advice : tuple of str
        Options to pass or packages to install.
    """

    n_cores: int
    device: str
    decode: Mapping[Decode, float]
    workers: int
    network: Mapping[Way, float]
    write_mb_per_s: float
    expected: Mapping[tuple[EngineName, Precision, Decode], float]
    advice: tuple[str, ...]


def diagnose(
    source: PathLike | Sequence[PathLike] | None = None,
    *,
    backbone: str = "resnet50",
    device: str = "auto",
    folder: PathLike = ".",
    seconds: float = 1.0,
) -> Diagnosis:
    """Measure how fast this machine decodes, runs a network and writes.

    Parameters
    ----------
    source : path or sequence of paths, optional
        Images to decode, in the form that `featx.extract` takes; a sample of them is read. Default:
        generated images of 500 × 375 pixels.
    backbone : str
        Name of the network. It runs with random weights, which do not change its speed.
    device : str
        Device on which the network runs: see `featx.RunOptions`.
    folder : path
        Folder in which writing is measured.
    seconds : float
        Duration of each measurement of the network, in seconds.

    Returns
    -------
    Diagnosis
        Speeds and advice.

    Raises
    ------
    FeatxError
        If the folder is not writable.
    SourceError, BackboneError, DeviceError
        If source, backbone or device are missing.

    See Also
    --------
    featx.extract : Use the recommended options.
    """
    device = choose_engine("auto", device)[1]
    if not os.access(folder, os.W_OK):
        raise FeatxError(
            subject="folder",
            expected="a writable folder",
            got=str(folder),
            remedy="Pass another folder=PATH.",
        )
    network = resolve_backbone(backbone, weights="random:0")
    n_cores = int(joblib.cpu_count())
    with tempfile.TemporaryDirectory(prefix=".featx-doctor-", dir=folder) as scratch:
        entries = list_sample(source, Path(scratch))
        by_workers = {
            workers: measure_decoding(entries, network, workers=workers)
            for workers in sorted({count_workers(), 2 * count_workers()})
        }
        workers = choose_workers(by_workers, n_cores)
        decode: dict[Decode, float] = {
            "exact": by_workers[workers],
            "fast": measure_decoding(entries, network, workers=workers, decode="fast"),
        }
        write_mb_per_s = measure_writing(Path(scratch))
    speeds: dict[Way, float] = {}
    for engine in list_engines(device):
        for precision in list_precisions(engine, device):
            options = RunOptions(engine=engine, device=device)
            with options.build_engine(network, precision) as running:
                speeds[engine, precision] = measure_network(running, seconds)
    expected = {
        (*way, name): combine(rate, speed, device)
        for way, speed in speeds.items()
        for name, rate in decode.items()
    }
    return Diagnosis(
        n_cores=n_cores,
        device=device,
        decode=decode,
        workers=workers,
        network=speeds,
        write_mb_per_s=write_mb_per_s,
        expected=expected,
        advice=(
            *advise_engine(expected, device=device),
            *advise_workers(workers),
            *advise_options(expected),
            *advise_disk(expected, write_mb_per_s, sum(network.dims.values())),
        )
        or ("nothing: the defaults are the best",),
    )


def choose_workers(by_workers: Mapping[int, float], n_cores: int) -> int:
    """Choose the number of threads that decode fastest; more threads than cores must be faster."""
    return max(by_workers, key=lambda n: by_workers[n] / (1 if n <= n_cores else WORTH))


def combine(decode: float, network: float, device: str) -> float:
    """Combine two speeds: on a CPU both need the same cores, a GPU runs beside them."""
    return 1 / (1 / decode + 1 / network) if device == "cpu" else min(decode, network)


def list_engines(device: str) -> list[EngineName]:
    """List the installed engines that run on a device, the default first."""
    has_openvino = device == "cpu" and importlib.util.find_spec("openvino")
    return ["openvino", "torch"] if has_openvino else ["torch"]


Speeds = Mapping[tuple[EngineName, Precision, Decode], float]
"""Images per second of an extraction, by engine, precision and way to decode."""


def _find_best(expected: Speeds) -> EngineName:
    """Find the engine that is fastest with the default precision and way to decode."""
    rates = {way[0]: rate for way, rate in expected.items() if way[1:] == ("fp32", "exact")}
    return max(rates, key=lambda engine: rates[engine])


def advise_engine(expected: Speeds, *, device: str) -> list[str]:
    """Recommend another engine than the default, if it is worth it."""
    engines = [way[0] for way in expected if way[1:] == ("fp32", "exact")]
    advice = []
    if device == "cpu" and "openvino" not in engines:
        advice.append("pip install featx[cpu]: OpenVINO is several times faster on a CPU")
    best = _find_best(expected)
    gain = expected[best, "fp32", "exact"] / expected[engines[0], "fp32", "exact"]
    if gain > WORTH:
        advice.append(f"engine={best}: {gain:.1f} times as fast")
    return advice


def advise_workers(workers: int) -> list[str]:
    """Recommend more threads than the default, if they are worth it."""
    if workers > count_workers():
        return [f"workers={workers}: more threads than cores decode faster here"]
    return []


def advise_options(expected: Speeds) -> list[str]:
    """Recommend another precision or way to decode, if it is worth it."""
    best = _find_best(expected)
    default = expected[best, "fp32", "exact"]
    gains = {
        way[1]: rate / default
        for way, rate in expected.items()
        if way[0] == best and way[2] == "exact"
    }
    precision = max(gains, key=lambda name: gains[name])
    advice = []
    if gains[precision] > WORTH:
        advice.append(
            f"precision={precision}: {gains[precision]:.1f} times as fast, "
            "cosines to fp32 are mostly above 0.999"
        )
    both: tuple[Precision, Precision] = ("fp32", precision)
    gain = max(expected[best, name, "fast"] / expected[best, name, "exact"] for name in both)
    if gain > WORTH:
        advice.append(f"decode=fast: up to {gain:.1f} times as fast, pixels differ a little")
    return advice


def advise_disk(expected: Speeds, write_mb_per_s: float, dim: int) -> list[str]:
    """Recommend another disk, if this one is hardly faster than the embeddings."""
    bytes_per_s = 4 * dim * max(expected.values())
    if write_mb_per_s * 1e6 < 4 * bytes_per_s:
        return ["another disk for the output: this one is hardly faster than the embeddings"]
    return []
