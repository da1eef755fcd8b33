"""Measure what this machine can do, and recommend options."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import joblib

from featx.core.drafts import open_draft_folder
from featx.core.errors import FeatxError
from featx.core.load import LoadMeter
from featx.core.progress import announce, stage
from featx.core.typing import Decode, EngineName, PathLike, Precision
from featx.doctor.measure import list_sample, measure_decoding, measure_network, measure_writing
from featx.embedding.identity import resolve_backbone
from featx.embedding.options import RunOptions, count_workers
from featx.engines.choose import choose_engine, list_precisions

WORTH = 1.15
"""Smallest ratio of speeds for which an option is recommended."""

WORTH_IN_DOUBT = 1.5
"""The same on a busy machine, where one measurement may be slower than the next by chance."""

BUSY = 0.2
"""Share of the cores that other programs may use before the machine counts as busy."""

SECONDS = {False: 1.5, True: 6.0}
"""Seconds of each measurement: of the short form, and of the thorough one."""

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
    others : float or None
        Number of cores that other programs used meanwhile; None if the system does not tell.
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
    others: float | None
    advice: tuple[str, ...]

    @property
    def is_busy(self) -> bool:
        """Whether other programs slowed the measurements down: speeds are lower bounds then."""
        return choose_worth(self.others, self.n_cores) > WORTH


def diagnose(
    source: PathLike | Sequence[PathLike] | None = None,
    *,
    backbone: str = "resnet50",
    device: str = "auto",
    folder: PathLike = ".",
    thorough: bool = False,
    seconds: float | None = None,
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
    thorough : bool
        True to measure longer, and with PyTorch even if OpenVINO runs the network on a CPU.
    seconds : float, optional
        Seconds of each measurement. Default: 1.5, or 6 if `thorough`.

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
    seconds = SECONDS[thorough] if seconds is None else seconds
    network = resolve_backbone(backbone, weights="random:0")
    n_cores = int(joblib.cpu_count())
    about = "a minute or more" if thorough else "15 seconds, and as long again for a new network"
    announce(f"measuring takes about {about}")
    meter = LoadMeter()
    with open_draft_folder(Path(folder) / "featx-doctor") as scratch:
        with stage("listing images"):
            entries = list_sample(source, scratch)
        with stage("measuring how fast images are read and decoded"):
            by_workers = {
                workers: measure_decoding(entries, network, workers=workers, seconds=seconds)
                for workers in sorted({count_workers(), 2 * count_workers()})
            }
            worth = choose_worth(meter.count_others(n_cores), n_cores)
            workers = choose_workers(by_workers, n_cores, worth)
            decode: dict[Decode, float] = {
                "exact": by_workers[workers],
                "fast": measure_decoding(
                    entries, network, workers=workers, decode="fast", seconds=seconds
                ),
            }
        with stage("measuring how fast the disk writes"):
            write_mb_per_s = measure_writing(scratch)
    speeds: dict[Way, float] = {}
    for engine in list_engines(device)[: None if thorough else 1]:
        for precision in list_precisions(engine, device):
            options = RunOptions(engine=engine, device=device)
            with (
                stage(f"measuring {network.name} with {engine} in {precision}"),
                options.build_engine(network, precision) as running,
            ):
                speeds[engine, precision] = measure_network(running, seconds)
    others = meter.count_others(n_cores)
    expected = {
        (*way, name): combine(rate, speed, device)
        for way, speed in speeds.items()
        for name, rate in decode.items()
    }
    found = Diagnosis(
        n_cores=n_cores,
        device=device,
        decode=decode,
        workers=workers,
        network=speeds,
        write_mb_per_s=write_mb_per_s,
        expected=expected,
        others=others,
        advice=(),
    )
    return replace(found, advice=advise(found, sum(network.dims.values())))


def advise(found: Diagnosis, dim: int) -> tuple[str, ...]:
    """Recommend options; on a busy machine only what makes a large difference.

    Parameters
    ----------
    found : Diagnosis
        The speeds of the machine.
    dim : int
        Length of the embeddings.
    """
    worth = choose_worth(found.others, found.n_cores)
    advice = [
        *advise_engine(found.expected, device=found.device, worth=worth),
        *advise_workers(found.workers),
        *advise_options(found.expected, worth=worth),
        *advise_disk(found.expected, found.write_mb_per_s, dim),
    ] or [f"nothing: no option alone makes it {worth:g} times as fast"]
    if found.is_busy:
        advice.append(
            f"other programs used {found.others:.1f} of {found.n_cores} cores: the speeds are "
            "lower bounds; measure again when the machine is idle"
        )
    return tuple(advice)


def choose_worth(others: float | None, n_cores: int) -> float:
    """Choose the ratio of speeds for which an option is recommended.

    Parameters
    ----------
    others : float or None
        Number of cores that other programs use; None if the system does not tell.
    n_cores : int
        Number of cores that this process may use.
    """
    return WORTH if others is None or others <= BUSY * n_cores else WORTH_IN_DOUBT


def choose_workers(by_workers: Mapping[int, float], n_cores: int, worth: float = WORTH) -> int:
    """Choose the number of threads that decode fastest; more threads than cores must be faster."""
    return max(by_workers, key=lambda n: by_workers[n] / (1 if n <= n_cores else worth))


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


def advise_engine(expected: Speeds, *, device: str, worth: float = WORTH) -> list[str]:
    """Recommend another engine than the default, if it is worth it."""
    engines = [way[0] for way in expected if way[1:] == ("fp32", "exact")]
    advice = []
    if device == "cpu" and "openvino" not in engines:
        advice.append("pip install openvino: OpenVINO is several times faster on a CPU")
    best = _find_best(expected)
    gain = expected[best, "fp32", "exact"] / expected[engines[0], "fp32", "exact"]
    if gain > worth:
        advice.append(f"engine={best}: {gain:.1f} times as fast")
    return advice


def advise_workers(workers: int) -> list[str]:
    """Recommend more threads than the default, if they are worth it."""
    if workers > count_workers():
        return [f"workers={workers}: more threads than cores decode faster here"]
    return []


def advise_options(expected: Speeds, *, worth: float = WORTH) -> list[str]:
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
    if gains[precision] > worth:
        advice.append(
            f"precision={precision}: {gains[precision]:.1f} times as fast, "
            "cosines to fp32 are mostly above 0.999"
        )
    both: tuple[Precision, Precision] = ("fp32", precision)
    gain = max(expected[best, name, "fast"] / expected[best, name, "exact"] for name in both)
    if gain > worth:
        advice.append(f"decode=fast: up to {gain:.1f} times as fast, pixels differ a little")
    return advice


def advise_disk(expected: Speeds, write_mb_per_s: float, dim: int) -> list[str]:
    """Recommend another disk, if this one is hardly faster than the embeddings."""
    bytes_per_s = 4 * dim * max(expected.values())
    if write_mb_per_s * 1e6 < 4 * bytes_per_s:
        return ["another disk for the output: this one is hardly faster than the embeddings"]
    return []
