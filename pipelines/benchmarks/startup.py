"""How immediate featx feels: ``import featx``, ``featx --help``, and a command that runs a network.

Run it with ``python pipelines/benchmarks/startup.py``. Each line is the median of interleaved runs
in fresh processes, after one that fills the disk cache.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import featx": ["-c", "import featx"],
    "featx --help": ["-m", "featx.cli", "--help"],
    "featx backbones resnet50": ["-m", "featx.cli", "backbones", "resnet50"],
}


def main() -> None:
    """Time every command, round by round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(repeats + 1):
        for name, arguments in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
            times[name].append(time.perf_counter() - start)
    print("command                    median (s)   max (s)")
    for name, values in times.items():
        print(f"{name:25}  {statistics.median(values[1:]):10.2f} {max(values[1:]):9.2f}")


if __name__ == "__main__":
    main()
