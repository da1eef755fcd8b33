"""Free memory and disk space: decide whether the output of the trunk is kept."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from featx.cache.joined import open_cache
from featx.finetune.trunk import TrunkRun


@dataclass(frozen=True)
class FreeSpace:
    """The memory and disk space that this process may use.

    Attributes
    ----------
    memory : int
        Free memory in bytes.
    disk : int
        Free bytes on the disk, including the bytes that the output of the trunk already takes.
    """

    memory: int
    disk: int


def measure_space(run: TrunkRun, path: Path, n_views: int) -> FreeSpace:
    """Measure the space for the output of a trunk.

    Parameters
    ----------
    run : TrunkRun
        The trunk and its images.
    path : Path
        Cache that would hold the output.
    n_views : int
        Number of views, without the plain one.

    Returns
    -------
    FreeSpace
        Free memory, and free disk at the path.
    """
    free = shutil.disk_usage(path.parent).free
    return FreeSpace(find_free_memory(), free + _count_kept_bytes(run, path, n_views))


def describe_excess(one_view: int, all_views: int, *, limit: int | FreeSpace) -> str:
    """Explain why the output of the trunk is not kept.

    Parameters
    ----------
    one_view, all_views : int
        Sizes in bytes of the one view that is held in memory, and of all views on the disk.
    limit : int or FreeSpace
        Largest size of all views in bytes. Free space limits the one view to half of the memory,
        and all views to half of the disk.

    Returns
    -------
    str
        The size and the limit that it exceeds; empty if the output can be kept.
    """
    if isinstance(limit, int):
        bounds = [(all_views, limit, "max_trunk_gb is")]
    else:
        bounds = [
            (one_view, limit.memory // 2, "half of the free memory is"),
            (all_views, limit.disk // 2, "half of the free disk is"),
        ]
    for size, bound, name in bounds:
        if size > bound:
            return f"it would be {size / 1e9:.2f} GB, {name} {bound / 1e9:.2f} GB"
    return ""


def _count_kept_bytes(run: TrunkRun, path: Path, n_views: int) -> int:
    """Count the bytes that are already stored for the views to keep."""
    if not path.exists():
        return 0
    names = {run.name_view(view) for view in range(n_views + 1)}
    with open_cache(path) as cache:
        return run.count_bytes(len(names.intersection(cache.embeddings)))


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
