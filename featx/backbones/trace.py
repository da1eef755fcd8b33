"""Trace a network by torch.fx without disturbing the networks of other threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from torch import fx, nn

from featx.core.process import GLOBAL_STATE


class _OwnThreadTracer(fx.Tracer):
    """A tracer that lets other threads run their networks: torch.fx patches the calls of all."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)


def trace_network(network: nn.Module) -> fx.GraphModule:
    """Trace a network by torch.fx.

    Parameters
    ----------
    network : nn.Module
        The network. The result shares its modules.

    Returns
    -------
    GraphModule
        The graph of the network.

    Raises
    ------
    Exception
        Any error of the code that is traced.
    """
    with GLOBAL_STATE:
        graph = _OwnThreadTracer().trace(network)
        return fx.GraphModule(network, graph, type(network).__name__)
