"""BatchNorm is folded where the network computes the same without it, and nowhere else."""

import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import nn
from torch.fx.experimental.optimization import fuse

import featx
from featx.backbones.embedder import FrozenNetwork
from featx.backbones.trace import trace_network
from featx.engines import folding
from featx.engines.folding import find_folds, fold_copy


class Wrapped(FrozenNetwork):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.network(batch),)


class Parts(nn.Module):
    """A convolution and its normalisation, and a way in which they are used."""

    def __init__(self, run: Callable[["Parts", torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.conv, self.norm, self.run = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), run
        with torch.no_grad():
            for tensor in (*self.norm.parameters(), *self.norm.buffers()):
                if tensor.is_floating_point():
                    tensor.uniform_(0.5, 2)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.run(self, batch)


def run_twice(parts: Parts, batch: torch.Tensor) -> Any:
    return parts.norm(parts.conv(parts.norm(parts.conv(batch))))


def use_output_twice(parts: Parts, batch: torch.Tensor) -> Any:
    output = parts.conv(batch)
    return parts.norm(output) + output


def read_weight(parts: Parts, batch: torch.Tensor) -> Any:
    return parts.norm(parts.conv(batch)) * parts.conv.weight.sum()


def read_norm(parts: Parts, batch: torch.Tensor) -> Any:
    return parts.norm(parts.conv(batch)) * parts.norm.num_features


RUNS = {
    run_twice: 0,
    use_output_twice: 0,
    read_weight: 0,
    read_norm: 1,
    lambda parts, batch: parts.norm(parts.conv(batch)): 1,
    lambda parts, batch: parts.conv(parts.norm(batch)): 0,
    lambda parts, batch: parts.norm(parts.conv(batch)) if batch.sum() else batch: 0,
}


@pytest.mark.parametrize(("run", "n_folds"), RUNS.items(), ids=range(len(RUNS)))
def test_folded_network_computes_the_same(
    run: Callable[[Parts, torch.Tensor], torch.Tensor], n_folds: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    network, batch = Parts(run).eval(), torch.randn(2, 3, 8, 8, generator=generator)
    with torch.inference_mode():
        expected = network(batch)
        (got,) = fold_copy(Wrapped(network))(batch)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    assert len(find_folds(network)) == n_folds


def test_module_of_two_names_is_not_folded() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))
    network.other = network[0]
    assert find_folds(network.eval()) == ()


@pytest.mark.parametrize("name", ["mini", "mobilenet_v2", "googlenet", "densenet121"])
def test_folded_network_equals_that_of_torch_to_the_last_bit(name: str) -> None:
    module = featx.load_backbone(name, weights="random:0", size=64).module
    batch = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    theirs = copy.deepcopy(module)
    theirs.network = fuse(trace_network(theirs.network), inplace=True, no_trace=True)
    with torch.inference_mode():
        for got, expected in zip(fold_copy(module)(batch), theirs(batch), strict=True):
            assert torch.equal(got, expected)


def test_folded_network_can_be_compiled_by_torch() -> None:
    module = featx.load_backbone("mini", weights="random:0").module
    batch = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    folded = fold_copy(module)
    with torch.inference_mode():
        expected = folded(batch)
        # This backend of torch traces, and needs no compiler.
        got = torch.compile(folded, backend="eager", fullgraph=True)(batch)
    assert all(map(torch.equal, got, expected))


def test_folded_network_is_freed_at_once() -> None:
    folded = fold_copy(featx.load_backbone("mini", weights="random:0").module)
    freed = [weakref.ref(weight) for weight in folded.parameters()]
    gc.collect()
    gc.disable()
    try:
        del folded
        assert [weight() for weight in freed] == [None] * len(freed)
    finally:
        gc.enable()


def test_folds_of_a_network_are_looked_for_once() -> None:
    module = featx.load_backbone("mini", weights="random:0").module
    with patch.object(folding, "_trace_folds", wraps=folding._trace_folds) as traced:
        for _ in range(3):
            fold_copy(module)
    assert traced.call_count == 1


def test_only_errors_of_the_trace_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such layer")

    network = Parts(lambda parts, batch: parts.norm(parts.conv(batch))).eval()
    monkeypatch.setattr(folding, "fuse_conv_bn_eval", fail)
    with pytest.raises(RuntimeError, match="no such layer"):
        fold_copy(Wrapped(network))

    def lack_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(folding, "trace_network", lack_memory)
    with pytest.raises(MemoryError):
        find_folds(copy.deepcopy(network))
