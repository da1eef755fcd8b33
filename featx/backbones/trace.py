"""Trace a network by torch.fx without touching the networks of other threads."""

from __future__ import annotations

import inspect
import math
from typing import Any

import torch
import torchvision
from torch import fx, nn
from torch.fx._symbolic_trace import _autowrap_check, _patch_wrapped_functions, _Patcher
from torchvision.models.feature_extraction import NodePathTracer

from featx.core.process import GLOBAL_STATE


class _TwinTracer(fx.Tracer):
    """A tracer that records the calls of a twin of the network, and patches no class of torch.

    While ``fx.Tracer`` traces, it replaces ``nn.Module.__call__`` for the whole process. Networks
    that other threads run at that time fail, and if another thread traces at that time, the
    replacement stays for ever. The twin shares all tensors with the network, but the classes of
    its modules are its own.
    """

    def build_module(self, network: nn.Module) -> fx.GraphModule:
        """Trace a network, and build a module that runs the graph and shares its modules."""
        graph = self._trace_twin(network)
        traced = fx.GraphModule(self.root, graph, type(network).__name__)
        self.root = nn.Module()  # the classes of the twin know the tracer, and are freed late
        return traced

    def _trace_twin(self, root: nn.Module) -> fx.Graph:
        """Trace a network, which is not changed."""
        self._proxies: dict[str, fx.Proxy] = {}
        self._classes: dict[type, type] = {}
        twins: dict[nn.Module, nn.Module] = {}
        twin = self.root = self._build_twin(root, twins)
        self.root_module_name = type(root).__name__
        self.submodule_paths = {twins[module]: name for name, module in root.named_modules()}
        self.tensor_attrs = {
            value: f"{name}.{key}".lstrip(".")
            for name, module in root.named_modules()
            for key, value in vars(module).items()
            if isinstance(value, torch.Tensor)
        }
        self.graph = fx.Graph()
        try:
            # Functions that `fx.wrap` marks, and those of math, are still patched for all threads.
            # Without a proxy among their arguments, they do what they always do.
            with GLOBAL_STATE, _Patcher() as self._patcher:
                run, arguments = self.create_args_for_root(type(root).forward, is_module=True)
                _patch_wrapped_functions(self._patcher)
                self._patch_functions(type(root).forward.__globals__)
                for module in self._autowrap_search:
                    self._patch_functions(vars(module))
                output = self.create_arg(run(*arguments))
                self.create_node("output", "output", (output,), {})
            # Constants that the trace met belong to the root, which is a copy for that reason.
            self.root = object.__new__(type(root))
            vars(self.root).update(vars(twin) | vars(root))
        finally:
            self.submodule_paths = None
            for one in twins.values():  # classes are freed late, and would keep the weights
                vars(one).clear()
        return self.graph

    def _patch_functions(self, names: dict[str, Any]) -> None:
        _autowrap_check(self._patcher, names, self._autowrap_function_ids)

    def _build_twin(self, module: nn.Module, twins: dict[nn.Module, nn.Module]) -> nn.Module:
        if module not in twins:
            kind = type(module)
            if kind not in self._classes:
                self._classes[kind] = self._build_class(kind)
            twin: nn.Module = object.__new__(self._classes[kind])
            twins[module] = twin
            vars(twin).update(vars(module))
            vars(twin)["_modules"] = {
                name: None if child is None else self._build_twin(child, twins)
                for name, child in module._modules.items()
            }
        return twins[module]

    def _build_class(self, kind: Any) -> type:
        tracer = self
        # By its own name: another program may be tracing, and have replaced `nn.Module.__call__`.
        has_own = any("__call__" in vars(one) for one in kind.__mro__ if one is not nn.Module)

        class Twin(kind):  # type: ignore[misc]
            """A module whose calls and parameters go through the tracer."""

            def __call__(self, *args: Any, **kwargs: Any) -> Any:
                forward = super().__call__ if has_own else self._wrapped_call_impl
                tracer._patch_functions(getattr(self.forward, "__globals__", {}))
                return tracer.call_module(self, forward, args, kwargs)

            def __getattr__(self, name: str) -> Any:
                return tracer.getattr(name, super().__getattr__(name), tracer._proxies)

        Twin.__module__, Twin.__name__, Twin.__qualname__ = (
            kind.__module__,
            kind.__name__,
            kind.__qualname__,
        )
        return Twin


class _NodeTracer(_TwinTracer, NodePathTracer):  # type: ignore[misc]
    """A tracer that names each node as torchvision does: ``layer3.5.relu_2``."""

    def __init__(self) -> None:
        operations = vars(torchvision.ops).values()
        super().__init__(  # type: ignore[call-arg]
            autowrap_modules=(math, torchvision.ops),
            leaf_modules=[
                one for one in operations if inspect.isclass(one) and issubclass(one, nn.Module)
            ],
        )


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
    return _TwinTracer().build_module(network)


def trace_nodes(network: nn.Module) -> tuple[fx.GraphModule, dict[fx.Node, str]]:
    """Trace a network, and name the nodes of its graph as torchvision does.

    Parameters
    ----------
    network : nn.Module
        The network. The result shares its modules.

    Returns
    -------
    traced : GraphModule
        The graph of the network.
    names : dict of Node to str
        Name of each node that computes, such as ``layer3.5.relu_2``, in the order in which the
        nodes run. No two names are equal.

    Raises
    ------
    Exception
        Any error of the code that is traced.
    """
    tracer = _NodeTracer()
    traced = tracer.build_module(network)
    return traced, dict(tracer.node_to_qualname)
