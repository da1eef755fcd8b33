"""Whether there is room to keep what the trunk puts out."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from featx.cache.reader import open_cache
from featx.finetune.trunk import TrunkRun


def describe_excess(run: TrunkRun, path: Path, n_views: int, limit: int | None) -> str:
    """Say why the trunk's output is not kept; nothing where it can be.

    Parameters
    ----------
    run : TrunkRun
    path : Path
        Where it would be kept.
    n_views : int
        Beside the plain one.
    limit : int or None
        In bytes. Default: half of the memory that is free, for the one view that is held there,
        and half of the room on the disk.
    """
    one, all_views = run.count_bytes(1), run.count_bytes(n_views + 1)
    if limit is not None:
        bounds = [(all_views, limit, "it may be")]
    else:
        room = shutil.disk_usage(path.parent).free + _count_kept(run, path, n_views)
        bounds = [
            (one, find_free_memory() // 2, "half of the free memory is"),
            (all_views, room // 2, "half of the free disk is"),
        ]
    for size, bound, what in bounds:
        if size > bound:
            return f"it would be {size / 1e9:.2f} GB, {what} {bound / 1e9:.2f} GB"
    return ""


def _count_kept(run: TrunkRun, path: Path, n_views: int) -> int:
    """Return what is there already of the views to be kept, in bytes."""
    if not path.exists():
        return 0
    names = {run.name_view(view) for view in range(n_views + 1)}
    with open_cache(path) as cache:
        return run.count_bytes(len(names.intersection(cache.embeddings)))


def find_free_memory() -> int:
    """Return the bytes that this process may take without others being swapped out."""
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
    """List what is left of each limit that a container or a batch queue has set (cgroup 2)."""
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
            # Files that were read lately count as used, and yet make room when it is needed.
            cached = dict(zip(stat[::2], stat[1::2], strict=True)).get("inactive_file", "0")
            left.append(int(limit) - int(used) + int(cached))
    return left
