"""Embeddings read at layers: which tensor it is, and over which axes it is averaged."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

import featx
from featx.backbones.backbone import Backbone
from featx.backbones.embedder import Embedder, cut_classifier
from featx.backbones.load import load_backbone
from featx.core.errors import BackboneError

EXAMPLE = torch.zeros(1, 3, 32, 32)


def build_small() -> Any:
    """Make a network with two blocks, a pool and a classifier ``fc``."""
    torch.manual_seed(0)
    network = nn.Sequential()
    network.add_module("layer1", nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
    network.add_module("layer2", nn.Sequential(nn.Conv2d(4, 5, 3), nn.ReLU()))
    network.add_module("pool", nn.AdaptiveAvgPool2d(1))
    network.add_module("flatten", nn.Flatten())
    network.add_module("fc", nn.Linear(5, 2))
    return network.eval()


def embed_small(layers: Sequence[str]) -> Embedder:
    network = cut_classifier(build_small(), "fc", pool=False)
    return Embedder(network, layers, classifier="fc", example=EXAMPLE, name="small")


@pytest.fixture(scope="module")
def batch() -> torch.Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def run(backbone: Backbone, batch: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.inference_mode():
        outputs = backbone.module(batch)
    return dict(zip(backbone.layers, outputs, strict=True))


def capture(network: nn.Module, path: str, batch: torch.Tensor) -> torch.Tensor:
    """Run a network and return what a module of it gave."""
    outputs: list[torch.Tensor] = []
    hook = network.get_submodule(path).register_forward_hook(
        lambda m, i, out: outputs.append(out.clone())  # the next module may write into it
    )
    with torch.inference_mode():
        network(batch)
    hook.remove()
    return outputs[-1]


# --- cut_classifier


def test_cut_classifier_leaves_its_input(batch: torch.Tensor) -> None:
    network = build_small()
    expected = network.flatten(network.pool(network.layer2(network.layer1(batch))))
    assert torch.equal(cut_classifier(network, "fc", pool=False)(batch), expected)


def test_cut_classifier_with_pool_averages_over_the_image(batch: torch.Tensor) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 9, 1)).eval()
    expected = network[0](batch).mean((2, 3), keepdim=True)
    torch.testing.assert_close(cut_classifier(network, "1", pool=True)(batch), expected)


def test_cut_classifier_without_one_changes_nothing(batch: torch.Tensor) -> None:
    network = build_small()
    assert cut_classifier(network, "", pool=False) is network
    assert network(batch).shape == (2, 2)


# --- layers of the zoo


def test_load_backbone_layer_of_resnet_is_its_output_averaged(batch: torch.Tensor) -> None:
    backbone = load_backbone("resnet18", weights="random:0", layers=["layer3"])
    whole = load_backbone("resnet18", weights="random:0").module.network
    expected = capture(whole, "layer3", batch).mean((2, 3))
    assert backbone.dims == {"layer3": 256}
    torch.testing.assert_close(run(backbone, batch)["layer3"], expected)


def test_load_backbone_penultimate_with_a_layer_is_one_pass(batch: torch.Tensor) -> None:
    backbone = load_backbone(
        "resnet18", weights="random:0", layers=["layer3", "penultimate", "layer4.0"]
    )
    alone = load_backbone("resnet18", weights="random:0")
    got = run(backbone, batch)
    assert backbone.dims == {"layer3": 256, "penultimate": 512, "layer4.0": 512}
    assert list(got) == ["layer3", "penultimate", "layer4.0"]
    torch.testing.assert_close(got["penultimate"], run(alone, batch)["penultimate"])
    torch.testing.assert_close(
        got["layer4.0"], capture(alone.module.network, "layer4.0", batch).mean((2, 3))
    )
    calls = []
    hook = nn.modules.module.register_module_forward_hook(lambda m, i, o: calls.append(type(m)))
    run(backbone, batch)
    hook.remove()
    assert calls.count(nn.Conv2d) == 20


def test_load_backbone_layers_do_not_change_the_digest() -> None:
    one = load_backbone("squeezenet1_1", weights="random:0")
    two = load_backbone("squeezenet1_1", weights="random:0", layers=["features.3", "penultimate"])
    assert one.weights_digest == two.weights_digest


@pytest.mark.parametrize(
    ("name", "dim"), [("squeezenet1_1", 512), ("mobilenet_v3_small", 1024), ("googlenet", 1024)]
)
def test_load_backbone_penultimate_read_from_the_graph_is_the_same(
    batch: torch.Tensor, name: str, dim: int
) -> None:
    layer = {"googlenet": "inception4a"}.get(name, "features.3")
    both = load_backbone(name, weights="random:0", layers=["penultimate", layer])
    alone = load_backbone(name, weights="random:0")
    assert both.dims["penultimate"] == dim
    torch.testing.assert_close(run(both, batch)["penultimate"], run(alone, batch)["penultimate"])


def test_load_backbone_convnext_channels_last_node_is_averaged_over_the_image(
    batch: torch.Tensor,
) -> None:
    node = "features.1.0.block.2"  # LayerNorm over (n, h, w, 96), inside a block
    backbone = load_backbone("convnext_tiny", weights="random:0", layers=[node, "features.1"])
    whole = load_backbone("convnext_tiny", weights="random:0").module.network
    inner = capture(whole, node, batch)
    assert inner.shape == (2, 16, 16, 96)
    assert backbone.dims == {node: 96, "features.1": 96}
    got = run(backbone, batch)
    # The last LayerNorm sets each pixel's channels to mean 0: compare on an absolute scale.
    torch.testing.assert_close(got[node], inner.mean((1, 2)), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(got["features.1"], capture(whole, "features.1", batch).mean((2, 3)))


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        # ReLUs in place and "out += identity" write into the outputs of these.
        ("resnet18", ["conv1", "bn1", "layer1.0.bn1", "layer1.0.bn2", "layer1.0", "avgpool"]),
        ("mobilenet_v2", ["features.0", "features.2.conv.3", "features.18"]),
        ("mini", ["features.0.1", "features.2.body.1.1", "quarters", "top"]),
        ("zfnet", ["features.0", "features.3", "classifier.4"]),
        pytest.param("densenet121", ["features.denseblock1"], marks=pytest.mark.slow),
        pytest.param("efficientnet_b0", ["features.1.0.block.1"], marks=pytest.mark.slow),
        pytest.param("googlenet", ["inception3a.branch1.bn"], marks=pytest.mark.slow),
        pytest.param("vgg11_bn", ["features.1", "classifier.0"], marks=pytest.mark.slow),
    ],
)
def test_load_backbone_layer_is_the_output_of_that_module(
    batch: torch.Tensor, name: str, layers: list[str]
) -> None:
    whole = load_backbone(name, weights="random:0").module.network
    got = run(load_backbone(name, weights="random:0", layers=layers), batch)
    for layer in layers:
        expected = capture(whole, layer, batch)
        expected = expected.mean((2, 3)) if expected.ndim == 4 else expected
        torch.testing.assert_close(got[layer], expected)


class Detour(nn.Module):
    """Runs a layer whose output nobody reads after the one whose output is its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        first: torch.Tensor = self.first(batch)
        self.second(first)
        return first


def test_embedder_layer_that_the_graph_does_not_end_with_is_refused() -> None:
    network = nn.Sequential(Detour(), nn.ReLU()).eval()
    with pytest.raises(BackboneError, match=r"layer '0': expected the output of that module, got"):
        Embedder(network, ["0"], classifier="", example=EXAMPLE, name="small")
    inner = Embedder(network, ["0.first"], classifier="", example=EXAMPLE, name="small")
    assert inner.dims == (4,)


# --- networks whose output has parts


@dataclass
class Output:
    """What a network of a dataclass gives; the last field is no tensor."""

    maps: torch.Tensor
    pooled: torch.Tensor
    attentions: None = None


class Pair(NamedTuple):
    maps: torch.Tensor
    pooled: torch.Tensor


class Parts(nn.Module):
    """Puts out spatial maps and their mean as parts of something."""

    def __init__(self, build: Callable[..., Any]) -> None:
        super().__init__()
        self.conv, self.build = nn.Conv2d(3, 4, 3), build

    def forward(self, batch: torch.Tensor) -> Any:
        maps = self.conv(batch)
        return self.build(maps, maps.mean((2, 3)))


EACH_OUTPUT = pytest.mark.parametrize(
    ("build", "maps", "pooled"),
    [
        pytest.param(lambda maps, pooled: {"maps": maps, "pooled": pooled}, "maps", "pooled"),
        pytest.param(lambda *both: OrderedDict(zip("ab", both, strict=True)), "a", "b"),
        pytest.param(Output, "maps", "pooled"),
        pytest.param(Pair, "maps", "pooled"),
        pytest.param(lambda *both: both, "0", "1"),
    ],
    ids=["dict", "ordered dict", "dataclass", "namedtuple", "tuple"],
)


@EACH_OUTPUT
def test_embedder_part_of_an_output_is_read_by_its_name(
    batch: torch.Tensor, build: Callable[..., Any], maps: str, pooled: str
) -> None:
    network = Parts(build).eval()
    embedder = Embedder(network, [pooled, maps], classifier="", example=EXAMPLE, name="own")
    expected = network.conv(batch).mean((2, 3))
    assert embedder.dims == (4, 4)
    for got in embedder(batch):
        torch.testing.assert_close(got, expected)


@EACH_OUTPUT
def test_embedder_output_of_parts_without_a_name_lists_them(
    build: Callable[..., Any], maps: str, pooled: str
) -> None:
    network = Parts(build).eval()
    with pytest.raises(
        BackboneError,
        match=rf"^own, layer 'penultimate': expected an output of one tensor, got a \w+ with "
        rf"{maps}, {pooled}\. Name one, such as layers=\['{maps}'\]\.",
    ):
        Embedder(network, ["penultimate"], classifier="", example=EXAMPLE, name="own")


def test_embedder_output_of_text_is_refused() -> None:
    network = Parts(lambda maps, pooled: "four").eval()
    with pytest.raises(BackboneError, match=r"got a str\. Read another layer"):
        Embedder(network, ["penultimate"], classifier="", example=EXAMPLE, name="own")


# --- errors


CLASSIFIERS = {
    spec.name: spec.classifier
    for name in featx.list_backbones()
    if (spec := featx.get_backbone_spec(name)).is_builtin
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_embedder_layer_of_the_classifier_is_refused(name: str) -> None:
    path = CLASSIFIERS[name]
    parts = path.split(".")
    around = [".".join(parts[:length]) for length in range(1, len(parts) + 1)]
    for layer in [*around, f"{path}.0"]:
        with pytest.raises(
            BackboneError,
            match=rf"^layers: expected a layer below the classifier of {name}, which featx "
            rf"removes, got '{layer}'\. Pass layers=\['penultimate'\] .* layers=\['logits'\]",
        ):
            Embedder(nn.Identity(), [layer], classifier=path, example=EXAMPLE, name=name)


def test_load_backbone_layer_behind_the_classifier_is_refused() -> None:
    # SqueezeNet's last node flattens the logits; without the classifier, it flattens an embedding.
    with pytest.raises(BackboneError, match=r"^layers: expected a layer below .*got 'flatten'"):
        load_backbone("squeezenet1_1", weights="random:0", layers=["flatten"])
    with pytest.raises(BackboneError, match=r"Nearest: (?!.*\bclassifier)"):
        load_backbone("squeezenet1_1", weights="random:0", layers=["features.13"])


@pytest.mark.parametrize(
    ("layer", "nearest"), [("layer5", "layer4"), ("layr4", "layer4"), ("penultimat", "penultimate")]
)
def test_load_backbone_unknown_layer_shows_the_nearest(layer: str, nearest: str) -> None:
    with pytest.raises(
        BackboneError,
        match=rf"^layers: expected a layer .* resnet18, got '{layer}'\. Nearest: .*\b{nearest}\b",
    ):
        load_backbone("resnet18", weights="random:0", layers=[layer])


@pytest.mark.parametrize(
    "layers",
    [
        ["layer1", "layer1"],
        ["penultimate", "penultimate"],
        ["layer1", "layer1.1"],
        ["layer2.1", "layer2"],
    ],
    ids=", ".join,
)
def test_embedder_same_node_twice_is_refused(layers: list[str]) -> None:
    with pytest.raises(BackboneError, match="small: expected different layers, got"):
        embed_small(layers)


def test_embedder_output_of_three_axes_is_refused() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(2), nn.AdaptiveAvgPool1d(1))
    with pytest.raises(BackboneError, match=r"layer '1': expected an output of .* got 3 axes"):
        Embedder(network.eval(), ["1"], classifier="", example=EXAMPLE, name="small")


def test_load_backbone_node_that_gives_a_tuple_is_refused() -> None:
    with pytest.raises(BackboneError, match=r"layer 'stage2\.1\.chunk': expected an output of"):
        load_backbone("shufflenet_v2_x0_5", weights="random:0", layers=["stage2.1.chunk"])


def test_load_backbone_one_part_of_a_tuple_is_read() -> None:
    layer = "stage2.1.getitem"
    backbone = load_backbone("shufflenet_v2_x0_5", weights="random:0", layers=[layer])
    assert backbone.dims == {layer: 24}


def choose_by_value(batch: torch.Tensor) -> torch.Tensor:
    return batch if batch.sum() > 0 else -batch


class Untraceable(nn.Module):
    """Decides by values, which torch.fx cannot follow."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return choose_by_value(batch).mean((2, 3))


def test_embedder_layers_of_an_untraceable_network_are_refused() -> None:
    with pytest.raises(BackboneError, match=r"small: expected a network that torch\.fx can trace"):
        Embedder(Untraceable().eval(), ["layer1"], classifier="", example=EXAMPLE, name="small")


def test_embedder_own_output_of_an_untraceable_network_is_read(batch: torch.Tensor) -> None:
    embedder = Embedder(
        Untraceable().eval(), ["penultimate"], classifier="", example=EXAMPLE, name="small"
    )
    assert embedder.dims == (3,)


# --- averaging


def test_embedder_spatial_layers_equal_torchvisions_extractor(batch: torch.Tensor) -> None:
    embedder = embed_small(["layer1", "layer2", "penultimate"])
    extractor = create_feature_extractor(build_small(), ["layer1", "layer2", "flatten"])
    with torch.inference_mode():
        got, expected = embedder(batch), extractor(batch)
    torch.testing.assert_close(got[0], expected["layer1"].mean((2, 3)))
    torch.testing.assert_close(got[1], expected["layer2"].mean((2, 3)))
    torch.testing.assert_close(got[2], expected["flatten"])
    assert embedder.dims == (4, 5, 5)


class ChannelsLast(nn.Module):
    """Puts out (n, h, w, channels)."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return batch.permute(0, 2, 3, 1)


@pytest.mark.parametrize("size", [32, 3], ids=["large image", "as many pixels as channels"])
def test_embedder_channels_last_output_keeps_its_channels(size: Any) -> None:
    embedder = Embedder(
        ChannelsLast().eval(),
        ["penultimate"],
        classifier="",
        example=torch.zeros(1, 3, size, size),
        name="small",
    )
    batch = torch.randn(2, 3, size, size)
    torch.testing.assert_close(embedder(batch)[0], batch.mean((2, 3)))


def test_embedder_is_frozen_and_in_eval_mode() -> None:
    network = build_small().train()
    embedder = Embedder(network, ["penultimate"], classifier="", example=EXAMPLE, name="small")
    assert not any(module.training for module in embedder.modules())
    assert not any(tensor.requires_grad for tensor in embedder.parameters())


def test_embed_layer_reads_that_layer(make_image: Callable[..., Path], tmp_path: Path) -> None:
    image = make_image(tmp_path / "1.png")
    got = featx.embed(image, backbone="squeezenet1_1", weights="random:0", layer="features.3")
    assert got.shape == (1, 128)
