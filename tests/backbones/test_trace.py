"""Tracing records what torch.fx records, and changes nothing that other threads use."""

import re
import threading
from typing import Any

import pytest
import torch
from torch import fx, nn
from torchvision.models.feature_extraction import get_graph_node_names

from featx.backbones.embedder import cut_classifier
from featx.backbones.registry import get_backbone_spec, list_backbones
from featx.backbones.trace import trace_network, trace_nodes

FEW = ("lenet5", "mini", "mobilenet_v3_small", "googlenet", "shufflenet_v2_x0_5", "convnext_tiny")
"""Backbones that, together, have every kind of node."""


def check_equal(name: str) -> None:
    spec = get_backbone_spec(name)
    # A regnet computes its widths by tensors, which have no values on the device meta.
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        network = cut_classifier(spec.build(), spec.classifier, pool=spec.pool).eval()
    # The annotation of the return value is left out.
    expected = re.sub(r"\) ->.*?:\n", "):\n", fx.symbolic_trace(network).code)
    assert trace_network(network).code == expected
    names = list(trace_nodes(network)[1].values())
    assert names == get_graph_node_names(network, suppress_diff_warning=True)[1]


@pytest.mark.parametrize("name", FEW)
def test_trace_equals_that_of_torch(name: str) -> None:
    check_equal(name)


@pytest.mark.slow
def test_trace_of_every_backbone_equals_that_of_torch() -> None:
    for name in list_backbones():
        if not name.startswith("test") and name != "regnet_y_128gf":  # 2.6 GB, of the same code
            check_equal(name)


class Watching(nn.Module):
    """A network that looks at torch while it is traced, and has all that may meet a trace."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList([nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3), nn.ReLU())])
        self.none = None
        self.empty = nn.Sequential()
        self.scale = nn.Parameter(torch.ones(3))
        self.register_buffer("shift", torch.zeros(3))
        self.plain = torch.full((3,), 2.0)
        self.seen: list[Any] = []

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.seen.append((nn.Module.__call__, nn.Module.__getattr__))
        for part in self.parts:
            batch = part(batch)
        batch = self.empty(batch) * self.scale + self.shift
        return batch * self.plain + torch.tensor([1.0, 2.0, 3.0])


def test_trace_patches_no_class_of_torch_and_keeps_the_network() -> None:
    network = Watching().eval()
    original = nn.Module.__call__, nn.Module.__getattr__
    batch = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    expected = network(batch)
    before, tree = dict(vars(network)), list(network.modules())
    traced = trace_network(network)
    assert network.seen == [original] * 2
    assert vars(network) == before
    assert list(network.modules()) == tree
    assert torch.equal(traced(batch), expected)
    assert traced.get_submodule("parts.0") is network.parts[0]


class Failing(nn.Module):
    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return batch if batch.sum() > 0 else -batch


def test_trace_that_fails_leaves_nothing_behind() -> None:
    network = nn.Sequential(nn.Linear(3, 3), Failing())
    with pytest.raises(fx.proxy.TraceError):
        trace_network(network)
    assert nn.Module.__call__ is nn.Module._wrapped_call_impl
    assert network(torch.ones(1, 3)).shape == (1, 3)


def test_traces_beside_traces_of_another_program_are_right() -> None:
    mine, theirs = Watching().eval(), nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    expected, ended, failures = fx.symbolic_trace(theirs).code, threading.Event(), []

    def trace_as_others_do() -> None:
        while not ended.is_set():
            try:
                assert fx.symbolic_trace(theirs).code == expected
            except BaseException as error:
                failures.append(error)
                return

    code = trace_network(mine).code
    thread = threading.Thread(target=trace_as_others_do)
    thread.start()
    try:
        assert {trace_network(mine).code for _ in range(50)} == {code}
    finally:
        ended.set()
        thread.join()
    assert failures == []
    assert nn.Module.__call__ is nn.Module._wrapped_call_impl
