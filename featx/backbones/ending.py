"""Read from the graph of a network how it ends: in averages of feature maps, or otherwise."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from featx.backbones.embedder import Embedder
from featx.backbones.feature_parts import FeaturePart, LayerNorm
from featx.backbones.trace import trace_network
from featx.core.errors import BackboneError

KEEPING_MODULES = (nn.Flatten, nn.Dropout, nn.Dropout2d, nn.AlphaDropout, nn.Identity)
"""Modules that change no value in eval mode."""

KEEPING = {
    *(torch.flatten, torch.squeeze, torch.reshape, torch.clone),
    *("flatten", "squeeze", "view", "reshape", "contiguous", "clone", "float"),
}
"""Functions and methods of tensors that change no value of one embedding."""

DROPOUTS = {functional.dropout, functional.dropout2d, torch.dropout}

PERMUTE = {torch.permute, "permute"}

AVERAGES = {functional.adaptive_avg_pool2d, functional.avg_pool2d, torch.mean, "mean"}

AVERAGING_MODULES = (nn.AdaptiveAvgPool2d, nn.AvgPool2d)

REMEDY = (
    "Use a backbone that ends in an average, such as resnet50 (see featx.list_backbones), or ask "
    "for an approximation: approximation='grad-cam'."
)


def trace_embedding(embedder: Embedder, *, subject: str) -> tuple[fx.GraphModule, fx.Node]:
    """Trace a network that is read at one layer, and find the node of its embedding.

    Parameters
    ----------
    embedder : Embedder
        The network.
    subject : str
        Name of the network, for the error.

    Raises
    ------
    BackboneError
        If torch.fx cannot trace the network.
    """
    try:
        traced = trace_network(embedder.network)
    except Exception as error:  # the traced code can raise any error
        raise BackboneError(
            subject=subject,
            expected="a network that torch.fx can trace, to see how it ends",
            got=f"{type(error).__name__}: {error}",
            remedy="Register the network so that it returns its last feature map, "
            "(n, channels, h, w): featx averages it.",
        ) from error
    end = traced.graph.output_node().args[0]
    if isinstance(end, dict):
        (end,) = end.values()
    assert isinstance(end, fx.Node)
    return traced, end


def find_shapes(traced: fx.GraphModule, example: torch.Tensor) -> dict[fx.Node, tuple[int, ...]]:
    """Find the shape of each tensor that a graph computes; ``()`` for what is no tensor.

    Parameters
    ----------
    traced : GraphModule
        The graph.
    example : Tensor
        One input.
    """
    shapes: dict[fx.Node, tuple[int, ...]] = {}

    class Shapes(fx.Interpreter):
        def run_node(self, node: fx.Node) -> Any:
            value = super().run_node(node)
            shapes[node] = tuple(value.shape) if isinstance(value, torch.Tensor) else ()
            return value

    with torch.inference_mode():
        Shapes(traced).run(example)
    return shapes


class Walk:
    """A walk from an embedding back to the averages that it consists of.

    Parameters
    ----------
    traced : GraphModule
        The graph of the network.
    shapes : dict of Node to tuple of int
        Shapes of its tensors, as `find_shapes` finds them.
    subject : str
        Name of the network, for the error.

    Attributes
    ----------
    maps : dict of Node to int
        Axis of the channels by the node of each feature map.
    parts : list of FeaturePart
        Parts of the embedding, in the order of its columns.
    norm : LayerNorm or None
        Normalisation behind the averages.
    """

    def __init__(
        self, traced: fx.GraphModule, shapes: dict[fx.Node, tuple[int, ...]], subject: str
    ) -> None:
        self._traced, self._shapes, self._subject = traced, shapes, subject
        self.maps: dict[fx.Node, int] = {}
        self.parts: list[FeaturePart] = []
        self.norm: LayerNorm | None = None

    def _add(self, node: fx.Node, n_bins: tuple[int, int], channel_axis: int) -> None:
        """Add the averages of a feature map."""
        self.maps.setdefault(node, channel_axis)
        source = list(self.maps).index(node)
        n_channels = self._shapes[node][channel_axis]
        self.parts.append(FeaturePart(source=source, n_channels=n_channels, n_bins=n_bins))

    def follow(self, node: fx.Node) -> None:
        """Follow a node to the averages before it.

        Parameters
        ----------
        node : Node
            A node whose output is the embedding, or columns of it.

        Raises
        ------
        BackboneError
            If there are none, or something changes them.
        """
        while True:
            module = self._find_module(node)
            before = node.all_input_nodes[0] if node.all_input_nodes else None
            shape = self._shapes[node]
            if before is None:
                raise self._refuse(node)
            if node.target is torch.cat and _read(node, 1, "dim") in (1, -len(shape) + 1):
                for part in node.all_input_nodes:
                    self.follow(part)
                return
            if isinstance(module, AVERAGING_MODULES) or node.target in AVERAGES:
                self._add_average(node, before)
                return
            if self._is_norm(node, module):
                self._note_norm(node, module)
            elif not (
                isinstance(module, KEEPING_MODULES)
                or node.target in KEEPING
                or (node.target in DROPOUTS and not _read(node, 2, "training"))
                or (node.target in PERMUTE and _count_long(shape) <= 1)
            ):
                if len(shape) == 4 and node.target not in PERMUTE:  # flattened as it is
                    self._add(node, (shape[2], shape[3]), 1)
                    return
                raise self._refuse(node)
            node = before

    def _add_average(self, node: fx.Node, before: fx.Node) -> None:
        shape, out = self._shapes[before], self._shapes[node]
        if len(shape) != 4:
            raise self._refuse(node)
        if node.target not in ("mean", torch.mean):
            self._add(before, (out[2], out[3]), 1)
            return
        axes = _read(node, 1, "dim")
        axes = sorted(axis % 4 for axis in (axes if isinstance(axes, list | tuple) else [axes]))
        if axes not in ([2, 3], [1, 2]):
            raise self._refuse(node)
        self._add(before, (1, 1), 1 if axes == [2, 3] else 3)

    def _is_norm(self, node: fx.Node, module: nn.Module | None) -> bool:
        """Return whether a node normalises the averages over all channels, once."""
        is_norm = isinstance(module, nn.LayerNorm) or node.target is functional.layer_norm
        return is_norm and self.norm is None and not self.parts

    def _note_norm(self, node: fx.Node, module: nn.Module | None) -> None:
        weight: torch.Tensor | None
        bias: torch.Tensor | None
        if isinstance(module, nn.LayerNorm):
            weight, bias, eps = module.weight, module.bias, module.eps
        else:
            weight, bias = (
                self._find_tensor(_read(node, place, name))
                for place, name in ((2, "weight"), (3, "bias"))
            )
            eps = _read(node, 4, "eps", 1e-5)
        dim = self._shapes[node][-1]
        weight = torch.ones(dim) if weight is None else weight
        bias = torch.zeros(dim) if bias is None else bias
        self.norm = LayerNorm(
            weight=weight.detach().double().numpy(), bias=bias.detach().double().numpy(), eps=eps
        )

    def _find_module(self, node: fx.Node) -> nn.Module | None:
        if node.op != "call_module":
            return None
        return self._traced.get_submodule(str(node.target))

    def _find_tensor(self, node: fx.Node | None) -> torch.Tensor | None:
        if node is None:
            return None
        found: torch.Tensor = operator.attrgetter(str(node.target))(self._traced)
        return found

    def _refuse(self, node: fx.Node) -> BackboneError:
        module = self._find_module(node)
        kind = type(module).__name__ if module is not None else _name_function(node)
        where = f"{kind} ({node.target})" if module is not None else kind
        return BackboneError(
            subject=f"class maps of {self._subject}",
            expected="an embedding that is the average of a feature map over the image",
            got=f"one that ends in {where}",
            remedy=REMEDY,
        )


def _read(node: fx.Node, place: int, name: str, default: Any = None) -> Any:
    """Read an argument of a call, which may be given by its place or by its name."""
    if len(node.args) > place:
        return node.args[place]
    return node.kwargs.get(name, default)


def _count_long(shape: Sequence[int]) -> int:
    """Count the axes that are longer than 1, beside that of the images."""
    return sum(side > 1 for side in shape[1:])


def _name_function(node: fx.Node) -> str:
    return str(getattr(node.target, "__name__", node.target))
