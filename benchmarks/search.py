"""What an exact search takes, beside NumPy's own product of the same matrices.

Run it with ``python benchmarks/search.py``; ``--rows 100000`` is a trial of a minute. Random
vectors are written to a cache below ``--place``, 2 GB of them by default.

1. A batch of 1,000 queries over 1,000,000 rows of 512 numbers that are read from disk: queries a
   second, peak memory (VmHWM) of the process, and the same for NumPy, which holds all vectors in
   memory and computes the product of the matrices alone, without choosing the nearest. Each run is
   a process of its own; the two take turns. The ratio is that of the runs beside each other. On a
   busy machine the ratio of the seconds of all cores says more.
2. One query over 60,000 rows of 1,280 numbers by a `featx.Searcher` that has searched before.
3. With ``--labelled CACHE``: share of val rows whose nearest train row has their label.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from made_up import build_info

import featx
from featx.cache.writer import Column, write_cache
from featx.core.columns import Categories, Table, Texts
from featx.core.typing import Array, IntArray
from featx.heads.intervals import estimate_interval

N_QUERIES, TOP = 1000, 10

BLOCK = 16_384
"""Rows of one product: of larger blocks the products would take 4 GB."""

SINGLE = 60_000, 1280
"""Rows and numbers of the cache that single queries search."""


def write_random(path: Path, n_rows: int, dim: int) -> None:
    """Write a cache of random vectors."""
    ids = Texts.from_list(f"{number:08}.jpg" for number in range(n_rows))
    digests = np.random.default_rng(1).integers(0, 256, (n_rows, 32), np.uint8)
    nothing = Categories.fill(None, n_rows)
    sizes = {"width": np.int32, "height": np.int32, "n_bytes": np.int64, "mtime_ns": np.int64}
    rows = Table(
        {"id": ids, "path": ids, "digest": digests}
        | dict.fromkeys(("label", "split", "group"), nothing)
        | {name: np.ones(n_rows, dtype) for name, dtype in sizes.items()}
    )

    def read(numbers: IntArray) -> Array:
        rng = np.random.default_rng(int(numbers[0]))
        return rng.standard_normal((len(numbers), dim), np.float32)

    info = build_info(dim)
    write_cache(path, rows, [Column(info=info, dtype="float32", read=read)], source="made up")


def draw_queries(dim: int) -> Array:
    """Draw random vectors to search for."""
    return np.random.default_rng(7).standard_normal((N_QUERIES, dim), np.float32)


def read_peak() -> int:
    """Read the peak memory of this process in bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line) * 1024


def search(path: Path) -> dict[str, float]:
    """Search from disk; the first search, so that nothing is in memory yet."""
    with featx.open_cache(path) as cache:
        searcher = featx.Searcher(cache)
        queries = draw_queries(cache.get_info().fingerprint.dim)
        start, cpu = time.perf_counter(), time.process_time()
        searcher.find(queries, top=TOP)
        return {
            "seconds": time.perf_counter() - start,
            "cpu": time.process_time() - cpu,
            "peak": read_peak(),
        }


def multiply(path: Path) -> dict[str, float]:
    """Multiply the same matrices in memory."""
    with featx.open_cache(path) as cache:
        X = cache.read_vectors()
    queries = draw_queries(X.shape[1])
    start, cpu = time.perf_counter(), time.process_time()
    for first in range(0, len(X), BLOCK):
        queries @ X[first : first + BLOCK].T
    return {
        "seconds": time.perf_counter() - start,
        "cpu": time.process_time() - cpu,
        "peak": read_peak(),
    }


def search_once(path: Path) -> dict[str, float]:
    """Search for single queries in a cache that fits in memory."""
    with featx.open_cache(path) as cache:
        searcher = featx.Searcher(cache)
        queries = draw_queries(cache.get_info().fingerprint.dim)
        seconds = []
        for number in range(31):
            start = time.perf_counter()
            searcher.find(queries[number : number + 1], top=TOP)
            seconds.append(time.perf_counter() - start)
        return {
            "first": seconds[0],
            "seconds": statistics.median(seconds[1:]),
            "slowest": max(seconds[1:]),
            "peak": read_peak(),
        }


PARTS = {"search": search, "multiply": multiply, "once": search_once}


def run_apart(part: str, path: Path) -> dict[str, float]:
    """Run a part in a process of its own."""
    words = [sys.executable, __file__, "--part", part, "--cache", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def print_batches(path: Path, n_repeats: int, label: str) -> None:
    """Measure batches of queries, in turns with NumPy."""
    pairs = [(run_apart("search", path), run_apart("multiply", path)) for _ in range(n_repeats)]
    print(f"\n{label}, {N_QUERIES:,} queries, the {TOP} nearest of each, {n_repeats} turns")
    for place, name in enumerate(("featx, from disk", "numpy, product alone")):
        rates = [N_QUERIES / pair[place]["seconds"] for pair in pairs]
        peak = max(pair[place]["peak"] for pair in pairs)
        between = f"{min(rates):.1f} to {max(rates):.1f}"
        print(
            f"{name}: {statistics.median(rates):.1f} queries/s ({between}), "
            f"peak memory {peak / 1e6:.0f} MB"
        )
    for key, name in (("seconds", "queries/s"), ("cpu", "queries per second of a core")):
        ratios = [product[key] / found[key] for found, product in pairs]
        between = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"ratio of {name}: {statistics.median(ratios):.2f} ({between})")


def print_single(path: Path, label: str) -> None:
    """Measure single queries."""
    found = run_apart("once", path)
    print(
        f"\n{label}, one query: first {found['first'] * 1e3:.0f} ms, then median "
        f"{found['seconds'] * 1e3:.1f} ms, slowest {found['slowest'] * 1e3:.1f} ms, peak memory "
        f"{found['peak'] / 1e6:.0f} MB"
    )


def print_labelled(path: Path) -> None:
    """Measure how often the nearest train row of a val row has its label."""
    with featx.open_cache(path) as cache:
        rows = cache.select_rows("val", labelled=True, embedding=cache.get_info().name)
        train = cache.select_rows("train", labelled=True)
        found = featx.Searcher(cache, rows=train).find(cache.read_vectors(rows=rows), top=1)
        is_right = cache.labels[found.rows[:, 0]] == cache.labels[rows]
    low, high = estimate_interval(is_right.astype(float))
    print(
        f"\n{path.name}: the nearest of {len(train):,} train rows has the label of {is_right.sum()}"
        f" of {len(rows):,} val rows: {is_right.mean():.3f} (95 % interval {low:.3f} to {high:.3f})"
    )


def main() -> None:
    """Measure what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="0 leaves batches out")
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--labelled", type=Path, help="a cache with splits train and val")
    parser.add_argument("--place", type=Path, help="folder for the caches, on a disk")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        print(json.dumps(PARTS[given.part](given.cache)))
        return
    print(f"{len(os.sched_getaffinity(0))} cores")
    with tempfile.TemporaryDirectory(dir=given.place) as folder:
        if given.rows:
            path = Path(folder) / "many.h5"
            write_random(path, given.rows, given.dim)
            print_batches(path, given.repeats, f"{given.rows:,} x {given.dim}")
            path.unlink()
        path = Path(folder) / "single.h5"
        write_random(path, *SINGLE)
        print_single(path, f"{SINGLE[0]:,} x {SINGLE[1]:,}")
    if given.labelled:
        print_labelled(given.labelled)


if __name__ == "__main__":
    main()
