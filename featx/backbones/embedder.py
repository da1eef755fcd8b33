"""Turn a network into one that returns embeddings: without its classifier, or read at layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from featx.backbones.spec import PENULTIMATE
from featx.core.errors import BackboneError, suggest
from featx.core.process import GLOBAL_STATE


def cut_classifier(network: nn.Module, classifier: str, *, pool: bool) -> nn.Module:
    """Remove the classifier of a network, in place.

    Parameters
    ----------
    network : nn.Module
        The network.
    classifier : str
        Path of the module to remove; empty to remove none.
    pool : bool
        Whether average pooling over the image replaces the module.

    Returns
    -------
    nn.Module
        The same network.
    """
    if classifier:
        replacement: nn.Module = nn.AdaptiveAvgPool2d(1) if pool else nn.Identity()
        network.set_submodule(classifier, replacement)
    return network


class FrozenNetwork(nn.Module):
    """Base class of the networks that engines run: one float32 ``(n, dim)`` tensor per layer.

    Attributes
    ----------
    network : nn.Module
        The network inside, in eval mode.
    """

    network: nn.Module

    def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Embed one batch.

        Parameters
        ----------
        batch : Tensor
            Input of the network, float32 ``(n, 3, height, width)``.

        Returns
        -------
        tuple of Tensor
            One float32 ``(n, dim)`` per layer.
        """
        raise NotImplementedError


class Embedder(FrozenNetwork):
    """Read a network at its layers, and average spatial outputs over the image.

    Parameters
    ----------
    network : nn.Module
        The network without its classifier. It is put into eval mode and frozen.
    layers : sequence of str
        `PENULTIMATE`, or names of nodes in the graph of the network, such as ``layer3``.
    classifier : str
        Path of the module that was removed; empty if none was.
    example : Tensor
        One input, float32 ``(1, 3, height, width)``.
    name : str
        Name of the backbone, for errors.

    Attributes
    ----------
    layers : tuple of str
        Names of the layers, in the order of the outputs.
    dims : tuple of int
        Length of the embedding of each layer.

    Raises
    ------
    BackboneError
        If a layer is unknown, or its output is neither ``(n, dim)`` nor spatial.
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
                        subject=f"{name}, layer {layer!r}",
                        expected="an output of one tensor",
                        got=type(output).__name__,
                        remedy="Read another layer.",
                    )
            self._channel_axes = _find_channel_axes(self, example)
            outputs = self(example)
        for layer, output in zip(self.layers, outputs, strict=True):
            if output.ndim != 2:
                raise BackboneError(
                    subject=f"{name}, layer {layer!r}",
                    expected="an output of (n, dim) or (n, channels, height, width)",
                    got=f"{output.ndim} axes",
                    remedy="Read another layer.",
                )
        self.dims = tuple(output.shape[1] for output in outputs)

    def run_network(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the output of each layer as the network gives it, not averaged."""
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
    """Trace a network, and keep the part that the layers need."""
    try:
        with GLOBAL_STATE:
            nodes = get_graph_node_names(network)[1]
    except Exception as error:  # the traced code can raise any error
        raise BackboneError(
            subject=name,
            expected="a network that torch.fx can trace",
            got=f"{type(error).__name__}: {error}",
            remedy="Read its own output instead of layers.",
        ) from error
    # The path of a module stands for its last node: "layer3" for "layer3.5.relu_2".
    last = {path: node for node in nodes for path in _list_prefixes(node)}
    known = last | {PENULTIMATE: last[classifier] if classifier else nodes[-1]}
    for layer in layers:
        if layer not in known:
            paths = [path for path, _ in network.named_modules() if path]
            raise BackboneError(
                subject="layers",
                expected=f"a layer of the graph of {name}",
                got=repr(layer),
                remedy=suggest(layer, [PENULTIMATE, *paths]),
            )
    by_node: dict[str, str] = {known[layer]: layer for layer in layers}
    if len(by_node) < len(layers):
        raise BackboneError(
            subject=name,
            expected="different layers",
            got=", ".join(layers),
            remedy="Name each layer once.",
        )
    with GLOBAL_STATE:
        extractor: nn.Module = create_feature_extractor(network, return_nodes=by_node)
    return extractor


def _list_prefixes(node: str) -> list[str]:
    """List the paths of the modules around a node, and the path of the node itself."""
    parts = node.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _find_channel_axes(embedder: Embedder, example: torch.Tensor) -> dict[str, int]:
    """Find the axis of the channels in each spatial output.

    Doubling the width of the input doubles the last axis of ``(n, c, h, w)``, and the second last
    axis of ``(n, h, w, c)``.
    """
    narrow = embedder.run_network(example)
    if not any(output.ndim == 4 for output in narrow.values()):
        return {}
    try:
        wide = embedder.run_network(torch.cat([example, example], dim=3))  # (1, 3, h, 2w)
    except RuntimeError:  # a network of the user that takes one size only
        return {}
    return {
        layer: 3 if output.ndim == 4 and output.shape[2] != wide[layer].shape[2] else 1
        for layer, output in narrow.items()
    }
