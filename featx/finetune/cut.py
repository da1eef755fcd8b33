"""A backbone cut in two: the trunk, which stays frozen, and the top blocks."""

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
from featx.core.torch_state import plain_torch


class Trunk(FrozenNetwork):
    """The lower part of a network with a flattened feature map; engines run it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute flattened feature maps.

        Parameters
        ----------
        batch : Tensor
            float32 ``(n, 3, height, width)``.

        Returns
        -------
        tuple of Tensor
            One float32 ``(n, dim)``.
        """
        return (self.network(batch).flatten(1),)


@dataclass(frozen=True, kw_only=True)
class CutNetwork:
    """A network cut in two.

    Attributes
    ----------
    network : nn.Module
        The whole network without its classifier: a copy, whose modules the two parts share.
    trunk : Backbone
        The lower part; its embedding is the flattened feature map.
    top : nn.Module
        The upper part, from the feature map to the embedding ``(n, dim)``.
    blocks : tuple of Block
        Blocks of the upper part, the one nearest to the classifier first.
    shape : tuple of int
        Shape of one feature map, such as ``(channels, height, width)``.
    """

    network: nn.Module
    trunk: Backbone
    top: nn.Module
    blocks: tuple[Block, ...]
    shape: tuple[int, ...]


def cut_backbone(backbone: Backbone, n_top: int) -> CutNetwork:
    """Cut a backbone below its last blocks.

    Parameters
    ----------
    backbone : Backbone
        The backbone, which is not changed.
    n_top : int
        Number of blocks in the upper part, at least 1.

    Returns
    -------
    CutNetwork
        A copy of the network, cut in two.

    Raises
    ------
    TuningError
        If the backbone has fewer blocks, or its blocks are not known.
    BackboneError
        If more than one tensor crosses the cut.
    """
    pattern = get_backbone_spec(backbone.name).blocks
    if not pattern or not isinstance(backbone.preprocess, ImageClassification):
        raise TuningError(
            subject=f"backbone {backbone.name}",
            expected="a backbone that featx ships",
            got="a network whose blocks are not known",
            remedy="Choose one of featx.list_backbones().",
        )
    network = copy.deepcopy(backbone.module.network).eval()
    blocks = list_blocks(network, pattern)
    if not 1 <= n_top <= len(blocks):
        raise TuningError(
            subject="unfreeze",
            expected=f"1 to {len(blocks)} blocks of {backbone.name}",
            got=str(n_top),
            remedy=f"List the blocks with: featx backbones {backbone.name} --blocks.",
        )
    lower, top = cut_network(network, pattern, n_top)
    module = Trunk(lower).eval()
    example = torch.from_numpy(backbone.preprocess.build_example()[None])
    with plain_torch(), torch.inference_mode():
        shape = tuple(lower(backbone.preprocess.normalise(example)).shape[1:])
    dims = {f"before-{blocks[n_top - 1].name}": math.prod(shape)}
    trunk = backbone.with_module(module, dims=dims)
    return CutNetwork(
        network=network, trunk=trunk, top=top, blocks=tuple(blocks[:n_top]), shape=shape
    )
