"""How busy other programs keep the cores of this process."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

STAT = Path("/proc/stat")
"""Linux counts here how long each core was busy."""

N_STATES = 8
"""Number of counters of a core that do not overlap: user, nice, system, idle, iowait, irq, softirq,
steal. What a virtual machine's host takes (steal) is busy too."""

IDLE = (3, 4)
"""Positions of idle and iowait among these counters."""


class LoadMeter:
    """Measure how many cores other programs use, from the start of the meter on."""

    def __init__(self) -> None:
        self._start = self._read()

    def count_others(self, n_cores: int) -> float | None:
        """Count the cores that other programs used, on average, of those that featx may use.

        Parameters
        ----------
        n_cores : int
            Number of cores that featx may use at a time.

        Returns
        -------
        float or None
            Number of cores; None if this system does not tell, or if featx may use fewer cores at
            a time than it may run on (a quota), so that others need not be in its way.
        """
        if n_cores != count_allowed():
            return None
        now, start = self._read(), self._start
        if now is None or start is None or now[0] <= start[0]:
            return None
        wall_s, own_s, busy_s = (after - before for after, before in zip(now, start, strict=True))
        if busy_s < own_s / 2:  # a sandbox that shows nothing but zeros
            return None
        return max(0.0, busy_s - own_s) / wall_s

    @staticmethod
    def _read() -> tuple[float, float, float] | None:
        """Read the clock, the seconds of one core of this process, and those of everybody."""
        busy_s = read_busy_s()
        return None if busy_s is None else (time.monotonic(), time.process_time(), busy_s)


def count_allowed() -> int:
    """Count the cores that this process may run on; 0 if the system does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0


def read_busy_s() -> float | None:
    """Read for how many seconds the cores that this process may use have been busy.

    Returns
    -------
    float or None
        Seconds, summed over the cores; None if this system does not tell.
    """
    try:
        allowed = os.sched_getaffinity(0)
        text = STAT.read_text(encoding="ascii")
        ticks = os.sysconf("SC_CLK_TCK")
    except (AttributeError, OSError, ValueError):  # not Linux
        return None
    return parse_busy(text, allowed) / ticks


def parse_busy(text: str, cores: set[int]) -> int:
    r"""Sum the busy ticks of some cores.

    Parameters
    ----------
    text : str
        Content of ``/proc/stat``.
    cores : set of int
        Numbers of the cores.

    Examples
    --------
    >>> parse_busy("cpu0 5 0 1 90 4 0 0 0\ncpu1 7 0 0 93 0 0 0 0\n", {0})
    6
    """
    total = 0
    for number, counters in re.findall(r"^cpu(\d+) (.*)$", text, re.M):
        if int(number) in cores:
            ticks = [int(count) for count in counters.split()[:N_STATES]]
            total += sum(ticks) - sum(ticks[position] for position in IDLE)
    return total
