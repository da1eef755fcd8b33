"""Networks and transforms of the user."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import transforms

import featx
from featx.backbones import registry
from featx.backbones.custom import CustomTransform, register_backbone
from featx.backbones.load import load_backbone
from featx.core.errors import BackboneError, WeightsError
from featx.core.typing import UInt8Array

TRANSFORM = transforms.Compose([transforms.Resize((8, 8)), transforms.ToTensor()])


def build_mean() -> nn.Module:
    """Make a network whose embedding is each channel's mean."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.fixture
def images() -> UInt8Array:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)


def build_image(size: tuple[int, int]) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def scale(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image, np.float32).transpose(2, 0, 1) / 255)


# --- register_backbone


@pytest.mark.parametrize("kind", ["module", "function"])
def test_register_backbone_network_embeds_images(images: Any, kind: str) -> None:
    name = f"registry-mean-{kind}"
    network = build_mean() if kind == "module" else build_mean
    featx.register_backbone(name, network, transform=TRANSFORM)
    assert name in featx.list_backbones()
    embedded = featx.embed(images, backbone=name, device="cpu")
    assert embedded.dtype == np.float32
    np.testing.assert_allclose(embedded, images.mean((1, 2)) / 255, atol=1e-6)


def test_register_backbone_spatial_output_is_averaged(images: Any) -> None:
    featx.register_backbone("registry-spatial", nn.Conv2d(3, 5, 3), transform=TRANSFORM)
    assert featx.embed(images, backbone="registry-spatial", device="cpu").shape == (3, 5)


def test_register_backbone_classifier_is_taken_off(images: Any) -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 7))
    featx.register_backbone("registry-cut", network, transform=TRANSFORM, classifier="2")
    embedded = featx.embed(images, backbone="registry-cut", device="cpu")
    np.testing.assert_allclose(embedded, images.mean((1, 2)) / 255, atol=1e-6)
    assert isinstance(network[2], nn.Linear)


def test_register_backbone_leaves_the_users_network_as_it_is(images: Any) -> None:
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)).train()
    featx.register_backbone("registry-untouched", network, transform=TRANSFORM)
    featx.embed(images, backbone="registry-untouched", device="cpu")
    assert network.training
    assert network[1].training
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert network[1].num_batches_tracked == 0


def test_register_backbone_network_is_run_in_eval_mode(images: Any) -> None:
    network = nn.Sequential(nn.Dropout(0.9), nn.AdaptiveAvgPool2d(1), nn.Flatten()).train()
    featx.register_backbone("registry-eval", network, transform=TRANSFORM)
    embedded = featx.embed(images, backbone="registry-eval", device="cpu")
    np.testing.assert_allclose(embedded, images.mean((1, 2)) / 255, atol=1e-6)


def test_register_backbone_takes_weights_from_a_file(tmp_path: Path) -> None:
    featx.register_backbone("registry-file", nn.Conv2d(3, 5, 3), transform=TRANSFORM)
    other = nn.Conv2d(3, 5, 3)
    torch.save(other.state_dict(), tmp_path / "mine.pth")
    backbone = featx.load_backbone("registry-file", weights=str(tmp_path / "mine.pth"))
    weight = backbone.module.network.weight
    assert isinstance(weight, torch.Tensor)
    assert torch.equal(weight, other.weight)
    own = featx.load_backbone("registry-file")
    assert own.weights_digest != backbone.weights_digest


def test_register_backbone_random_weights_are_refused() -> None:
    featx.register_backbone("registry-random", build_mean, transform=TRANSFORM)
    with pytest.raises(
        WeightsError, match=r"expected DEFAULT \(its own weights\) or a file, got ran"
    ):
        featx.load_backbone("registry-random", weights="random:0")


def test_register_backbone_named_function_is_taken_and_named() -> None:
    featx.register_backbone("registry-function", build_mean, transform=scale)
    text = featx.load_backbone("registry-function").preprocess.identify()["transform"]
    assert text == f"{__name__}.scale"


@pytest.mark.parametrize("name", ["resnet50", "registry-taken"])
def test_register_backbone_taken_name_is_refused(name: str) -> None:
    if name not in featx.list_backbones():
        featx.register_backbone(name, build_mean, transform=TRANSFORM)
    with pytest.raises(BackboneError, match=rf"backbone '{name}': expected a new name"):
        featx.register_backbone(name, build_mean, transform=TRANSFORM)


def test_register_backbone_zoo_name_is_refused_before_the_zoo_was_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    registry._collect_zoos.cache_clear()
    with pytest.raises(BackboneError, match="backbone 'densenet121': expected a new name"):
        featx.register_backbone("densenet121", build_mean, transform=TRANSFORM)
    assert len(featx.list_backbones()) == 71


def test_register_backbone_lambda_is_refused() -> None:
    with pytest.raises(
        BackboneError, match=r"expected a repr that names what it does, got .*<lambda>"
    ):
        featx.register_backbone("registry-lambda", build_mean, transform=lambda image: image)
    assert "registry-lambda" not in featx.list_backbones()


def test_register_backbone_lambda_among_transforms_is_refused() -> None:
    inside = transforms.Compose([lambda image: image, transforms.ToTensor()])
    with pytest.raises(BackboneError, match="expected a repr that names what it does"):
        featx.register_backbone("registry-inside", build_mean, transform=inside)


def test_register_backbone_of_no_network_is_refused() -> None:
    with pytest.raises(BackboneError, match=r"expected an nn.Module or a function .* got str"):
        featx.register_backbone("registry-text", "resnet50", transform=TRANSFORM)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("network", "shape"),
    [(nn.Flatten(2), "3 axes"), (nn.Flatten(0), "1 axes")],
)
def test_register_backbone_output_of_other_axes_is_refused(network: Any, shape: str) -> None:
    name = f"registry-{shape.replace(' ', '-')}"
    featx.register_backbone(name, network, transform=TRANSFORM)
    with pytest.raises(BackboneError, match=rf"expected an output of \(n, dim\) .* got {shape}"):
        featx.load_backbone(name)


def test_custom_transform_is_what_it_is_in_one_step_too() -> None:
    preprocess, image = CustomTransform(scale), build_image((9, 7))
    assert preprocess.min_side is None
    np.testing.assert_array_equal(
        preprocess.prepare(image, exact=False), preprocess.prepare(image, exact=True)
    )


# --- CustomTransform


class WithoutRepr:
    def __call__(self, image: Image.Image) -> torch.Tensor:
        return scale(image)


class WithRepr(WithoutRepr):
    def __repr__(self) -> str:
        return "scale to 0..1"


def test_custom_transform_gives_what_the_transform_gives() -> None:
    transform = transforms.Compose([transforms.CenterCrop(16), transforms.ToTensor()])
    image = build_image((40, 30))
    preprocess = CustomTransform(transform)
    got = preprocess.normalise(torch.from_numpy(preprocess.prepare(image)[None]))
    assert got.dtype == torch.float32
    assert torch.equal(got[0], transform(image))


@pytest.mark.parametrize(
    ("transform", "text"),
    [
        (scale, f"{__name__}.scale"),
        (WithRepr(), "scale to 0..1"),
        (
            transforms.Compose([transforms.CenterCrop(16), transforms.ToTensor()]),
            "Compose( CenterCrop(size=(16, 16)) ToTensor() )",
        ),
    ],
    ids=["function", "repr", "torchvision"],
)
def test_custom_transform_description_is_one_stable_line(transform: Any, text: str) -> None:
    assert CustomTransform(transform).identify() == {"kind": "custom/1", "transform": text}


@pytest.mark.parametrize(
    "transform",
    [
        lambda image: image,
        WithoutRepr(),
        WithoutRepr().__call__,
        transforms.Compose([scale, lambda tensor: tensor]),
    ],
    ids=["lambda", "object", "bound method", "lambda inside"],
)
def test_custom_transform_without_a_stable_repr_is_refused(transform: Any) -> None:
    with pytest.raises(BackboneError, match="expected a repr that names what it does, got"):
        CustomTransform(transform).identify()


def drop_colour(image: Image.Image) -> torch.Tensor:
    return scale(image)[:1]


def drop_axis(image: Image.Image) -> torch.Tensor:
    return scale(image)[0]


@pytest.mark.parametrize(
    ("transform", "shape"), [(drop_colour, r"\(1, 64, 64\)"), (drop_axis, r"\(64, 64\)")]
)
def test_register_backbone_transform_of_other_shape_is_refused(transform: Any, shape: str) -> None:
    name = f"preprocess-{transform.__name__}"
    register_backbone(name, nn.Identity(), transform=transform)
    with pytest.raises(BackboneError, match=rf"expected an output of shape \(3, .* got {shape}"):
        load_backbone(name)
