"""Whether peak memory grows with the number of rows: 6,000 CIFAR-10 images against 60,000.

Run it with ``python pipelines/benchmarks/memory.py``. Each extraction is a process of its own, over
the tars as they lie, with a small convnet; its peak is what the operating system saw.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import resource
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from torch import nn
from torchvision import transforms

# Run as a script, its folder's parent is not on the path.
sys.path.insert(0, str(Path(__file__).parents[1]))
from shared import build_parser, check_there

import featx

SIZES = (6_000, 60_000)

LIMIT_MB = 200
"""Growth from which this script ends in exit code 1."""


def build_network() -> nn.Module:
    """Build a convnet so small that reading is most of the work."""
    return nn.Sequential(nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), nn.Conv2d(64, 256, 3, stride=2))


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
    transform = transforms.Compose([transforms.Resize(32), transforms.ToTensor()])
    featx.register_backbone("tiny", build_network(), transform=transform)
    report = featx.extract(sources, output, backbone="tiny", device="cpu")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
    connection.send({"rows": report.n_rows, "elapsed_s": report.elapsed_s, "peak_mb": peak})


def main() -> None:
    """Extract both sizes and compare."""
    arguments = build_parser(__doc__).parse_args()
    data = check_there(arguments.data / "data")
    tars = [data / "cifar10-train.tar", data / "cifar10-test.tar"]
    context = multiprocessing.get_context("spawn")
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.tar"
        write_subset(tars, SIZES[0], small)
        for sources in ([str(small)], [str(tar) for tar in tars]):
            receiver, sender = context.Pipe(duplex=False)
            output = str(Path(folder) / f"{len(results)}.h5")
            process = context.Process(target=measure, args=(sources, output, sender))
            process.start()
            results.append(receiver.recv())
            process.join()
    for result in results:
        print(
            f"{result['rows']:6} rows: {result['elapsed_s']:.1f} s, "
            f"{1000 * result['elapsed_s'] / result['rows']:.2f} ms per image, "
            f"peak {result['peak_mb']:.0f} MB"
        )
    growth = results[1]["peak_mb"] - results[0]["peak_mb"]
    print(f"growth from {SIZES[0]} to {SIZES[1]} rows: {growth:.0f} MB")
    print(json.dumps({"runs": results, "growth_mb": growth}))
    sys.exit(growth > LIMIT_MB)


if __name__ == "__main__":
    main()
