"""featx extract, run again, interrupted and refused."""

import itertools
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.cache.lock import CacheLock
from featx.cache.shards import Shards
from tests.extraction.caches import leave_dead_lock, list_shards, read_all


@pytest.fixture
def extract_cli(
    run_cli: Any, folder: Path, tiny_backbone: str, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """Run ``featx extract photos -o out.h5`` with the tiny backbone, in the folder above."""
    monkeypatch.chdir(folder.parent)

    def run(*options: Any) -> Any:
        return run_cli("extract", "photos", "-o", "out.h5", "--backbone", tiny_backbone, *options)

    return run


def test_extract_command_run_again_says_that_nothing_was_to_do(extract_cli: Any) -> None:
    assert "8 embedded in " in extract_cli().out
    result = extract_cli()
    assert (result.code, result.err) == (0, "")
    assert result.out == (
        "out.h5: 8 rows, tests-tiny (dim 8), up to date\n"
        "8 images, 2 labels (ants: 4, bees: 4), read as LABEL\n"
    )


def test_extract_command_notes_what_is_worth_knowing(extract_cli: Any, folder: Path) -> None:
    extract_cli()
    (folder / "ants/0.png").unlink()
    assert extract_cli().err == (
        "featx: 1 row without an image in the source: kept. Pass --prune to drop them.\n"
    )
    result = extract_cli("--prune")
    assert result.err == ""
    assert result.out.startswith("out.h5: 7 rows, tests-tiny (dim 8), updated\n")


def test_extract_command_notes_a_lock_taken_over(extract_cli: Any, folder: Path) -> None:
    holder = leave_dead_lock(folder.parent / "out.h5")
    notes = extract_cli().list_notes()
    assert notes == [f"featx: the lock of {holder}, which is dead, was taken over."]


def test_extract_command_options_reach_the_run(extract_cli: Any, forged: Path) -> None:
    assert "1 embedded" in extract_cli("--rehash").out
    forged.write_bytes(b"no image")
    assert extract_cli("--max-failures", "1").code == 0
    assert extract_cli("--max-failures", "1", "--retry-failed").code == 0
    assert "9 rows" not in extract_cli("--overwrite", "--max-failures", "1").out


def test_extract_command_while_locked_ends_in_code_1(extract_cli: Any, folder: Path) -> None:
    with CacheLock(folder.parent / "out.h5"):
        result = extract_cli()
        assert result.code == 1
        assert "expected to be the only writer of the cache" in result.err
        assert extract_cli("--break-lock").code == 0


def test_extract_command_with_too_many_failures_ends_in_code_3(
    extract_cli: Any, run_cli: Any, spoilt: Path
) -> None:
    result = extract_cli()
    assert result.code == 3
    assert result.out == ""
    error = result.err.splitlines()[-1]
    assert error.startswith("featx: photos: expected at most 1 failure, got failures in 2 of 10 ")
    assert "List all of them with featx info --failures out.h5." in error
    assert not Path("out.h5").exists()
    listed = run_cli("info", "--failures", "out.h5")
    assert (listed.code, listed.err) == (0, "")
    assert [line.split()[0] for line in listed.out.splitlines()] == [
        "path",
        "photos/ants/bad.png",
        "photos/bees/bad.png",
    ]
    found = json.loads(run_cli("info", "--failures", "out.h5", "--json").out)
    assert [line["path"] for line in found["failures"]] == [
        "photos/ants/bad.png",
        "photos/bees/bad.png",
    ]
    result = extract_cli("--max-failures", "50%")
    assert result.code == 0
    assert result.out.startswith("out.h5: 8 rows, tests-tiny (dim 8), updated\n")
    assert result.err.splitlines() == [
        "featx: 2 images failed. List them with featx info --failures out.h5.",
        "featx: continued after 8 images of an interrupted run",
    ]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_extract_command_ended_by_a_signal_can_be_run_again(
    extract_cli: Any, monkeypatch: pytest.MonkeyPatch, number: Any, code: Any
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    original, calls = Shards.append, itertools.count()

    def append_or_signal(self: Shards, *args: Any, **kwargs: Any) -> Any:
        if next(calls) == 2:  # raised when this function, which is none of featx, returns
            signal.raise_signal(number)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Shards, "append", append_or_signal)
    result = extract_cli("--batch-size", "2", "--shard-seconds", "0")
    assert (result.code, result.out) == (code, "")
    assert signal.getsignal(signal.SIGTERM) is before
    assert len(list_shards(Path("out.h5"))) == 3
    result = extract_cli("--batch-size", "2")
    assert result.code == 0
    assert "8 rows, tests-tiny (dim 8), 2 embedded" in result.out
    notes = result.list_notes()
    assert notes == ["featx: continued after 6 images of an interrupted run"]


CHILD = """
import sys
import threading
from functools import partial
from featx.cache.shards import Shards
from featx.cli import main
from featx.embedding.options import RunOptions

build, numbers = RunOptions.build_engine, iter(range(9))
seal, sealed = Shards.seal_when_due, threading.Semaphore(0)

def wait_for_the_parent(wait):
    if next(numbers) == 2:
        sealed.acquire()
        sealed.acquire()
        print("waiting", flush=True)
        sys.stdin.read()
    return wait()

def build_waiting(*args, **options):
    engine = build(*args, **options)
    for slot in engine.slots:
        slot.wait = partial(wait_for_the_parent, slot.wait)
    return engine

def seal_and_count(shards, seconds):
    seal(shards, seconds)
    sealed.release()

RunOptions.build_engine, Shards.seal_when_due = build_waiting, seal_and_count
main(sys.argv[1:])
"""


def test_extract_command_terminated_ends_in_code_143_and_goes_on(
    run: Any, folder: Path, tmp_path: Path
) -> None:
    line = ["extract", folder, "-o", tmp_path / "out.h5", "--backbone", "lenet5"]
    line += ["--batch-size", "2", "--shard-seconds", "0", "--device", "cpu"]
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, *map(str, line)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == "waiting\n"
        child.terminate()
        child.stdin.close()  # the signal is there already, and the network may go on
        assert child.wait(timeout=60) == 143
    assert len(list_shards(tmp_path / "out.h5")) == 2
    assert not (tmp_path / ".out.h5.lock").exists()
    report = run(folder, backbone="lenet5", device="cpu")
    assert (report.n_embedded, report.n_resumed, report.taken_from) == (4, 4, None)
    fresh = run(folder, "fresh.h5", backbone="lenet5", device="cpu")
    assert read_all(report.path)["rows"] == read_all(fresh.path)["rows"]
    found, expected = (
        np.frombuffer(read_all(one.path)["vectors"]["lenet5"], "f4") for one in (report, fresh)
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)
