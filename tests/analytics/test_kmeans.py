"""Clusters: far groups are found, weights move centres, equal rows stay together."""

import numpy as np
import pytest

from featx.analytics.kmeans import FEW_CLUSTERS, N_DIRECTIONS, cluster_rows, project
from featx.core.typing import Array, Float32Array


def draw_groups(n_groups: int, n_rows: int = 20, dim: int = 4) -> Float32Array:
    """Draw groups of rows that lie far from each other, one behind the other."""
    rng = np.random.default_rng(0)
    centres = 100 * rng.normal(size=(n_groups, dim))
    return (np.repeat(centres, n_rows, axis=0) + rng.normal(size=(n_groups * n_rows, dim))).astype(
        np.float32
    )


@pytest.mark.parametrize("n_groups", [1, 2, 7])
def test_groups_are_found(n_groups: int) -> None:
    clusters, centres = cluster_rows(draw_groups(n_groups), n_groups, np.random.default_rng(1))
    assert len(centres) == n_groups
    by_group = clusters.reshape(n_groups, -1)
    assert (by_group == by_group[:, :1]).all()
    assert len(set(by_group[:, 0].tolist())) == n_groups


def test_equal_rows_are_one_cluster_however_many_are_asked_for() -> None:
    Z = np.ones((10, 3), np.float32)
    clusters, centres = cluster_rows(Z, 4, np.random.default_rng(0))
    assert clusters.tolist() == [0] * 10
    assert centres.tolist() == [[1, 1, 1]]


def test_more_clusters_than_rows_are_as_many_as_rows() -> None:
    Z = np.eye(3, dtype=np.float32)
    clusters, centres = cluster_rows(Z, FEW_CLUSTERS + 1, np.random.default_rng(0))
    assert len(centres) == 3
    assert sorted(clusters.tolist()) == [0, 1, 2]


def test_weights_move_the_centre() -> None:
    Z = np.array([[0.0], [1.0]], np.float32)
    _, centres = cluster_rows(Z, 1, np.random.default_rng(0), np.array([1.0, 3.0]))
    assert centres[0, 0] == pytest.approx(0.75)


def test_same_seed_gives_the_same_clusters() -> None:
    Z = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)
    first, second = (cluster_rows(Z, 9, np.random.default_rng(3))[0] for _ in range(2))
    assert first.tolist() == second.tolist()


def test_project_keeps_distances_of_rows_in_few_directions() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 6)) @ rng.normal(size=(6, 200))
    Z = project(X, rng)
    assert Z.shape == (50, 50)
    lengths = np.linalg.norm(X, axis=1, keepdims=True)
    distances = np.linalg.norm(Z[:, None] - Z, axis=2)
    expected = np.linalg.norm((X / lengths)[:, None] - X / lengths, axis=2)
    np.testing.assert_allclose(distances, expected, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_project_takes_zeros_and_either_dtype(dtype: type) -> None:
    X: Array = np.zeros((100, 80), dtype)
    X[1:] = np.random.default_rng(0).normal(size=(99, 80))
    Z = project(X, np.random.default_rng(0))
    assert Z.dtype == np.float32
    assert Z.shape == (100, N_DIRECTIONS)
    assert np.isfinite(Z).all()
