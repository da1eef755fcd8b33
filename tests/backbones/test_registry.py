"""Backbones found by name, and those that a user registers."""

import functools

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import transforms

import featx
from featx.backbones import registry
from featx.backbones import torchvision_zoo as zoo
from featx.backbones.registry import (
    BackboneSpec,
    get_backbone_spec,
    list_backbones,
    register_spec,
)
from featx.core.errors import BackboneError, WeightsError

TRANSFORM = transforms.Compose([transforms.Resize((8, 8)), transforms.ToTensor()])


def build_mean():
    """Make a network whose embedding is each channel's mean."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def scale(image):
    return torch.from_numpy(np.asarray(image.resize((4, 4)), np.float32).transpose(2, 0, 1) / 255)


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)


# --- list and get


def test_list_backbones_is_sorted_and_unique():
    names = list_backbones()
    assert names == sorted(set(names))
    assert len(names) >= 68


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("resnet*", ["resnet101", "resnet152", "resnet18", "resnet34", "resnet50"]),
        ("densenet1?1", ["densenet121", "densenet161"]),
        ("alex", ["alexnet"]),
        ("net0", ["mnasnet0_5", "mnasnet0_75"]),
        ("*resnet50*", ["resnet50", "wide_resnet50_2"]),
        ("nothing", []),
    ],
)
def test_list_backbones_pattern_selects(pattern, expected):
    assert list_backbones(pattern) == expected


def test_get_backbone_spec_gives_the_record():
    spec = get_backbone_spec("resnet18")
    assert (spec.name, spec.dim, spec.classifier) == ("resnet18", 512, "fc")


@pytest.mark.parametrize("name", ["resnet-18", "ResNet18"])
def test_get_backbone_spec_unknown_name_is_refused(name):
    with pytest.raises(
        BackboneError, match=rf"expected one of \d+ names, got '{name}'\. Nearest: "
    ):
        get_backbone_spec(name)


def test_get_backbone_spec_mistyped_name_shows_the_nearest():
    with pytest.raises(BackboneError, match=r"Nearest: [^.]*\bresnet18\b"):
        get_backbone_spec("resnet-18")


@pytest.mark.parametrize("name", ["", "two words", "a/b", "a\nb", "a:b"])
def test_register_spec_name_that_cannot_stand_in_a_cache_is_refused(name):
    spec = BackboneSpec(name=name, dim=3, paper="", build=build_mean)
    with pytest.raises(BackboneError, match="expected a name of letters, digits and"):
        register_spec(spec)


@pytest.mark.parametrize("name", ["resnet18", "registry-twice"])
def test_register_spec_taken_name_is_refused(name):
    spec = BackboneSpec(name=name, dim=3, paper="", build=build_mean)
    if name not in list_backbones():
        register_spec(spec)
    with pytest.raises(BackboneError, match=rf"backbone '{name}': expected a new name"):
        register_spec(spec)


# --- register_backbone


@pytest.mark.parametrize("kind", ["module", "function"])
def test_register_backbone_network_embeds_images(images, kind):
    name = f"registry-mean-{kind}"
    network = build_mean() if kind == "module" else build_mean
    featx.register_backbone(name, network, transform=TRANSFORM)
    assert name in featx.list_backbones()
    embedded = featx.embed(images, backbone=name, device="cpu")
    assert embedded.dtype == np.float32
    np.testing.assert_allclose(embedded, images.mean((1, 2)) / 255, atol=1e-6)


def test_register_backbone_spatial_output_is_averaged(images):
    featx.register_backbone("registry-spatial", nn.Conv2d(3, 5, 3), transform=TRANSFORM)
    assert featx.embed(images, backbone="registry-spatial", device="cpu").shape == (3, 5)


def test_register_backbone_classifier_is_taken_off(images):
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 7))
    featx.register_backbone("registry-cut", network, transform=TRANSFORM, classifier="2")
    embedded = featx.embed(images, backbone="registry-cut", device="cpu")
    np.testing.assert_allclose(embedded, images.mean((1, 2)) / 255, atol=1e-6)
    assert isinstance(network[2], nn.Linear)


def test_register_backbone_leaves_the_users_network_as_it_is(images):
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)).train()
    featx.register_backbone("registry-untouched", network, transform=TRANSFORM)
    featx.embed(images, backbone="registry-untouched", device="cpu")
    assert network.training
    assert network[1].training
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert network[1].num_batches_tracked == 0


def test_register_backbone_network_is_run_in_eval_mode(images):
    network = nn.Sequential(nn.Dropout(0.9), nn.AdaptiveAvgPool2d(1), nn.Flatten()).train()
    featx.register_backbone("registry-eval", network, transform=TRANSFORM)
    embedded = featx.embed(images, backbone="registry-eval", device="cpu")
    np.testing.assert_allclose(embedded, images.mean((1, 2)) / 255, atol=1e-6)


def test_register_backbone_takes_weights_from_a_file(tmp_path):
    featx.register_backbone("registry-file", nn.Conv2d(3, 5, 3), transform=TRANSFORM)
    other = nn.Conv2d(3, 5, 3)
    torch.save(other.state_dict(), tmp_path / "mine.pth")
    backbone = featx.load_backbone("registry-file", weights=str(tmp_path / "mine.pth"))
    assert torch.equal(backbone.module.network.weight, other.weight)
    own = featx.load_backbone("registry-file")
    assert own.weights_digest != backbone.weights_digest


def test_register_backbone_random_weights_are_refused():
    featx.register_backbone("registry-random", build_mean, transform=TRANSFORM)
    with pytest.raises(
        WeightsError, match=r"expected DEFAULT \(its own weights\) or a file, got ran"
    ):
        featx.load_backbone("registry-random", weights="random:0")


def test_register_backbone_named_function_is_taken_and_named():
    featx.register_backbone("registry-function", build_mean, transform=scale)
    text = featx.load_backbone("registry-function").preprocess.identify()["transform"]
    assert text == f"{__name__}.scale"


@pytest.mark.parametrize("name", ["resnet50", "registry-taken"])
def test_register_backbone_taken_name_is_refused(name):
    if name not in featx.list_backbones():
        featx.register_backbone(name, build_mean, transform=TRANSFORM)
    with pytest.raises(BackboneError, match=rf"backbone '{name}': expected a new name"):
        featx.register_backbone(name, build_mean, transform=TRANSFORM)


def test_register_backbone_zoo_name_is_refused_before_the_zoo_was_listed(monkeypatch):
    monkeypatch.setattr(registry, "_REGISTRY", {})
    monkeypatch.setattr(zoo, "register_zoo", functools.cache(zoo.register_zoo.__wrapped__))
    with pytest.raises(BackboneError, match="backbone 'densenet121': expected a new name"):
        featx.register_backbone("densenet121", build_mean, transform=TRANSFORM)
    assert len(list_backbones()) == 68


def test_register_backbone_lambda_is_refused():
    with pytest.raises(
        BackboneError, match=r"expected a repr that names what it does, got .*<lambda>"
    ):
        featx.register_backbone("registry-lambda", build_mean, transform=lambda image: image)
    assert "registry-lambda" not in featx.list_backbones()


def test_register_backbone_lambda_among_transforms_is_refused():
    inside = transforms.Compose([lambda image: image, transforms.ToTensor()])
    with pytest.raises(BackboneError, match="expected a repr that names what it does"):
        featx.register_backbone("registry-inside", build_mean, transform=inside)


def test_register_backbone_of_no_network_is_refused():
    with pytest.raises(BackboneError, match=r"expected an nn.Module or a function .* got str"):
        featx.register_backbone("registry-text", "resnet50", transform=TRANSFORM)


@pytest.mark.parametrize(
    ("network", "shape"),
    [(nn.Flatten(2), "3 axes"), (nn.Flatten(0), "1 axes")],
)
def test_register_backbone_output_of_other_axes_is_refused(network, shape):
    name = f"registry-{shape.replace(' ', '-')}"
    featx.register_backbone(name, network, transform=TRANSFORM)
    with pytest.raises(BackboneError, match=rf"expected an output of \(n, dim\) .* got {shape}"):
        featx.load_backbone(name)
