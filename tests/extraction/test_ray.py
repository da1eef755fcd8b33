"""Ray on this machine: the same cache, errors in one line, and nothing that stays."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from featx.cache.joined import open_cache

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray"),
    pytest.mark.skipif(sys.platform != "linux", reason="needs /proc"),
]

ENGINES = Path(__file__).with_name("ray_engines.py")


def read_everything(path: Path) -> Any:
    """All that must be equal to the last byte; times and engines may differ."""
    with open_cache(path) as cache:
        columns = cache.ids, cache.paths, cache.labels, cache.splits, cache.digests, cache.sizes
        ledger = [(f.id, f.path, f.digest, f.stage, f.reason, f.embedding) for f in cache.failures]
        vectors = {name: cache.read_vectors(name).tobytes() for name in cache.embeddings}
        fingerprints = {name: cache.get_info(name).fingerprint for name in cache.embeddings}
        return [column.tolist() for column in columns], ledger, vectors, fingerprints


class Runs:
    """Commands in processes of their own, which a mark in their environment finds again."""

    def __init__(self, folder: Path, temp: str) -> None:
        self.folder, self.mark = folder, f"FEATX_MARK_{uuid.uuid4().hex}"
        self.environment = os.environ | {self.mark: "1", "TMPDIR": temp}
        self.started: list[Any] = []

    def start(self, *words: Any, prefix: Any = ()) -> Any:
        command = [*prefix, sys.executable, *map(str, words)]
        process = subprocess.Popen(
            command, cwd=self.folder, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.started.append(process)
        return process

    def run(self, *words: Any, code: Any = 0, prefix: Any = ()) -> Any:
        process = self.start(*words, prefix=prefix)
        process.out, process.err = process.communicate(timeout=300)
        assert process.returncode == code, process.err
        return process

    def extract(self, source: Any, output: Any, *more: Any, **options: Any) -> Any:
        words = "-m", "featx", "--no-progress", "extract", source, "-o", output, *more
        return self.run(*words, **options)

    def list_left(self) -> list[str]:
        """List the processes that have the mark and that are no children of the tests."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (path / "environ").read_bytes():
                    found.append((path / "cmdline").read_text().replace("\0", " "))
            except OSError:  # it has ended, or belongs to somebody else
                continue
        return found

    def check_none_left(self, patience_s: float = 30) -> None:
        end = time.monotonic() + patience_s
        while self.list_left() and time.monotonic() < end:
            time.sleep(0.1)
        assert self.list_left() == []


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    with tempfile.TemporaryDirectory() as temp:  # the path of a socket must be short
        runs = Runs(tmp_path, temp)
        yield runs
        for process in runs.started:  # those that a test has given up
            if process.poll() is None:
                process.kill()
                process.communicate()


@pytest.fixture
def awkward(tmp_path: Path, make_image: Any) -> Path:
    """80 photos in class folders: two are damaged, one is missing, three have the same content."""
    folder = tmp_path / "photos"
    for number in range(80):
        make_image(folder / "ab"[number % 2] / f"{number:02}.png", (40, 30), number)
    for number in (10, 50):
        path = folder / "a" / f"{number}.png"
        path.write_bytes(path.read_bytes()[:200])
    shutil.copyfile(folder / "a/10.png", folder / "b/10-again.png")
    shutil.copyfile(folder / "a/20.png", folder / "b/20-again.png")
    shutil.copyfile(folder / "a/20.png", folder / "a/zz.png")
    (folder / "b" / "77.png").unlink()
    (folder / "b" / "77.png").symlink_to("nowhere.png")
    return folder


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_cluster_gives_what_one_process_gives(runs: Runs, awkward: Path, engine: str) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")
    how = "--backbone", "mini", "--engine", engine, "--max-failures", "10"
    one = runs.extract("photos", "one.h5", *how)
    two = runs.extract("photos", "two.h5", *how, "--cluster", "ray", "--workers", "1")
    folder = runs.folder
    assert read_everything(folder / "two.h5") == read_everything(folder / "one.h5")
    assert two.out.splitlines()[1] == one.out.splitlines()[1]  # what the source was understood as
    # The lines on time differ, and nothing of Ray's own is shown.
    said = [re.sub(r"two\.h5", "one.h5", line) for line in two.err.splitlines()]
    assert said[:-2] == one.err.splitlines()[:-2]
    assert re.fullmatch(rf"featx: {engine} fp32 on cpu: ready after .*", said[-2])
    runs.check_none_left()
    assert os.listdir(runs.environment["TMPDIR"]) == []
    # Nothing is new; then one image is.
    shutil.copyfile(folder / "photos/b/01.png", folder / "photos/b/new.png")
    again = runs.extract("photos", "two.h5", "--max-failures", "10", "--cluster", "ray")
    runs.extract("photos", "one.h5", "--max-failures", "10")
    assert "updated" in again.out
    assert read_everything(folder / "two.h5") == read_everything(folder / "one.h5")


def test_run_that_is_killed_leaves_no_process_and_goes_on(runs: Runs, awkward: Path) -> None:
    words = ["-m", "featx", "--no-progress", "extract", "photos", "-o", "two.h5", "--backbone"]
    words += ["resnet18", "--weights", "random:0", "--shard-seconds", "0", "--cluster", "ray"]
    words += ["--workers", "1", "--max-failures", "10"]
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        process = runs.start(*words)
        while process.poll() is None and not list(runs.folder.glob("two.h5.partial/shard-*")):
            time.sleep(0.01)
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
        expected = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[number]
        assert process.returncode == expected, told
        assert number == signal.SIGKILL or "run the same again to go on" in told
        runs.check_none_left()
    assert "continued after" in runs.run(*words).err
    runs.extract(
        "photos",
        "one.h5",
        "--backbone",
        "resnet18",
        "--weights",
        "random:0",
        "--max-failures",
        "10",
    )
    assert read_everything(runs.folder / "two.h5") == read_everything(runs.folder / "one.h5")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("deadly", r"cluster ray: expected actors that live to embed images such as a/00\.png, "
                   r"got an actor that was killed, .* Pass a smaller batch_size, .*"),
        ("broken", r"engine fake: expected batches to succeed, got fail_at=2\. .*"),
        ("unbuilt", r"an actor on .*: expected enough memory, got MemoryError\. Pass a smaller .*"),
    ],
)  # fmt: skip
def test_engine_that_fails_is_one_line(runs: Runs, awkward: Path, kind: str, expected: str) -> None:
    done = runs.run(ENGINES, "photos", "out.h5", kind, code=1)
    lines = [line for line in done.err.splitlines() if "Warning" not in line]
    assert re.fullmatch(expected, lines[-1]), done.err
    assert "Traceback" not in done.err
    assert not (runs.folder / "out.h5").exists()
    runs.check_none_left()


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_ray_speaks_to_this_machine_only(runs: Runs, awkward: Path) -> None:
    trace = runs.folder / "trace"
    prefix = "strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg", "-o", trace
    how = "--backbone", "mini", "--max-failures", "10", "--cluster", "ray"
    runs.extract("photos", "two.h5", *how, prefix=prefix)
    named = re.findall(r'inet_addr\("([\d.]+)"\)|inet_pton\(AF_INET6, "([^"]+)"', trace.read_text())
    assert {v4 or v6 for v4, v6 in named} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert named  # Ray does speak over sockets
