"""How much memory a process may still take."""

from __future__ import annotations

import os
from pathlib import Path


def find_free_memory() -> int:
    """Return the number of bytes that this process may take before the system swaps."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        kilobytes = next(
            line.split()[1] for line in text.splitlines() if line.startswith("MemAvailable")
        )
        return min([int(kilobytes) * 1024, *_list_group_limits()])
    except (OSError, StopIteration):
        pages = "SC_PHYS_PAGES"
        if hasattr(os, "sysconf") and pages in os.sysconf_names:
            return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")
        return 8 << 30


def _list_group_limits(root: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """List the bytes left below each limit of a container or a batch queue (cgroup 2)."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    path = next((line[3:] for line in lines if line.startswith("0::")), "/")
    left = []
    for group in (root / path.lstrip("/"), *(root / path.lstrip("/")).parents):
        try:
            limit = (group / "memory.max").read_text(encoding="ascii").strip()
            used = (group / "memory.current").read_text(encoding="ascii").strip()
            stat = (group / "memory.stat").read_text(encoding="ascii").split()
        except OSError:
            continue
        if limit != "max":
            # The cache of recently read files counts as used, but is given back on demand.
            cached = dict(zip(stat[::2], stat[1::2], strict=True)).get("inactive_file", "0")
            left.append(int(limit) - int(used) + int(cached))
    return left
