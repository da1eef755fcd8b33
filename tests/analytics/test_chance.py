"""Rows that are near by chance are told from copies, in any number of dimensions."""

from pathlib import Path

import numpy as np
import pytest

from featx.analytics.chance import compute_wrong, count_equal
from featx.analytics.duplicates import NearDuplicates, find_near_duplicates
from featx.analytics.pairs import find_near_pairs
from featx.cache.joined import open_cache
from featx.core.typing import Array
from tests.builders import build_info, build_rows, write_vectors

N_ROWS = 400


def write(tmp_path: Path, X: Array) -> Path:
    info = build_info(dim=X.shape[1])
    rows = build_rows(["a"] * len(X), [None] * len(X))
    return write_vectors(tmp_path / "some.h5", [info], rows, {info.name: X.astype(np.float32)})


def find(tmp_path: Path, X: Array) -> NearDuplicates:
    with open_cache(write(tmp_path, X)) as cache:
        return find_near_duplicates(cache, images=None, progress=False)


def plant(X: Array, rng: np.random.Generator) -> Array:
    """Append a copy of one row in twenty, off by 2 % of the spread."""
    copies = X[: len(X) // 20]
    return np.concatenate([X, copies + 0.02 * X.std(axis=0) * rng.normal(size=copies.shape)])


def draw(kind: str, dim: int, rng: np.random.Generator) -> Array:
    if kind == "steps":
        return rng.integers(0, 4, (N_ROWS, dim)).astype(np.float64)
    X = rng.normal(size=(N_ROWS, dim))
    if kind == "clusters":  # in 64 dimensions, of which each uses few
        centres, axes = 10 * rng.normal(size=(4, 64)), rng.normal(size=(4, dim, 64))
        return np.concatenate(
            [
                X[i::4] @ axis + centre
                for i, (centre, axis) in enumerate(zip(centres, axes, strict=True))
            ]
        )
    return X * np.exp(rng.normal(size=(N_ROWS, 1))) + 3 if kind == "scales" else X


@pytest.mark.parametrize("dim", [2, 3, 4, 8, 32, 256])
@pytest.mark.parametrize("n_rows", [50, 200, 1000])
def test_random_rows_have_no_duplicates(tmp_path: Path, dim: int, n_rows: int) -> None:
    assert len(find(tmp_path, np.random.default_rng(0).normal(size=(n_rows, dim)))) == 0


@pytest.mark.parametrize("dim", [3, 8, 16])
@pytest.mark.parametrize("kind", ["steps", "clusters", "scales"])
def test_rows_that_are_not_alike_everywhere_have_none(tmp_path: Path, kind: str, dim: int) -> None:
    assert len(find(tmp_path, draw(kind, dim, np.random.default_rng(1)))) == 0


@pytest.mark.parametrize("dim", [8, 32, 256])
@pytest.mark.parametrize("kind", ["normal", "scales"])
def test_copies_are_found_and_few_others(tmp_path: Path, kind: str, dim: int) -> None:
    rng = np.random.default_rng(2)
    found = find(tmp_path, plant(draw(kind, dim, rng), rng))
    right = found.b - found.a == N_ROWS
    right &= found.a < N_ROWS // 20
    assert right.sum() >= (0.95 if kind == "normal" else 0.6) * (N_ROWS // 20)
    assert (~right).sum() <= 1


def test_one_copy_is_enough(tmp_path: Path) -> None:
    X = np.random.default_rng(3).normal(size=(200, 32))
    X[7] = X[3] + 0.01
    found = find(tmp_path, X)
    assert list(zip(found.a.tolist(), found.b.tolist(), strict=True)) == [(3, 7)]


@pytest.mark.parametrize("n_copies", [9, 40])
def test_the_same_vector_many_times_is_copies(tmp_path: Path, n_copies: int) -> None:
    X = np.random.default_rng(4).normal(size=(500, 32))
    X[1:n_copies] = X[0]
    found = find(tmp_path, X)
    assert sorted({*found.a.tolist(), *found.b.tolist()}) == list(range(n_copies))


@pytest.mark.parametrize("dim", [4, 8])
def test_not_fewer_pairs_are_expected_than_there_are(tmp_path: Path, dim: int) -> None:
    path = write(tmp_path, np.random.default_rng(5).normal(size=(3000, dim)))
    with open_cache(path) as cache:
        near = find_near_pairs(cache, cache.get_info(None).name, np.arange(3000))
    for expected in (30, 300, 3000):
        assert expected / 3 < (near.by_chance < expected).sum() < 1.2 * expected


def test_equal_rows_are_expected_where_columns_have_few_values() -> None:
    X = np.random.default_rng(6).integers(0, 5, (1000, 4))
    equal = (X[:, None] == X[None]).all(axis=2).sum() - len(X)
    assert count_equal(X, len(X)) == pytest.approx(equal / 2, rel=0.15)
    assert count_equal(X[:1], 1) == 0


def test_few_pairs_may_be_chance() -> None:
    assert compute_wrong(np.array([0.5]))[0] == 1
    assert compute_wrong(np.array([1e-5]))[0] < 0.01
    assert compute_wrong(np.full(100, 0.5))[0] < 0.02
    assert len(compute_wrong(np.empty(0))) == 0


@pytest.mark.parametrize(("n_rows", "n_unlike"), [(90, 3), (50, 25)])
def test_rows_of_few_vectors_are_duplicates(tmp_path: Path, n_rows: int, n_unlike: int) -> None:
    X = np.random.default_rng(0).normal(size=(n_unlike, 32))
    found = find(tmp_path, X[np.arange(n_rows) % n_unlike])
    assert [len(rows) for rows in found.clusters] == [n_rows // n_unlike] * n_unlike
    assert found.n_not_told_apart == 0
    assert found.is_complete == (n_rows // n_unlike <= 10)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_rows_of_one_vector_are_not_told_apart(tmp_path: Path, value: float) -> None:
    X = np.random.default_rng(0).normal(size=(80, 8))
    assert find(tmp_path, X).n_not_told_apart == 0
    X[:] = value
    found = find(tmp_path, X)
    assert len(found) == 0
    assert found.n_not_told_apart == 80


@pytest.mark.parametrize("n_copies", [5, 12, 40])
def test_pairs_of_copies_are_all_counted_or_said_to_be_more(tmp_path: Path, n_copies: int) -> None:
    X = np.random.default_rng(0).normal(size=(120, 32))
    X[:n_copies] = X[0]
    found = find(tmp_path, X)
    n_all = n_copies * (n_copies - 1) // 2
    assert [len(rows) for rows in found.clusters] == [n_copies]
    assert found.n_pairs <= n_all
    assert found.is_complete == (found.n_pairs == n_all)
