"""How long commands are silent on a terminal.

Run it with ``python benchmarks/silence.py``. Each command runs on a pseudo-terminal, which notes
when it prints something; the longest time without a sign of life is what a person waits in doubt.
The store is empty at first: the first run of a command prepares its network, later runs find it.
``--work DIR`` keeps the files; ``--only WORD`` runs the commands with a word.

On Linux the time in which the command wanted to compute and other programs had the cores is told
too: it is no fault of the command, and the bound is for the rest.
"""

from __future__ import annotations

import argparse
import itertools
import os
import pty
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

BOUND_S = 2.0
"""Seconds without a sign of life that a person puts up with."""

FEATX = [sys.executable, "-m", "featx"]

COMMANDS = """
extract photos/ -o photos.h5 --backbone mini
extract photos/ -o photos.h5 --backbone mini
info photos.h5
split photos.h5 --val 0.2
fit-head photos.h5 -o head.joblib
fit-head photos.h5 -o svm.joblib --kind linear-svm
evaluate head.joblib photos.h5
predict head.joblib photos/ants photos/bees --top 2
predict head.joblib photos.h5
verify photos.h5
verify photos.h5 --against photos/ --sample 50
advise photos.h5
fine-tune photos/ --cache photos.h5 --head head.joblib --unfreeze 1 --epochs 3 -o tuned.safetensors
info tuned.safetensors
predict tuned.joblib photos/ants
extract photos/ -o tuned.h5 --backbone mini --weights tuned.safetensors
extract photos/ -o torch.h5 --backbone mini --engine torch
extract photos/ -o big.h5 --backbone mobilenet_v2 --weights random:0
extract photos/ -o big.h5 --backbone mobilenet_v2 --weights random:0 --overwrite
backbones
backbones mobilenet_v2 --blocks
doctor photos/ --backbone mobilenet_v2
doctor
demo
"""
"""Commands of README and docs, in an order in which they find what they need."""


@dataclass(frozen=True, kw_only=True)
class Silence:
    """The longest silence of a command.

    Attributes
    ----------
    seconds : float
        Its length.
    waited_s : float
        Seconds of it in which the command waited for a core that another program had.
    start_s : float
        Seconds from the start of the command to the start of the silence.
    total_s : float
        Seconds that the command took.
    code : int
        Exit code of the command.
    output : str
        All that the terminal got.
    """

    seconds: float
    waited_s: float
    start_s: float
    total_s: float
    code: int
    output: str

    @property
    def own_s(self) -> float:
        """Seconds of the silence that are the command's own."""
        return max(0.0, self.seconds - self.waited_s)


def read_waited_s(process: int) -> float:
    """Read how long a process's main thread has waited for a core; 0 where it is not told."""
    try:
        text = Path(f"/proc/{process}/schedstat").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return int(text.split()[1]) / 1e9


def watch(words: Sequence[str], folder: Path, environment: dict[str, str]) -> Silence:
    """Run a command on a pseudo-terminal, and find its longest silence of its own.

    Parameters
    ----------
    words : sequence of str
        The command.
    folder : Path
        Folder in which it runs.
    environment : dict of str to str
        Its environment.
    """
    start = time.monotonic()
    process, terminal = pty.fork()
    if process == 0:  # the child, whose streams are the terminal
        os.chdir(folder)
        os.execve(words[0], list(words), environment)
    marks = [(start, 0.0)]
    output = b""
    while True:
        try:
            part = os.read(terminal, 1 << 16)
        except OSError:  # on Linux, the end of a terminal is an error
            break
        if not part:
            break
        output += part
        marks.append((time.monotonic(), read_waited_s(process)))
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    end = time.monotonic()
    marks.append((end, marks[-1][1]))
    gaps = [
        Silence(
            seconds=after[0] - before[0],
            waited_s=max(0.0, after[1] - before[1]),
            start_s=before[0] - start,
            total_s=end - start,
            code=os.waitstatus_to_exitcode(status),
            output=output.decode(errors="replace"),
        )
        for before, after in itertools.pairwise(marks)
    ]
    return max(gaps, key=lambda gap: gap.own_s)


def build_environment(store: Path) -> dict[str, str]:
    """Build the environment of a user at a terminal, with a store of its own."""
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return os.environ | {"FEATX_STORE": str(store), "TERM": "xterm", "PYTHONPATH": path}


def write_photos(folder: Path, n_images: int) -> None:
    """Write noise around two colours, in folders ants and bees."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(n_images):
        label, colour = [("ants", (200, 60, 40)), ("bees", (40, 90, 210))][number % 2]
        pixels = np.array(colour) + rng.integers(-60, 60, (240, 320, 3))
        path = folder / label / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)


def main() -> None:
    """Watch every command, and print its longest silence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--images", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = options.work or Path(scratch)
        work.mkdir(exist_ok=True)
        if not (work / "photos").exists():
            write_photos(work / "photos", options.images)
        environment = build_environment(work / "store")
        print("| command | exit | seconds | longest silence | waiting for a core | after |")
        print("|---|---|---|---|---|---|")
        for line in COMMANDS.strip().splitlines():
            if options.only not in line:
                continue
            found = watch([*FEATX, *shlex.split(line)], work, environment)
            sign = "" if found.own_s < BOUND_S else " !"
            print(
                f"| featx {line} | {found.code} | {found.total_s:.1f} | {found.seconds:.2f} | "
                f"{found.waited_s:.2f} | {found.start_s:.1f} |{sign}",
                flush=True,
            )


if __name__ == "__main__":
    main()
