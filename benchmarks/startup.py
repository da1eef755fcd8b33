"""How immediate featx feels: ``import featx``, ``featx --help``, and an extraction of 8 photos.

Run it with ``python benchmarks/startup.py``. Each line is the median of interleaved runs
in fresh processes, after one that fills the disk cache. With 8 photos nearly all is start-up: once
by the plain script (`plain.py`), by featx where nothing is kept of earlier runs, and by featx after
that.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from photos import write_photos

FEATX = ["-m", "featx.cli"]


def build_commands(folder: Path) -> dict[str, list[str]]:
    """Build the command lines, over photos in a folder."""
    extract = [*FEATX, "extract", str(folder / "photos"), "-o", str(folder / "photos.h5")]
    extract += ["--overwrite", "--backbone", "mobilenet_v2", "--weights", "random:0"]
    plain = [str(Path(__file__).with_name("plain.py")), str(folder / "photos")]
    return {
        "python -c pass": ["-c", "pass"],
        "import featx": ["-c", "import featx"],
        "featx --help": [*FEATX, "--help"],
        "featx backbones resnet50": [*FEATX, "backbones", "resnet50"],
        "plain script, 8 photos": [*plain, str(folder / "plain.h5"), "mobilenet_v2"],
        "featx extract, first run": extract,
        "featx extract, later runs": extract,
        "featx extract --engine torch": [*extract, "--engine", "torch"],
    }


def main() -> None:
    """Time every command, round by round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photos(folder, folder / "photos", 8)
        commands = build_commands(folder)
        times: dict[str, list[float]] = {name: [] for name in commands}
        environment = os.environ | {"FEATX_STORE": str(folder / "store")}
        for _ in range(repeats + 1):
            for name, arguments in commands.items():
                if name == "featx extract, first run":
                    shutil.rmtree(folder / "store", ignore_errors=True)
                start = time.perf_counter()
                subprocess.run(
                    [sys.executable, *arguments], check=True, capture_output=True, env=environment
                )
                times[name].append(time.perf_counter() - start)
    print("| command | median (s) | max (s) |")
    print("|---|---|---|")
    for name, values in times.items():
        print(f"| {name} | {statistics.median(values[1:]):.2f} | {max(values[1:]):.2f} |")


if __name__ == "__main__":
    main()
