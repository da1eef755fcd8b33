"""The decomposition of a logit, against the averages and the product themselves."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from featx.backbones.feature_parts import FeaturePart, LayerNorm
from featx.explanation.decompose import LogitWeights, build_bins, decompose

RNG = np.random.default_rng(0)


def build_part(source: int, n_channels: int, *n_bins: int) -> FeaturePart:
    return FeaturePart(source=source, n_channels=n_channels, n_bins=(n_bins[0], n_bins[1]))


CASES = {
    "whole": ([(5, 7, 7)], [build_part(0, 5, 1, 1)]),
    "quarters": ([(5, 8, 8)], [build_part(0, 5, 2, 2)]),
    "overlapping": ([(4, 7, 5)], [build_part(0, 4, 3, 2)]),
    "flattened": ([(3, 4, 6)], [build_part(0, 3, 4, 6)]),
    "two-grids": ([(5, 8, 8), (6, 4, 4)], [build_part(0, 5, 2, 2), build_part(1, 6, 1, 1)]),
    "odd-grids": ([(2, 6, 4), (3, 4, 3)], [build_part(0, 2, 1, 1), build_part(1, 3, 1, 1)]),
    "one-map-twice": ([(2, 6, 4)], [build_part(0, 2, 1, 1), build_part(0, 2, 3, 2)]),
}
GRIDS = {"odd-grids": (12, 12)}


def average(maps: Any, parts: Any) -> Any:
    """Compute the embedding as torch pools."""
    pooled = [
        functional.adaptive_avg_pool2d(torch.from_numpy(maps[part.source]), part.n_bins)
        for part in parts
    ]
    return np.concatenate([one.numpy().reshape(-1) for one in pooled])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("norm", [False, True], ids=["plain", "norm"])
@pytest.mark.parametrize("scaled", [False, True], ids=["raw", "l2"])
def test_mean_of_the_map_and_bias_are_the_logit(name: str, norm: bool, scaled: bool) -> None:
    shapes, parts = CASES[name]
    maps = [RNG.random(shape) for shape in shapes]
    embedding = average(maps, parts)
    dim, layer = len(embedding), None
    if norm:
        layer = LayerNorm(weight=RNG.normal(size=dim), bias=RNG.normal(size=dim), eps=1e-6)
        deviation = np.sqrt(embedding.var() + 1e-6)
        embedding = (embedding - embedding.mean()) / deviation * layer.weight + layer.bias
    if scaled:
        embedding = embedding / np.linalg.norm(embedding)
    weight, bias = RNG.normal(size=(3, dim)), RNG.normal(size=3)
    weights = LogitWeights(weight=weight, bias=bias, is_normalised=scaled)
    found = decompose(maps, weights, [2, 0], parts=parts, norm=layer)
    for (values, shift), code in zip(found, [2, 0], strict=True):
        assert values.shape == GRIDS.get(name, shapes[0][1:])
        logit = embedding @ weight[code] + bias[code]
        assert values.mean() + shift == pytest.approx(logit, abs=1e-9)


def test_a_cell_of_a_quarter_is_weighted_by_its_quarter() -> None:
    maps = np.ones((1, 2, 2))
    weights = LogitWeights(
        weight=np.array([[1.0, 2.0, 3.0, 4.0]]), bias=np.zeros(1), is_normalised=False
    )
    ((values, _),) = decompose([maps], weights, [0], parts=[build_part(0, 1, 2, 2)], norm=None)
    assert values.tolist() == [[4, 8], [12, 16]]  # of four cells, each is a quarter of the mean


@pytest.mark.parametrize(("n_cells", "n_bins"), [(7, 1), (7, 2), (13, 6), (3, 3), (2, 5)])
def test_bins_are_those_of_adaptive_pooling(n_cells: int, n_bins: int) -> None:
    line = torch.arange(float(n_cells), dtype=torch.float64) ** 2
    expected = functional.adaptive_avg_pool1d(line[None], n_bins)[0]
    np.testing.assert_allclose(build_bins(n_cells, n_bins) @ line.numpy(), expected)


def test_a_vector_of_zeros_has_a_finite_map() -> None:
    weights = LogitWeights(weight=np.ones((1, 2)), bias=np.ones(1), is_normalised=True)
    parts = [build_part(0, 2, 1, 1)]
    ((values, shift),) = decompose([np.zeros((2, 3, 3))], weights, [0], parts=parts, norm=None)
    assert (values.tolist(), shift) == (np.zeros((3, 3)).tolist(), 1.0)
