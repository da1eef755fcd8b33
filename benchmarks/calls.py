"""What a call costs when it is made again and again: milliseconds, memory and threads.

Run ``python benchmarks/calls.py --old COMMIT``. The older commit is unpacked into a temporary
folder. Each row is a process that makes ``--calls`` calls with one image, by featx of this checkout
or of the older commit; the processes of both sides run in turn. Memory is the resident set after a
tenth of the calls, and what was added by the end. Threads are counted after the last call.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parents[1]
OLD = "841aaf4"
ENGINES = ("openvino", "torch")

CALLS = {
    "embed, by name": "lambda: featx.embed(image, backbone=name, **how)",
    "embed, a loaded backbone": "lambda: featx.embed(image, backbone=loaded, **how)",
    "predict, the path of a head": "lambda: featx.predict('head.joblib', image, **how)",
    "Predictor.predict": "functools.partial(featx.open_predictor(head, **how).predict, image)",
}

SCRIPT = """
import functools, os, resource, sys, threading, time
import numpy as np
import featx
name, engine, n_calls = sys.argv[1], sys.argv[2], int(sys.argv[3])
how = {"engine": engine, "device": "cpu", "progress": False}
image = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3), np.uint8)
loaded, head = featx.load_backbone(name), featx.load_head("head.joblib")
call = CALL

def measure_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6

def count_threads():
    return len(os.listdir("/proc/self/task"))

call()
times, early, cpu = [], 0.0, time.process_time()
for number in range(n_calls):
    if number == n_calls // 10:
        early, n_early = measure_mb(), count_threads()
    start = time.perf_counter()
    call()
    times.append(time.perf_counter() - start)
cpu = time.process_time() - cpu
times.sort()
print(1e3 * times[n_calls // 2], 1e3 * cpu / n_calls, early, measure_mb() - early, n_early,
      count_threads())
"""

HEAD = """
import sys
import numpy as np
from PIL import Image
from pathlib import Path
import featx
rng = np.random.default_rng(0)
for label, colour in (("ants", 60), ("bees", 190)):
    for number in range(8):
        pixels = np.clip(colour + rng.integers(-50, 50, (96, 96, 3)), 0, 255).astype(np.uint8)
        path = Path(f"photos/{label}/{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
featx.extract("photos", "photos.h5", backbone=sys.argv[1], progress=False)
featx.fit_head("photos.h5", "head.joblib", C=1.0, split="all")
"""


def unpack(commit: str, folder: Path) -> None:
    """Unpack featx of a commit into a folder."""
    packed = subprocess.run(
        ["git", "archive", commit, "featx"], cwd=HERE, capture_output=True, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")


def run(code: Path, folder: Path, *words: str) -> str:
    """Run Python in a folder, with featx of some checkout; return what it printed."""
    environment = os.environ | {"PYTHONPATH": str(code), "FEATX_STORE": str(folder / "store")}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def iter_rows(sides: dict[str, tuple[Path, Path]], name: str, rounds: int, n: int) -> Iterator[str]:
    """Measure each call with each engine on both sides, and yield a line of the table for each."""
    for engine in ENGINES:
        for what, call in CALLS.items():
            script = SCRIPT.replace("CALL", call)
            found: dict[str, list[list[float]]] = {side: [] for side in sides}
            for _ in range(rounds):
                for side, (code, folder) in sides.items():
                    told = run(code, folder, "-c", script, name, engine, str(n))
                    found[side].append([float(word) for word in told.split()])
            for side, values in found.items():
                ms, cpu, early, added, n_early, n_late = (
                    statistics.median(column) for column in zip(*values, strict=True)
                )
                yield (
                    f"| {what} | {engine} | {side} | {ms:.1f} | {cpu:.1f} | {early:.0f} | "
                    f"{added:+.1f} | {n_early:.0f} → {n_late:.0f} |"
                )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--old", default=OLD, help="the older commit")
    parser.add_argument("--backbone", default="mini")
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        unpack(options.old, root / "code")
        sides = {"old": (root / "code", root / "old"), "new": (HERE, root / "new")}
        for code, folder in sides.values():
            folder.mkdir()
            run(code, folder, "-c", HEAD, options.backbone)
        print(f"{options.backbone}, {options.calls} calls of one image, {os.cpu_count()} cores\n")
        print("| call | engine | side | ms, median | CPU ms | MB | MB added | threads |")
        print("|---|---|---|---|---|---|---|---|")
        for line in iter_rows(sides, options.backbone, options.rounds, options.calls):
            print(line, flush=True)


if __name__ == "__main__":
    main()
