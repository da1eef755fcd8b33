"""The optimizer, and the learning rate and weight decay of each parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from featx.backbones.blocks import Block
from featx.finetune.recipe import Recipe


def build_optimizer(
    recipe: Recipe, top: nn.Module, classifier: nn.Module, blocks: Sequence[Block]
) -> torch.optim.Optimizer:
    """Build the optimizer; the largest learning rate of a group of parameters is ``lr_peak``.

    Parameters
    ----------
    recipe : Recipe
        Numbers of the training.
    top, classifier : nn.Module
        Modules to train.
    blocks : sequence of Block
        Blocks of the top, the one nearest to the classifier first.

    Returns
    -------
    Optimizer
        AdamW, Adam or SGD; its first group holds the classifier. Adam and SGD have the weight decay
        in the gradient, AdamW beside it.
    """
    groups = list_groups(recipe, top, classifier, blocks)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=0.9, nesterov=True)
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=recipe.lr)


def list_groups(
    recipe: Recipe, top: nn.Module, classifier: nn.Module, blocks: Sequence[Block]
) -> list[dict[str, Any]]:
    """Group the parameters by block and by weight decay, as `build_optimizer` needs them."""
    named = [(0, parameter) for parameter in classifier.parameters()]
    named += [(_find_depth(path, blocks), tensor) for path, tensor in top.named_parameters()]
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for depth, parameter in named:
        groups.setdefault((depth, parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr_peak": recipe.lr * recipe.lr_decay**depth,
            "weight_decay": recipe.weight_decay if decays else 0.0,
        }
        for (depth, decays), parameters in groups.items()
    ]


def _find_depth(path: str, blocks: Sequence[Block]) -> int:
    """Count the blocks above the block that holds a parameter."""
    for depth, block in enumerate(blocks):
        if any(path.startswith(f"{name}.") for name in (block.name, *block.modules)):
            return depth
    return 0  # behind the last block: the last normalisation of ConvNeXt
