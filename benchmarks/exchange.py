"""How fast a cache is exported, beside plain pyarrow and NumPy on arrays in memory.

Run it with ``python benchmarks/exchange.py [--rows 50000] [--dim 1280] [--rounds 3]``. Each way
runs in a process of its own, start and imports not counted, and the ways take turns. A way of featx
reads a cache, checks every byte of it, writes the file, flushes it to the disk and puts it in
place; the plain ways write arrays that are in memory already, without a flush. Printed are medians:
megabytes of vectors per second of wall time and of CPU time (other work on the machine changes the
second less), and the peak memory.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from made_up import build_info

from featx.cache.writer import Column, write_cache
from featx.core.columns import Categories, Table, Texts
from featx.core.typing import Array, IntArray

HERE = Path(__file__).parents[1]


def draw(rows: IntArray, dim: int) -> Array:
    """Draw the vectors of some rows."""
    return np.random.default_rng(int(rows[0])).random((len(rows), dim), np.float32)


def build_cache(path: Path, n_rows: int, dim: int) -> None:
    """Write a cache of ten classes."""
    numbers = np.arange(n_rows)
    paths = Texts.from_list(f"class {n % 10}/{n:08}.jpg" for n in range(n_rows))
    labels = Categories.from_list(f"class {n % 10}" for n in range(n_rows))
    digests = np.random.default_rng(0).integers(0, 256, (n_rows, 32), np.uint8)
    rows = Table(
        {
            "id": paths,
            "path": paths,
            "label": labels,
            "split": Categories.fill("train", n_rows),
            "group": Categories.fill(None, n_rows),
            "digest": digests,
            "width": np.full(n_rows, 640, np.int32),
            "height": np.full(n_rows, 480, np.int32),
            "n_bytes": numbers,
            "mtime_ns": numbers,
        }
    )
    info = build_info(dim, "none")
    column = Column(info=info, dtype="float32", read=lambda some: draw(some, dim))
    write_cache(path, rows, [column], source="photos")


def read_cache(folder: Path, _: Any) -> None:
    """Read all vectors in blocks, without writing anything."""
    import featx

    with featx.open_cache(folder / "c.h5") as cache:
        for start in range(0, len(cache), 4096):
            cache.read_vectors(rows=slice(start, start + 4096))


def export(suffix: str) -> Callable[[Path, Any], None]:
    """Build the way that exports the cache to a kind of file."""

    def run(folder: Path, _: Any) -> None:
        from featx.exchange.export import export_cache

        export_cache(folder / "c.h5", folder / f"out.{suffix}", overwrite=True)

    return run


def write_plain_parquet(folder: Path, vectors: Array, **options: Any) -> None:
    """Write ids and vectors with pyarrow."""
    import pyarrow as pa
    import pyarrow.parquet

    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    table = pa.table({"id": list(map(str, range(len(vectors)))), "embedding": lists})
    pyarrow.parquet.write_table(table, folder / "out.parquet", **options)


def write_bare_parquet(folder: Path, vectors: Array) -> None:
    """Write ids and vectors with pyarrow, without compression, dictionaries and statistics."""
    options = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    write_plain_parquet(folder, vectors, **options)


def write_plain_npz(folder: Path, vectors: Array) -> None:
    """Write ids and vectors with NumPy."""
    np.savez(folder / "out.npz", id=np.arange(len(vectors)).astype(str), embedding=vectors)


WAYS: dict[str, Callable[[Path, Any], None]] = {
    "featx: read the cache only": read_cache,
    "featx export .parquet": export("parquet"),
    "pyarrow, its defaults": write_plain_parquet,
    "pyarrow, bare": write_bare_parquet,
    "featx export .arrow": export("arrow"),
    "featx export .npz": export("npz"),
    "numpy.savez": write_plain_npz,
}


def run_one(way: str, folder: Path, n_rows: int, dim: int) -> None:
    """Run one way in this process; print wall time, CPU time and peak memory in MB."""
    run = WAYS[way]
    is_plain = not way.startswith("featx")
    vectors = draw(np.arange(n_rows), dim) if is_plain else None
    import pyarrow.parquet  # noqa: F401

    import featx.exchange.export  # noqa: F401

    wall, cpu = time.perf_counter(), time.process_time()
    run(folder, vectors)
    print(
        time.perf_counter() - wall,
        time.process_time() - cpu,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def main() -> None:
    """Let the ways take turns, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=1280)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        run_one(given.one, given.folder, given.rows, given.dim)
        return
    megabytes = given.rows * given.dim * 4 / 1e6
    found: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        build_cache(Path(name) / "c.h5", given.rows, given.dim)
        sizes = ["--rows", str(given.rows), "--dim", str(given.dim)]
        for _ in range(given.rounds):
            for way, values in found.items():
                command = [sys.executable, __file__, "--one", way, "--folder", name, *sizes]
                done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True)
                values.append([*map(float, done.stdout.split())])
                for file in Path(name).glob("out.*"):
                    file.unlink()
    print(f"{megabytes:.0f} MB of vectors, median of {given.rounds}")
    print(f"{'':28}  MB/s wall  MB/s CPU  peak MB")
    for way, values in found.items():
        wall, cpu, peak = (statistics.median(column) for column in zip(*values, strict=True))
        print(f"{way:28}  {megabytes / wall:9.0f}  {megabytes / cpu:8.0f}  {peak:7.0f}")


if __name__ == "__main__":
    main()
