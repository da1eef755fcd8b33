"""What a cluster costs, and how much its driver takes: the figures of docs/how_to/scale.md.

Run it with ``python benchmarks/cluster.py``; it needs the extra ``cluster``.

1. The same photos through the same network on the same cores: by one process, by an actor of Ray
   per core, and by one actor on all cores, as without ``--workers``; interleaved. The speed is that
   between two sizes, (images of the large run - of the small run) ÷ (their seconds), so that no
   start counts; starts are told apart.
2. Vectors of the ants and bees and of 10,000 images of CIFAR-10: those of a cluster beside those of
   one process, to the last bit.
3. How many rows the driver receives, joins, hashes and makes durable in a second of one core, by
   dim: results as actors send them, from memory, through the code of a run. Seconds of a core, and
   not those that pass, because a busy machine does not change them; beside them the latter.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

# Run as a script, its folder's parent is not on the path.
sys.path.insert(0, str(Path(__file__).parents[1] / "pipelines"))
from cost import write_subset
from parts import read_vectors
from photos import link_some, write_photos
from shared import build_parser

import featx
from featx.cache.format import EmbeddingInfo
from featx.cache.shards import Shards
from featx.core.fingerprint import Fingerprint
from featx.core.provenance import Origin, Provenance
from featx.core.row_tables import build_table
from featx.core.rows import Row
from featx.embedding.batching import EmbeddedBatch
from featx.extraction.ray_actor import BlockResult
from featx.extraction.ray_plan import settle_repeats
from featx.images.entries import MANIFEST_KINDS

BATCH_SIZE = 8
"""Images of a batch of both ways: the last bits of a vector depend on it."""

WAYS: dict[str, dict[str, Any]] = {
    "one": {},
    "ray": {"cluster": "ray", "workers": 1},
    "whole": {"cluster": "ray"},
}
"""Options of a process, of an actor per core, and of an actor on all cores."""

BLOCK_ROWS = 4096
"""Number of rows of a block whose batches have 256 images, as on a GPU."""


def extract(folder: str, output: str, backbone: str, weights: str, *, how: str) -> None:
    """Extract in one of the `WAYS`, and print the seconds."""
    begin = time.perf_counter()
    report = featx.extract(
        folder, output, backbone=backbone, weights=weights or None, batch_size=BATCH_SIZE,
        progress=False, **WAYS[how],
    )  # fmt: skip
    print(json.dumps({"images": report.n_embedded, "seconds": time.perf_counter() - begin}))


def run_child(*words: object) -> dict[str, float]:
    """Run a measurement in a session of its own, like the actors of Ray: Linux shares by them."""
    command = [sys.executable, __file__, "--child", *map(str, words)]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def compare(options: argparse.Namespace, photos: Path, scratch: Path) -> list[dict[str, Any]]:
    """Measure both ways in several rounds: one line for each backbone."""
    sizes = options.sizes
    parts = [link_some(photos, scratch / f"part-{size}", size) for size in sizes]
    lines = []
    for name in options.backbones:
        weights = options.data / "weights" / f"{name}-imagenet-backbone.pth"
        given = str(weights) if weights.is_file() else "random:0"
        run_child(parts[0], scratch / "warm-up.h5", name, given, "one")  # keeps the network
        rates: dict[str, list[float]] = {how: [] for how in WAYS}
        starts: dict[str, list[float]] = {how: [] for how in WAYS}
        for number in range(options.rounds):
            for how, found in rates.items():
                seconds = []
                for part in parts:
                    output = scratch / f"{name}-{how}-{number}-{part.name}.h5"
                    seconds.append(run_child(part, output, name, given, how)["seconds"])
                rate = (sizes[1] - sizes[0]) / (seconds[1] - seconds[0])
                found.append(rate)
                starts[how].append(seconds[0] - sizes[0] / rate)
        ratios = {
            f"{how}_to_one": [mine / one for one, mine in zip(rates["one"], found, strict=True)]
            for how, found in rates.items()
            if how != "one"
        }
        lines.append(
            {"backbone": name}
            | {f"{how}_images_per_s": statistics.median(found) for how, found in rates.items()}
            | {f"{how}_start_s": statistics.median(found) for how, found in starts.items()}
            | {how: statistics.median(found) for how, found in ratios.items()}
            | {"ratios": ratios}
        )
    return lines


def compare_vectors(options: argparse.Namespace, scratch: Path) -> list[dict[str, Any]]:
    """Extract both data sets both ways: one line for each of them."""
    data, weights = options.data / "data", options.data / "weights"
    tar = scratch / "cifar10.tar"
    write_subset([data / "cifar10-test.tar"], options.images, tar)
    lines = []
    for name, source, backbone, given in (
        ("hymenoptera", data / "hymenoptera_data", "mobilenet_v2",
         str(weights / "mobilenet_v2-imagenet-backbone.pth")),
        ("CIFAR-10", tar, "mini", ""),
    ):  # fmt: skip
        outputs = {how: scratch / f"{name}-{how}.h5" for how in ("one", "ray")}
        done = {how: run_child(source, path, backbone, given, how) for how, path in outputs.items()}
        one, ray = map(read_vectors, outputs.values())
        lines.append(
            {"source": name, "backbone": backbone, "rows": len(one), "equal": one == ray}
            | {f"{how}_s": result["seconds"] for how, result in done.items()}
        )
    return lines


def build_rows(number: int) -> list[Row]:
    """Build the rows of one block."""
    names = (f"{number * BLOCK_ROWS + row:09}" for row in range(1, BLOCK_ROWS + 1))
    return [
        Row(id=f"a/{name}.jpg", path=f"/data/a/{name}.jpg", label="a", digest=f"{name:0>64}",
            width=640, height=480, n_bytes=100_000, mtime_ns=1)
        for name in names
    ]  # fmt: skip


def build_block(number: int, dim: int, rng: np.random.Generator) -> bytes:
    """Build what an actor sends for one block."""
    rows = build_rows(number)
    vectors = rng.random((BLOCK_ROWS, dim), np.float32)
    batches = tuple(
        EmbeddedBatch(
            rows=tuple(rows[start : start + 256]),
            vectors={"penultimate": vectors[start : start + 256]},
            failures=(),
        )
        for start in range(0, BLOCK_ROWS, 256)
    )
    return pickle.dumps(BlockResult(number=number, host="", batches=batches), protocol=5)


def measure_driver(dim: int, n_blocks: int, folder: Path) -> dict[str, float]:
    """Measure how fast the driver takes results and makes them durable."""
    fingerprint = Fingerprint(
        backbone="none", weights_digest="0" * 64, layer="penultimate", dim=dim,
        preprocess={"kind": "none/1"}, decoder="none/1", precision="fp32",
    )  # fmt: skip
    provenance = Provenance(
        origin=Origin(weights="none"), engine="none", device="none", batch_size=256, source="none",
        time="2026-01-01T00:00:00+00:00", host="none", platform="none", versions={},
    )  # fmt: skip
    info = EmbeddingInfo("none", fingerprint, provenance)
    source = build_table([row for n in range(n_blocks) for row in build_rows(n)], MANIFEST_KINDS)
    shards = Shards(
        folder / f"{dim}.partial", [info], source=source, dtype="float32", batch_size=256
    )
    rng, seen, seconds, passed = np.random.default_rng(0), set[str](), 0.0, 0.0
    for number in range(n_blocks):
        packed = build_block(number, dim, rng)
        begin, cpu = time.perf_counter(), time.process_time()
        result: BlockResult = pickle.loads(packed)
        for batch in result.batches:
            settled = settle_repeats(batch, seen)
            shards.append(settled.rows, {"none": settled.vectors["penultimate"]})
            shards.seal_when_due(30.0)
        if number == n_blocks - 1:
            shards.seal()
        seconds += time.process_time() - cpu
        passed += time.perf_counter() - begin
    n_rows = n_blocks * BLOCK_ROWS
    shards.remove()
    return {
        "dim": dim,
        "rows_per_core_s": n_rows / seconds,
        "mb_per_core_s": n_rows * dim * 4 / seconds / 1e6,
        "rows_per_s": n_rows / passed,
    }


def main() -> None:
    """Measure all, and print one JSON object."""
    parser = build_parser(__doc__)
    parser.add_argument("--backbones", nargs="+", default=["mobilenet_v2"])
    parser.add_argument("--sizes", nargs=2, type=int, default=[400, 2000], help="images of a run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=10_000, help="images of CIFAR-10; 0: none")
    parser.add_argument("--dims", nargs="*", type=int, default=[512, 1280, 2048])
    parser.add_argument("--blocks", type=int, default=16, help="blocks that the driver receives")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        *words, how = options.child
        extract(*words, how=how)
        return
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        result: dict[str, Any] = {
            "load_before": os.getloadavg()[0],
            "driver": [measure_driver(dim, options.blocks, scratch) for dim in options.dims],
        }
        if options.images:
            result["vectors"] = compare_vectors(options, scratch)
        if options.rounds:
            write_photos(options.data / "data", scratch / "photos", options.sizes[1])
            result["throughput"] = compare(options, scratch / "photos", scratch)
        result["load_after"] = os.getloadavg()[0]
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
