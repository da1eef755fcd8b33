"""Find the feature maps whose averages a network returns as its embedding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from featx.backbones.embedder import Embedder, cut_graph
from featx.backbones.ending import REMEDY, Walk, find_shapes, trace_embedding
from featx.backbones.feature_parts import FeaturePart, LayerNorm
from featx.backbones.spec import PENULTIMATE
from featx.core.errors import BackboneError

TOLERANCE = 1e-4
"""Largest difference between the averages of the maps and the embedding, relative to its largest
value; float32 gives some 1e-6."""


class MapNetwork(nn.Module):
    """A network that returns its embedding with the feature maps whose averages the embedding is.

    `build_map_network` builds it.

    Attributes
    ----------
    parts : tuple of FeaturePart
        Parts of the embedding, in the order of its columns.
    norm : LayerNorm or None
        Normalisation behind the averages; None if the embedding is the averages themselves.
    """

    def __init__(
        self,
        network: nn.Module,
        layer: str,
        parts: Sequence[FeaturePart],
        *,
        norm: LayerNorm | None,
        axes: Sequence[int],
    ) -> None:
        super().__init__()
        self.network, self._layer = network, layer
        self.parts, self.norm, self._axes = tuple(parts), norm, tuple(axes)
        self.eval()

    def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return embeddings and feature maps.

        Parameters
        ----------
        batch : Tensor
            Input of the network, float32 ``(n, 3, height, width)``.

        Returns
        -------
        embeddings : Tensor
            ``(n, dim)``.
        maps : list of Tensor
            Feature maps, each ``(n, channels, h, w)``.
        """
        outputs = self.network(batch)
        maps = [
            outputs[_name_map(number)].movedim(axis, 1) for number, axis in enumerate(self._axes)
        ]
        embeddings = outputs[self._layer]
        if embeddings.ndim == 4:  # the embedder averages it
            embeddings = maps[0].mean((2, 3))
        return embeddings, maps


def build_map_network(embedder: Embedder, example: torch.Tensor, *, name: str) -> MapNetwork:
    """Build the network that returns an embedding with its feature maps.

    The end of the network is read from its graph, from the embedding back to the averages. Behind
    them there may be what changes no value in eval mode, such as flattening and dropout, and one
    layer normalisation.

    Parameters
    ----------
    embedder : Embedder
        A network that is read at one layer.
    example : Tensor
        One input, float32 ``(1, 3, height, width)``, whose values are not all alike.
    name : str
        Name of the backbone, for errors.

    Returns
    -------
    MapNetwork
        A network that shares the modules of the embedder.

    Raises
    ------
    BackboneError
        If the embedding is no average of feature maps, or the graph of the network is not known.
    """
    (layer,) = embedder.layers
    subject = name if layer == PENULTIMATE else f"{name}, layer {layer}"
    spatial = find_spatial(embedder, example)
    if spatial is not None:
        axis = embedder.channel_axes.get(layer, 1)
        if spatial[0].numel() == spatial.shape[axis]:
            raise refuse_one_cell(subject)
        part = FeaturePart(source=0, n_channels=spatial.shape[axis], n_bins=(1, 1))
        return MapNetwork(Spatial(embedder), layer, [part], norm=None, axes=[axis])
    traced, end = trace_embedding(embedder, subject=subject)
    walk = Walk(traced, find_shapes(traced, example), subject)
    walk.follow(end)
    named = {_name_map(number): node for number, node in enumerate(walk.maps)}
    network = MapNetwork(
        cut_graph(traced, {layer: end, **named}),
        layer,
        walk.parts,
        norm=walk.norm,
        axes=list(walk.maps.values()),
    )
    with torch.inference_mode():
        _check_averages(network, embedder, example, subject)
    return network


def refuse_one_cell(subject: str) -> BackboneError:
    """Build the error for feature maps of one cell, which can show no place."""
    return BackboneError(
        subject=f"class maps of {subject}",
        expected="feature maps of several cells",
        got="1 x 1",
        remedy="Extract with a larger size, such as size=224, and fit a head on that cache.",
    )


class Spatial(nn.Module):
    """A network whose output is a feature map, which the embedder averages."""

    def __init__(self, embedder: Embedder) -> None:
        super().__init__()
        self.embedder = embedder

    def forward(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the feature map under the name of the layer, and under that of a map."""
        outputs = self.embedder.run_network(batch)
        return outputs | {_name_map(0): outputs[self.embedder.layers[0]]}


def find_spatial(embedder: Embedder, example: torch.Tensor) -> torch.Tensor | None:
    """Run a network that is read at one layer; None if its output is no feature map.

    Parameters
    ----------
    embedder : Embedder
        The network.
    example : Tensor
        One input.
    """
    with torch.inference_mode():
        output = embedder.run_network(example)[embedder.layers[0]]
    return output if output.ndim == 4 else None


def _name_map(number: int) -> str:
    return f"map {number}"


def _check_averages(
    network: MapNetwork, embedder: Embedder, example: torch.Tensor, subject: str
) -> None:
    """Refuse a graph whose maps do not give the embedding: it was read wrongly."""
    (expected,) = embedder(example)
    embeddings, maps = network(example)
    if all(one.shape[2:] == (1, 1) for one in maps):
        raise refuse_one_cell(subject)
    averages = torch.cat(
        [
            functional.adaptive_avg_pool2d(maps[part.source], part.n_bins).flatten(1)
            for part in network.parts
        ],
        dim=1,
    )
    if network.norm is not None:
        weight, bias = (
            torch.from_numpy(part).float() for part in (network.norm.weight, network.norm.bias)
        )
        averages = functional.layer_norm(
            averages, averages.shape[1:], weight, bias, network.norm.eps
        )
    largest = expected.abs().max().item()
    for found in (averages, embeddings):
        if found.shape != expected.shape or not torch.allclose(
            found, expected, rtol=0, atol=TOLERANCE * largest
        ):
            raise BackboneError(
                subject=f"class maps of {subject}",
                expected="averages of feature maps that equal the embedding",
                got="other values, because of the way in which the network is written",
                remedy=REMEDY,
            )
