"""The names of the classes of a network's own classifier, found before the network is loaded."""

import hashlib
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn
from torchvision import transforms

import featx
from featx.backbones.classes import OwnClasses, find_own_classes
from featx.backbones.weights import WeightsEntry
from tests.backbones.builders import RECORD, save_tuned


@pytest.mark.parametrize("weights", ["DEFAULT", "imagenet1k_v1", "IMAGENET1K_V2"])
def test_named_weights_have_the_classes_of_imagenet(weights: str) -> None:
    own = find_own_classes("ResNet50", weights)
    names = torchvision.models.ResNet50_Weights.DEFAULT.meta["categories"]
    assert list(own.names) == names
    assert not own.assumed_from
    assert (names[310], names[309]) == ("ant", "bee")


@pytest.mark.parametrize("name", ["mini", "lenet5"])
def test_bundled_weights_have_the_classes_of_cifar10(name: str) -> None:
    own = find_own_classes(name, "DEFAULT")
    assert list(own.names) == sorted(own.names)
    assert own == OwnClasses(names=own.names)
    assert own.names[0] == "airplane"
    assert len(own.names) == 10


def test_tuned_weights_have_the_classes_that_they_were_tuned_for(tmp_path: Path) -> None:
    file = save_tuned(tmp_path / "t.safetensors", RECORD | {"classes": ["ants", "bees"]})
    assert find_own_classes("mobilenet_v2", str(file)) == OwnClasses(names=("ants", "bees"))


def test_file_that_names_no_classes_is_taken_for_one_of_imagenet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.pth"
    torch.save({"fc.weight": torch.zeros(2)}, file)
    own = find_own_classes("resnet18", str(file))
    assert (len(own.names), own.assumed_from) == (1000, "ImageNet-1K")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setattr(WeightsEntry, "digest_prefix", digest[:8])
    assert not find_own_classes("resnet18", str(file)).assumed_from
    assert find_own_classes("zfnet", str(file)) == OwnClasses(names=())


@pytest.mark.parametrize(
    ("backbone", "weights", "got", "remedy"),
    [
        ("resnet18", "random:3", "random ones", "Pass weights='IMAGENET1K_V1', or fit a head"),
        ("zfnet", "random:3", "random ones", "Pass weights=FILE, or fit a head"),
        ("vgg16", "IMAGENET1K_FEATURES", "weights that were published without one", "_V1"),
    ],
)
def test_weights_without_a_trained_classifier_are_refused(
    backbone: str, weights: str, got: str, remedy: str
) -> None:
    with pytest.raises(featx.WeightsError, match=f"classifier was trained, got {got}.*{remedy}"):
        find_own_classes(backbone, weights)


def test_registered_network_is_refused() -> None:
    featx.register_backbone(
        "tests-classes", nn.AdaptiveAvgPool2d(1), transform=transforms.ToTensor()
    )
    with pytest.raises(featx.BackboneError, match=r"tests-classes: .*got a registered network\."):
        find_own_classes("tests-classes", "DEFAULT")


def test_outputs_of_another_number_are_numbered() -> None:
    own = OwnClasses(names=("ant", "bee"))
    assert own.name_outputs(2) == ("ant", "bee")
    assert own.name_outputs(1) == ("class 0",)
