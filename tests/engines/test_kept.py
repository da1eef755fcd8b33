"""Engines that stay open between calls: one per backbone, closed when nobody can ask for it."""

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import nn

import featx
from featx.embedding import named
from featx.embedding.options import RunOptions
from featx.engines import kept
from featx.engines.engine import Engine

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
EACH_ENGINE = pytest.mark.parametrize("engine", ["torch", "openvino"])
LONG_S = 60
"""No thread is waited for any longer."""


def embed(backbone: Any = "lenet5", engine: Any = "torch", images: Any = IMAGE, **how: Any) -> Any:
    return featx.embed(
        images, backbone=backbone, engine=engine, device="cpu", progress=False, **how
    )


OTHERS: list[threading.Thread] = []


@pytest.fixture(autouse=True)
def _others() -> None:
    """Threads of engines that an earlier test has left are none of this test."""
    OTHERS[:] = threading.enumerate()


def list_threads() -> list[threading.Thread]:
    new = [one for one in threading.enumerate() if one not in OTHERS]
    return [one for one in new if one.name.startswith("featx-")]


def count_threads() -> int:
    return len(list_threads())


@pytest.fixture
def built() -> Iterator[list[Engine]]:
    """The engines that are built in a test."""
    engines: list[Engine] = []
    build = RunOptions.build_engine

    def build_and_note(*args: Any, **options: Any) -> Engine:
        engines.append(build(*args, **options))
        return engines[-1]

    with patch.object(RunOptions, "build_engine", build_and_note):
        yield engines


@pytest.fixture
def without_collector() -> Iterator[None]:
    """What is freed here is freed at once, without the collector of cycles."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@EACH_ENGINE
def test_ten_calls_build_one_engine_and_leave_the_threads_of_one(
    built: list[Engine], engine: str
) -> None:
    first = embed(engine=engine)
    n_threads = count_threads()
    assert all(embed(engine=engine).tobytes() == first.tobytes() for _ in range(9))
    assert (len(built), count_threads()) == (1, n_threads)
    featx.close_engines()
    assert (built[0].slots, count_threads()) == ((), 0)
    assert embed(engine=engine).tobytes() == first.tobytes()


def test_predict_and_embed_share_the_engine_of_a_name(
    built: list[Engine], photos: Path, tmp_path: Path
) -> None:
    how: Any = {"engine": "torch", "device": "cpu", "progress": False}
    featx.extract(photos, tmp_path / "c.h5", backbone="lenet5", **how)
    featx.fit_head(tmp_path / "c.h5", tmp_path / "head.joblib", C=1.0)
    del built[:]
    first = featx.predict(tmp_path / "head.joblib", IMAGE, **how)
    assert featx.predict(tmp_path / "head.joblib", IMAGE, **how) == first
    assert len(built) == 1


def test_engine_is_closed_when_its_backbone_is_freed(
    built: list[Engine], without_collector: None
) -> None:
    backbone = featx.load_backbone("lenet5")
    embed(backbone)
    embed(backbone)
    assert len(built) == 1
    assert count_threads() > 0
    del backbone
    assert (built[0].slots, count_threads()) == ((), 0)


def test_engine_that_nobody_closes_ends_its_threads_when_it_is_freed(
    without_collector: None,
) -> None:
    from featx.engines.torch_engine import TorchEngine

    engine = TorchEngine(featx.load_backbone("lenet5"), batch_size=2)
    own = list_threads()
    weights = next(engine._runner.network.parameters())  # type: ignore[attr-defined]
    assert own
    n_references = sys.getrefcount(weights)
    del engine
    for one in own:
        one.join(LONG_S)
    assert not any(one.is_alive() for one in own)
    assert sys.getrefcount(weights) < n_references


def test_other_options_take_the_place_of_the_engine(built: list[Engine]) -> None:
    backbone = featx.load_backbone("lenet5")
    embed(backbone)
    embed(backbone, batch_size=2)
    assert [len(one.slots) > 0 for one in built] == [False, True]
    assert [one.batch_size for one in built] == [8, 2]


def test_names_beyond_the_last_ones_are_forgotten(
    built: list[Engine], without_collector: None
) -> None:
    for seed in range(named.MAX_NAMED + 2):
        embed(weights=f"random:{seed}")
    is_open = [len(one.slots) > 0 for one in built]
    assert is_open == [False] * 2 + [True] * named.MAX_NAMED


def test_image_that_fails_leaves_the_engine_open(built: list[Engine]) -> None:
    expected = embed()
    with pytest.raises(featx.DecodeError):
        embed(images=[IMAGE, b"no image"])
    assert embed().tobytes() == expected.tobytes()
    assert len(built) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, featx.DeviceError])
def test_call_that_is_broken_off_gives_engine_and_lock_back(
    built: list[Engine], error: type[BaseException]
) -> None:
    expected = embed()

    def iter_images() -> Iterator[Any]:
        yield IMAGE
        if error is featx.DeviceError:
            raise featx.DeviceError(subject="a", expected="b", got="c", remedy="d.")
        raise error

    with pytest.raises(error):
        embed(images=iter_images())
    assert built[0].slots == ()
    started = threading.Thread(target=embed)
    started.start()
    started.join(LONG_S)
    assert embed().tobytes() == expected.tobytes()
    assert len(built) == 2


def test_call_within_a_call_gets_an_engine_of_its_own(built: list[Engine]) -> None:
    expected = embed()

    def iter_images() -> Iterator[Any]:
        yield IMAGE
        assert embed().tobytes() == expected.tobytes()
        yield IMAGE

    assert embed(images=iter_images()).tobytes() == expected.tobytes() * 2
    assert [len(one.slots) > 0 for one in built] == [True, False]


def test_call_within_a_decoding_thread_gets_an_engine_of_its_own(
    built: list[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "PATIENCE_S", 0.01)
    backbone, depth = featx.load_backbone("lenet5"), list[int]()
    prepare = type(backbone.preprocess).prepare

    def prepare_by_embedding(self: Any, image: Any, **how: Any) -> Any:
        if len(depth) < 1:
            depth.append(1)
            assert embed(backbone).shape == (1, 84)
        return prepare(self, image, **how)

    monkeypatch.setattr(type(backbone.preprocess), "prepare", prepare_by_embedding)
    assert embed(backbone).shape == (1, 84)
    assert len(built) == 2


def test_release_during_a_call_closes_the_engine_at_its_end(built: list[Engine]) -> None:
    def iter_images() -> Iterator[Any]:
        yield IMAGE
        featx.close_engines()
        assert len(built[0].slots) > 0
        yield IMAGE

    assert embed(images=iter_images()).shape == (2, 84)
    assert built[0].slots == ()


class Scaled(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((3,), scale))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return batch.mean((2, 3)) * self.scale


def to_tensor(image: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(image.resize((8, 8)), np.float32)).permute(2, 0, 1)


def test_network_of_the_user_is_read_anew_in_each_call(built: list[Engine]) -> None:
    network = Scaled(1.0)
    featx.register_backbone("kept-scaled", network, transform=to_tensor)
    first = embed("kept-scaled")
    with torch.no_grad():
        network.scale.mul_(2)
    np.testing.assert_allclose(embed("kept-scaled"), 2 * first)
    assert [one.slots for one in built] == [(), ()]


def test_weights_that_are_replaced_are_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.pth"

    def save(seed: int) -> Any:
        module = featx.load_backbone("lenet5", weights=f"random:{seed}").module
        torch.save(module.network.state_dict(), tmp_path / "new.pth")
        os.utime(tmp_path / "new.pth", (1e9, 1e9))
        os.replace(tmp_path / "new.pth", path)
        return embed(weights=f"random:{seed}").tobytes()

    expected = save(0)
    assert embed(weights=str(path)).tobytes() == expected
    assert named.load_named("lenet5", weights=str(path)) is not named.load_named(
        "lenet5", weights=str(path)
    )
    monkeypatch.setattr(named, "UNSAFE_S", 0)  # as if the change was long ago
    assert named.load_named("lenet5", weights=str(path)) is named.load_named(
        "lenet5", weights=str(path)
    )
    assert embed(weights=str(path)).tobytes() == expected
    expected = save(1)
    assert embed(weights=str(path)).tobytes() == expected


def test_predictor_that_is_closed_by_another_thread_says_so(photos: Path, tmp_path: Path) -> None:
    how: Any = {"engine": "torch", "device": "cpu", "progress": False}
    featx.extract(photos, tmp_path / "c.h5", backbone="lenet5", **how)
    predictor = featx.open_predictor(featx.fit_head(tmp_path / "c.h5", C=1.0), **how)
    expected = predictor.predict(IMAGE)
    first_done = threading.Barrier(5, timeout=LONG_S)

    def predict_until_closed() -> str:
        assert predictor.predict(IMAGE) == expected
        first_done.wait()
        while True:
            try:
                assert predictor.predict(IMAGE) == expected
            except featx.FeatxError as error:
                return str(error)

    with ThreadPoolExecutor(4) as pool:
        ends = [pool.submit(predict_until_closed) for _ in range(4)]
        first_done.wait()
        predictor.close()
        told = {end.result(LONG_S) for end in ends}
    assert told == {
        "engine for lenet5: expected an open engine, got a closed one. Open another one with "
        "featx.open_predictor(head)."
    }


END = """
import contextlib, os, sys, threading
import numpy as np, featx
from featx.embedding.options import RunOptions

engine, how_it_ends = sys.argv[1:]
image = np.zeros((8, 8, 3), np.uint8)
backbone = featx.load_backbone("lenet5")
options = {"engine": engine, "device": "cpu", "progress": False}
featx.embed(image, backbone=backbone, **options)
featx.embed(image, backbone="lenet5", **options)
unclosed = RunOptions(**options).build_engine(backbone)
if how_it_ends == "thread":
    called = threading.Event()

    def embed_for_ever():
        with contextlib.suppress(RuntimeError):  # no thread starts when Python ends
            while True:
                featx.embed(image, backbone=backbone, **options)
                called.set()

    for _ in range(4):  # some of which build an engine of their own
        threading.Thread(target=embed_for_ever, daemon=True).start()
    called.wait()
if how_it_ends == "error":
    raise SystemExit("this is the end")
if how_it_ends == "fork":
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0
    else:
        featx.close_engines()
        del backbone
"""


@pytest.mark.parametrize(
    ("engine", "how_it_ends"),
    [
        ("openvino", "thread"),
        ("torch", "thread"),
        *(
            pytest.param(engine, how_it_ends, marks=pytest.mark.slow)
            for engine in ("openvino", "torch")
            for how_it_ends in ("plainly", "error", "fork")
        ),
    ],
)
def test_process_with_open_engines_ends(tmp_path: Path, engine: str, how_it_ends: str) -> None:
    if how_it_ends == "fork" and not hasattr(os, "fork"):
        pytest.skip("needs POSIX")
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", END, engine, how_it_ends],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    told = [line for line in done.stderr.splitlines() if not line.startswith("featx: ")]
    expected = (1, ["this is the end"]) if how_it_ends == "error" else (0, [])
    assert (done.returncode, told) == expected
