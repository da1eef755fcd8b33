"""A source in 16 parts, merged: its vectors beside those of a single run, and the time it takes.

Run it with ``python benchmarks/parts.py``. The ants and bees and 10,000 images of CIFAR-10 are
extracted at once and part by part, with one engine and one batch size. Medians of interleaved
rounds.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# Run as a script, its folder's parent is not on the path.
sys.path.insert(0, str(Path(__file__).parents[1] / "pipelines"))
from cost import write_subset
from shared import build_parser, check_there

import featx

BATCH_SIZE = 8


def read_vectors(path: Path) -> dict[str, bytes]:
    """Read the bytes of each vector by the id of its row."""
    with featx.open_cache(path) as cache:
        pairs = zip(cache.ids.tolist(), cache.read_vectors(), strict=True)
        return {row_id: vector.tobytes() for row_id, vector in pairs}


def time_call(call: Any, *values: Any, **options: Any) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    call(*values, **options)
    return time.perf_counter() - start


def compare(
    name: str, source: Path, folder: Path, *, n_parts: int, n_rounds: int, **run: Any
) -> bool:
    """Extract a source at once and in parts, merge, compare; print one line."""
    single, parts, merged = folder / "single.h5", folder / "parts", folder / "merged.h5"
    seconds: dict[str, list[float]] = {"single": [], "parts": [], "merge": [], "copy": []}
    for _ in range(n_rounds):
        shutil.rmtree(parts, ignore_errors=True)
        seconds["single"].append(time_call(featx.extract, source, single, overwrite=True, **run))
        start = time.perf_counter()
        for number in range(1, n_parts + 1):
            featx.extract(source, parts, part=f"{number}/{n_parts}", **run)
        seconds["parts"].append(time.perf_counter() - start)
        seconds["merge"].append(time_call(featx.merge_caches, parts, merged, overwrite=True))
        seconds["copy"].append(time_call(shutil.copyfile, merged, folder / "copy.h5"))
    expected, found = read_vectors(single), read_vectors(merged)
    is_equal = found == expected
    with featx.open_cache(parts) as cache:
        sizes = [len(member) for member in cache.members]
    median = {key: statistics.median(values) for key, values in seconds.items()}
    print(
        f"{name}: {len(found)} rows in {n_parts} parts of {min(sizes)} to {max(sizes)}; vectors "
        f"{'equal to the last bit' if is_equal else 'DIFFERENT'}; seconds: single run "
        f"{median['single']:.2f}, all parts in turn {median['parts']:.2f}, merge "
        f"{median['merge']:.2f}, cp {median['copy']:.3f}; "
        f"{merged.stat().st_size / 1e6:.1f} MB"
    )
    return is_equal


def main() -> None:
    """Compare on both data sets."""
    parser = build_parser(__doc__)
    parser.add_argument("--parts", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=10_000, help="images of CIFAR-10")
    arguments = parser.parse_args()
    data = check_there(arguments.data / "data")
    weights = check_there(arguments.data / "weights" / "mobilenet_v2-imagenet-backbone.pth")
    options: dict[str, Any] = {
        "device": "cpu",
        "batch_size": BATCH_SIZE,
        "n_parts": arguments.parts,
        "n_rounds": arguments.rounds,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tar = folder / "cifar10.tar"
        write_subset([data / "cifar10-test.tar"], arguments.images, tar)
        results = [
            compare(
                "hymenoptera, mobilenet_v2",
                data / "hymenoptera_data",
                folder,
                backbone="mobilenet_v2",
                weights=str(weights),
                **options,
            ),
            compare("CIFAR-10, mini", tar, folder, backbone="mini", **options),
        ]
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
