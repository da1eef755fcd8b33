"""What an image costs as a source grows: time and peak memory at 1,000, 10,000 and 60,000 images.

Run it with ``python benchmarks/cost.py``. Each extraction is a process of its own, over
CIFAR-10's tars as they lie or a sample of them, with LeNet-5, so that reading, looping and writing
are most of the work; its peak is what the operating system saw. Medians of interleaved rounds.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import resource
import statistics
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

# Run as a script, its folder's parent is not on the path.
sys.path.insert(0, str(Path(__file__).parents[1] / "pipelines"))
from shared import build_parser, check_there

import featx

SIZES = (1_000, 10_000, 60_000)

LIMIT_MB = 200
"""Growth from the second to the last size from which this script ends in exit code 1."""


def write_subset(tars: list[Path], n_rows: int, output: Path) -> None:
    """Write a tar of some members, chosen evenly with a fixed seed."""
    members: list[tuple[Path, str]] = []
    for tar in tars:
        with tarfile.open(tar, "r:") as archive:
            members += [(tar, name) for name in archive.getnames()]
    chosen = set(random.Random(0).sample(members, n_rows))
    with tarfile.open(output, "w") as subset:
        for tar in tars:
            with tarfile.open(tar, "r:") as archive:
                for info in archive:
                    if (tar, info.name) in chosen:
                        info_file = archive.extractfile(info)
                        info.name = f"{info.name.split('/')[0]}/{tar.stem}-{Path(info.name).name}"
                        subset.addfile(info, info_file)


def measure(sources: list[str], output: str, connection: Any) -> None:
    """Extract in this process, and send the report and the peak."""
    report = featx.extract(sources, output, backbone="lenet5", device="cpu", overwrite=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
    connection.send({"rows": report.n_rows, "elapsed_s": report.elapsed_s, "peak_mb": peak})


def main() -> None:
    """Extract all sizes and compare."""
    parser = build_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    data = check_there(arguments.data / "data")
    tars = [data / "cifar10-train.tar", data / "cifar10-test.tar"]
    context = multiprocessing.get_context("spawn")
    results: dict[int, list[dict[str, Any]]] = {size: [] for size in SIZES}
    with tempfile.TemporaryDirectory() as folder:
        sources = {SIZES[-1]: [str(tar) for tar in tars]}
        for size in SIZES[:-1]:
            sources[size] = [str(Path(folder) / f"{size}.tar")]
            write_subset(tars, size, Path(sources[size][0]))
        for number in range(arguments.rounds + 1):
            for size in SIZES if number else SIZES[:1]:  # the first keeps the converted network
                receiver, sender = context.Pipe(duplex=False)
                output = str(Path(folder) / f"{size}.h5")
                process = context.Process(target=measure, args=(sources[size], output, sender))
                process.start()
                sender.close()  # a child that dies is then noticed
                result = receiver.recv()
                if number:
                    results[size].append(result)
                process.join()
    print("| images | time per image (ms) | peak memory (MB) |")
    print("|---|---|---|")
    times, peaks = {}, {}
    for size, runs in results.items():
        times[size] = statistics.median(1000 * run["elapsed_s"] / run["rows"] for run in runs)
        peaks[size] = statistics.median(run["peak_mb"] for run in runs)
        print(f"| {size:,} | {times[size]:.3f} | {peaks[size]:.0f} |")
    growth = peaks[SIZES[2]] - peaks[SIZES[1]]
    per_image = times[SIZES[2]] / times[SIZES[1]]
    print(f"from {SIZES[1]:,} to {SIZES[2]:,}: time per image × {per_image:.3f}, {growth:+.0f} MB")
    print(json.dumps({"runs": results, "growth_mb": growth, "per_image": per_image}))
    sys.exit(growth > LIMIT_MB)


if __name__ == "__main__":
    main()
