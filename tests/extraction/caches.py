"""Caches compared, folders aged, locks left behind: words of the tests of extraction."""

import itertools
import json
import os
import tarfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from featx.cache.joined import open_cache
from featx.cache.lock import LockOwner
from featx.core.row_tables import list_rows

COLOURS = {"ants": (200, 60, 40), "bees": (40, 90, 210)}
CLOCK = itertools.count(10**9)
"""Times of last change to give: each later than the one before, all long ago."""


def age(path: Path) -> Any:
    """Make a file's last change an old one: one that changed just now is read again, by design."""
    seconds = next(CLOCK)
    os.utime(path, (seconds, seconds))
    return path


def read_all(path: Path) -> Any:
    """Return everything in a cache but who made it, and the order in which its rows arrived."""
    with open_cache(path) as cache:
        order = np.argsort(cache.ids)
        present = {name: cache.read_present(name)[order] for name in cache.embeddings}
        return {
            "rows": list_rows(cache.read_rows()[order]),
            "failures": cache.failures,
            "source": cache.source,
            "present": {name: mask.tolist() for name, mask in present.items()},
            "vectors": {
                name: cache.read_vectors(name, order[mask]).tobytes()
                for name, mask in present.items()
            },
        }


def read_by_id(path: Path, name: str | None = None) -> Any:
    with open_cache(path) as cache:
        name = cache.get_info(name).name
        rows = cache.select_rows(embedding=name)
        vectors = cache.read_vectors(name, rows)
        return {i: v.tobytes() for i, v in zip(cache.ids[rows].tolist(), vectors, strict=True)}


def count(report: Any) -> Any:
    return report.n_embedded, report.n_removed, report.is_changed


def pack(folder: Path, tar: Any) -> Any:
    with tarfile.open(tar, "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.add(path, path.relative_to(folder))
    return age(tar)


def list_shards(path: Path) -> Any:
    return sorted(path.with_name(path.name + ".partial").glob("shard-*.h5"))


def leave_dead_lock(output: Any) -> Any:
    """Lock a cache in the name of a process that is no more."""
    holder = replace(LockOwner.of_this_process(), started="before")
    output.with_name(f".{output.name}.lock").write_text(json.dumps(asdict(holder)))
    return holder
