"""A backbone in two parts: the trunk, which stays frozen, and the top blocks."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import nn

from featx.backbones.backbone import Backbone
from featx.backbones.blocks import Block, cut_network, list_blocks
from featx.backbones.embedder import FrozenNetwork
from featx.backbones.preprocess import ImageClassification
from featx.backbones.registry import get_backbone_spec
from featx.core.errors import TuningError


class Trunk(FrozenNetwork):
    """The lower part of a network, its feature map flattened: what an engine runs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """From float32 ``(n, 3, height, width)`` to one ``(n, dim)``."""
        return (self.network(batch).flatten(1),)


@dataclass(frozen=True)
class CutNetwork:
    """A network in two parts.

    Attributes
    ----------
    network : nn.Module
        The whole, without its classifier; a copy, whose modules the parts share.
    trunk : Backbone
        The lower part: its embedding is the flattened feature map.
    top : nn.Module
        The upper part, from the feature map to the embedding ``(n, dim)``.
    blocks : tuple of Block
        Those in the upper part, the one nearest to the classifier first.
    shape : tuple of int
        Of one feature map.
    """

    network: nn.Module
    trunk: Backbone
    top: nn.Module
    blocks: tuple[Block, ...]
    shape: tuple[int, ...]


def cut_backbone(backbone: Backbone, n_top: int) -> CutNetwork:
    """Cut a backbone before its last blocks.

    Raises
    ------
    TuningError
        If it has not so many, or they are not known.
    BackboneError
        If more than one tensor crosses the cut.
    """
    pattern = get_backbone_spec(backbone.name).blocks
    if not pattern or not isinstance(backbone.preprocess, ImageClassification):
        raise TuningError(
            f"{backbone.name}: expected one of featx's own backbones, got a network whose blocks "
            "are not known. See: featx backbones."
        )
    network = copy.deepcopy(backbone.module.network).eval()
    blocks = list_blocks(network, pattern)
    if not 1 <= n_top <= len(blocks):
        raise TuningError(
            f"unfreeze: expected 1 to {len(blocks)} blocks of {backbone.name}, got {n_top}. "
            f"List them: featx backbones {backbone.name} --blocks."
        )
    lower, top = cut_network(network, pattern, n_top)
    module = Trunk(lower).eval()
    example = torch.from_numpy(backbone.preprocess.build_example()[None])
    with torch.inference_mode():
        shape = tuple(lower(backbone.preprocess.normalise(example)).shape[1:])
    dims = {f"before-{blocks[n_top - 1].name}": math.prod(shape)}
    trunk = backbone.with_module(module, dims=dims)
    return CutNetwork(network, trunk, top, tuple(blocks[:n_top]), shape)
