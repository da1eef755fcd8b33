"""A network cut to yield embeddings: its classifier taken off, or read at other layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from featx.backbones.backbone import PENULTIMATE
from featx.core.errors import BackboneError, suggest


def cut_classifier(network: nn.Module, classifier: str, *, pool: bool) -> nn.Module:
    """Take the classifier off, in place.

    Parameters
    ----------
    network : nn.Module
        Returned again.
    classifier : str
        Path of the module to take off; empty: none.
    pool : bool
        Average over the picture in its place.
    """
    if classifier:
        replacement: nn.Module = nn.AdaptiveAvgPool2d(1) if pool else nn.Identity()
        network.set_submodule(classifier, replacement)
    return network


class Embedder(nn.Module):
    """Run a cut network and pool what is spatial: one ``(n, dim)`` tensor per layer.

    Parameters
    ----------
    network : nn.Module
        In eval mode, its classifier taken off.
    layers : sequence of str
        `PENULTIMATE` or names of nodes in its graph, such as ``layer3`` or ``features.12``.
    classifier : str
        Path of the module that was taken off; empty for the network's own output.
    example : Tensor
        One input, float32 ``(1, 3, height, width)``.
    name : str
        The backbone's, for errors.

    Attributes
    ----------
    dims : tuple of int
        Length of each layer's embedding.

    Raises
    ------
    BackboneError
        If a layer is unknown, or puts out no ``(n, dim)`` or spatial tensor.
    """

    def __init__(
        self,
        network: nn.Module,
        layers: Sequence[str],
        *,
        classifier: str,
        example: torch.Tensor,
        name: str,
    ) -> None:
        super().__init__()
        self.layers = tuple(layers)
        self._extracts = self.layers != (PENULTIMATE,)
        self.network = _extract(network, layers, classifier, name) if self._extracts else network
        self._channel_axes: dict[str, int] = {}
        self.eval().requires_grad_(False)
        with torch.inference_mode():
            for layer, output in self.run_network(example).items():
                if not isinstance(output, torch.Tensor):
                    raise BackboneError(
                        f"{name}, layer {layer!r}: expected an output of one tensor, got "
                        f"{type(output).__name__}. Read another layer."
                    )
            self._channel_axes = _find_channel_axes(self, example)
            outputs = self(example)
        for layer, output in zip(self.layers, outputs, strict=True):
            if output.ndim != 2:
                raise BackboneError(
                    f"{name}, layer {layer!r}: expected an output of (n, dim) or (n, channels, "
                    f"height, width), got {output.ndim} axes. Read another layer."
                )
        self.dims = tuple(output.shape[1] for output in outputs)

    def run_network(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return each layer's output as the network gives it."""
        output = self.network(batch)
        return dict(output) if self._extracts else {PENULTIMATE: output}

    def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Embed float32 ``(n, 3, height, width)``: one float32 ``(n, dim)`` per layer."""
        outputs = self.run_network(batch)
        return tuple(self._pool(layer, outputs[layer]) for layer in self.layers)

    def _pool(self, layer: str, output: torch.Tensor) -> torch.Tensor:
        if output.ndim == 4:
            # (n, channels, h, w) or, inside ConvNeXt's blocks, (n, h, w, channels) -> (n, channels)
            return output.mean((1, 2) if self._channel_axes.get(layer) == 3 else (2, 3))
        return output


def _extract(network: nn.Module, layers: Sequence[str], classifier: str, name: str) -> nn.Module:
    """Trace the network and keep what the layers need."""
    try:
        nodes = get_graph_node_names(network)[1]
    except Exception as error:  # torch.fx raises whatever the traced code does
        raise BackboneError(
            f"{name}: expected a network that torch.fx can trace, got {type(error).__name__}: "
            f"{error}. Read its own output instead of layers."
        ) from error
    # A module's path stands for its last node: "layer3" for "layer3.5.relu_2".
    last = {path: node for node in nodes for path in _list_prefixes(node)}
    known = last | {PENULTIMATE: last[classifier] if classifier else nodes[-1]}
    for layer in layers:
        if layer not in known:
            paths = [path for path, _ in network.named_modules() if path]
            raise BackboneError(
                f"{name}: expected a layer of its graph, got {layer!r}. "
                f"{suggest(layer, [PENULTIMATE, *paths])}"
            )
    by_node: dict[str, str] = {known[layer]: layer for layer in layers}
    if len(by_node) < len(layers):
        raise BackboneError(
            f"{name}: expected layers that differ, got {', '.join(layers)}. Name each node once."
        )
    extractor: nn.Module = create_feature_extractor(network, return_nodes=by_node)
    return extractor


def _list_prefixes(node: str) -> list[str]:
    """List the paths of the modules that a node lies in, and the node's own."""
    parts = node.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _find_channel_axes(embedder: Embedder, example: torch.Tensor) -> dict[str, int]:
    """Tell channels-first from channels-last outputs: only pictures' sides follow the input's.

    A picture made wider widens the last axis of ``(n, c, h, w)`` and the one before it of
    ``(n, h, w, c)``.
    """
    narrow = embedder.run_network(example)
    if not any(output.ndim == 4 for output in narrow.values()):
        return {}
    try:
        wide = embedder.run_network(torch.cat([example, example], dim=3))  # (1, 3, h, 2w)
    except RuntimeError:  # a network of one input size; the zoo's all take any
        return {}
    return {
        layer: 3 if output.ndim == 4 and output.shape[2] != wide[layer].shape[2] else 1
        for layer, output in narrow.items()
    }
