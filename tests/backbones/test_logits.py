"""The layer ``logits``: the network with its classifier, from any weights that have one."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torchvision
from torch import nn
from torchvision import transforms

import featx
from featx.backbones.load import load_backbone
from tests.backbones.builders import save_tuned
from tests.backbones.test_torchvision_zoo import build_torchvision

FAMILIES = {
    "mnasnet0_5": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_small": 64,
    "regnet_y_400mf": 64,
    "resnet18": 64,
    "shufflenet_v2_x0_5": 64,
    "squeezenet1_1": 64,
}
SLOW = {
    **{"alexnet": 224, "inception_v3": 128},
    **dict.fromkeys(("convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "vgg11"), 64),
}


def read_logits(backbone: featx.Backbone, batch: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return backbone.module.forward(batch)[0]


@pytest.mark.parametrize(
    "name",
    [*FAMILIES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)],
)
def test_logits_are_those_of_torchvision(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    own = build_torchvision(name)
    torch.save(own.state_dict(), tmp_path / "own.pth")
    batch = torch.randn(2, 3, *[(FAMILIES | SLOW)[name]] * 2)
    backbone = load_backbone(name, weights=str(tmp_path / "own.pth"), layers=["logits"])
    with torch.inference_mode():
        expected = own(batch)
    assert dict(backbone.dims) == {"logits": 1000}
    torch.testing.assert_close(read_logits(backbone, batch), expected)


@pytest.mark.parametrize("name", ["mini", "lenet5", pytest.param("zfnet", marks=pytest.mark.slow)])
def test_logits_of_bundled_networks(name: str) -> None:
    weights = "random:0" if name == "zfnet" else "DEFAULT"
    backbone = load_backbone(name, weights=weights, layers=["logits"])
    assert dict(backbone.dims) == {"logits": 1000 if name == "zfnet" else 10}
    embedding = load_backbone(name, weights=weights)
    last = backbone.module.network.get_submodule(featx.get_backbone_spec(name).classifier)
    batch = torch.randn(2, 3, *backbone.pixel_shape[:2])
    torch.testing.assert_close(read_logits(backbone, batch), last(read_logits(embedding, batch)))


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    tensors: dict[str, torch.Tensor] = torchvision.models.squeezenet1_1().state_dict()
    return tensors


def test_digest_covers_the_classifier(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    other = state | {"classifier.1.bias": state["classifier.1.bias"] + 1}
    torch.save(state, tmp_path / "one.pth")
    torch.save(other, tmp_path / "two.pth")
    digests = {
        layer: [
            load_backbone(
                "squeezenet1_1", weights=str(tmp_path / name), layers=[layer]
            ).weights_digest
            for name in ("one.pth", "two.pth")
        ]
        for layer in ("penultimate", "logits")
    }
    assert digests["penultimate"][0] == digests["penultimate"][1]
    assert len({*digests["penultimate"], *digests["logits"]}) == 3


@pytest.mark.parametrize("prefix", ["", "module.", "model_ema."])
def test_classifier_has_as_many_outputs_as_in_the_file(
    tmp_path: Path, state: dict[str, torch.Tensor], prefix: str
) -> None:
    seven = state | {
        "classifier.1.weight": state["classifier.1.weight"][:7],
        "classifier.1.bias": state["classifier.1.bias"][:7],
    }
    torch.save({prefix + name: tensor for name, tensor in seven.items()}, tmp_path / "seven.pth")
    batch = torch.randn(2, 3, 64, 64)
    backbone = load_backbone(
        "squeezenet1_1", weights=str(tmp_path / "seven.pth"), layers=["logits"]
    )
    own = build_torchvision("squeezenet1_1", state)
    with torch.inference_mode():
        torch.testing.assert_close(read_logits(backbone, batch), own(batch)[:, :7])
    assert dict(backbone.dims) == {"logits": 7}


def test_file_without_the_classifier_is_refused(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    trunk = {name: one for name, one in state.items() if not name.startswith("classifier")}
    torch.save(trunk, tmp_path / "trunk.pth")
    load_backbone("squeezenet1_1", weights=str(tmp_path / "trunk.pth"))
    with pytest.raises(
        featx.WeightsError,
        match=r"trunk\.pth: expected weights of squeezenet1_1 with their classifier "
        r"\(classifier\.1\.weight\), got a file without it\. .*fit a head",
    ):
        load_backbone("squeezenet1_1", weights=str(tmp_path / "trunk.pth"), layers=["logits"])


def test_logits_of_tuned_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = torchvision.models.mobilenet_v2(num_classes=3)
    record = {"backbone": "mobilenet_v2", "preprocess_from": "IMAGENET1K_V1", "size": 64}
    file = save_tuned(tmp_path / "tuned.safetensors", record, network.state_dict())
    backbone = load_backbone("mobilenet_v2", weights=str(file), layers=["logits"])
    batch = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(read_logits(backbone, batch), network.eval()(batch))


@pytest.mark.parametrize("layers", [["logits", "penultimate"], ["features.3", "logits"]])
def test_logits_are_read_alone(layers: list[str]) -> None:
    with pytest.raises(featx.BackboneError, match=r"^layers: expected 'logits' alone, .*call of"):
        load_backbone("squeezenet1_1", weights="random:0", layers=layers)


# --- networks of the user


class Answers(NamedTuple):
    """What a network for classification puts out, beside other things."""

    logits: torch.Tensor
    pooled: torch.Tensor


class Pair(nn.Module):
    """A network that names its outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(3, 5)

    def forward(self, batch: torch.Tensor) -> Answers:
        pooled = self.pool(batch).flatten(1)
        return Answers(self.fc(pooled), pooled)


@pytest.mark.parametrize(("classifier", "dim"), [("fc", 5), ("", 5)])
def test_logits_of_a_network_that_names_its_outputs(classifier: str, dim: int) -> None:
    name = f"tests-pair-{classifier or 'whole'}"
    network: Any = Pair()
    featx.register_backbone(name, network, transform=transforms.ToTensor(), classifier=classifier)
    assert dict(load_backbone(name, layers=["logits"]).dims) == {"logits": dim}
    assert dict(load_backbone(name, layers=["pooled"]).dims) == {"pooled": 3}


def test_logits_of_a_registered_network() -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4))
    featx.register_backbone(
        "tests-linear", network, transform=transforms.ToTensor(), classifier="2"
    )
    backbone = load_backbone("tests-linear", layers=["logits"])
    batch = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(read_logits(backbone, batch), network(batch).detach())
    assert dict(load_backbone("tests-linear").dims) == {"penultimate": 3}
