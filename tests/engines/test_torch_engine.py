"""PyTorch: neither padding nor the device changes rows, and its settings stay the caller's."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from featx.backbones.backbone import Backbone
from featx.backbones.load import load_backbone
from featx.core.errors import DeviceError
from featx.core.typing import Array
from featx.engines.torch_engine import TorchEngine


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("squeezenet1_1", weights="random:0")


@pytest.fixture(scope="module")
def pixels() -> Array:
    return np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3), dtype=np.uint8)


@pytest.mark.parametrize("n_rows", [1, 3, 7])
def test_torch_engine_padding_does_not_change_rows(
    backbone: Backbone, pixels: Array, n_rows: int
) -> None:
    engine = TorchEngine(backbone, device="cpu", batch_size=8)
    full = engine.run(pixels)["penultimate"]
    part = engine.run(pixels[:n_rows])["penultimate"]
    assert part.shape == (n_rows, 512)
    assert part.tobytes() == full[:n_rows].tobytes()


def test_torch_engine_runs_every_batch_in_one_shape(backbone: Backbone, pixels: Array) -> None:
    shapes = []
    hook = backbone.module.register_forward_pre_hook(lambda m, given: shapes.append(given[0].shape))
    engine = TorchEngine(backbone, device="cpu", batch_size=8)
    for n_rows in (8, 1, 5):
        engine.run(pixels[:n_rows])
    hook.remove()
    assert shapes == [(8, 3, 224, 224)] * 3


def test_torch_engine_rows_equal_the_plain_module(backbone: Backbone, pixels: Array) -> None:
    (got,) = TorchEngine(backbone, device="cpu", batch_size=8).run(pixels).values()
    with torch.inference_mode():
        (expected,) = backbone.module(backbone.preprocess.normalise(torch.from_numpy(pixels)))
    expected = expected.numpy()
    assert got.dtype == np.float32
    difference = np.linalg.norm(got - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert difference.max() <= 1e-4


def test_torch_engine_gives_each_layer(pixels: Array) -> None:
    layers = ["features.3", "penultimate"]
    two = load_backbone("squeezenet1_1", weights="random:0", layers=layers)
    vectors = TorchEngine(two, device="cpu", batch_size=4).run(pixels[:2])
    assert {name: values.shape for name, values in vectors.items()} == {
        "features.3": (2, 128),
        "penultimate": (2, 512),
    }


def test_torch_engine_keeps_no_gradients(backbone: Backbone, pixels: Array) -> None:
    flags = []
    hook = backbone.module.register_forward_hook(
        lambda m, given, output: flags.append((output[0].requires_grad, output[0].is_inference()))
    )
    TorchEngine(backbone, device="cpu", batch_size=1).run(pixels[:1])
    hook.remove()
    assert flags == [(False, True)]


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0"])
def test_torch_engine_cuda_equals_cpu(name: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    pixels = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3), dtype=np.uint8)
    (on_cpu,), (on_cuda,) = (
        TorchEngine(load_backbone(name, weights="random:0"), device=device, batch_size=8)
        .run(pixels)
        .values()
        for device in ("cpu", "cuda:0")
    )
    difference = np.linalg.norm(on_cuda - on_cpu, axis=1) / np.linalg.norm(on_cpu, axis=1)
    assert difference.max() <= 1e-4


def test_torch_engine_run_keeps_full_float32_and_restores_the_settings(
    backbone: Backbone, pixels: Array
) -> None:
    seen = []
    engine = TorchEngine(backbone, device="cpu", batch_size=8)
    network = engine._runner.network
    assert isinstance(network, nn.Module)
    hook = network.register_forward_pre_hook(
        lambda *_: seen.append(
            (
                torch.backends.cudnn.enabled,
                torch.backends.cudnn.allow_tf32,
                torch.get_float32_matmul_precision(),
            )
        )
    )
    torch.set_float32_matmul_precision("medium")
    try:
        engine.run(pixels)
        assert seen == [(True, False, "highest")]
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.set_float32_matmul_precision("highest")
        hook.remove()


def test_torch_engine_out_of_memory_says_what_to_do(
    backbone: Backbone, pixels: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    engine = TorchEngine(backbone, device="cpu", batch_size=8)
    monkeypatch.setattr(engine._runner, "network", run_out)
    with pytest.raises(DeviceError, match=r"Pass a smaller batch_size"):
        engine.run(pixels)
