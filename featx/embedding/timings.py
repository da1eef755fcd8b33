"""Measure where the time of a run goes, and find what limits its speed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from featx.core.load import LoadMeter
from featx.core.typing import Precision

PHASES = ("read", "decode", "preprocess", "network", "write")
"""Phases of a run whose time is measured."""

BUSY = 0.85
"""Smallest share of the time at which a device, or all cores together, count as busy."""

IDLE = 0.25
"""Smallest share of the time without computing at which the network does not limit a GPU."""

SHORT_S = 2.0
"""Seconds below which a run is too short to find its bottleneck."""


@dataclass(kw_only=True)
class Timings:
    """Seconds of one run, summed while it runs.

    On a CPU all phases share the cores, so each phase is measured in seconds of one core. Reading
    and writing are measured in elapsed seconds too. A GPU has a clock of its own.

    Attributes
    ----------
    n_images : int
        Number of images that were read.
    wall_s : float
        Seconds from the first image to the last vector, writing included.
    start_s : float
        Seconds before the first image: loading, converting and compiling the network.
    cpu_s : dict of str to float
        Seconds of one core, per phase of `PHASES`.
    read_s : float
        Elapsed seconds that workers read, waiting for the disk included.
    write_s : float
        Elapsed seconds that writing took, waiting for the disk included.
    waits_s : dict of str to float
        Seconds that the thread which feeds the network waited for ``images``, for the ``network``,
        and for the consumer of the vectors (``write``).
    n_workers, n_cores : int
        Number of decoding threads, and number of cores that the process may use.
    engine, device, precision, decode : str
        Options of the run.
    busy_s : float or None
        Seconds that a GPU computed; None on a CPU.
    others : float or None
        Number of cores that other programs used, on average; None if the system does not tell.
    precisions : tuple of str
        Precisions in which engine and device compute at full speed.
    """

    n_images: int = 0
    wall_s: float = 0.0
    start_s: float = 0.0
    cpu_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))
    read_s: float = 0.0
    write_s: float = 0.0
    waits_s: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("images", "network", "write"), 0.0)
    )
    n_workers: int = 0
    n_cores: int = 1
    engine: str = ""
    device: str = "cpu"
    precision: str = "fp32"
    decode: str = "exact"
    busy_s: float | None = None
    others: float | None = None
    precisions: tuple[Precision, ...] = ("fp32",)

    @contextmanager
    def measure(self) -> Iterator[None]:
        """Measure the whole run; the network used the seconds that no other phase used."""
        wall, cpu = time.perf_counter(), time.process_time()
        meter = LoadMeter()
        try:
            yield
        finally:
            self.others = meter.count_others(self.n_cores)
            self.wall_s += time.perf_counter() - wall
            others = sum(seconds for name, seconds in self.cpu_s.items() if name != "network")
            total = time.process_time() - cpu
            self.cpu_s["network"] = max(0.0, total - others)

    @contextmanager
    def wait(self, what: str) -> Iterator[None]:
        """Measure how long the network's thread waits.

        Parameters
        ----------
        what : str
            Key of `waits_s` that the time is added to.
        """
        start = time.perf_counter()
        try:
            yield
        finally:
            self.waits_s[what] += time.perf_counter() - start

    @contextmanager
    def write(self) -> Iterator[None]:
        """Measure the consumer of the vectors."""
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            self.write_s += time.perf_counter() - wall
            self.cpu_s["write"] += time.thread_time() - cpu

    def add(self, cpu_s: Mapping[str, float], read_s: float) -> None:
        """Add one image.

        Parameters
        ----------
        cpu_s : mapping of str to float
            Seconds of one core, per phase.
        read_s : float
            Elapsed seconds of reading.
        """
        self.n_images += 1
        self.read_s += read_s
        for name, seconds in cpu_s.items():
            self.cpu_s[name] += seconds

    @property
    def usage(self) -> float:
        """Share of all cores' time that featx used."""
        return sum(self.cpu_s.values()) / max(self.wall_s * self.n_cores, 1e-9)

    @property
    def is_crowded(self) -> bool:
        """Whether other programs used so many cores that featx had fewer than it wanted."""
        if self.others is None:
            return False
        share = self.others / self.n_cores
        return share >= 1 - BUSY and self.usage + share >= BUSY and self.usage < BUSY

    @property
    def idle(self) -> float:
        """Share of the time in which the GPU did not compute; 0 without a GPU clock."""
        return (
            max(0.0, 1 - self.busy_s / max(self.wall_s, 1e-9)) if self.busy_s is not None else 0.0
        )

    def find_bottleneck(self) -> str:
        """Find the phase that limited the speed of the run.

        Returns
        -------
        str
            A phase of `PHASES`; ``""`` if featx was not the bottleneck, or the run was too short.
        """
        if self.wall_s < SHORT_S:
            return ""
        if self.device == "cpu" and self.usage >= BUSY:
            return max(self.cpu_s, key=lambda name: self.cpu_s[name])
        if self.device != "cpu" and self.waits_s["network"] >= (1 - BUSY) * self.wall_s:
            # The feeding thread waited for the network: no other phase can be the slowest.
            waited = max(self.waits_s, key=lambda name: self.waits_s[name])
            if waited == "network":
                return "network"
        if self.device == "cpu" and self.is_crowded:
            return ""
        least = (1 - BUSY) * self.wall_s
        if self.waits_s["write"] >= max(least, self.waits_s["images"]):
            return "write"
        if self.waits_s["images"] < least:
            return "" if self.device == "cpu" else "network"
        in_workers = {name: self.cpu_s[name] for name in ("decode", "preprocess")}
        if self.read_s - self.cpu_s["read"] > sum(in_workers.values()):
            return "read"
        if self.device == "cpu" and self.n_workers >= self.n_cores:
            return ""
        return max(in_workers, key=lambda name: in_workers[name])

    def advise(self) -> str:
        """Describe in one line what limited the speed, and what makes the next run faster."""
        found = self.find_bottleneck()
        used = f"{self.usage * self.n_cores:.1f} of {self.n_cores} cores busy"
        used += "" if self.busy_s is None else f", GPU idle {self.idle:.0%}"
        if not found:
            return self._describe_none()
        if found == "read":
            return (
                f"reading the images took the time ({used}); faster: a faster disk for the source, "
                "or more threads (workers=N)"
            )
        if found == "write":
            return f"writing took the time ({used}); faster: a faster disk for the output"
        if found == "network" and self.idle >= IDLE:
            # No remedy: bf16, a smaller network, and several processes on the GPU gained nothing.
            return f"Python's lock, which lets one thread run at a time, took the time ({used})"
        if found == "network":
            tips = []
            if self.engine == "torch" and self.device == "cpu":
                tips.append("OpenVINO (pip install openvino)")
            if self.precision == "fp32" and "bf16" in self.precisions:
                tips.append("precision=bf16")
            tips.append("a smaller backbone")
            return f"the network took the time ({used}); faster: {', or '.join(tips)}"
        has_cores = self.usage < BUSY and self.n_workers < self.n_cores
        tips = ["more threads (workers=N)"] if has_cores else []
        tips += ["decode=fast"] if self.decode == "exact" else []
        tips.append("smaller images")
        return f"decoding the images took the time ({used}); faster: {', or '.join(tips)}"

    def _describe_none(self) -> str:
        """Describe a run that was too short, or whose speed featx did not limit."""
        if self.wall_s < SHORT_S:
            return "the run was too short to find its bottleneck"
        if self.is_crowded:
            return (
                f"other programs used {self.others:.1f} of {self.n_cores} cores; featx was not the "
                "bottleneck"
            )
        rest = self.n_cores * (1 - self.usage) - (self.others or 0)
        state = "were idle or used by other programs" if self.others is None else "were idle"
        return (
            f"no step of featx was the bottleneck: it used {self.usage * self.n_cores:.1f} of "
            f"{self.n_cores} cores, and {max(0, rest):.1f} {state}"
        )

    def list_shares(self) -> dict[str, float]:
        """List each phase's share of the cores' time that featx used."""
        total = max(sum(self.cpu_s.values()), 1e-9)
        return {name: seconds / total for name, seconds in self.cpu_s.items()}


class StopWatch:
    """Measure one image in a worker: seconds of one core per stage, and elapsed seconds to read."""

    __slots__ = ("_last", "_wall", "cpu_s", "read_s")

    def __init__(self) -> None:
        self.cpu_s: dict[str, float] = {}
        self.read_s = 0.0
        self._wall, self._last = time.perf_counter(), time.thread_time()

    def end(self, stage: str) -> None:
        """End a stage, and start the next one."""
        now = time.thread_time()
        self.cpu_s[stage] = self.cpu_s.get(stage, 0.0) + now - self._last
        self._last = now
        if stage == "read":
            self.read_s = time.perf_counter() - self._wall
