"""Which learning rate and weight decay each parameter gets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from featx.backbones.blocks import Block, cut_network, list_blocks
from featx.backbones.embedder import cut_classifier
from featx.backbones.load import load_backbone
from featx.backbones.registry import get_backbone_spec
from featx.core.typing import OptimizerName
from featx.finetune.cut import cut_backbone
from featx.finetune.optimizer import build_optimizer
from featx.finetune.recipe import Recipe

from .doubles_train import build_classifier, build_cut

RECIPE = Recipe(lr=0.1, lr_decay=0.5, weight_decay=0.3)


Group = dict[str, Any]


def find_groups(optimizer: torch.optim.Optimizer, **modules: nn.Module) -> dict[str, Group]:
    """Return the one group that each parameter is in, by its path; counts must agree."""
    groups: dict[int, Group] = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            assert id(parameter) not in groups, "a parameter is in two groups"
            groups[id(parameter)] = group
    named = {
        f"{name}.{path}": tensor
        for name, module in modules.items()
        for path, tensor in module.named_parameters()
    }
    assert len(named) == len(groups), "the optimizer has other parameters than the modules"
    return {path: groups[id(tensor)] for path, tensor in named.items()}


def build_groups(name: str, n_top: int, recipe: Recipe = RECIPE) -> dict[str, Group]:
    cut = cut_backbone(load_backbone(name, weights="random:0"), n_top)
    classifier = build_classifier(16)
    optimizer = build_optimizer(recipe, cut.top, classifier, cut.blocks)
    return find_groups(optimizer, top=cut.top, classifier=classifier)


@pytest.mark.parametrize(
    ("name", "tops"),
    [
        ("mini", ["top.", "features.5.", "features.3.", "features.2."]),
        ("mobilenet_v2", ["features.18.", "features.17.", "features.16."]),
    ],
)
def test_optimizer_rate_falls_from_block_to_block(name: str, tops: list[str]) -> None:
    groups = build_groups(name, len(tops))
    found = {
        path: [depth for depth, top in enumerate(tops) if path.startswith(f"top.{top}")]
        for path in groups
    }
    for path, group in groups.items():
        depths = [0] if path.startswith("classifier.") else found[path]
        assert [group["lr_peak"]] == [0.1 * 0.5**depth for depth in depths], path
    assert {depth for depths in found.values() for depth in depths} == set(range(len(tops)))


def test_optimizer_decays_matrices_and_kernels_alone() -> None:
    groups = build_groups("mobilenet_v2", 2)
    cut = cut_backbone(load_backbone("mobilenet_v2", weights="random:0"), 2)
    n_plain = 0
    for path, module in cut.top.named_modules():
        for name, _ in module.named_parameters(recurse=False):
            is_plain = name == "bias" or isinstance(module, nn.BatchNorm2d)
            n_plain += is_plain
            expected = 0 if is_plain else 0.3
            assert groups[f"top.{path}.{name}"]["weight_decay"] == expected, path
    assert n_plain == 8  # four normalisations
    assert groups["classifier.weight"]["weight_decay"] == 0.3
    assert groups["classifier.bias"]["weight_decay"] == 0


def cut_convnext(n_top: int) -> tuple[nn.Module, list[Block]]:
    spec = get_backbone_spec("convnext_tiny")
    with torch.device("meta"):  # its 28 million weights are of no matter here
        network = cut_classifier(spec.build(), spec.classifier, pool=spec.pool).eval()
    blocks = list_blocks(network, spec.blocks)[:n_top]
    _, top = cut_network(network, spec.blocks, n_top)
    return top, blocks


def test_optimizer_parameters_outside_modules_get_the_rate_of_their_block() -> None:
    # ConvNeXt scales its layers, and normalises, with parameters that are no module's of the graph.
    top, blocks = cut_convnext(5)
    classifier = build_classifier(16)
    groups = find_groups(
        build_optimizer(RECIPE, top, classifier, blocks), top=top, classifier=classifier
    )
    names = ["features.7.2", "features.7.1", "features.7.0", "features.6", "features.5.8"]
    assert [block.name for block in blocks] == names
    for depth, name in enumerate(names):
        rates = {
            group["lr_peak"] for path, group in groups.items() if path.startswith(f"top.{name}.")
        }
        assert rates == {0.1 * 0.5**depth}, name
    assert sum(path.endswith(".layer_scale") for path in groups) == 4
    # What follows the last block is nearest to the classifier.
    assert groups["top.classifier.0.weight"]["lr_peak"] == 0.1
    assert groups["top.classifier.0.bias"]["lr_peak"] == 0.1


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)],
)
def test_optimizer_is_the_one_that_was_asked_for(name: OptimizerName, kind: type) -> None:
    cut, classifier = build_cut(), build_classifier()
    optimizer = build_optimizer(Recipe(optimizer=name), cut.top, classifier, cut.blocks)
    assert type(optimizer) is kind
    if name == "sgd":
        assert {(g["momentum"], g["nesterov"]) for g in optimizer.param_groups} == {(0.9, True)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("adamw", 0.97),  # shrinks by lr * weight_decay, whatever the gradient
        ("adam", 0.9),  # the penalty is all of the gradient, and a first step is lr long
        ("sgd", 0.943),  # lr * weight_decay * 1.9: Nesterov's first step
    ],
)
def test_optimizer_decays_a_weight_without_gradient(name: OptimizerName, expected: float) -> None:
    cut, classifier = build_cut(), build_classifier()
    recipe = replace(RECIPE, optimizer=name)
    optimizer = build_optimizer(recipe, cut.top, classifier, cut.blocks)
    with torch.no_grad():
        classifier.weight.fill_(1.0)
        classifier.bias.fill_(1.0)
    for parameter in classifier.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(
        classifier.weight, torch.full_like(classifier.weight, expected), atol=1e-6, rtol=0
    )
    assert (classifier.bias == 1).all()


def test_optimizer_first_group_is_the_topmost() -> None:
    # The log shows its learning rate.
    cut, classifier = build_cut(), build_classifier()
    optimizer = build_optimizer(RECIPE, cut.top, classifier, cut.blocks)
    assert optimizer.param_groups[0]["lr_peak"] == 0.1
    assert (
        find_groups(optimizer, top=cut.top, classifier=classifier)["classifier.weight"]
        is (optimizer.param_groups[0])
    )
