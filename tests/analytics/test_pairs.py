"""The nearest rows of each row are among the pairs, also where vectors are long and rows many."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.analytics import pairs
from featx.analytics.pairs import N_PROPOSED, Pairs, find_near_pairs
from featx.cache.joined import open_cache
from tests.builders import build_info, build_rows, write_vectors


def find(tmp_path: Path, vectors: Any, rows: Any = None) -> Pairs:
    info = build_info(dim=vectors.shape[1])
    listed = build_rows(["a"] * len(vectors), [None] * len(vectors))
    path = write_vectors(tmp_path / "some.h5", [info], listed, {info.name: vectors})
    with open_cache(path) as cache:
        return find_near_pairs(cache, info.name, np.arange(len(vectors)) if rows is None else rows)


@pytest.mark.parametrize("dim", [16, 300])
def test_nearest_rows_are_found(tmp_path: Path, dim: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "MIN_SAMPLED", 100)
    monkeypatch.setattr(pairs, "ROWS", 128)
    monkeypatch.setattr(pairs, "COLUMNS", 200)
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(12, dim))
    X = (rng.normal(size=(700, 12)) @ axes + 0.1 * rng.normal(size=(700, dim))).astype(np.float32)
    found = find(tmp_path, X)
    assert (found.a < found.b).all()
    assert len(set(zip(found.a.tolist(), found.b.tolist(), strict=True))) == len(found)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    cosines = X @ X.T
    assert np.allclose(found.cosine, cosines[found.a, found.b], atol=1e-5)
    np.fill_diagonal(cosines, -1)
    nearest = np.argsort(-cosines, axis=1)[:, :N_PROPOSED]
    true = {tuple(sorted((row, other))) for row in range(len(X)) for other in nearest[row].tolist()}
    chosen = found.take(found.rank < N_PROPOSED)
    told = set(zip(chosen.a.tolist(), chosen.b.tolist(), strict=True))
    assert len(true & told) > 0.97 * len(true)


def test_distance_is_relative_to_the_neighbours(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, 32)).astype(np.float32)
    X[1] = X[0] + 0.01 * rng.normal(size=32)
    found = find(tmp_path, X)
    at = np.flatnonzero((found.a == 0) & (found.b == 1))[0]
    assert found.distance[at] < 0.01
    assert found.rank[at] == 0
    assert 0.8 < np.median(found.distance) < 1.3


def test_numbers_are_those_of_the_cache(tmp_path: Path) -> None:
    X = np.random.default_rng(2).normal(size=(30, 8)).astype(np.float32)
    rows = np.arange(5, 30, 5)
    found = find(tmp_path, X, rows)
    assert len(found) == 10
    assert set(found.a.tolist()) | set(found.b.tolist()) == set(rows.tolist())


@pytest.mark.parametrize("n_rows", [0, 1, 2])
def test_few_rows_have_the_pairs_that_there_are(tmp_path: Path, n_rows: int) -> None:
    X = np.random.default_rng(3).normal(size=(3, 8)).astype(np.float32)
    assert len(find(tmp_path, X, np.arange(n_rows))) == n_rows * (n_rows - 1) // 2


def test_equal_and_empty_vectors_are_no_matter(tmp_path: Path) -> None:
    X = np.zeros((50, 8), np.float32)
    X[:25] = 1
    found = find(tmp_path, X)
    assert np.isfinite(found.distance).all()


@pytest.mark.filterwarnings("error")
def test_cosines_above_one_by_rounding_are_no_matter(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(20, 32)).astype(np.float32)
    found = find(tmp_path, np.repeat(X, 25, axis=0))
    assert found.cosine.max() == pytest.approx(1)
    assert np.isfinite(found.distance).all()


def test_thousands_of_the_same_image_do_not_become_millions_of_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs, "ROWS", 256)
    monkeypatch.setattr(pairs, "COLUMNS", 1024)
    X = np.random.default_rng(4).normal(size=(3000, 8)).astype(np.float32)
    X[:2500] = X[0]
    found = find(tmp_path, X)
    assert len(found) < 150 * len(X)
    assert len(np.unique(np.concatenate([found.a, found.b]))) > 0.9 * len(X)
