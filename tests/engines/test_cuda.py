"""What an engine promises on a CUDA GPU: the vectors of a CPU, equal bytes, memory given back."""

import functools
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

import featx
from featx.backbones.backbone import Backbone
from featx.core.errors import DeviceError
from featx.core.similarity import compute_cosines
from featx.core.typing import Array, Precision
from featx.engines.choose import build_engine, choose_engine, list_precisions
from featx.engines.engine import MIN_COMPILED, Engine
from featx.engines.fleet import Fleet
from featx.engines.torch_engine import TorchEngine

pytestmark = pytest.mark.gpu

BATCH_SIZE = 8
NETWORKS = ("mini", "squeezenet1_1", "mobilenet_v2", "resnet50", "convnext_tiny")
REDUCED: tuple[Precision, ...] = ("bf16", "fp16")
MIN_COSINES = {"fp32": 0.99999, "bf16": 0.995, "fp16": 0.999}
DEVICE = "cuda:0"


@functools.cache
def load(name: str) -> Backbone:
    if name != "mobilenet_v2":
        return featx.load_backbone(name, weights="DEFAULT" if name == "mini" else "random:0")
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.pth"
        torch.save(build_mobilenet().state_dict(), weights)
        return featx.load_backbone(name, weights=str(weights))


def build_mobilenet() -> nn.Module:
    """Build mobilenet_v2 with BatchNorm that has seen images.

    With random weights alone its vectors are near 1e-9, which fp16 rounds to 0.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: nn.Module = torchvision.models.mobilenet_v2()
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = 1.0  # the statistics of the one batch below
        with torch.no_grad():
            network(torch.randn(8, 3, 224, 224))
    return network


def draw(backbone: Backbone, n_rows: int = BATCH_SIZE, seed: int = 0) -> Any:
    """Draw coarse noise, so that rows differ."""
    height, width, _ = backbone.preprocess.build_example().shape
    coarse = np.random.default_rng(seed).integers(0, 256, (n_rows, 7, 7, 3), dtype=np.uint8)
    return coarse.repeat(-(-height // 7), 1).repeat(-(-width // 7), 2)[:, :height, :width]


@contextmanager
def opened(name: str = "squeezenet1_1", **options: Any) -> Iterator[Engine]:
    arguments: dict[str, Any] = {"device": DEVICE, "batch_size": BATCH_SIZE} | options
    with build_engine(load(name), engine="torch", **arguments) as engine:
        yield engine


def run_bytes(pixels: Array, name: str = "squeezenet1_1", **options: Any) -> bytes:
    with opened(name, **options) as engine:
        return engine.run(pixels)["penultimate"].tobytes()


# --- numbers


def test_cuda_is_what_auto_chooses() -> None:
    assert choose_engine() == choose_engine("torch", "cuda:0") == ("torch", "cuda:0")
    assert list_precisions("torch", DEVICE)[0] == "fp32"


@pytest.mark.parametrize("name", NETWORKS)
def test_cuda_fp32_equals_the_cpu(name: str) -> None:
    pixels = draw(load(name))
    with opened(name) as engine, opened(name, device="cpu") as cpu:
        (got,), (expected,) = engine.run(pixels).values(), cpu.run(pixels).values()
    assert got.dtype == np.float32
    assert compute_cosines(got, expected).min() >= MIN_COSINES["fp32"]
    difference = np.linalg.norm(got - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert difference.max() <= 1e-4


@pytest.mark.parametrize("precision", REDUCED)
@pytest.mark.parametrize("name", NETWORKS)
def test_cuda_reduced_precision_is_near_fp32(name: str, precision: Precision) -> None:
    if precision not in list_precisions("torch", DEVICE):
        pytest.skip(f"needs a GPU with {precision}")
    pixels = draw(load(name))
    with opened(name, precision=precision) as engine, opened(name) as full:
        (got,), (expected,) = engine.run(pixels).values(), full.run(pixels).values()
    assert compute_cosines(got, expected).min() >= MIN_COSINES[precision]
    assert got.tobytes() != expected.tobytes()


@pytest.mark.parametrize("precision", ["fp32", *REDUCED])
@pytest.mark.parametrize("name", NETWORKS)
def test_cuda_runs_give_equal_bytes(name: str, precision: Precision) -> None:
    pixels = draw(load(name))
    found = [run_bytes(pixels, name, precision=precision) for _ in range(3)]
    assert found == [found[0]] * 3


SCRIPT = """
import hashlib, sys
from tests.engines.test_cuda import draw, load, run_bytes
print(hashlib.sha256(run_bytes(draw(load("resnet50")), "resnet50")).hexdigest())
"""


def test_cuda_processes_give_equal_bytes() -> None:
    lines = [
        subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True).stdout
        for _ in range(2)
    ]
    assert lines[0] == lines[1]


@pytest.mark.parametrize("precision", ["fp32", *REDUCED])
@pytest.mark.parametrize("n_rows", [1, BATCH_SIZE - 1])
@pytest.mark.parametrize("name", NETWORKS)
def test_cuda_rows_do_not_depend_on_their_neighbours(
    name: str, n_rows: int, precision: Precision
) -> None:
    pixels, others = draw(load(name)), draw(load(name), seed=1)
    with opened(name, precision=precision) as engine:
        (full,) = engine.run(pixels).values()
        (part,) = engine.run(pixels[:n_rows]).values()
        (mixed,) = engine.run(np.concatenate([pixels[:n_rows], others[n_rows:]])).values()
    assert part.tobytes() == full[:n_rows].tobytes() == mixed[:n_rows].tobytes()
    assert mixed[n_rows:].tobytes() != full[n_rows:].tobytes()


@pytest.mark.parametrize("name", ["mini", "mobilenet_v2"])
def test_cuda_slots_in_flight_together_and_again_give_the_same(name: str) -> None:
    backbone = load(name)
    with opened(name, batch_size=64) as engine:
        batches = [draw(backbone, 64, seed) for seed in range(len(engine.slots))]
        expected = [engine.run(pixels)["penultimate"].tobytes() for pixels in batches]
        assert len(set(expected)) == len(batches) == 3
        found = []
        for turn in range(20):
            slots = [engine.slots[(turn + number) % 3] for number in range(3)]
            for slot, pixels in zip(slots, batches, strict=True):
                slot.pixels[:] = pixels
                slot.start(len(pixels))
            found.append([slot.wait()["penultimate"] for slot in slots])
    assert [[part.tobytes() for part in turn] for turn in found] == [expected] * 20


# --- the caller's settings and threads

BACKENDS: Any = torch.backends


@contextmanager
def set_up(set_value: Callable[[Any], None], value: Any, before: Any) -> Iterator[None]:
    set_value(value)
    try:
        yield
    finally:
        set_value(before)


def set_attribute(owner: Any, name: str, value: Any) -> AbstractContextManager[None]:
    return set_up(functools.partial(setattr, owner, name), value, getattr(owner, name))


def in_another_stream() -> Any:
    return torch.cuda.stream(torch.cuda.Stream())  # type: ignore[no-untyped-call]


SETTINGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "nothing": nullcontext,
    "default dtype": lambda: set_up(torch.set_default_dtype, torch.float64, torch.float32),
    "default device": lambda: set_up(torch.set_default_device, "cuda", None),
    "inference mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cuda", torch.bfloat16),
    "older precision": lambda: set_up(torch.set_float32_matmul_precision, "medium", "highest"),
    "newer precision": lambda: set_attribute(BACKENDS.cuda.matmul, "fp32_precision", "tf32"),
    "convolutions": lambda: set_attribute(BACKENDS.cudnn.conv, "fp32_precision", "tf32"),
    "cuDNN's race": lambda: set_attribute(BACKENDS.cudnn, "benchmark", True),
    "another stream": in_another_stream,
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_cuda_settings_of_the_caller_change_nothing(setting: str) -> None:
    pixels = draw(load("mobilenet_v2"))
    expected = run_bytes(pixels, "mobilenet_v2")
    with SETTINGS[setting]():
        got = run_bytes(pixels, "mobilenet_v2")
    assert got == expected


def test_cuda_engine_runs_in_any_thread() -> None:
    pixels = draw(load("squeezenet1_1"))
    with opened() as engine, ThreadPoolExecutor(1) as pool:
        here = engine.run(pixels)["penultimate"].tobytes()
        assert pool.submit(engine.run, pixels).result()["penultimate"].tobytes() == here


# --- memory and time


@contextmanager
def limit_memory(n_bytes: int) -> Iterator[None]:
    """Let this process have so much memory of the GPU beside what it uses."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + n_bytes) / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_cuda_too_little_memory_halves_the_batch() -> None:
    pixels = draw(load("resnet50"))
    torch.zeros(1, device=DEVICE)
    with limit_memory(700 << 20):
        with opened("resnet50", batch_size=None) as engine:
            size = engine.batch_size
            assert 1 <= size < 256
            assert len(engine.slots[0].pixels) == size
            n_rows = min(size, BATCH_SIZE)
            got = engine.run(pixels[:n_rows])["penultimate"].tobytes()
        with pytest.raises(DeviceError, match=r"memory for 512 images .*smaller batch_size"):
            TorchEngine(load("resnet50"), device=DEVICE, batch_size=512)
        # The engine that failed holds nothing.
        with opened("resnet50", batch_size=size) as engine:
            assert engine.run(pixels[:n_rows])["penultimate"].tobytes() == got
    assert run_bytes(pixels[:n_rows], "resnet50", batch_size=size) == got


def test_cuda_engine_that_is_closed_gives_its_memory_back() -> None:
    with opened("mini"):
        pass
    before = torch.cuda.memory_reserved(), torch.cuda.memory_allocated()
    with opened("resnet50", batch_size=64):
        assert torch.cuda.memory_allocated() > before[1] + (50 << 20)
    assert torch.cuda.memory_allocated() <= before[1] + (40 << 20)  # the workspace of cuBLAS
    assert torch.cuda.memory_reserved() <= before[0] + (40 << 20)


def test_cuda_engine_has_a_clock() -> None:
    with opened("resnet50", batch_size=64) as engine:
        assert engine.busy_s == 0.0
        pixels = draw(load("resnet50"), 64)
        start = time.perf_counter()
        for _ in range(10):
            engine.run(pixels)
        assert engine.busy_s is not None
        assert 0 < engine.busy_s < time.perf_counter() - start


class Broken(nn.Module):
    """A network whose code fails on the GPU only."""

    def forward(self, batch: Any) -> Any:
        if batch.is_cuda:
            raise RuntimeError("no such kernel")
        return batch.mean((2, 3))


def to_tensor(image: Any) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image.resize((8, 8)), "f4").transpose(2, 0, 1) / 255)


def test_cuda_network_that_fails_is_told_with_its_reason() -> None:
    featx.register_backbone("cuda-broken", Broken(), transform=to_tensor)
    with pytest.raises(DeviceError, match=r"device cuda:0: .*no such kernel"):
        build_engine(featx.load_backbone("cuda-broken"), device=DEVICE)


# --- compiled, and in processes


@pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="needs a compiler of C"
)
def test_cuda_compiled_network_is_compiled_once_and_close_to_eager() -> None:
    from torch._dynamo.utils import counters

    pixels = draw(load("mini"))
    with opened("mini") as engine:
        (expected,) = engine.run(pixels).values()
    torch.compiler.reset()
    counters.clear()
    found = []
    for _ in range(2):
        with opened("mini", n_images=MIN_COMPILED) as engine, ThreadPoolExecutor(1) as pool:
            runner = engine._runner  # type: ignore[attr-defined]
            assert hasattr(runner.network, "_orig_mod"), "the network was not compiled"
            n_graphs = counters["stats"]["unique_graphs"]
            (got,) = engine.run(pixels).values()
            (again,) = pool.submit(engine.run, pixels).result().values()
            assert counters["stats"]["unique_graphs"] == n_graphs
            assert got.tobytes() == again.tobytes()
            found.append(got)
    assert found[0].tobytes() == found[1].tobytes()
    assert compute_cosines(found[0], expected).min() >= MIN_COSINES["fp32"]


def test_cuda_two_processes_on_one_gpu_give_the_vectors_of_one() -> None:
    backbone = load("resnet50")
    pixels = draw(backbone)
    expected = run_bytes(pixels, "resnet50")
    with Fleet(backbone, devices=[DEVICE, DEVICE], batch_size=BATCH_SIZE) as pair:
        assert len(pair.slots) == 6
        for _ in range(5):
            for slot in pair.slots:
                slot.pixels[:] = pixels
                slot.start(BATCH_SIZE)
            for slot in pair.slots:
                assert slot.wait()["penultimate"].tobytes() == expected
        assert pair.device == "cuda"
        assert (pair.busy_s or 0) > 0


def test_cuda_fleet_without_a_batch_size_takes_the_default() -> None:
    with Fleet(load("squeezenet1_1"), devices=[DEVICE, DEVICE]) as pair:
        assert pair.batch_size == 256
