"""Free memory and disk space: decide whether the output of the trunk is kept."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from featx.cache.joined import open_cache
from featx.core.memory import find_free_memory
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
