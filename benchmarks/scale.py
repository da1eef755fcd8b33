"""What a row costs: peak memory and time from 100,000 to 1,000,000 rows, and 10,000,000 rows read.

Run it with ``python benchmarks/scale.py``; ``--rows 1000 10000`` is a trial of a minute.

1. Folders of tiny images on a tmpfs, 1000 in each folder, through an engine that computes nothing:
   the first extraction, one with nothing to do, ``info``, ``verify`` and ``split``, each in its own
   process. Peak memory (RSS) and seconds of each; what a row adds from one size to the next; and
   the seconds per row, less those of a start over 1,000 rows.
2. A cache of many rows with 64 numbers each, made of columns: seconds to open it, and seconds and
   peak memory of ``info``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from made_up import build_info

from featx.cache.joined import open_cache
from featx.cache.writer import Column, write_cache
from featx.core.columns import Categories, Table, TextsBuilder
from featx.core.typing import Array, IntArray

EXTRACT = """
import sys, featx
from featx.testing import FakeEngine
featx.extract(sys.argv[1], sys.argv[2], backbone="lenet5", engine=FakeEngine(batch_size=256),
              progress=False)
"""
FEATX = ["-m", "featx.cli"]

PER_FOLDER = 1000

START_ROWS = 1000
"""Rows of the run that tells what a start takes."""

GOAL_BYTES = 400
"""Bytes of peak memory that a row may add."""

DIM = 64


def write_images(folder: Path, n_rows: int) -> None:
    """Write images of 4 x 2 gray pixels, all different, in two classes."""
    for number in range(n_rows):
        path = folder / f"class{number % 2}" / f"{number // PER_FOLDER:04}"
        if number % PER_FOLDER < 2:
            path.mkdir(parents=True, exist_ok=True)
        content = b"P5 4 2 255\n" + number.to_bytes(8, "little")
        (path / f"{number:08}.pgm").write_bytes(content)


def measure(arguments: Sequence[str]) -> tuple[float, float]:
    """Run Python, and return its seconds and its peak memory in bytes."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{arguments}: {errors.decode()}")
    return seconds, usage.ru_maxrss * 1024


def measure_rows(n_rows: int, place: Path) -> dict[str, tuple[float, float]]:
    """Measure every command over so many rows."""
    with tempfile.TemporaryDirectory(dir=place) as name:
        folder, cache = Path(name) / "photos", Path(name) / "photos.h5"
        write_images(folder, n_rows)
        time.sleep(2.1)  # a file that has just changed is read again
        extract = ["-c", EXTRACT, str(folder), str(cache)]
        commands: Mapping[str, list[str]] = {
            "extract": extract,
            "extract, nothing to do": extract,
            "info": [*FEATX, "info", str(cache)],
            "verify": [*FEATX, "verify", str(cache)],
            "split": [*FEATX, "split", str(cache)],
        }
        return {command: measure(arguments) for command, arguments in commands.items()}


def print_rows(sizes: Sequence[int], place: Path) -> None:
    """Measure several sizes, and print what a row adds."""
    found = {n_rows: measure_rows(n_rows, place) for n_rows in (START_ROWS, *sizes)}
    small, large = sizes[0], sizes[-1]
    print(f"\n| command | {' | '.join(f'{n:,} rows' for n in sizes)} | bytes a row | µs a row |")
    print(f"|---|{'---|' * len(sizes)}---|---|")
    for command, (start_s, _) in found[START_ROWS].items():
        cells = [
            f"{s:.1f} s, {peak / 1e6:.0f} MB" for s, peak in (found[n][command] for n in sizes)
        ]
        added = (found[large][command][1] - found[small][command][1]) / (large - small)
        each = [1e6 * (found[n][command][0] - start_s) / (n - START_ROWS) for n in sizes]
        times = " → ".join(f"{one:.1f}" for one in each)
        mark = "" if added <= GOAL_BYTES else f" (more than {GOAL_BYTES})"
        print(f"| {command} | {' | '.join(cells)} | {added:.0f}{mark} | {times} |")


def write_many(path: Path, n_rows: int) -> None:
    """Write a cache of random digests and vectors."""
    ids = TextsBuilder()
    for number in range(n_rows):
        ids.append(f"{number % 1000:03}/{number:08}.jpg")
    texts, rng = ids.build(), np.random.default_rng(0)
    labels = Categories.from_list(["", *(f"class {n}" for n in range(1000))])
    codes = 1 + np.arange(n_rows, dtype=np.int32) % 1000
    splits = Categories.from_list(["", "train", "val"])
    rows = Table(
        {
            "id": texts,
            "path": texts,
            "digest": rng.integers(0, 256, (n_rows, 32), np.uint8),
            "width": np.full(n_rows, 640, np.int32),
            "height": np.full(n_rows, 480, np.int32),
            "n_bytes": np.full(n_rows, 50_000, np.int64),
            "mtime_ns": np.full(n_rows, 1, np.int64),
            "label": labels[codes],
            "split": splits[1 + (codes % 5 == 0).astype(np.int32)],
            "group": Categories.fill(None, n_rows),
        }
    )

    def read(numbers: IntArray) -> Array:
        return np.random.default_rng(int(numbers[0])).random((len(numbers), DIM), np.float32)

    column = Column(info=build_info(DIM), dtype="float32", read=read)
    write_cache(path, rows, [column], source="made up")


def run_apart(act: Callable[[], None]) -> None:
    """Run in a process of its own, so that its memory does not count here."""
    process = os.fork()
    if not process:
        act()
        os._exit(0)
    if os.waitpid(process, 0)[1]:
        raise SystemExit("the cache could not be written")


def print_many(n_rows: int, place: Path) -> None:
    """Measure how a large cache opens, and what it tells."""
    with tempfile.TemporaryDirectory(dir=place) as name:
        path = Path(name) / "many.h5"
        run_apart(lambda: write_many(path, n_rows))
        size = path.stat().st_size
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            open_cache(path).close()
            seconds.append(time.perf_counter() - start)
        info_s, peak = measure([*FEATX, "info", str(path)])
        print(
            f"\n{n_rows:,} rows of {DIM} numbers, {size / 1e9:.1f} GB: opens in {seconds[0]:.3f} s "
            f"(again {min(seconds):.3f} s); info {info_s:.2f} s, {peak / 1e6:.0f} MB"
        )


def main() -> None:
    """Measure what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rows", type=int, nargs="*", default=[100_000, 1_000_000], help="two sizes or more"
    )
    parser.add_argument("--many", type=int, default=10_000_000, help="0 leaves it out")
    parser.add_argument("--place", type=Path, default=Path("/dev/shm"), help="a tmpfs")
    arguments = parser.parse_args()
    free = shutil.disk_usage(arguments.place).free
    print(f"{os.cpu_count()} cores, {free / 1e9:.0f} GB free in {arguments.place}")
    if arguments.rows:
        print_rows(sorted(arguments.rows), arguments.place)
    if arguments.many:
        print_many(arguments.many, arguments.place)


if __name__ == "__main__":
    main()
