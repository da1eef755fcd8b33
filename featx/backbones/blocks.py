"""The blocks of a network, counted from its classifier, and the cut between two blocks."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import fx, nn

from featx.backbones.embedder import cut_classifier
from featx.backbones.spec import BackboneSpec
from featx.backbones.trace import trace_network
from featx.core.errors import BackboneError
from featx.core.torch_state import plain_torch


@dataclass(frozen=True)
class Block:
    """The unit that fine-tuning unfreezes.

    Attributes
    ----------
    name : str
        Path of the module, or of the first module if the block has several.
    modules : tuple of str
        Paths of all modules of the block that have parameters.
    n_parameters : int
        Number of parameters of the block.
    """

    name: str
    modules: tuple[str, ...]
    n_parameters: int


def list_blocks_of(spec: BackboneSpec) -> list[Block]:
    """List the blocks of a backbone.

    Parameters
    ----------
    spec : BackboneSpec
        The backbone.

    Returns
    -------
    list of Block
        Blocks, the one nearest to the classifier first.

    Raises
    ------
    BackboneError
        If the backbone is a network of the user, whose blocks are not known.
    """
    if not spec.blocks:
        raise BackboneError(
            subject=spec.name,
            expected="one of featx's own backbones",
            got="a network whose blocks are not known",
            remedy="List the backbones with featx.list_backbones().",
        )
    with plain_torch():
        network = cut_classifier(spec.build(), spec.classifier, pool=spec.pool)
        return list_blocks(network.eval(), spec.blocks)


def list_blocks(network: nn.Module, pattern: str) -> list[Block]:
    """List the blocks of a network.

    Parameters
    ----------
    network : nn.Module
        Network in eval mode, without its classifier.
    pattern : str
        Regular expression. Modules whose paths begin with the same match belong to one block. A
        module that does not match, or whose only weights are those of a normalisation, belongs to
        the block before it.

    Returns
    -------
    list of Block
        Blocks, the one nearest to the classifier first.
    """
    groups = _group_nodes(trace_network(network), pattern)
    blocks = []
    for name, nodes in groups:
        modules = [str(node.target) for node in nodes if node.op == "call_module"]
        paths = [path for path in modules if _list_own(network, path)]
        count = sum(parameter.numel() for path in paths for parameter in _list_own(network, path))
        count += sum(
            _get(network, str(node.target)).numel() for node in nodes if node.op == "get_attr"
        )
        blocks.append(Block(name, tuple(paths), count))
    return blocks[::-1]


def cut_network(
    network: nn.Module, pattern: str, n_top: int
) -> tuple[fx.GraphModule, fx.GraphModule]:
    """Cut a network in two parts before its last blocks.

    Parameters
    ----------
    network : nn.Module
        Network in eval mode, without its classifier. Both parts share its modules.
    pattern : str
        Regular expression, as `list_blocks` takes it.
    n_top : int
        Number of blocks above the cut, at least 1.

    Returns
    -------
    trunk, top : GraphModule
        Parts for which ``top(trunk(batch))`` equals ``network(batch)``. A cut before the first
        block gives a trunk that returns its input.

    Raises
    ------
    BackboneError
        If more than one tensor crosses the cut.
    """
    traced = trace_network(network)
    groups = _group_nodes(traced, pattern)
    name, nodes = groups[-n_top]
    order = list(traced.graph.nodes)
    start = min(order.index(node) for node in nodes)
    crossing = list_crossing(order, start)
    # Nodes without parameters, such as a chunk before a block, may run on either side.
    while not _is_one(crossing) and start and not _has_parameters(traced, order[start - 1]):
        start -= 1
        crossing = list_crossing(order, start)
    if not _is_one(crossing):
        raise BackboneError(
            subject=f"block {name}",
            expected="one tensor that enters it",
            got=str(len(crossing)),
            remedy="Unfreeze one block more, or one block less.",
        )
    trunk = build_part(traced, order[:start], None, crossing[0])
    top = build_part(traced, order[start:], crossing[0], None)
    return trunk, top


def _group_nodes(traced: fx.GraphModule, pattern: str) -> list[tuple[str, list[fx.Node]]]:
    """Group the nodes of a graph into blocks, in the order in which they run."""
    groups: list[tuple[str, list[fx.Node]]] = []
    for node in traced.graph.nodes:
        match = re.match(pattern, str(node.target)) if node.op == "call_module" else None
        if match and (not groups or groups[-1][0] != match.group()):
            groups.append((match.group(), []))
        if groups and node.op not in ("placeholder", "output"):
            groups[-1][1].append(node)
    merged: list[tuple[str, list[fx.Node]]] = []
    for name, nodes in groups:
        if merged and not _has_weights(traced, nodes):
            merged[-1][1].extend(nodes)
        else:
            merged.append((name, nodes))
    return merged


def list_crossing(order: Sequence[fx.Node], start: int) -> list[fx.Node]:
    """List the nodes before a position whose output is used at or behind the position.

    Parameters
    ----------
    order : sequence of Node
        Nodes in the order in which they run.
    start : int
        The position.
    """
    behind = set(order[start:])
    return [
        node
        for node in order[:start]
        if node.op != "get_attr" and any(user in behind for user in node.users)
    ]


def _is_one(crossing: Sequence[fx.Node]) -> bool:
    """Return whether one tensor crosses the cut, not a tuple whose items are taken behind it."""
    return len(crossing) == 1 and not any(
        user.target is operator.getitem and isinstance(user.args[1], int)
        for user in crossing[0].users
    )


def _has_parameters(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Return whether a node is a module with parameters, or the input."""
    if node.op == "call_module":
        return any(True for _ in traced.get_submodule(str(node.target)).parameters())
    return node.op == "placeholder"


def _has_weights(traced: fx.GraphModule, nodes: Sequence[fx.Node]) -> bool:
    """Return whether any parameter of the nodes is a matrix or a kernel."""
    modules = [traced.get_submodule(str(n.target)) for n in nodes if n.op == "call_module"]
    return any(tensor.ndim > 1 for module in modules for tensor in module.parameters())


def _list_own(network: nn.Module, path: str) -> list[nn.Parameter]:
    return list(network.get_submodule(path).parameters())


def _get(network: nn.Module, path: str) -> torch.Tensor:
    parent, _, name = path.rpartition(".")
    tensor: torch.Tensor = getattr(network.get_submodule(parent), name)
    return tensor


def build_part(
    traced: fx.GraphModule,
    nodes: Sequence[fx.Node],
    entry: fx.Node | None,
    result: fx.Node | None,
) -> fx.GraphModule:
    """Build a module from nodes of a graph.

    Parameters
    ----------
    traced : GraphModule
        The graph.
    nodes : sequence of Node
        Nodes of the module, in the order in which they run.
    entry : Node or None
        Node before them that becomes the input; None if the input is among the nodes.
    result : Node or None
        Node to return; None if the output is among the nodes.

    Returns
    -------
    GraphModule
        A module that shares the modules of the graph.
    """
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    if entry is not None:
        copies[entry] = graph.placeholder("features")
        # Parameters that are nodes of their own may stand before the cut.
        for node in traced.graph.nodes:
            if node.op == "get_attr" and node not in nodes:
                copies[node] = graph.node_copy(node)
    for node in nodes:
        copies[node] = graph.node_copy(node, lambda old: copies[old])
    if result is not None:
        graph.output(copies[result])
    part = fx.GraphModule(traced, graph)
    graph.eliminate_dead_code()
    part.recompile()
    part.delete_all_unused_submodules()
    return part
