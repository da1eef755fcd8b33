"""Turn a network into one that returns embeddings: without its classifier, or read at layers."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn

from featx.backbones.spec import LOGITS, PENULTIMATE
from featx.backbones.trace import trace_nodes
from featx.core.errors import BackboneError, suggest


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
        `PENULTIMATE`; modules or other nodes in the graph of the network, such as ``layer3``; or
        names of its parts, if the output of the network is a mapping, a dataclass or a tuple.
    classifier : str
        Path of the module that was removed; empty if none was.
    example : Tensor
        One input, float32 ``(1, 3, height, width)``.
    name : str
        Name of the backbone, for errors.
    output : str
        Name of the layer that is the output of the network: `PENULTIMATE`, or `LOGITS` for a
        network that has its classifier.

    Attributes
    ----------
    layers : tuple of str
        Names of the layers, in the order of the outputs.
    dims : tuple of int
        Length of the embedding of each layer.
    channel_axes : dict of str to int
        Axis of the channels in the output of each layer that is spatial, 1 or 3.

    Raises
    ------
    BackboneError
        If a layer is unknown or belongs to the classifier, or if its output is neither ``(n, dim)``
        nor spatial, or not the output of the module of that name.
    """

    def __init__(
        self,
        network: nn.Module,
        layers: Sequence[str],
        *,
        classifier: str,
        example: torch.Tensor,
        name: str,
        output: str = PENULTIMATE,
    ) -> None:
        super().__init__()
        self.layers = tuple(layers)
        self._output = output
        network.eval().requires_grad_(False)
        for layer in layers:
            if _is_in_classifier(layer, classifier):
                raise _refuse_removed(layer, name)
        self._extracts = self.layers != (output,) or _has_logits(network, output, example)
        self.network = network
        if self._extracts:
            self.network = _select(network, layers, example, classifier=classifier, name=name)
        self.channel_axes: dict[str, int] = {}
        self.eval().requires_grad_(False)
        with torch.inference_mode():
            for layer, read in self.run_network(example).items():
                _check_tensor(read, f"{name}, layer {layer!r}")
            self.channel_axes = _find_channel_axes(self, example)
            outputs = self(example)
        for layer, vectors in zip(self.layers, outputs, strict=True):
            if vectors.ndim != 2:
                raise BackboneError(
                    subject=f"{name}, layer {layer!r}",
                    expected="an output of (n, dim) or (n, channels, height, width)",
                    got=f"{vectors.ndim} axes",
                    remedy="Read another layer.",
                )
        self.dims = tuple(vectors.shape[1] for vectors in outputs)

    def run_network(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the output of each layer as the network gives it, not averaged."""
        output = self.network(batch)
        return dict(output) if self._extracts else {self._output: output}

    def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Embed float32 ``(n, 3, height, width)``: one float32 ``(n, dim)`` per layer."""
        outputs = self.run_network(batch)
        return tuple(self._pool(layer, outputs[layer]) for layer in self.layers)

    def _pool(self, layer: str, output: torch.Tensor) -> torch.Tensor:
        if output.ndim == 4:
            # (n, channels, h, w) or, inside ConvNeXt's blocks, (n, h, w, channels) -> (n, channels)
            return output.mean((1, 2) if self.channel_axes.get(layer) == 3 else (2, 3))
        return output


def _is_in_classifier(layer: str, classifier: str) -> bool:
    """Return whether a layer is, holds, or lies in the classifier, which is removed."""
    is_around = f"{classifier}.".startswith(f"{layer}.")
    return bool(classifier) and (is_around or layer.startswith(f"{classifier}."))


def _refuse_removed(layer: str, name: str) -> BackboneError:
    """Refuse a layer that needs the classifier: without it, the layer would be something else."""
    return BackboneError(
        subject="layers",
        expected=f"a layer below the classifier of {name}, which featx removes",
        got=repr(layer),
        remedy=f"Pass layers=[{PENULTIMATE!r}] for the input of the classifier, or "
        f"layers=[{LOGITS!r}] for its output.",
    )


def _has_logits(network: nn.Module, output: str, example: torch.Tensor) -> bool:
    """Return whether a whole network puts out several tensors, one of which is named logits."""
    if output != LOGITS:
        return False
    with torch.inference_mode():
        return LOGITS in list_parts(network(example))


def _check_tensor(output: object, subject: str) -> None:
    """Refuse an output that is not one tensor; name its parts if it has any."""
    if isinstance(output, torch.Tensor):
        return
    parts = list_parts(output)
    flat = [part for part, tensor in parts.items() if tensor.ndim in (2, 4)]
    kind = f"a {type(output).__name__}"
    raise BackboneError(
        subject=subject,
        expected="an output of one tensor",
        got=f"{kind} with {', '.join(parts)}" if parts else kind,
        remedy=f"Name one, such as layers=[{flat[0]!r}]." if flat else "Read another layer.",
    )


def list_parts(output: object) -> dict[str, torch.Tensor]:
    """List the tensors of an output that is a mapping, a dataclass or a tuple.

    Parameters
    ----------
    output : object
        Output of a network.

    Returns
    -------
    dict of str to Tensor
        Tensors by key, name of the field or number; empty for one tensor and for anything else.
    """
    parts: dict[Any, Any] = {}
    if isinstance(output, Mapping):
        parts = dict(output)
    elif dataclasses.is_dataclass(output):
        parts = {one.name: getattr(output, one.name) for one in dataclasses.fields(output)}
    elif isinstance(output, tuple | list):
        parts = dict(zip(getattr(output, "_fields", range(len(output))), output, strict=True))
    return {str(key): part for key, part in parts.items() if isinstance(part, torch.Tensor)}


class _Parts(nn.Module):
    """A network whose output is a mapping, a dataclass or a tuple, read at its parts."""

    def __init__(self, network: nn.Module, layers: Sequence[str]) -> None:
        super().__init__()
        self.network, self.layers = network, tuple(layers)

    def forward(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        parts = list_parts(self.network(batch))
        return {layer: parts[layer] for layer in self.layers}


def _select(
    network: nn.Module, layers: Sequence[str], example: torch.Tensor, *, classifier: str, name: str
) -> nn.Module:
    """Build the module whose output is a dict of the layers."""
    seen: dict[str, list[torch.Tensor]] = {layer: [] for layer in layers}
    modules = dict(network.named_modules())
    handles = [
        modules[layer].register_forward_hook(functools.partial(_note_output, seen[layer]))
        for layer in seen
        if layer in modules
    ]
    try:
        with torch.inference_mode():
            parts = list_parts(network(example))
    finally:
        for handle in handles:
            handle.remove()
    if parts and parts.keys() >= set(layers):
        return _Parts(network, layers)
    extractor = _extract(network, layers, classifier, name)
    with torch.inference_mode():
        outputs = extractor(example)
    for layer, calls in seen.items():
        # A module may run several times, and the graph has a name for each.
        if calls and not any(_is_same(outputs[layer], call) for call in calls):
            raise BackboneError(
                subject=f"{name}, layer {layer!r}",
                expected="the output of that module",
                got="another tensor, because of the way in which the network is written",
                remedy="Read a module inside it, or the module behind it.",
            )
    return extractor


def _note_output(calls: list[Any], _module: nn.Module, _inputs: Any, output: Any) -> None:
    """Note a copy of a module's output: the next module may write into the output itself."""
    calls.append(output.clone() if isinstance(output, torch.Tensor) else output)


def _is_same(output: Any, call: Any) -> bool:
    if not isinstance(output, torch.Tensor) or not isinstance(call, torch.Tensor):
        return type(output) is type(call)
    return output.shape == call.shape and torch.allclose(output, call, equal_nan=True)


def _extract(network: nn.Module, layers: Sequence[str], classifier: str, name: str) -> nn.Module:
    """Trace a network, and keep the part that the layers need."""
    try:
        traced, names = trace_nodes(network)
    except Exception as error:  # the traced code can raise any error
        raise BackboneError(
            subject=name,
            expected="a network that torch.fx can trace",
            got=f"{type(error).__name__}: {error}",
            remedy="Read its own output instead of layers.",
        ) from error
    # The path of a module stands for its last node: "layer3" for "layer3.5.relu_2".
    last = {path: node for node, full in names.items() for path in _list_prefixes(full)}
    known = last | {PENULTIMATE: last[classifier] if classifier else list(names)[-1]}
    behind = _list_behind(traced.graph, known[PENULTIMATE]) if classifier else set()
    for layer, node in last.items():
        if node in behind or _is_in_classifier(layer, classifier):
            if layer in layers:
                raise _refuse_removed(layer, name)
            del known[layer]
    for layer in layers:
        if layer not in known:
            raise BackboneError(
                subject="layers",
                expected=f"a layer of the graph of {name}",
                got=repr(layer),
                remedy=f"{suggest(layer, known)} The default is {PENULTIMATE!r}.",
            )
    nodes = {layer: known[layer] for layer in layers}
    if len(set(nodes.values())) < len(layers):
        raise BackboneError(
            subject=name,
            expected="different layers",
            got=", ".join(layers),
            remedy="Name each layer once.",
        )
    return cut_graph(traced, nodes).eval()


def cut_graph(traced: fx.GraphModule, nodes: dict[str, fx.Node]) -> fx.GraphModule:
    """Keep the part of a graph that computes some nodes, and return their outputs by name.

    Parameters
    ----------
    traced : GraphModule
        The graph, which is changed.
    nodes : dict of str to Node
        The nodes to compute, by the names of the outputs.

    Returns
    -------
    GraphModule
        A network that returns a dict, and shares the modules.
    """
    graph = traced.graph
    graph.erase_node(graph.output_node())
    output = graph.output(nodes)
    graph.eliminate_dead_code()
    # Copy each output that other nodes read: they may write into it, as a ReLU in place does.
    for node in output.all_input_nodes:
        if len(node.users) > 1:
            with graph.inserting_after(node):
                copied = graph.call_method("clone", (node,))
            output.replace_input_with(node, copied)
    return fx.GraphModule(traced, graph, type(traced).__name__)


def _list_behind(graph: fx.Graph, first: fx.Node) -> set[fx.Node]:
    """List the nodes that compute with the output of a node."""
    behind = {first}
    behind.update(node for node in graph.nodes if behind.intersection(node.all_input_nodes))
    return behind - {first}


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
