"""Fold BatchNorm into the layers before it: the network computes less, and the same."""

from __future__ import annotations

import copy
from collections import Counter
from weakref import WeakKeyDictionary

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from featx.backbones.embedder import FrozenNetwork
from featx.backbones.trace import trace_network
from featx.core.process import GLOBAL_STATE

PAIRS = {
    nn.Conv1d: nn.BatchNorm1d,
    nn.Conv2d: nn.BatchNorm2d,
    nn.Conv3d: nn.BatchNorm3d,
    nn.Linear: nn.BatchNorm1d,
}
"""Classes of layers, and of the normalisation that can be folded into each."""

Folds = tuple[tuple[str, str], ...]
"""Paths of a layer and of the normalisation behind it."""

_found: WeakKeyDictionary[nn.Module, Folds] = WeakKeyDictionary()
"""Folds of the networks that were looked at: a network is traced once."""


def fold_copy(embedder: FrozenNetwork) -> FrozenNetwork:
    """Copy a network, and fold the normalisation of the copy into its layers.

    Parameters
    ----------
    embedder : FrozenNetwork
        The network.

    Returns
    -------
    FrozenNetwork
        The copy, in eval mode. A network that torch.fx cannot trace is copied as it is.
    """
    folds = find_folds(embedder.network)
    copied = copy.deepcopy(embedder).eval()  # a network that is cut at layers copies as training
    for layer_path, norm_path in folds:
        layer = copied.network.get_submodule(layer_path)
        norm = copied.network.get_submodule(norm_path)
        fuse = fuse_linear_bn_eval if isinstance(layer, nn.Linear) else fuse_conv_bn_eval
        copied.network.set_submodule(layer_path, fuse(layer, norm))  # type: ignore[arg-type, type-var]
    if folds:
        copied.network = _leave_out(copied.network, {path for _, path in folds})
    return copied


def _leave_out(network: nn.Module, paths: set[str]) -> nn.Module:
    """Build a network that passes modules over; one level of calls is also a few percent faster."""
    traced = trace_network(network)
    graph = traced.graph
    for node in [*graph.nodes]:
        if node.op == "call_module" and node.target in paths:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    flat = fx.GraphModule(traced, graph, type(network).__name__)
    # Graph and network refer to each other, which would keep the weights in memory for a while. The
    # network keeps its graph: torch.compile reads it.
    graph.owning_module = None
    return flat


def find_folds(network: nn.Module) -> Folds:
    """Find the layers of a network whose normalisation can be folded into them.

    Parameters
    ----------
    network : nn.Module
        Network in eval mode. It is traced at the first call only.

    Returns
    -------
    tuple of (str, str)
        Paths of the layer and of the normalisation, in the order in which they run; empty for a
        network that torch.fx cannot trace.
    """
    with GLOBAL_STATE:
        if network not in _found:
            _found[network] = _trace_folds(network)
        return _found[network]


def _trace_folds(network: nn.Module) -> Folds:
    try:
        traced = trace_network(network)
    except MemoryError:
        raise
    except Exception:  # the traced code can raise any error
        return ()
    # A network may also read the weights of a layer that it calls.
    read = {str(n.target).rpartition(".")[0] for n in traced.graph.nodes if n.op == "get_attr"}
    calls = [node for node in traced.graph.nodes if node.op == "call_module"]
    n_calls = Counter(str(node.target) for node in calls)
    names = Counter(module for _, module in network.named_modules(remove_duplicate=False))

    def is_single(path: str) -> bool:
        """Return whether the module is called once and nothing else, and has one name."""
        is_alone = n_calls[path] == 1 and path not in read
        return is_alone and names[network.get_submodule(path)] == 1

    folds = []
    for node in calls:
        before = node.args[0] if node.args else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        paths = str(before.target), str(node.target)
        layer, norm = (network.get_submodule(path) for path in paths)
        if (
            PAIRS.get(type(layer)) is type(norm)
            and norm.track_running_stats
            and is_single(paths[0])
            and is_single(paths[1])
        ):
            folds.append(paths)
    return tuple(folds)
