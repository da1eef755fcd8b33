"""Blocks as fine-tuning counts them, and the cut between two."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from featx.backbones.blocks import cut_network, list_blocks, list_blocks_of
from featx.backbones.embedder import cut_classifier
from featx.backbones.registry import get_backbone_spec
from featx.core.errors import BackboneError

TOPS = {
    "alexnet": ["classifier.4", "classifier.1", "features.10"],
    "convnext_tiny": ["features.7.2", "features.7.1", "features.7.0"],
    "densenet121": ["features.denseblock4", "features.transition3", "features.denseblock3"],
    "efficientnet_b0": ["features.8.0", "features.7.0", "features.6.3"],
    "googlenet": ["inception5b", "inception5a", "inception4e"],
    "lenet5": ["f6", "c5", "c3"],
    "mini": ["top", "features.5", "features.3"],
    "mnasnet0_5": ["layers.14", "layers.13.0", "layers.12.3"],
    "mobilenet_v2": ["features.18", "features.17", "features.16"],
    "mobilenet_v3_small": ["classifier.0", "features.12", "features.11"],
    "regnet_y_400mf": [f"trunk_output.block4.block4-{n}" for n in (5, 4, 3)],
    "resnet18": ["layer4.1", "layer4.0", "layer3.1"],
    "resnet50": ["layer4.2", "layer4.1", "layer4.0"],
    "shufflenet_v2_x0_5": ["conv5", "stage4.3", "stage4.2"],
    "squeezenet1_1": ["features.12", "features.11", "features.10"],
    "vgg11_bn": ["classifier.3", "classifier.0", "features.25"],
}


def build(name: str) -> tuple[nn.Module, str]:
    spec = get_backbone_spec(name)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = cut_classifier(spec.build(), spec.classifier, pool=spec.pool)
    return network.eval().requires_grad_(False), spec.blocks


@pytest.mark.parametrize("name", TOPS)
def test_blocks_hold_every_parameter_and_are_counted_from_the_classifier(name: str) -> None:
    network, pattern = build(name)
    blocks = list_blocks(network, pattern)
    assert [block.name for block in blocks[:3]] == TOPS[name]
    assert all(block.n_parameters > 0 for block in blocks)
    total = sum(parameter.numel() for parameter in network.parameters())
    assert sum(block.n_parameters for block in blocks) == total


@pytest.mark.parametrize("name", [name for name in TOPS if name not in ("alexnet", "vgg11_bn")])
def test_cut_network_parts_give_what_the_whole_gives(name: str) -> None:
    network, pattern = build(name)
    side = {"lenet5": 32, "mini": 64}.get(name, 96)
    batch = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    n_blocks = len(list_blocks(network, pattern))
    with torch.inference_mode():
        whole = network(batch)
        for n_top in {1, 2, n_blocks // 2, n_blocks}:
            trunk, top = cut_network(network, pattern, n_top)
            assert torch.equal(top(trunk(batch)), whole)


def test_cut_network_top_has_the_parameters_of_its_blocks_alone() -> None:
    network, pattern = build("mobilenet_v2")
    blocks = list_blocks(network, pattern)
    _, top = cut_network(network, pattern, 3)
    got = sum(parameter.numel() for parameter in top.parameters())
    assert got == sum(block.n_parameters for block in blocks[:3])


def test_list_blocks_of_a_network_of_ones_own_is_refused(tiny_backbone: str) -> None:
    with pytest.raises(BackboneError, match=r"tests-tiny: expected one of featx's own backbones"):
        list_blocks_of(get_backbone_spec(tiny_backbone))


def test_backbones_blocks_prints_them(run_cli: Callable[..., Any]) -> None:
    result = run_cli("backbones", "mobilenet_v2", "--blocks")
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines()[1].split() == ["1", "features.18", "412160"]
