"""What the caller has set in torch changes neither digests nor vectors, and is there afterwards."""

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import featx
from featx.core.typing import EngineName


@contextmanager
def set_up(write: Callable[[Any], object], value: Any, before: Any) -> Iterator[None]:
    """Set something as a notebook does, in no block; give it back for the other tests."""
    write(value)
    try:
        yield
    finally:
        write(before)


def set_attribute(owner: Any, name: str, value: Any) -> AbstractContextManager[None]:
    return set_up(lambda new: setattr(owner, name, new), value, getattr(owner, name))


BACKENDS: Any = torch.backends
SETTINGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "nothing": nullcontext,
    "default dtype": lambda: set_up(torch.set_default_dtype, torch.float64, torch.float32),
    "default device": lambda: set_up(torch.set_default_device, "meta", None),
    "device in a block": lambda: torch.device("meta"),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "older precision": lambda: set_up(torch.set_float32_matmul_precision, "medium", "highest"),
    "newer precision": lambda: set_attribute(BACKENDS.cuda.matmul, "fp32_precision", "tf32"),
    "precision on a CPU": lambda: set_attribute(BACKENDS.mkldnn.conv, "fp32_precision", "bf16"),
    "cuDNN's race": lambda: set_attribute(BACKENDS.cudnn, "benchmark", True),
    "denormals": lambda: set_up(torch.set_flush_denormal, True, False),
    "deterministic": lambda: set_up(torch.use_deterministic_algorithms, True, False),
    "one thread": lambda: set_up(torch.set_num_threads, 1, torch.get_num_threads()),
}


def read_settings() -> list[Any]:
    """Read everything that `SETTINGS` sets."""
    found: list[Any] = [
        torch.get_default_dtype(),
        torch.zeros(1).device,
        torch.is_inference_mode_enabled(),
        torch.is_grad_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_num_threads(),
        BACKENDS.cudnn.benchmark,
        float("5e-324") * float("1") == 0,
    ]
    try:
        found.append(torch.get_float32_matmul_precision())
    except RuntimeError:  # the newer switches say something else
        found.append(None)
    parts = (
        BACKENDS.cuda.matmul,
        BACKENDS.cudnn.conv,
        BACKENDS.mkldnn.matmul,
        BACKENDS.mkldnn.conv,
    )
    return found + [part.fp32_precision for part in parts]


class Factory(nn.Module):
    """A network of the user that makes tensors of the default dtype on the default device."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3) / 3)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        third = torch.ones(3) / 3
        return (batch.mean((2, 3)) * self.scale * third) @ torch.eye(3) + torch.zeros(3)


def to_tensor(image: Any) -> torch.Tensor:
    """Divide in the default dtype, as ToTensor does."""
    pixels = torch.from_numpy(np.array(image.resize((8, 8)))).permute(2, 0, 1)
    return pixels.to(torch.get_default_dtype()) / 255


def compute(name: str, engine: EngineName) -> tuple[str, bytes]:
    """Load a network anew and embed noise: digest and bytes of the vectors."""
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 30, 3), dtype=np.uint8)
    weights = "DEFAULT" if name.startswith("callers-") else "random:0"
    backbone = featx.load_backbone(name, weights=weights)
    vectors = featx.embed(images, backbone=backbone, engine=engine, device="cpu", progress=False)
    return backbone.weights_digest, vectors.tobytes()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What comes out where nothing is set, by network and engine; computed once."""
    known: dict[Any, Any] = {}

    def get(name: str, engine: EngineName) -> Any:
        if (name, engine) not in known:
            known[name, engine] = compute(name, engine)
        return known[name, engine]

    return get


@pytest.mark.parametrize("name", ["lenet5", "callers-factory"])
@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_settings_of_the_caller_change_nothing_and_stay(
    store: Path, expected: Any, setting: str, engine: EngineName, name: str
) -> None:
    if "callers-factory" not in featx.list_backbones():
        featx.register_backbone("callers-factory", Factory, transform=to_tensor)
    wanted = expected(name, engine)
    for kept in store.iterdir():  # the network is built and converted under the setting
        kept.rename(kept.with_name(f".{kept.name}"))
    with SETTINGS[setting]():
        before = read_settings()
        got = compute(name, engine)
        assert read_settings() == before
        again = compute(name, engine)
    assert got == again == wanted
    assert compute(name, engine) == wanted  # from what was kept under the setting


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("weights", ["random:5", "DEFAULT"])
def test_random_numbers_of_the_caller_go_on(store: Path, engine: EngineName, weights: str) -> None:
    def draw(*, uses_featx: bool) -> tuple[float, ...]:
        torch.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002
        random.seed(1)
        if uses_featx:
            backbone = featx.load_backbone("mini", weights=weights)
            image = np.zeros((8, 8, 3), np.uint8)
            featx.embed(image, backbone=backbone, engine=engine, device="cpu", progress=False)
        return torch.rand(1).item(), np.random.rand(), random.random()  # noqa: NPY002

    plain = draw(uses_featx=False)
    assert draw(uses_featx=True) == draw(uses_featx=True) == plain


class Reckless(nn.Module):
    """A network that seeds and draws while it is built, as a tutorial's does."""

    def __init__(self) -> None:
        super().__init__()
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        torch.manual_seed(0)
        self.scale = nn.Parameter(torch.rand(3))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return batch.mean((2, 3)) * self.scale


def test_network_that_seeds_while_it_is_built_leaves_the_caller_alone(store: Path) -> None:
    featx.register_backbone("callers-reckless", Reckless, transform=to_tensor)
    before = torch.get_rng_state(), random.getstate()
    featx.load_backbone("callers-reckless")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_layers_of_a_network_with_dropout_repeat(store: Path) -> None:
    backbone = featx.load_backbone(
        "mobilenet_v3_small", weights="random:0", layers=["features.3", "penultimate"], size=64
    )
    batch = np.random.default_rng(0).integers(0, 256, (2, *backbone.pixel_shape), dtype=np.uint8)
    with torch.inference_mode():
        eager = backbone.module(backbone.preprocess.normalise(torch.from_numpy(batch)))
    from featx.engines.torch_engine import TorchEngine

    with TorchEngine(backbone, batch_size=2) as engine:
        for got, wanted in zip(engine.run(batch).values(), eager, strict=True):
            np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-3, atol=1e-4)


def test_threads_that_build_and_run_at_once_give_the_settings_back(store: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with SETTINGS["default dtype"](), SETTINGS["newer precision"]():
        before = read_settings()
        with ThreadPoolExecutor(4) as pool:
            names = ["lenet5", "mini"] * 2
            got = list(pool.map(lambda name: compute(name, "torch"), names))
        assert read_settings() == before
    assert got[0] == got[2] == compute("lenet5", "torch")
    assert got[1] == got[3] == compute("mini", "torch")
