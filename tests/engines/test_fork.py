"""Processes forked after featx was used work, or are told at once what to do; none hangs."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from featx.core import process
from featx.core.errors import DeviceError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX")

LONG_S = 300
"""No process is waited for any longer."""

SCRIPT = """
import multiprocessing, os, sys, warnings
import numpy as np
import torch.utils.data
import featx

warnings.simplefilter("ignore", DeprecationWarning)  # of fork, in newer versions of Python
IMAGE = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
ENGINE = sys.argv[1]

def embed(_=None):
    vectors = featx.embed(IMAGE, backbone="lenet5", engine=ENGINE, device="cpu", progress=False)
    return vectors.tobytes()

def load(_=None):
    return featx.load_backbone("lenet5", weights="random:0").module is not None

def ask(function, word):
    try:
        print(word, function() and "works")
    except Exception as error:
        print(word, type(error).__name__, "|", str(error).replace("\\n", " "))

def in_child(function, word):
    sys.stdout.flush()
    child = os.fork()
    if not child:
        ask(function, word)
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)

class Images(torch.utils.data.Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        return embed()

def main():
    fork = multiprocessing.get_context("fork")
    in_child(embed, "before:")
    expected = embed()
    with fork.Pool(1) as pool:
        ask(lambda: pool.apply(embed), "pool:")
        ask(lambda: len(pool.apply(featx.load_head, ["head.joblib"]).classes), "head:")
    in_child(load, "network:")
    loader = torch.utils.data.DataLoader(Images(), num_workers=1, multiprocessing_context="fork")
    ask(lambda: next(iter(loader)), "loader:")
    options = {"engine": ENGINE, "device": "cpu", "progress": False}
    with featx.open_predictor("head.joblib", **options) as predictor:
        in_child(lambda: predictor.predict(IMAGE), "predictor:")
        in_child(lambda: [predictor.close()], "close:")
        ask(lambda: predictor.predict(IMAGE), "parent:")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        ask(lambda: pool.apply(embed) == expected, "spawned:")

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def head(tmp_path: Path, photos: Path) -> Path:
    import featx

    cache = tmp_path / "photos.h5"
    featx.extract(photos, cache, backbone="lenet5", progress=False)
    featx.fit_head(cache, tmp_path / "head.joblib", C=1.0)
    return tmp_path / "head.joblib"


@pytest.mark.parametrize("engine", ["openvino", pytest.param("torch", marks=pytest.mark.slow)])
def test_forked_processes_work_or_are_told(tmp_path: Path, head: Path, engine: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script, engine],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=LONG_S,
    )
    assert done.returncode == 0, done.stderr
    told = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    for word in ("before:", "head:", "parent:", "spawned:"):
        assert told[word] == "works", done.stdout
    assert told["close:"] == "works"
    for word in ("pool:", "network:", "predictor:"):
        assert told[word].startswith("DeviceError | featx in a forked process: expected"), told
        assert "get_context('spawn')" in told[word]
    assert "featx in a forked process: expected" in told["loader:"]  # DataLoader wraps errors


def test_mark_process_refuses_the_child_of_a_process_that_was_marked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "_used_in", None)
    process.mark_process()
    process.mark_process()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(DeviceError, match=r"forked process: .* Start processes with .*spawn"):
        process.mark_process()


def _hold_and_fork(connection: Any) -> None:
    with process.GLOBAL_STATE:
        connection.send("works")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_lock_that_another_thread_held_is_free_in_a_forked_process() -> None:
    import threading

    held, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with process.GLOBAL_STATE:
            held.set()
            leave.wait(LONG_S)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(LONG_S)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=_hold_and_fork, args=(theirs,))
    child.start()
    try:
        assert ours.poll(LONG_S)
        assert ours.recv() == "works"
    finally:
        child.kill()
        child.join()
        leave.set()
        thread.join()
