"""A backbone cut in two."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from featx.backbones.backbone import Backbone
from featx.backbones.load import load_backbone
from featx.backbones.state_dict import digest_weights
from featx.core.errors import BackboneError, TuningError
from featx.engines.torch_engine import TorchEngine
from featx.finetune import cut as cutting
from featx.finetune.cut import cut_backbone

Load = Callable[[str], Backbone]

NETWORKS: dict[str, dict[str, Any]] = {
    "densenet121": {"weights": "random:0", "size": 64},
    "lenet5": {},
    "mini": {},
    "mobilenet_v2": {"weights": "random:0", "size": 64},
    "resnet18": {"weights": "random:0", "size": 64},
    "shufflenet_v2_x0_5": {"weights": "random:0", "size": 64},
    "squeezenet1_1": {"weights": "random:0", "size": 64},
}


@pytest.fixture(scope="module")
def load() -> Load:
    """Load a backbone once for all tests; a factory."""
    loaded: dict[str, Backbone] = {}

    def load(name: str) -> Backbone:
        if name not in loaded:
            loaded[name] = load_backbone(name, **NETWORKS[name])
        return loaded[name]

    return load


def build_pixels(backbone: Backbone, n: int = 2) -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, 256, (n, *backbone.pixel_shape), np.uint8))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("n_top", [1, 2, 3])
def test_cut_backbone_parts_give_the_embedding_of_the_whole(
    load: Load, name: str, n_top: int
) -> None:
    backbone = load(name)
    cut = cut_backbone(backbone, n_top)
    batch = backbone.preprocess.normalise(build_pixels(backbone))
    with torch.inference_mode():
        (expected,) = backbone.module(batch)
        (flat,) = cut.trunk.module(batch)
        got = cut.top(flat.reshape(-1, *cut.shape))
    assert flat.shape == (2, math.prod(cut.shape))
    assert got.shape == expected.shape == (2, backbone.dims["penultimate"])
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18"])
def test_cut_backbone_trunk_is_folded_by_the_engine_as_the_whole_is(load: Load, name: str) -> None:
    cut = cut_backbone(load(name), 1)
    images = build_pixels(cut.trunk)
    engine = TorchEngine(cut.trunk, batch_size=2)
    (got,) = engine._runner.compute(images)
    with torch.inference_mode():
        (expected,) = cut.trunk.module(cut.trunk.preprocess.normalise(images))
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)
    norms = [part for part in cut.trunk.module.modules() if isinstance(part, nn.BatchNorm2d)]
    network = engine._runner.network
    assert isinstance(network, nn.Module)
    folded = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    assert norms
    assert folded == []


@pytest.mark.parametrize(("n_top", "block"), [(1, "f6"), (2, "c5"), (4, "c1")])
def test_cut_backbone_trunk_is_named_by_the_block_that_follows_it(
    lenet: Backbone, n_top: int, block: str
) -> None:
    cut = cut_backbone(lenet, n_top)
    assert dict(cut.trunk.dims) == {f"before-{block}": math.prod(cut.shape)}
    assert [one.name for one in cut.blocks] == ["f6", "c5", "c3", "c1"][:n_top]
    assert (cut.trunk.name, cut.trunk.weights_digest) == ("lenet5", lenet.weights_digest)


def test_cut_backbone_of_all_blocks_has_a_trunk_that_returns_its_input(lenet: Backbone) -> None:
    cut = cut_backbone(lenet, 4)
    batch = lenet.preprocess.normalise(build_pixels(lenet))
    assert cut.shape == (3, 32, 32)
    assert torch.equal(cut.trunk.module(batch)[0], batch.flatten(1))


def test_cut_backbone_parts_share_the_copy_and_leave_the_original(lenet: Backbone) -> None:
    before = digest_weights(lenet.module.network)
    cut = cut_backbone(lenet, 2)
    assert digest_weights(cut.network) == before
    with torch.no_grad():
        for parameter in [*cut.top.parameters(), *cut.trunk.module.parameters()]:
            parameter.add_(1)
    added = cut.network.state_dict()
    for name, tensor in lenet.module.network.state_dict().items():
        assert torch.equal(added[name], tensor + 1), name
    assert digest_weights(lenet.module.network) == before


@pytest.mark.parametrize("n_top", [0, -1, 5])
def test_cut_backbone_of_other_than_its_blocks_is_refused(lenet: Backbone, n_top: int) -> None:
    with pytest.raises(TuningError, match=rf"expected 1 to 4 blocks of lenet5, got {n_top}\."):
        cut_backbone(lenet, n_top)


def test_cut_backbone_of_a_network_of_ones_own_is_refused(tiny_backbone: str) -> None:
    backbone = load_backbone(tiny_backbone)
    with pytest.raises(TuningError, match=r"tests-tiny: expected a backbone that featx ships"):
        cut_backbone(backbone, 1)


def test_cut_backbone_where_two_tensors_cross_is_refused(
    lenet: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise BackboneError(
            subject="block b", expected="one tensor to enter it", got="2", remedy="Cut elsewhere."
        )

    monkeypatch.setattr(cutting, "cut_network", refuse)
    with pytest.raises(BackboneError, match=r"expected one tensor to enter it, got 2"):
        cut_backbone(lenet, 1)
