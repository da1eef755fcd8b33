"""Ray on this machine: the same cache, errors in one line, and nothing that stays."""

import importlib.util
import os
import platform
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
        process.out, process.err = process.communicate(timeout=600)
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

    def check_none_left(self, *, but: tuple[str, ...] = (), patience_s: float = 30) -> None:
        end = time.monotonic() + patience_s
        while (left := [one for one in self.list_left() if not one.startswith(but)]) and (
            time.monotonic() < end
        ):
            time.sleep(0.1)
        assert left == []


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


QUESTION = r"\1\0\0\1\0\0\0\0\0\0"
"""Bytes of a question to a name server, as strace shows them."""


def check_trace(lines: list[str]) -> None:
    """Check that processes have spoken to this machine only, and have looked up no other name."""
    found = [
        re.search(r'htons\((\d+)\).*?(?:inet_addr\(|AF_INET6, )"([^"]+)"', line)
        for line in lines
        if "connect(" in line
    ]
    hosts = {one.group(2) for one in found if one is not None and one.group(1) != "53"}
    assert "127.0.0.1" in hosts
    assert hosts <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    for line in lines:
        assert QUESTION not in line or "localhost" in line or platform.node() in line


def test_cluster_gives_what_one_process_gives(runs: Runs, awkward: Path) -> None:
    how = "--backbone", "mini", "--max-failures", "10"
    cluster, folder, strace = ("--cluster", "ray", "--workers", "1"), runs.folder, []
    if shutil.which("strace") is not None:
        strace = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", folder / "trace"]
        strace += ["-e", "trace=connect,sendto,sendmsg,sendmmsg"]
    one = runs.extract("photos", "one.h5", *how)
    two = runs.extract("photos", "two.h5", *how, *cluster, prefix=strace)
    assert read_everything(folder / "two.h5") == read_everything(folder / "one.h5")
    assert two.out.splitlines()[1] == one.out.splitlines()[1]  # what the source was understood as
    # The lines on time differ, and nothing of Ray's own is shown.
    said = [re.sub(r"two\.h5", "one.h5", line) for line in two.err.splitlines()]
    assert said[:-2] == one.err.splitlines()[:-2]
    assert re.fullmatch(r"featx: \w+ fp32 on cpu: ready after .*", said[-2])
    runs.check_none_left()
    left = os.listdir(runs.environment["TMPDIR"])
    assert [name for name in left if not name.startswith("torchinductor_")] == []  # PyTorch's own
    if strace:  # nothing has spoken to another machine
        check_trace((folder / "trace").read_text().splitlines())
    # Nothing is new; then one image is.
    shutil.copyfile(folder / "photos/b/01.png", folder / "photos/b/new.png")
    again = runs.extract("photos", "two.h5", "--max-failures", "10", "--cluster", "ray")
    runs.extract("photos", "one.h5", "--max-failures", "10")
    assert "updated" in again.out
    assert read_everything(folder / "two.h5") == read_everything(folder / "one.h5")


AGENTS = "ray::DashboardAgent", "ray::RuntimeEnvAgent"
"""Processes of Ray that tell its server of a raylet that was killed: for a minute if it is gone."""


def test_run_that_is_killed_leaves_no_process_and_goes_on(runs: Runs, awkward: Path) -> None:
    how = ["--backbone", "resnet18", "--weights", "random:0", "--engine", "torch"]
    how += ["--max-failures", "10"]
    words = ["-m", "featx", "--no-progress", "extract", "photos", "-o", "two.h5", *how]
    words += ["--shard-seconds", "0", "--cluster", "ray", "--workers", "1"]
    codes = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
    for number, code in codes.items():
        before = set(runs.folder.glob("two.h5.partial/shard-*"))
        process = runs.start(*words)
        while process.poll() is None:
            if set(runs.folder.glob("two.h5.partial/shard-*")) - before:
                break
            time.sleep(0.01)
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
        assert process.returncode == code, told
        assert number == signal.SIGKILL or "run the same again to go on" in told
        runs.check_none_left(but=AGENTS)
    assert "continued after" in runs.run(*words).err
    runs.check_none_left(patience_s=90)
    runs.extract("photos", "one.h5", *how)
    assert read_everything(runs.folder / "two.h5") == read_everything(runs.folder / "one.h5")


LOST = r"cluster ray: expected actors that live to embed images such as [ab]/[\w-]+\.png, got "
ENDS = [
    r"an actor on .*: expected enough memory, got MemoryError\. Pass a smaller .*",
    r"engine fake: expected batches to succeed, got fail_at=2\. .*",
    rf"{LOST}an actor that was killed, .* Pass a smaller batch_size, .*",
]
"""The line of each engine of ray_engines.py."""


def test_engine_that_fails_is_one_line(runs: Runs, awkward: Path) -> None:
    done = runs.run(ENGINES, "photos", "out.h5")
    assert len(done.out.splitlines()) == len(ENDS), done.out
    for line, expected in zip(done.out.splitlines(), ENDS, strict=True):
        assert re.fullmatch(expected, line)
    assert done.err.count("are embedded again") == 2, done.err  # in the third round it gives up
    assert "Traceback" not in done.err
    assert not (runs.folder / "out.h5").exists()
    runs.check_none_left()
