"""Where a run's time goes, what held it back, and what would help."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

STAGES = ("read", "decode", "preprocess", "network", "write")

BUSY = 0.85
"""From this share on a device, or all cores together, count as busy."""

SHORT_S = 2.0
"""A run that computed for less has no bottleneck worth a word."""


@dataclass
class Timings:
    """Seconds of one run, added up while it runs.

    On a CPU all stages share the cores, so each is told in seconds of one core; reading is told in
    seconds of waiting too. A GPU has a clock of its own.

    Attributes
    ----------
    n_images : int
        That were read.
    wall_s : float
        From the first image to the last vector, writing included.
    start_s : float
        Before that: loading the network, converting and compiling it.
    cpu_s : dict of str to float
        Seconds of one core, per stage of `STAGES`.
    read_s : float
        Seconds that workers spent reading, waiting for the disk included.
    write_s : float
        Seconds that writing took, waiting for the disk included.
    waits_s : dict of str to float
        Seconds that the thread which feeds the network waited: for ``images``, the ``network``,
        and (``write``) for what is ready to be taken.
    n_workers, n_cores : int
        Threads that decoded, and cores that the process may use.
    engine, device, precision, decode : str
    busy_s : float or None
        For how long a GPU computed.
    """

    n_images: int = 0
    wall_s: float = 0.0
    start_s: float = 0.0
    cpu_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
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

    @contextmanager
    def measure(self) -> Iterator[None]:
        """Take the time of the whole run; what no other stage used was used by the network."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.wall_s += time.perf_counter() - wall
            others = sum(seconds for name, seconds in self.cpu_s.items() if name != "network")
            total = time.process_time() - cpu
            self.cpu_s["network"] = max(0.0, total - others)

    @contextmanager
    def wait(self, what: str) -> Iterator[None]:
        """Take the time that the network's thread waits for something."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.waits_s[what] += time.perf_counter() - start

    @contextmanager
    def write(self) -> Iterator[None]:
        """Take the time of whoever takes the vectors."""
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            self.write_s += time.perf_counter() - wall
            self.cpu_s["write"] += time.thread_time() - cpu

    def add(self, laps: Laps) -> None:
        """Add what one image took."""
        self.n_images += 1
        self.read_s += laps.read_s
        for name, seconds in laps.cpu_s.items():
            self.cpu_s[name] += seconds

    @property
    def usage(self) -> float:
        """Share of all cores' time that was used."""
        return sum(self.cpu_s.values()) / max(self.wall_s * self.n_cores, 1e-9)

    @property
    def idle(self) -> float:
        """Share of the time in which a GPU did not compute; 0 where it has no clock."""
        return (
            max(0.0, 1 - self.busy_s / max(self.wall_s, 1e-9)) if self.busy_s is not None else 0.0
        )

    def find_bottleneck(self) -> str:
        """Name what held the run back.

        Returns
        -------
        str
            A stage of `STAGES`, or ``""`` where nothing of featx did: a run too short to tell, or
            a machine busy with other work.
        """
        if self.wall_s < SHORT_S:
            return ""
        if self.device == "cpu" and self.usage >= BUSY:
            return max(self.cpu_s, key=lambda name: self.cpu_s[name])
        if self.device != "cpu" and self.waits_s["network"] >= (1 - BUSY) * self.wall_s:
            # Whoever feeds it waited for it: nothing else can have been the slowest part.
            waited = max(self.waits_s, key=lambda name: self.waits_s[name])
            if waited == "network":
                return "network"
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
        """Say in one line what held the run back, and what would help."""
        found = self.find_bottleneck()
        cores = f"{self.usage * self.n_cores:.1f} of {self.n_cores} cores busy"
        gpu = "" if self.busy_s is None else f", GPU idle {self.idle:.0%}"
        if not found:
            if self.wall_s < SHORT_S:
                return "too short to tell what held it back"
            return f"nothing of featx: {cores}; other work had the rest of the machine"
        if found == "read":
            return f"read-bound: {cores}{gpu}; copy the source to a faster disk, or more --workers"
        if found == "write":
            return f"write-bound: {cores}{gpu}; put the output on a faster disk"
        if found == "network":
            tips = []
            if self.engine == "torch" and self.device == "cpu":
                tips.append("pip install featx[cpu] for OpenVINO")
            if self.precision == "fp32":
                tips.append(f"--precision bf16 where {self.device.split(':')[0].upper()} has it")
            tips.append("a smaller backbone")
            return f"network-bound: {cores}{gpu}; {', or '.join(tips)}"
        has_cores = self.usage < BUSY and self.n_workers < self.n_cores
        tips = ["more --workers"] if has_cores else []
        tips += ["--decode fast"] if self.decode == "exact" else []
        return f"decoder-bound: {cores}{gpu}; {' or '.join([*tips, 'smaller images'])}"

    def list_shares(self) -> dict[str, float]:
        """Return each stage's share of the cores' time that was used."""
        total = max(sum(self.cpu_s.values()), 1e-9)
        return {name: seconds / total for name, seconds in self.cpu_s.items()}


class Laps:
    """A stop watch for one image on its way through a worker: seconds of its thread, per stage."""

    __slots__ = ("_last", "_wall", "cpu_s", "read_s")

    def __init__(self) -> None:
        self.cpu_s: dict[str, float] = {}
        self.read_s = 0.0
        self._wall, self._last = time.perf_counter(), time.thread_time()

    def end(self, stage: str) -> None:
        """End a stage."""
        now = time.thread_time()
        self.cpu_s[stage] = self.cpu_s.get(stage, 0.0) + now - self._last
        self._last = now
        if stage == "read":
            self.read_s = time.perf_counter() - self._wall
