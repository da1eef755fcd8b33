"""Real commands that are ended at any instant, or lack memory: one line and the right exit code."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from featx.fitting.fit import fit_head

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc of Linux"),
]

LINES = [
    "--help",
    "info cache.h5",
    "backbones",
    "verify cache.h5",
    "fit-head cache.h5 -o new.joblib --overwrite",
    "predict head.joblib cache.h5 --csv",
    "extract photos -o new.h5 --backbone lenet5 --engine torch --overwrite",
    "predict own.joblib photos",
    "fine-tune photos --cache photos.h5 -o t.safetensors --unfreeze 1 --epochs 1 --overwrite "
    "--engine torch",
]

N_TRIES = 6
"""Number of times that each command is ended."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos with their cache by lenet5, a head of it, and a cache of arrays with a head."""
    import numpy as np

    from tests.builders import build_info, build_rows, write_vectors
    from tests.conftest import COLOURS, write_image

    folder = tmp_path_factory.mktemp("endings")
    for split, n in (("train", 6), ("val", 3)):
        for label, colour in COLOURS.items():
            for seed in range(n):
                path = folder / "photos" / split / label / f"{seed}.jpg"
                write_image(path, (48, 36), sum(map(ord, f"{split}{label}")) + seed, colour=colour)
    labels = ["ants" if number % 2 else "bees" for number in range(40)]
    vectors = np.random.default_rng(0).normal(size=(40, build_info().fingerprint.dim))
    info = build_info()
    rows = build_rows(labels, [None] * 40)
    write_vectors(folder / "cache.h5", [info], rows, {info.name: vectors.astype(np.float32)})
    fit_head(folder / "cache.h5", folder / "head.joblib", C=1.0)
    line = "extract photos -o photos.h5 --backbone lenet5 --engine torch"
    assert run(line, folder).returncode == 0
    fit_head(folder / "photos.h5", folder / "own.joblib", C=1.0)
    return folder


def start(line: str, folder: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "featx", "--no-progress", *line.split()]
    pipe = subprocess.PIPE
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        words,
        cwd=folder,
        stdout=pipe,
        stderr=pipe,
        text=True,
        env=environment,
    )


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    process = start(line, folder)
    out, err = process.communicate()
    return subprocess.CompletedProcess(line, process.returncode, out, err)


def wait_for_handlers(process: subprocess.Popen[str]) -> None:
    """Wait until the command looks out for SIGTERM: what is before that is Python's own start."""
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            return
        if int(re.findall(r"SigCgt:\s*(\w+)", status)[0], 16) >> (signal.SIGTERM - 1) & 1:
            return


@pytest.mark.parametrize("line", LINES, ids=[line.split(" -")[0] for line in LINES])
def test_command_that_is_ended_at_any_instant_says_so_in_one_line(line: str, folder: Path) -> None:
    rng = random.Random(line)
    begin = time.monotonic()
    assert run(line, folder).returncode == 0
    seconds = time.monotonic() - begin
    for number in range(N_TRIES):
        sent = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)[number % 4]
        process = start(line, folder)
        wait_for_handlers(process)
        time.sleep(rng.uniform(0, seconds) if number % 2 else rng.uniform(0, seconds / 4))
        process.send_signal(sent)
        if number % 4 == 3:
            time.sleep(rng.uniform(0, 0.3))
            process.send_signal(sent)
        _, err = process.communicate(timeout=120)
        assert process.returncode in (0, 128 + sent), err
        assert "Traceback" not in err
        assert "Exception ignored" not in err
        if process.returncode:
            word = {2: "interrupted", 15: "terminated", 1: "hung up"}[sent]
            assert err.splitlines()[-1].startswith(f"featx: {word}: "), err
    assert run(line, folder).returncode == 0


@pytest.mark.parametrize(
    ("line", "megabytes"),
    # With less, OpenBLAS may ask for memory for ever.
    [(LINES[1], 500), (LINES[1], 195), (LINES[6], 1950), (LINES[6], 975)],
)
def test_command_without_memory_says_so_in_one_line(
    line: str, megabytes: int, folder: Path
) -> None:
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20,) * 2)

    words: Any = [sys.executable, "-m", "featx", "--no-progress", *line.split()]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, preexec_fn=limit, env=environment
    )
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 1), done.stderr
    if done.returncode:
        # OpenBLAS ends a process by itself, with a line of its own.
        last = done.stderr.splitlines()[-1]
        assert last.startswith(("featx: ", "OpenBLAS error: "))
        assert "memory" in last.lower() or "thread" in last
