"""Networks of the zoo whose embedding is an average of feature maps, and those that are refused."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from featx.backbones.averaged import MapNetwork, build_map_network
from featx.backbones.build import build_network
from featx.backbones.embedder import Embedder
from featx.backbones.last_map import cut_at_last_map
from featx.backbones.registry import get_backbone_spec, list_backbones
from featx.backbones.torchvision_zoo import list_specs
from featx.core.errors import BackboneError
from featx.core.torch_state import plain_torch
from featx.explanation.decompose import LogitWeights, decompose

FAST = (
    *("resnet18", "resnext50_32x4d", "densenet121", "squeezenet1_1", "mobilenet_v2"),
    *("shufflenet_v2_x0_5", "mnasnet0_5", "efficientnet_b0", "regnet_x_400mf", "regnet_y_400mf"),
    *("convnext_tiny", "googlenet", "inception_v3"),
)
"""A small network of each family; those of wide residual networks and of EfficientNet's second
version, whose code is that of others here, are slow."""

REFUSED = (
    *("alexnet", "mobilenet_v3_small", "mobilenet_v3_large"),
    *(f"vgg{depth}{end}" for depth in (11, 13, 16, 19) for end in ("", "_bn")),
)
"""Networks of the zoo with layers behind the pooling."""

PAGE = Path(__file__).parents[2] / "docs/how_to/explain.md"

SIDE = 96
SIDES = {"inception_v3": 107, "lenet5": 32, "zfnet": 224}


def build(name: str) -> tuple[Any, Any]:
    """Build a network of random weights, and two images of noise."""
    spec = get_backbone_spec(name)
    side = SIDES.get(name, SIDE)
    generator = torch.Generator().manual_seed(0)
    batch = torch.randn(2, 3, side, side, generator=generator)
    with plain_torch():
        network = build_network(spec, 0)
        layers = ["penultimate"]
        embedder = Embedder(
            network, layers, classifier=spec.classifier, example=batch[:1], name=name
        )
    return embedder, batch


def measure_excess(network: MapNetwork, batch: Any) -> float:
    """Measure how far mean plus bias are from the logits, relative to the largest logit."""
    with torch.inference_mode():
        embeddings, maps = network(batch)
    X = embeddings.double().numpy()
    rng = np.random.default_rng(0)
    weights = LogitWeights(
        weight=rng.normal(size=(3, X.shape[1])), bias=rng.normal(size=3), is_normalised=False
    )
    logits = X @ weights.weight.T + weights.bias
    found = [
        [
            values.astype(np.float32).mean(dtype=np.float64) + bias
            for values, bias in decompose(
                [one[row].numpy() for one in maps],
                weights,
                [0, 1, 2],
                parts=network.parts,
                norm=network.norm,
            )
        ]
        for row in range(len(X))
    ]
    return float(abs(np.array(found) - logits).max() / abs(logits).max())


EXACT = [spec.name for spec in list_specs() if spec.name not in REFUSED]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow])
        for name in [*EXACT, "mini"]
    ],
)
def test_map_of_a_network_that_ends_in_an_average_is_exact(name: str) -> None:
    embedder, batch = build(name)
    network = build_map_network(embedder, batch[:1], name=name)
    assert measure_excess(network, batch) < 1e-4


def test_page_lists_every_network_in_its_row() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (exact[^|]*?|refused[^|]*?) \| (`.*`) \|$", text, re.M))
    listed = [set(re.findall(r"`(\w+)`", row)) for row in rows.values()]
    factors = {name for name in EXACT if name.startswith("convnext")}
    assert listed == [{*EXACT, "mini"} - factors, factors, {*REFUSED, "lenet5", "zfnet"}]
    assert set().union(*listed) == {
        name for name in list_backbones() if get_backbone_spec(name).is_builtin
    }


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=[] if name in ("mobilenet_v3_small", "lenet5") else [pytest.mark.slow]
        )
        for name in (*REFUSED, "lenet5", "zfnet")
    ],
)
def test_network_with_layers_behind_the_average_is_refused(name: str) -> None:
    embedder, batch = build(name)
    with pytest.raises(BackboneError, match=r"the average of a feature map .*, got one that ends"):
        build_map_network(embedder, batch[:1], name=name)
    cut = cut_at_last_map(embedder, batch[:1], name=name)
    with torch.inference_mode():
        features = cut.lower(batch)
        (expected,) = embedder(batch)
        assert features.ndim == 4
        torch.testing.assert_close(cut.upper(features.clone()), expected)


def test_map_of_one_cell_is_refused() -> None:
    spec = get_backbone_spec("squeezenet1_1")
    with plain_torch():
        network = build_network(spec, 0)
        example = torch.randn(1, 3, 24, 24)
        embedder = Embedder(
            network, ["penultimate"], classifier=spec.classifier, example=example, name=spec.name
        )
    with pytest.raises(BackboneError, match=r"several cells, got 1 x 1.*larger size"):
        build_map_network(embedder, example, name=spec.name)


def test_network_shares_its_modules_and_gives_the_embedding() -> None:
    embedder, batch = build("mobilenet_v2")
    network = build_map_network(embedder, batch[:1], name="mobilenet_v2")
    own = {id(one) for one in embedder.parameters()}
    assert {id(one) for one in network.parameters()} <= own
    with torch.inference_mode():
        (expected,) = embedder(batch)
        embeddings, (maps,) = network(batch)
    torch.testing.assert_close(embeddings, expected)
    pooled = functional.adaptive_avg_pool2d(maps, 1).flatten(1)
    torch.testing.assert_close(pooled, expected, rtol=1e-5, atol=1e-6)
