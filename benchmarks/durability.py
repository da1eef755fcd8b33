"""What durability costs: against a bare loop, on a run with nothing to do, and in the merge.

Run it with ``python benchmarks/durability.py``.

1. The same photos through the same network and the same decoding, once by `featx.extract`, once by
   a loop that appends to an HDF5 file; interleaved, medians of several rounds.
2. 60,000 files (CIFAR-10, unpacked) extracted once, then again with nothing to do: the seconds of
   the whole command, start of Python included, medians of several rounds.
3. Shards of 60,000 rows of dim 1280 joined to one sealed cache: MB/s of the cache.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

# Run as a script, its folder's parent is not on the path.
sys.path.insert(0, str(Path(__file__).parents[1] / "pipelines"))
from made_up import build_info
from shared import build_parser, check_there

import featx
from featx.cache.shards import Shards
from featx.cache.writer import Column, write_cache
from featx.core.row_tables import ROW_KINDS, build_table
from featx.core.rows import Row
from featx.core.typing import Array, IntArray
from featx.embedding.loop import iter_embedded
from featx.embedding.options import RunOptions
from featx.images.sources.read import read_manifest

MERGED_ROWS, MERGED_DIM, SHARD_ROWS = 60_000, 1280, 2_000


def write_crops(photos: Path, folder: Path, n_copies: int) -> None:
    """Write several crops of each photo, so that no content comes twice."""
    rng = np.random.default_rng(0)
    for path in sorted(photos.glob("*/*/*.jpg")):
        with Image.open(path) as image:
            picture = image.convert("RGB")
        for copy in range(n_copies):
            left, top = rng.integers(0, 20, 2)
            crop = picture.crop((left, top, picture.width - copy, picture.height - copy))
            target = folder / path.parent.name / f"{path.stem}-{copy}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            crop.save(target, quality=90)


def append_bare(photos: Path, output: Path, backbone: featx.Backbone) -> None:
    """Embed and append, as a script without featx's cache would."""
    options = RunOptions(progress=False)
    engine = options.build_engine(backbone)
    layer = backbone.layers[0]
    with h5py.File(output, "w") as file:
        dim = backbone.dims[layer]
        vectors = file.create_dataset(
            "vectors", (0, dim), "f4", maxshape=(None, dim), chunks=(256, dim)
        )
        ids = file.create_dataset("ids", (0,), h5py.string_dtype(), maxshape=(None,))
        for batch in iter_embedded(read_manifest(photos).entries, backbone, engine, options):
            start = len(vectors)
            vectors.resize(start + len(batch.rows), axis=0)
            ids.resize(start + len(batch.rows), axis=0)
            vectors[start:] = batch.vectors[layer]
            ids[start:] = [row.id for row in batch.rows]


def compare_with_bare(
    data: Path, weights: Path, folder: Path, *, rounds: int, n_copies: int
) -> dict[str, float]:
    """Time both, interleaved."""
    photos = folder / "photos"
    write_crops(data / "hymenoptera_data", photos, n_copies)
    backbone = featx.load_backbone("mobilenet_v2", weights=str(weights))
    append_bare(photos, folder / "warm-up.h5", backbone)
    seconds: dict[str, list[float]] = {"bare": [], "durable": [], "durable_2s": []}
    for number in range(rounds):
        for name, times in seconds.items():
            output = folder / f"{name}-{number}.h5"
            begin = time.perf_counter()
            if name == "bare":
                append_bare(photos, output, backbone)
            else:
                shard_seconds = 2.0 if name == "durable_2s" else 30.0
                featx.extract(
                    photos, output, backbone=backbone, shard_seconds=shard_seconds, progress=False
                )
            times.append(time.perf_counter() - begin)
            output.unlink()
    medians = {f"{name}_s": statistics.median(times) for name, times in seconds.items()}
    ratios = {
        f"{name}_overhead_percent": 100
        * (statistics.median(d / b for d, b in zip(times, seconds["bare"], strict=True)) - 1)
        for name, times in seconds.items()
        if name != "bare"
    }
    return {"images": len(list(photos.glob("*/*.jpg"))), **medians, **ratios}


def time_noop(data: Path, folder: Path, rounds: int) -> dict[str, float]:
    """Extract many small files, then run the command again with nothing to do."""
    images, output = folder / "cifar", folder / "cifar.h5"
    for name in ("train", "test"):
        with tarfile.open(check_there(data / f"cifar10-{name}.tar"), "r:") as archive:
            archive.extractall(images / name, filter="data")
    command = [str(Path(sys.executable).with_name("featx")), "extract", str(images)]
    command += ["-o", str(output), "--backbone", "lenet5", "--batch-size", "256"]
    # Files younger than two seconds are read again: their clock cannot tell a later change.
    seconds = []
    for _ in range(rounds + 1):
        begin = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - begin)
    assert "up to date" in done.stdout, done.stdout
    n_files = sum(1 for _ in images.rglob("*.jpg"))
    return {"files": n_files, "first_s": seconds[0], "noop_s": statistics.median(seconds[1:])}


def time_merge(folder: Path) -> dict[str, float]:
    """Write shards of made-up vectors, and join them."""
    info = build_info(MERGED_DIM)
    rng = np.random.default_rng(0)
    rows = [
        Row(
            id=f"a/{number:06}.jpg",
            path=f"/data/a/{number:06}.jpg",
            label="a",
            digest=f"{number + 1:064x}",
            width=32,
            height=32,
            n_bytes=1,
            mtime_ns=1,
        )
        for number in range(MERGED_ROWS)
    ]
    table = build_table(rows, ROW_KINDS)
    shards = Shards(folder / "work", [info], source=table, dtype="float32", batch_size=32)
    for start in range(0, MERGED_ROWS, SHARD_ROWS):
        part = rows[start : start + SHARD_ROWS]
        vectors = rng.normal(size=(len(part), MERGED_DIM)).astype(np.float32)
        shards.append(part, {"made-up": vectors})
        shards.seal()
    output = folder / "merged.h5"
    begin = time.perf_counter()
    places = shards.index.find(table["digest"])
    number_of, row_of = shards.index.contents["shard"][places], shards.index.contents["row"][places]

    def read(numbers: IntArray) -> Array:
        parts = [
            shards.read_vectors("made-up", shard, row_of[numbers][number_of[numbers] == shard])
            for shard in np.unique(number_of[numbers]).tolist()
        ]
        return np.concatenate(parts)

    write_cache(output, table, [Column(info=info, dtype="float32", read=read)], source="made-up")
    seconds = time.perf_counter() - begin
    megabytes = output.stat().st_size / 1e6
    return {"megabytes": megabytes, "seconds": seconds, "mb_per_s": megabytes / seconds}


def main() -> None:
    """Measure all three and print a JSON object of each."""
    parser = build_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--copies", type=int, default=3, help="crops of each photo")
    options = parser.parse_args()
    data = check_there(options.data / "data")
    weights = check_there(options.data / "weights" / "mobilenet_v2-imagenet-backbone.pth")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print("merge", json.dumps(time_merge(folder)), flush=True)
        print("no-op", json.dumps(time_noop(data, folder, options.rounds)), flush=True)
        compared = compare_with_bare(
            data, weights, folder, rounds=options.rounds, n_copies=options.copies
        )
        print("bare loop", json.dumps(compared), flush=True)


if __name__ == "__main__":
    main()
