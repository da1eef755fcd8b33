"""What the machine refuses is an error in one line that says what to do, and nothing hangs."""

import errno
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import featx
from featx.core.errors import DeviceError
from featx.core.typing import EngineName
from featx.engines.limits import build_failure, check_threads, find_limit
from featx.engines.threads import open_pool

openvino_engine: Any = pytest.importorskip("featx.engines.openvino_engine", reason="needs OpenVINO")

IMAGE = np.zeros((8, 8, 3), np.uint8)

OPENVINO_TEXT = """Exception from src/inference/src/cpp/core.cpp:117:
Exception from src/inference/src/dev/plugin.cpp:58:
Resource temporarily unavailable
"""


def embed(engine: EngineName) -> Any:
    return featx.embed(IMAGE, backbone="lenet5", engine=engine, device="cpu", progress=False)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError(OPENVINO_TEXT), "to start threads, got Resource temporarily unavailable"),
        (RuntimeError("can't start new thread"), "to start threads, got can't start new thread"),
        (RuntimeError("std::bad_alloc"), "enough memory, got bad_alloc"),
        (MemoryError(), "enough memory, got MemoryError"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            "enough memory, got allocate memory",
        ),
    ],
    ids=["openvino", "python", "c++", "python's memory", "torch's memory"],
)
def test_find_limit_says_what_was_refused(error: Exception, expected: str) -> None:
    limit = find_limit(error, "engine")
    assert limit is not None
    assert str(limit).startswith(f"engine: expected {expected}. ")
    assert "\n" not in str(limit)


def test_find_limit_of_another_error_is_none() -> None:
    assert find_limit(RuntimeError("shapes do not match"), "engine") is None


def test_find_limit_of_a_limit_that_is_explained_already_is_none() -> None:
    limit = find_limit(RuntimeError("can't start new thread"), "engine openvino")
    assert limit is not None
    assert find_limit(limit, "decoding and embedding") is None


def test_build_failure_tells_the_last_line() -> None:
    error = RuntimeError("Exception from a.cpp:1:\n\nno such kernel\n")
    failure = build_failure(error, "engine openvino", "Pass engine='torch'.")
    assert str(failure) == (
        "engine openvino: expected to run the network, got RuntimeError: no such kernel. "
        "Pass engine='torch'."
    )


@pytest.fixture
def refuse_threads(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the system refuse threads whose name begins so, after some; a function."""
    start = threading.Thread.start

    def refuse(prefix: str, n_allowed: int = 0) -> None:
        allowed = iter(range(n_allowed))

        def start_some(thread: threading.Thread) -> None:
            if thread.name.startswith(prefix) and next(allowed, None) is None:
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", start_some)

    return refuse


@pytest.mark.parametrize("prefix", ["featx-decode", "featx-network", "featx-torch"])
def test_embed_where_threads_are_refused_is_told(refuse_threads: Any, prefix: str) -> None:
    before = set(threading.enumerate())
    refuse_threads(prefix)
    with pytest.raises(DeviceError, match=r"to start threads, got can't start .*ulimit -u"):
        embed("torch")
    assert set(threading.enumerate()) <= before


def test_open_pool_that_gets_too_few_threads_lets_none_wait(refuse_threads: Any) -> None:
    before = set(threading.enumerate())
    refuse_threads("featx-torch", n_allowed=2)
    with pytest.raises(DeviceError, match=r"^engine torch: expected to start threads"):
        open_pool(3)
    assert set(threading.enumerate()) <= before


def test_check_threads_ends_those_that_it_started(refuse_threads: Any) -> None:
    before = set(threading.enumerate())
    check_threads(3, "engine")
    assert set(threading.enumerate()) == before
    refuse_threads("featx-probe", n_allowed=2)
    with pytest.raises(DeviceError, match=r"^engine: expected to start threads"):
        check_threads(3, "engine")
    assert set(threading.enumerate()) == before


class NeverCore:
    """A core that reads networks, and must not be asked to compile: it would hang."""

    def __getattr__(self, name: str) -> Any:
        assert name != "compile_model"
        return getattr(openvino_engine.openvino.Core(), name)


@pytest.mark.parametrize("is_kept", [False, True])
def test_openvino_is_not_begun_where_threads_are_refused(
    store: Path, refuse_threads: Any, monkeypatch: pytest.MonkeyPatch, is_kept: bool
) -> None:
    if is_kept:
        embed("openvino")
        featx.close_engines()
    monkeypatch.setattr(openvino_engine, "CORE", NeverCore())
    refuse_threads("featx-probe", n_allowed=1)
    with pytest.raises(DeviceError, match=r"^engine openvino: expected to start threads"):
        embed("openvino")


class RefusingCore:
    """A core that refuses to compile, as OpenVINO does where the system refuses threads."""

    def compile_model(self, *_: Any) -> None:
        raise RuntimeError(OPENVINO_TEXT)

    def __getattr__(self, name: str) -> Any:
        return getattr(openvino_engine.openvino.Core(), name)


@pytest.mark.parametrize("is_kept", [False, True])
def test_openvino_that_is_refused_threads_is_told(
    store: Path, monkeypatch: pytest.MonkeyPatch, is_kept: bool
) -> None:
    if is_kept:
        embed("openvino")
        featx.close_engines()
    monkeypatch.setattr(openvino_engine, "CORE", RefusingCore())
    with pytest.raises(DeviceError, match=r"^engine openvino: expected to start threads"):
        embed("openvino")


def test_image_that_cannot_be_opened_for_many_open_files_ends_the_run(
    good: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("featx.images.content.Content.read_whole", fail)
    with pytest.raises(DeviceError, match=r"got Too many open files\. Pass fewer workers"):
        featx.extract(tmp_path / "photos", tmp_path / "c.h5", backbone="lenet5", progress=False)
