"""Search finds exactly what comparing every pair finds, however the rows are cut into blocks."""

import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featx.analytics import search
from featx.analytics.search import Searcher, normalise
from featx.cache.joined import open_cache
from featx.core.errors import CacheError
from featx.core.similarity import compute_cosines
from tests.builders import build_info, build_rows, write_vectors

DIM = 5


class MadeUpCache:
    """As much of a cache as a search needs; NaN in the first place for a row without a vector."""

    path = Path("made-up.h5")

    def __init__(self, vectors: Any, lacking: Any = ()) -> None:
        self.vectors, self.lacking = vectors, list(lacking)
        self.n_read = 0

    def __len__(self) -> int:
        return len(self.vectors)

    def get_info(self, embedding: Any = None) -> Any:
        return build_info(dim=self.vectors.shape[1])

    def read_present(self, embedding: Any) -> Any:
        present = np.ones(len(self), bool)
        present[self.lacking] = False
        return present

    def take_vectors(self, embedding: Any, rows: Any) -> Any:
        self.n_read += len(rows)
        return self.vectors[rows]


def find_by_hand(vectors: Any, queries: Any, top: int, rows: Any, exclude: Any = None) -> Any:
    """Compare every pair: rows and cosines of each query, nearest first."""
    units, is_usable = normalise(vectors)
    own, _ = normalise(queries)
    found = []
    for number, query in enumerate(own):
        kept = [
            row for row in rows if is_usable[row] and (exclude is None or row != exclude[number])
        ]
        cosines = compute_cosines(np.repeat(query[None], len(kept), axis=0), units[kept])
        order = sorted(range(len(kept)), key=lambda place: (-cosines[place], kept[place]))[:top]
        found.append([(kept[place], float(np.clip(cosines[place], -1, 1))) for place in order])
    return found


def list_found(found: Any) -> Any:
    return [
        [(row, score) for row, score in zip(rows, scores, strict=True) if row >= 0]
        for rows, scores in zip(found.rows.tolist(), found.scores.tolist(), strict=True)
    ]


SMALL = st.integers(-2, 2)
"""Few values: many vectors are equal, many are zero, and many cosines tie."""


@st.composite
def draw_case(draw: Any) -> Any:
    n_rows, n_queries = draw(st.integers(1, 30)), draw(st.integers(1, 6))
    flat = draw(st.lists(SMALL, min_size=n_rows * DIM, max_size=n_rows * DIM))
    vectors = np.array(flat, np.float32).reshape(n_rows, DIM)
    if draw(st.booleans()):
        vectors[draw(st.integers(0, n_rows - 1)), 0] = draw(st.sampled_from([np.nan, np.inf, 1e30]))
    queries = draw(st.lists(SMALL, min_size=n_queries * DIM, max_size=n_queries * DIM))
    queries = np.array(queries, np.float32).reshape(n_queries, DIM)
    queries[(queries == 0).all(axis=1)] = 1
    own = draw(st.lists(st.integers(-1, n_rows - 1), min_size=n_queries, max_size=n_queries))
    lacking = draw(st.lists(st.integers(0, n_rows - 1), max_size=n_rows - 1, unique=True))
    return vectors, queries, np.array(own), lacking


@settings(max_examples=120, deadline=None)
@given(
    case=draw_case(),
    top=st.integers(1, 12),
    block=st.integers(1, 12),
    fits=st.booleans(),
    n_queries=st.integers(1, 4),
    n_threads=st.sampled_from([1, 1, 1, 3]),
)
def test_search_equals_comparing_every_pair(
    case: Any, top: int, block: int, fits: bool, n_queries: int, n_threads: int
) -> None:
    vectors, queries, own, lacking = case
    rows = [row for row in range(len(vectors)) if row not in lacking]
    cache: Any = MadeUpCache(vectors, lacking)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "BLOCK_BYTES", 4 * DIM * block)
        patch.setattr(search, "MAX_SCORES", n_queries * block)
        patch.setattr(search, "MAX_QUERIES", n_queries)
        patch.setattr(search, "joblib", SimpleNamespace(cpu_count=lambda: n_threads))
        searcher = Searcher(cache, memory=search.MEMORY if fits else 0)
        for _ in range(2):  # from disk, then from memory if the vectors fit
            found = searcher.find(queries, top=top, exclude=own)
            assert list_found(found) == find_by_hand(vectors, queries, top, rows, own)
    usable = normalise(vectors)[1]
    assert searcher.find_unusable().tolist() == [row for row in rows if not usable[row]]


def make_vectors(n_rows: int = 400, dim: int = 16, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(n_rows, dim)).astype(np.float32)


def test_result_of_a_query_does_not_depend_on_its_company() -> None:
    cache: Any = MadeUpCache(make_vectors())
    queries = make_vectors(50, seed=1)
    together = Searcher(cache).find(queries, top=7)
    alone = [Searcher(cache, memory=0).find(query[None], top=7) for query in queries]
    assert np.array_equal(together.rows, np.concatenate([one.rows for one in alone]))
    assert np.array_equal(together.scores, np.concatenate([one.scores for one in alone]))


def test_copies_of_one_image_come_in_the_order_of_rows() -> None:
    vectors = make_vectors(3000, dim=33)
    vectors[100:2900] = vectors[5]
    found = Searcher(MadeUpCache(vectors)).find(vectors[5:6], top=20)  # type: ignore[arg-type]
    assert found.rows[0].tolist() == [5, *range(100, 119)]
    assert set(found.scores[0].tolist()) == {1.0}


def test_vectors_that_fit_in_memory_are_read_once() -> None:
    cache: Any = MadeUpCache(make_vectors())
    searcher = Searcher(cache)
    for _ in range(3):
        searcher.find(make_vectors(2, seed=1))
    assert cache.n_read == 400
    streamed = Searcher(cache, memory=0)
    for _ in range(3):
        streamed.find(make_vectors(2, seed=1))
    assert cache.n_read == 4 * 400


def test_sizes_beyond_single_precision_have_a_cosine() -> None:
    directions = make_vectors(6)
    sizes = np.array([1e-38, 1e-25, 1, 1e10, 1e25, 3e37], np.float32)[:, None]
    found = Searcher(MadeUpCache(directions * sizes)).find(directions, top=1)  # type: ignore[arg-type]
    assert found.rows[:, 0].tolist() == list(range(6))
    assert found.scores[:, 0] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("bad", [0, np.nan, np.inf])
def test_query_without_a_direction_is_named(bad: float) -> None:
    queries = make_vectors(4)
    queries[2] = bad
    with pytest.raises(
        CacheError, match="expected finite vectors that are not zero, got 1 other: 2"
    ):
        Searcher(MadeUpCache(make_vectors())).find(queries)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(16,), (2, 15)])
def test_query_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(CacheError, match=r"expected vectors \(n_queries, 16\)"):
        Searcher(MadeUpCache(make_vectors())).find(np.ones(shape))  # type: ignore[arg-type]


def test_no_rows_to_search_in_are_refused() -> None:
    cache: Any = MadeUpCache(make_vectors(3), lacking=[1])
    with pytest.raises(CacheError, match="expected at least one row with a vector to search in"):
        Searcher(cache, rows=np.array([1]))


def test_no_queries_find_nothing() -> None:
    found = Searcher(MadeUpCache(make_vectors())).find(np.empty((0, 16)))  # type: ignore[arg-type]
    assert found.rows.shape == found.scores.shape == (0, 10)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_joined_caches_and_half_precision_are_searched(dtype: Any, tmp_path: Path) -> None:
    vectors = make_vectors(60, dim=8).astype(dtype)
    vectors[7] = np.nan  # no vector
    caches = []
    for number, part in enumerate((slice(0, 25), slice(25, 60))):
        rows = build_rows([f"label{number}"] * len(vectors[part]), [None] * len(vectors[part]))
        path = tmp_path / f"{number}.h5"
        caches.append(
            write_vectors(path, [build_info()], rows, {"tiny": vectors[part]}, dtype=dtype)
        )
    with open_cache(caches) as cache:
        chosen = np.arange(5, 55)
        found = Searcher(cache, rows=chosen).find(vectors[30:40], top=5, exclude=np.arange(30, 40))
    searched = [row for row in chosen.tolist() if row != 7]
    expected = find_by_hand(vectors, vectors[30:40], 5, searched, range(30, 40))
    assert list_found(found) == expected


class EndlessCache(MadeUpCache):
    """A cache of more vectors than may be held; they are made when they are read."""

    def __init__(self, n_rows: int, dim: int) -> None:
        super().__init__(np.broadcast_to(np.float32(1), (n_rows, dim)))

    def take_vectors(self, embedding: Any, rows: Any) -> Any:
        return make_vectors(len(rows), self.vectors.shape[1], seed=int(rows[0]))


def test_memory_does_not_grow_with_the_rows() -> None:
    cache: Any = EndlessCache(600_000, 64)  # 154 MB
    searcher = Searcher(cache, memory=0)
    queries = make_vectors(100, dim=64)
    tracemalloc.start()
    try:
        searcher.find(queries)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20e6 + 30e6 * min(joblib.cpu_count(), search.MAX_THREADS)
