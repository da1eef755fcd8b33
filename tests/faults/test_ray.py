"""Three machines of a cluster on this one: any of them, and the driver, may die at any moment."""

import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import read_content, read_finished

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray"),
    pytest.mark.skipif(sys.platform != "linux", reason="needs /proc"),
]

KILLS = max(2, int(os.environ.get("FEATX_KILLS", "0")) // 2)
"""Number of machines that are killed: 20 by `make test-faults`, 2 by `make test-long`."""

ENVIRONMENT = os.environ | {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # else Ray would listen to the network
    "RAY_worker_niceness": "0",  # as for a run on one machine
    "OMP_WAIT_POLICY": "passive",
}


class Nodes:
    """The other end of ray_nodes.py."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("ray_nodes.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=ENVIRONMENT,
        )
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip()

    def tell(self, word: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def close(self) -> None:
        self._process.communicate(timeout=60)  # closes its pipes


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    nodes = Nodes()
    yield nodes
    nodes.close()


def list_words(source: Any, output: Any, *more: Any) -> list[str]:
    words = ["extract", source, "-o", output, "--backbone", "resnet18", "--weights", "random:0"]
    words += ["--shard-seconds", "0.05", *more]
    return [sys.executable, "-m", "featx", "--no-progress", *map(str, words)]


def start(words: list[str]) -> Any:
    return subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)


@pytest.fixture(scope="module")
def reference(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What one process on one machine makes of the photos."""
    output = tmp_path_factory.mktemp("reference") / "photos.h5"
    subprocess.run(list_words(photo_folder, output), check=True, env=ENVIRONMENT)
    return read_content(output)


def wait_for_work(output: Path, process: Any) -> None:
    """Wait until the first shard is there, or the run has ended."""
    shards = output.with_name(f"{output.name}.partial")
    while process.poll() is None and not list(shards.glob("shard-*.h5")):
        time.sleep(0.01)


def test_cluster_that_loses_machines_ends_in_the_same_bytes(
    nodes: Nodes, photo_folder: Path, tmp_path: Path, reference: Any
) -> None:
    rng, n_told = random.Random(5), 0
    words = ["--cluster", f"ray://{nodes.address}", "--workers", 1]
    begin = time.monotonic()
    process = start(list_words(photo_folder, tmp_path / "whole.h5", *words))
    _, told = process.communicate(timeout=600)
    assert process.returncode == 0, told
    whole_s = time.monotonic() - begin
    assert read_content(tmp_path / "whole.h5") == reference
    for number in range(KILLS):
        output = tmp_path / f"{number}.h5"
        process = start(list_words(photo_folder, output, *words))
        if number % 2:  # while it starts, and anywhere else
            time.sleep(rng.uniform(0, whole_s))
        else:  # while it embeds
            wait_for_work(output, process)
            time.sleep(rng.uniform(0, whole_s / 10))
        nodes.tell("kill")
        _, told = process.communicate(timeout=600)
        assert process.returncode == 0, told
        assert read_content(output) == reference, told
        assert not output.with_name(f"{output.name}.partial").exists()
        n_told += "embedded again" in told
        nodes.tell("add")
    assert n_told > 0, "no kill hit a run that had to embed something again"


def test_driver_that_dies_goes_on_where_it_was(
    nodes: Nodes, photo_folder: Path, tmp_path: Path, reference: Any
) -> None:
    rng, output = random.Random(6), tmp_path / "photos.h5"
    words = list_words(photo_folder, output, "--cluster", f"ray://{nodes.address}", "--workers", 1)
    process = start(words)
    wait_for_work(output, process)
    time.sleep(rng.uniform(0, 0.3))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not output.exists()
    finished = read_finished(output)
    assert finished
    process = start(words)
    _, told = process.communicate(timeout=600)
    assert process.returncode == 0, told
    assert f"continued after {len(finished)} images" in told
    assert read_content(output) == reference
