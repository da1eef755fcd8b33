"""The contract that every network of the zoo keeps, and its equality with torchvision."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import ExifTags, Image
from torch import nn

import featx
from featx.backbones.load import load_backbone
from featx.backbones.registry import get_backbone_spec

SMALLEST = [
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "googlenet",
    "inception_v3",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_x_400mf",
    "resnet18",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
]
"""Small networks of most families, for every run; the others are slow."""

ZOO = sorted(
    name
    for name in torchvision.models.list_models(module=torchvision.models)
    if not name.startswith(("vit_", "swin_")) and name != "maxvit_t"
)

INCEPTIONS = ("googlenet", "inception_v3")
"""Whose published weights take an input that is normalised once more."""


def read_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def mark(name: str) -> Any:
    marks = [] if name in SMALLEST else [pytest.mark.slow]
    if name == "regnet_y_128gf":
        small = read_memory() < 16 * 2**30
        marks.append(pytest.mark.skipif(small, reason="needs 16 GiB of memory"))
    return pytest.param(name, marks=marks)


def build_torchvision(name: str, state: Mapping[str, torch.Tensor] | None = None) -> nn.Module:
    """Build torchvision's own network as its published weights are used; any classifier."""
    options = {"init_weights": False, "aux_logits": False} if name in INCEPTIONS else {}
    network: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    network.transform_input = True  # type: ignore[assignment]
    if state is not None:
        missing, unknown = network.load_state_dict(state, strict=False)
        assert unknown == []
        assert len(missing) <= 2, missing
    return network.eval()


def run_to_last_linear(network: Any, batch: torch.Tensor) -> torch.Tensor:
    """Return the input of the last Linear; SqueezeNet, which has none: the pooled features."""
    linears = [module for module in network.modules() if isinstance(module, nn.Linear)]
    with torch.inference_mode():
        if not linears:
            pooled: torch.Tensor = network.features(batch).mean((2, 3))
            return pooled
        inputs: list[torch.Tensor] = []
        linears[-1].register_forward_hook(lambda module, given, output: inputs.append(given[0]))
        network(batch)
    return inputs[0]


def measure_difference(got: Any, expected: Any) -> float:
    """Return the largest relative difference among rows."""
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    assert got.shape == expected.shape
    errors = np.linalg.norm(got - expected, axis=1) / np.linalg.norm(expected, axis=1)
    return float(errors.max())


# --- the contract


def test_zoo_holds_every_convnet_of_torchvision() -> None:
    registered = [
        name for name in featx.list_backbones() if name in torchvision.models.list_models()
    ]
    assert registered == ZOO
    assert len(ZOO) == 68


def test_zoo_smallest_are_of_the_zoo() -> None:
    assert set(SMALLEST) < set(ZOO)


@pytest.mark.parametrize("name", [mark(name) for name in ZOO])
def test_zoo_backbone_keeps_the_contract(name: str) -> None:
    backbone = load_backbone(name, weights="random:0")
    batch = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        (together,) = backbone.module(batch)
        (alone,) = backbone.module(batch[:1])

    assert backbone.layers == ("penultimate",)
    assert backbone.dims == {"penultimate": get_backbone_spec(name).dim}
    assert together.dtype == torch.float32
    assert together.shape == (2, get_backbone_spec(name).dim)
    assert not any(module.training for module in backbone.module.modules())
    assert not any(tensor.requires_grad for tensor in backbone.module.parameters())
    assert measure_difference(alone, together[:1]) <= 1e-4
    assert not torch.equal(together[0], together[1])

    theirs = build_torchvision(name, backbone.module.network.state_dict())
    assert measure_difference(together, run_to_last_linear(theirs, batch)) <= 1e-4


@pytest.mark.parametrize("name", ZOO)
def test_zoo_named_weights_stand_with_their_default_last(name: str) -> None:
    theirs = torchvision.models.get_model_weights(name)
    entries = get_backbone_spec(name).list_weights()
    assert {entry.name for entry in entries} == {member.name for member in theirs}
    assert entries[-1].name == theirs.DEFAULT.name
    for entry in entries:
        assert entry.url == theirs[entry.name].url
        assert len(entry.digest_prefix) >= 8
        # torchvision has no accuracy for VGG-16's weights that lack a classifier.
        assert 0 < entry.top1 < 100 or (math.isnan(entry.top1) and "FEATURES" in entry.name)


# --- files whose names or versions differ


def randomise(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give BatchNorm statistics that matter, as training would."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return network.eval()


def compare_file(name: str, network: nn.Module, file: Path) -> float:
    """Measure how far the file's backbone is from the network that it was saved from."""
    batch = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    backbone = load_backbone(name, weights=str(file))
    with torch.inference_mode():
        (got,) = backbone.module(batch)
    return measure_difference(got, run_to_last_linear(network, batch))


@pytest.mark.parametrize("name", INCEPTIONS)
def test_zoo_inception_file_with_auxiliary_heads_equals_its_network(
    name: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = torchvision.models.get_model(
        name, weights=None, transform_input=True, aux_logits=True, init_weights=False
    )
    randomise(network)
    state = network.state_dict()
    assert any(key.lower().startswith("aux") for key in state)
    torch.save(state, tmp_path / "mine.pth")
    assert compare_file(name, network, tmp_path / "mine.pth") <= 1e-4


def test_zoo_densenet_file_with_old_names_equals_its_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = randomise(torchvision.models.densenet121())
    state = network.state_dict()
    old = {}
    for key, tensor in state.items():
        for part in ("norm", "conv"):
            for number in "12":
                if ".denselayer" in key:
                    key = key.replace(f".{part}{number}.", f".{part}.{number}.")
        old[key] = tensor
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, tmp_path / "old.pth")
    assert compare_file("densenet121", network, tmp_path / "old.pth") <= 1e-4


@pytest.mark.parametrize("name", ["mnasnet0_5", "mnasnet1_0"])
def test_zoo_mnasnet_file_equals_its_network(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = randomise(torchvision.models.get_model(name, weights=None))
    torch.save(network.state_dict(), tmp_path / "mine.pth")
    assert compare_file(name, network, tmp_path / "mine.pth") <= 1e-4


# --- equality with a plain script, on photos


def choose_photos(shared: Path, n_photos: int = 32) -> list[Path]:
    paths = sorted((shared / "data/hymenoptera_data/val").rglob("*.jpg"))
    upright = []
    for path in paths[:: max(1, len(paths) // (2 * n_photos))]:
        with Image.open(path) as image:
            if image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
                upright.append(path)
    assert len(upright) >= n_photos
    return upright[:n_photos]


def run_plain_script(name: str, file: Path, paths: Sequence[Path]) -> torch.Tensor:
    """Embed as one would by hand: torchvision's transforms, fp32, one batch."""
    transform = torchvision.models.get_model_weights(name).IMAGENET1K_V1.transforms()
    network = torchvision.models.get_model(name, weights=None)
    state = torch.load(file, weights_only=True)
    _, unknown = network.load_state_dict(state, strict=False)
    assert unknown == []
    batch = torch.stack([transform(Image.open(path).convert("RGB")) for path in paths])
    return run_to_last_linear(network.eval(), batch)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "file"),
    [
        pytest.param("mobilenet_v2", "mobilenet_v2-imagenet-backbone.pth", marks=pytest.mark.slow),
        ("squeezenet1_1", "squeezenet1_1-imagenet.pth"),
    ],
)
def test_embed_shared_weights_equals_plain_script(shared: Path, name: str, file: Any) -> None:
    paths = choose_photos(shared)
    file = shared / "weights" / file
    got = featx.embed(paths, backbone=name, weights=str(file), device="cpu")
    assert measure_difference(got, run_plain_script(name, file, paths)) <= 1e-4


@pytest.mark.shared
@pytest.mark.parametrize(
    "name",
    [
        "shufflenet_v2_x0_5",
        pytest.param("mnasnet0_5", marks=pytest.mark.slow),
        pytest.param("resnet18", marks=pytest.mark.slow),
        pytest.param("efficientnet_b0", marks=pytest.mark.slow),
    ],
)
def test_embed_random_weights_equals_plain_script(shared: Path, name: str, tmp_path: Path) -> None:
    paths = choose_photos(shared)
    torch.manual_seed(1)
    network = randomise(torchvision.models.get_model(name, weights=None))
    torch.save(network.state_dict(), tmp_path / "mine.pth")
    got = featx.embed(paths, backbone=name, weights=str(tmp_path / "mine.pth"), device="cpu")
    assert measure_difference(got, run_plain_script(name, tmp_path / "mine.pth", paths)) <= 1e-4
