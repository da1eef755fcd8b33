"""Rows that are all but the same are found, and rows that are like each other by nature are not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from featx.cache.joined import open_cache
from featx.core.errors import FeatxWarning
from featx.core.typing import Array, Float32Array, Float64Array
from featx.fitting.alike import MIN_REFERENCES, find_alike, find_limit, measure_distances
from featx.fitting.evaluate import evaluate
from featx.fitting.fit import fit_head
from tests.builders import MakeCache, MakeInfo, rewrite_values


def draw(n_rows: int, dim: int, *, seed: int = 0, common: float = 0.0) -> Float32Array:
    """Draw rows around a few centres, with a part in common."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(5, dim))
    X = centres[rng.integers(5, size=n_rows)] + 0.7 * rng.normal(size=(n_rows, dim)) + common
    return X.astype(np.float32)


def save_again(X: Array, *, noise: float = 0.03, seed: int = 1) -> Float64Array:
    """Change rows a little, as an image that is saved once more changes."""
    return X + noise * np.random.default_rng(seed).normal(size=X.shape)


@pytest.fixture
def pair(make_cache: MakeCache, make_info: MakeInfo) -> Path:
    """Return a cache of 200 rows of train and 100 of val, of 128 dimensions."""
    path = make_cache(n_train=200, n_val=100, infos=[make_info(dim=128)])
    rewrite_values(path, "embeddings/tiny/vectors", draw(300, 128))
    return path


def find(path: Path) -> Array:
    with open_cache(path) as cache:
        rows, references = cache.select_rows("val"), cache.select_rows("train")
        return find_alike(cache, cache.embeddings[0], rows, references)


def test_rows_that_are_like_by_nature_are_not_alike(pair: Path) -> None:
    assert find(pair).sum() == 0


def test_rows_saved_once_more_are_alike(pair: Path) -> None:
    vectors = draw(300, 128)
    vectors[200:230] = save_again(vectors[:30])
    rewrite_values(pair, "embeddings/tiny/vectors", vectors)
    assert np.flatnonzero(find(pair)).tolist() == list(range(30))
    # Copies among the rows that were fitted on do not make near what is far.
    vectors[50:100], vectors[100:150] = (save_again(vectors[:50], seed=seed) for seed in (2, 3))
    rewrite_values(pair, "embeddings/tiny/vectors", vectors)
    assert np.flatnonzero(find(pair)).tolist() == list(range(30))


def test_rows_are_told_apart_behind_a_large_common_part(pair: Path) -> None:
    vectors = draw(300, 128, common=300.0)
    vectors[200:230] = save_again(vectors[:30])
    rewrite_values(pair, "embeddings/tiny/vectors", vectors)
    assert np.flatnonzero(find(pair)).tolist() == list(range(30))


@pytest.mark.parametrize("dim", [2, 4, 8, 32])
def test_of_few_dimensions_near_rows_are_chance(
    make_cache: MakeCache, make_info: MakeInfo, dim: int
) -> None:
    path = make_cache(n_train=500, n_val=500, infos=[make_info(dim=dim)])
    vectors = np.random.default_rng(dim).normal(size=(1000, dim)).astype(np.float32)
    rewrite_values(path, "embeddings/tiny/vectors", vectors)
    assert find(path).sum() <= 1
    rewrite_values(path, "embeddings/tiny/vectors", np.concatenate([vectors[:500]] * 2))
    assert find(path).all() == (dim > 2)  # on a circle, copies are not told from others


def test_too_few_references_and_equal_ones_find_nothing(cache_path: Path) -> None:
    with open_cache(cache_path) as cache:
        rows = np.arange(40, 60)
        assert not find_alike(cache, "tiny", rows, np.arange(MIN_REFERENCES - 1)).any()
        assert len(find_alike(cache, "tiny", rows[:0], np.arange(40))) == 0
    assert find_limit(np.ones((MIN_REFERENCES, 3), np.float32)) == 0


def test_distances_in_blocks_are_those_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featx.fitting.alike.BLOCK", 7)
    asked, known = draw(20, 6), draw(33, 6, seed=3)
    squares = np.sort(((asked[:, None] - known).astype(np.float64) ** 2).sum(axis=2), axis=1)
    for n_nearest in (1, 4, 33):
        found = measure_distances(asked, known, n_nearest)
        np.testing.assert_allclose(found, squares[:, :n_nearest], rtol=1e-4, atol=1e-5)


def test_evaluate_counts_rows_that_look_like_rows_that_were_fitted_on(pair: Path) -> None:
    head = fit_head(pair)
    assert evaluate(head, pair).n_alike == 0
    vectors = draw(300, 128)
    vectors[200:300] = save_again(vectors[:100])
    rewrite_values(pair, "embeddings/tiny/vectors", vectors)
    with pytest.warns(FeatxWarning, match=r"^100 of 100 rows look like rows that were fitted on, "):
        assert evaluate(head, pair).n_alike == 100


def test_evaluate_on_a_cache_without_the_rows_cannot_tell(pair: Path) -> None:
    head = fit_head(pair)
    stranger = replace(head, seen=head.seen[: MIN_REFERENCES - 1])
    assert evaluate(stranger, pair).n_alike is None
