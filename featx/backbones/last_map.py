"""Cut a network at its last feature map, to follow gradients from the embedding back to it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from featx.backbones.averaged import find_spatial
from featx.backbones.blocks import build_part, list_crossing
from featx.backbones.embedder import Embedder
from featx.backbones.ending import find_shapes, trace_embedding
from featx.backbones.spec import PENULTIMATE
from featx.core.errors import BackboneError


@dataclass(frozen=True, kw_only=True, eq=False)
class CutAtMap:
    """A network in two parts.

    Attributes
    ----------
    lower : nn.Module
        From the input ``(n, 3, height, width)`` to the last feature map.
    upper : nn.Module
        From the feature map to the embedding ``(n, dim)``.
    channel_axis : int
        Axis of the channels in the feature map, 1 or 3.
    """

    lower: nn.Module
    upper: nn.Module
    channel_axis: int = 1


def cut_at_last_map(embedder: Embedder, example: torch.Tensor, *, name: str) -> CutAtMap:
    """Cut a network at the last feature map that the whole embedding is computed from.

    Parameters
    ----------
    embedder : Embedder
        A network that is read at one layer.
    example : Tensor
        One input, float32 ``(1, 3, height, width)``.
    name : str
        Name of the backbone, for errors.

    Returns
    -------
    CutAtMap
        Two parts that share the modules of the embedder.

    Raises
    ------
    BackboneError
        If the graph of the network is not known, or has no such feature map.
    """
    (layer,) = embedder.layers
    subject = name if layer == PENULTIMATE else f"{name}, layer {layer}"
    if find_spatial(embedder, example) is not None:
        axis = embedder.channel_axes.get(layer, 1)
        return CutAtMap(lower=_First(embedder), upper=_Average(axis), channel_axis=axis)
    traced, end = trace_embedding(embedder, subject=subject)
    shapes = find_shapes(traced, example)
    order = list(traced.graph.nodes)
    order = order[: order.index(end) + 1]
    for number in range(len(order) - 1, 0, -1):
        node = order[number]
        shape = shapes[node]
        is_map = node.op != "placeholder" and len(shape) == 4 and min(shape[2:]) > 1
        if is_map and list_crossing(order, number + 1) == [node]:
            return CutAtMap(
                lower=build_part(traced, order[: number + 1], None, node),
                upper=build_part(traced, order[number + 1 :], node, end),
            )
    raise BackboneError(
        subject=f"class maps of {subject}",
        expected="a network with a feature map that the whole embedding is computed from",
        got="a network without one",
        remedy="Use another backbone, see featx.list_backbones.",
    )


class _First(nn.Module):
    """The feature map that a network returns."""

    def __init__(self, embedder: Embedder) -> None:
        super().__init__()
        self.embedder = embedder

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.embedder.run_network(batch)[self.embedder.layers[0]]


class _Average(nn.Module):
    """The average that the embedder takes."""

    def __init__(self, channel_axis: int) -> None:
        super().__init__()
        self._axes = (1, 2) if channel_axis == 3 else (2, 3)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.mean(self._axes)
