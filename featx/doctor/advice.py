"""Recommend options from measured speeds: each is weighed by the whole extraction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from featx.core.typing import Decode, EngineName, Precision

WORTH = 1.15
"""Smallest ratio of the speeds of two extractions for which an option is recommended."""

WORTH_IN_DOUBT = 1.5
"""The same on a busy machine, where one measurement may be slower than the next by chance."""

BUSY = 0.2
"""Share of the cores that other programs may use before the machine counts as busy."""

OPENVINO_GAIN = 3.0
"""How many times as fast OpenVINO runs most networks on a CPU, if it is not there to be
measured."""

REMARKS = {
    "precision": ", cosines to fp32 are mostly above 0.999",
    "decode": ", pixels differ a little",
}
"""What an option changes beside the speed."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """The options of an extraction that change its speed.

    Attributes
    ----------
    engine : {"torch", "openvino"}
        Library that runs the network.
    precision : {"fp32", "bf16", "fp16"}
        Arithmetic of the network.
    decode : {"exact", "fast"}
        Way to decode images.
    workers : int
        Number of threads that decode.
    """

    engine: EngineName
    precision: Precision = "fp32"
    decode: Decode = "exact"
    workers: int


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """The speeds of the parts of an extraction on one machine.

    Attributes
    ----------
    device : str
        Device on which the network runs.
    decode : dict of (str, int) to float
        Images per second read and decoded, by way to decode and number of threads.
    network : dict of (str, str) to float
        Images per second through the network alone, by engine and precision.
    write_mb_per_s : float
        MB per second written and flushed to the disk.
    """

    device: str
    decode: Mapping[tuple[Decode, int], float]
    network: Mapping[tuple[EngineName, Precision], float]
    write_mb_per_s: float

    def estimate(self, way: Way) -> float:
        """Estimate the images per second of a whole extraction."""
        decode = self.decode[way.decode, way.workers]
        return combine(decode, self.network[way.engine, way.precision], self.device)

    def iter_others(self, way: Way) -> Iterator[tuple[str, Way]]:
        """Yield the measured ways that differ in one option, each with the name of the option."""
        for engine, precision in self.network:
            if engine != way.engine and precision == "fp32":
                yield "engine", replace(way, engine=engine, precision=precision)
            elif engine == way.engine and precision != way.precision:
                yield "precision", replace(way, precision=precision)
        for decode, workers in self.decode:
            if decode != way.decode and workers == way.workers:
                yield "decode", replace(way, decode=decode)
            elif decode == way.decode and workers != way.workers:
                yield "workers", replace(way, workers=workers)


def combine(decode: float, network: float, device: str) -> float:
    """Combine two speeds: on a CPU both need the same cores, a GPU runs beside them."""
    return 1 / (1 / decode + 1 / network) if device == "cpu" else min(decode, network)


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


def advise(speeds: Speeds, default: Way, *, dim: int, worth: float = WORTH) -> list[str]:
    """Recommend the options that make the whole extraction faster, and say by how much.

    The option that gains most comes first; the gain of each further one is what it adds to those
    before it, so that the gains may be multiplied.

    Parameters
    ----------
    speeds : Speeds
        The speeds of the machine.
    default : Way
        The options of an extraction that are used by default.
    dim : int
        Length of the embeddings.
    worth : float
        Smallest ratio of speeds for which an option is recommended.
    """
    way, total = default, 1.0
    advice = _advise_openvino(speeds, default, worth)
    n_before = len(advice)
    while True:
        name, best = max(speeds.iter_others(way), key=lambda other: speeds.estimate(other[1]))
        gain = speeds.estimate(best) / speeds.estimate(way)
        if gain < worth:
            break
        another = "another " if len(advice) > n_before else ""
        option = f"{name}={getattr(best, name)}"
        advice.append(f"{option}: {another}{gain:.1f} times as fast{REMARKS.get(name, '')}")
        way, total = best, total * gain
    if len(advice) > n_before + 1:
        advice.append(f"together: {total:.1f} times as fast")
    return advice + _advise_disk(speeds, way, dim, worth)


def _advise_openvino(speeds: Speeds, default: Way, worth: float) -> list[str]:
    """Recommend OpenVINO on a CPU that lacks it, if the network takes enough of the time."""
    if speeds.device != "cpu" or any(engine == "openvino" for engine, _ in speeds.network):
        return []
    decode = speeds.decode[default.decode, default.workers]
    network = speeds.network[default.engine, default.precision]
    gain = combine(decode, OPENVINO_GAIN * network, "cpu") / combine(decode, network, "cpu")
    if gain < worth:
        return []
    return [f"pip install openvino: about {gain:.1f} times as fast on most CPUs"]


def _advise_disk(speeds: Speeds, way: Way, dim: int, worth: float) -> list[str]:
    """Recommend another disk, if the vectors are written so slowly that the run waits."""
    gain = 1 + speeds.estimate(way) * 4 * dim / (speeds.write_mb_per_s * 1e6)
    if gain < worth:
        return []
    return [f"another disk for the output: up to {gain:.1f} times as fast, this one is slow"]
