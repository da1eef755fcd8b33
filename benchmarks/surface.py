"""What it costs to read a cache from Python: tables, blocks, a data set, and kept embeddings.

Run it with ``python benchmarks/surface.py [--rows 50000] [--dim 1280] [--rounds 3]``. The ways take
turns in one process, so that other work on the machine concerns all of them; compare the seconds
with those of `read_vectors`, which reads and checks the same bytes. Printed are medians of wall and
CPU seconds. The last lines embed 200 generated images through the bundled network `mini`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from exchange import build_cache
from PIL import Image
from torch.utils.data import DataLoader

import featx

N_IMAGES = 200
BATCH = 256
N_FROM_FILE = 2048


def read_batches(path: Path, *, in_memory: bool, n_rows: int) -> None:
    """Read shuffled batches, as a training loop does."""
    samples = featx.EmbeddingDataset(path, in_memory=in_memory)
    samples[0]  # reads all vectors, if they are kept
    start, n_read = time.perf_counter(), 0
    for X, _ in DataLoader(samples, batch_size=BATCH, shuffle=True):
        n_read += len(X)
        if n_read >= n_rows:
            break
    seconds = time.perf_counter() - start
    print(f"  {n_read / seconds:,.0f} rows/s in shuffled batches, in_memory={in_memory}")


def measure(ways: dict[str, Callable[[], Any]], n_rounds: int) -> None:
    """Print the median seconds of each way; the ways take turns."""
    wall: dict[str, list[float]] = {name: [] for name in ways}
    used: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(n_rounds):
        for name, way in ways.items():
            start, cpu = time.perf_counter(), time.process_time()
            way()
            wall[name].append(time.perf_counter() - start)
            used[name].append(time.process_time() - cpu)
    for name in ways:
        print(
            f"{name:<38} {statistics.median(wall[name]):7.2f} {statistics.median(used[name]):7.2f}"
        )


def write_images(folder: Path) -> list[str]:
    """Write generated images as JPEG; return their paths."""
    rng, paths = np.random.default_rng(0), []
    for number in range(N_IMAGES):
        path = folder / f"{number}.jpg"
        pixels = rng.integers(0, 256, (6, 8, 3), np.uint8)
        Image.fromarray(pixels).resize((500, 375)).save(path)
        paths.append(str(path))
    return paths


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=1280)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cache.h5"
        build_cache(path, options.rows, options.dim)
        print(f"{'':<38} {'wall s':>7} {'CPU s':>7}")
        with featx.open_cache(path) as cache:
            ways: dict[str, Callable[[], Any]] = {
                "read_vectors": cache.read_vectors,
                "iter_blocks": lambda: [len(block.X) for block in cache.iter_blocks()],
                "to_arrow": cache.to_arrow,
                "to_pandas": cache.to_pandas,
                "to_pandas(embedding=False)": lambda: cache.to_pandas(embedding=False),
                "select(label, where)": lambda: cache.select(
                    label="class 3", where=lambda rows: rows["width"] > 10
                ),
            }
            measure(ways, options.rounds)
        for in_memory, n_rows in ((True, options.rows), (False, N_FROM_FILE)):
            read_batches(path, in_memory=in_memory, n_rows=n_rows)
        paths = write_images(Path(folder))
        embedder = featx.ImageEmbedder("mini", cache_dir=Path(folder) / "kept")
        plain = {f"embed, {N_IMAGES} images": lambda: featx.embed(paths, backbone="mini")}
        measure(plain, options.rounds)
        measure({"ImageEmbedder, first time": lambda: embedder.transform(paths)}, 1)
        later = {"ImageEmbedder, later": lambda: embedder.transform(paths)}
        measure(later, options.rounds)


if __name__ == "__main__":
    main()
