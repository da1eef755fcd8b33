"""Search: the rows of a cache whose vectors are nearest to others by their cosine, exactly.

The product of single precision only proposes rows. The cosine of each proposed row is computed in
double precision, so that a result depends neither on the block that a row lies in nor on the other
queries.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import joblib
import numpy as np

from featx.cache.reader import Cache
from featx.core.errors import CacheError
from featx.core.process import single_threaded
from featx.core.similarity import compute_cosines
from featx.core.text import join_some
from featx.core.typing import Array, BoolArray, Float32Array, Float64Array, IntArray

MEMORY = 384 << 20
"""Number of bytes of vectors that a searcher keeps; more are read again at each search."""

BLOCK_BYTES = 4 << 20
"""Number of bytes of the vectors that are read at once."""

MAX_SCORES = 1 << 22
"""Largest number of cosines that are computed at once, 16 MB of single precision."""

MAX_QUERIES = 1024
"""Largest number of queries of one pass over the vectors."""

MARGIN = 1e-5
"""Largest error of a cosine in single precision: rows that are nearer to the last one are looked at
in double precision. The error of 80,000 dimensions would be as large, if all roundings added up."""

MAX_THREADS = 8

MAX_PAIRS = 1 << 21
"""Largest number of values of vectors that are held in double precision at once."""

Block = tuple[IntArray, Float32Array]
"""Rows with their vectors of length 1."""

Done = TypeVar("Done")


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The nearest rows of some queries.

    Attributes
    ----------
    rows : ndarray of int
        ``(n_queries, top)``, numbers of rows of the cache, nearest first; of rows that are equally
        near, the first one first. -1 if there are fewer rows.
    scores : ndarray of float64
        ``(n_queries, top)``, cosines, from -1 to 1; NaN if there are fewer rows.
    """

    rows: IntArray
    scores: Float64Array


class Searcher:
    """Find the rows of a cache that are nearest to vectors, by their cosine, exactly.

    Vectors are read in blocks. If they fit in `memory`, the first search keeps them there for the
    next ones. The cache must stay open.

    Parameters
    ----------
    cache : Cache
        The open cache; it may be several that are read as one.
    embedding : str, optional
        Name of the embedding. Default: the only one.
    rows : ndarray of int, optional
        Rows to search in. Rows without a vector are passed over. Default: all rows.
    memory : int
        Number of bytes of vectors that may be kept.

    Attributes
    ----------
    embedding : str
        Name of the embedding.
    rows : ndarray of int
        Rows that are searched, ascending.

    Raises
    ------
    CacheError
        If the cache has no such embedding, or none of the rows has a vector.

    See Also
    --------
    featx.search : Search with images.

    Examples
    --------
    >>> with featx.open_cache("photos.h5") as cache:
    ...     searcher = featx.Searcher(cache, rows=cache.select_rows("train"))
    ...     found = searcher.find(cache.read_vectors(rows=cache.select_rows("val")), top=3)
    >>> found.rows.shape, found.scores.dtype.name
    ((4, 3), 'float64')
    """

    def __init__(
        self,
        cache: Cache,
        *,
        embedding: str | None = None,
        rows: IntArray | None = None,
        memory: int = MEMORY,
    ) -> None:
        info = cache.get_info(embedding)
        self.embedding, self._cache, self._dim = info.name, cache, info.fingerprint.dim
        present = cache.read_present(info.name)
        wanted = np.ones(len(cache), bool)
        if rows is not None:
            wanted[:] = False
            wanted[rows] = True
        self.rows = np.flatnonzero(wanted & present)
        if not len(self.rows):
            raise CacheError(
                subject=f"{cache.path}, embedding {info.name}",
                expected="at least one row with a vector to search in",
                got=f"none of {int(wanted.sum()):,}",
                remedy="Choose other rows, or add the vectors with featx.extract(source, "
                "output=path).",
            )
        self._fits = len(self.rows) * self._dim * 4 <= memory
        self._held: tuple[IntArray, Float32Array] | None = None
        self._unusable: IntArray | None = None

    def find(self, queries: Array, *, top: int = 10, exclude: IntArray | None = None) -> Neighbours:
        """Find the nearest rows of each query.

        Parameters
        ----------
        queries : ndarray
            Vectors ``(n_queries, dim)``.
        top : int
            Number of rows to find for each query.
        exclude : ndarray of int, optional
            ``(n_queries,)``, a row that is not found for each query, such as the query itself; -1
            for none.

        Returns
        -------
        Neighbours
            Rows and cosines.

        Raises
        ------
        CacheError
            If a query has another number of dimensions, or is zero or not finite, so that it has no
            cosine with anything.
        """
        units = self._check_queries(np.asarray(queries))
        own = np.full(len(units), -1) if exclude is None else np.asarray(exclude, np.int64)
        top = min(top, len(self.rows))
        parts = [
            self._find_some(
                units[start : start + MAX_QUERIES], own[start : start + MAX_QUERIES], top
            )
            for start in range(0, len(units), MAX_QUERIES)
        ]
        if not parts:
            return Neighbours(rows=np.empty((0, top), np.int64), scores=np.empty((0, top)))
        scores = np.concatenate([part.scores for part in parts])
        return Neighbours(
            rows=np.concatenate([part.rows for part in parts]),
            scores=np.where(np.isneginf(scores), np.nan, scores),
        )

    def find_unusable(self) -> IntArray:
        """Return the rows that no search finds, because their vector is zero or not finite.

        Returns
        -------
        ndarray of int
            Numbers of rows, ascending.
        """
        if self._unusable is None:
            self._share_blocks(_exhaust, len(self.rows))
        assert self._unusable is not None
        return self._unusable

    def _check_queries(self, queries: Array) -> Float32Array:
        """Bring queries to length 1; refuse those that have none."""
        if queries.ndim != 2 or queries.shape[1] != self._dim:
            raise CacheError(
                subject="queries",
                expected=f"vectors (n_queries, {self._dim}) of embedding {self.embedding}",
                got=f"an array of shape {queries.shape}",
                remedy="Embed the queries with the same backbone and layer.",
            )
        units, is_usable = normalise(queries)
        bad = np.flatnonzero(~is_usable)
        if len(bad):
            raise CacheError(
                subject="queries",
                expected="finite vectors that are not zero",
                got=f"{len(bad):,} other{'s' * (len(bad) > 1)}: "
                f"{join_some([str(one) for one in bad.tolist()], 3)}",
                remedy="Leave them out: they have no cosine with anything.",
            )
        return units

    def _find_some(self, units: Float32Array, own: IntArray, top: int) -> Neighbours:
        def search(blocks: Iterator[Block]) -> Neighbours:
            best = Neighbours(
                rows=np.full((len(units), top), -1), scores=np.full((len(units), top), -np.inf)
            )
            for rows, block in blocks:
                scores = units @ block.T
                places = np.searchsorted(rows, own)
                places[places == len(rows)] = 0
                mine = np.flatnonzero(rows[places] == own)
                scores[mine, places[mine]] = -np.inf
                best = _merge(best, _propose(scores, best, top), (units, block, rows))
            return best

        found = self._share_blocks(search, max(1, MAX_SCORES // len(units)))
        every = np.tile(np.arange(len(units))[:, None], len(found) * top)
        return _choose_best(
            every.ravel(),
            np.concatenate([one.rows for one in found], axis=1).ravel(),
            np.concatenate([one.scores for one in found], axis=1).ravel(),
            top,
        )

    def _share_blocks(self, work: Callable[[Iterator[Block]], Done], n_rows: int) -> list[Done]:
        """Let threads share the blocks; each reads, and computes products of its own.

        The vectors are kept if they fit, and the rows without a direction are found.
        """
        source: Callable[[int, int], Block] = self._take_block
        n_all = len(self.rows)
        if self._held is None:
            n_rows = min(n_rows, max(1, BLOCK_BYTES // (4 * self._dim)))
            kept = np.empty((len(self.rows), self._dim), np.float32) if self._fits else None
            is_usable = np.ones(len(self.rows), bool)
            source = functools.partial(self._read_block, kept, is_usable)
        else:
            n_all = len(self._held[0])
        starts, lock = iter(range(0, n_all, n_rows)), threading.Lock()

        def iter_blocks() -> Iterator[Block]:
            while True:
                with lock:
                    start = next(starts, None)
                if start is None:
                    return
                block = source(start, start + n_rows)
                if len(block[0]):
                    yield block

        n_threads = max(1, min(joblib.cpu_count(), MAX_THREADS, -(-n_all // n_rows)))
        if n_threads == 1:
            done = [work(iter_blocks())]
        else:
            with single_threaded(), ThreadPoolExecutor(n_threads, "featx-search") as pool:
                try:
                    futures = [pool.submit(work, iter_blocks()) for _ in range(n_threads)]
                    done = [future.result() for future in futures]
                finally:  # after an error, the other threads end with their block
                    with lock:
                        starts = iter(())
        if self._held is None:
            self._unusable = self.rows[~is_usable]
            if kept is not None:
                kept = kept if is_usable.all() else kept[is_usable]
                self._held = self.rows[is_usable], kept
        return done

    def _take_block(self, start: int, stop: int) -> Block:
        """Take rows with their vectors of length 1 from memory."""
        assert self._held is not None
        return self._held[0][start:stop], self._held[1][start:stop]

    def _read_block(
        self, kept: Float32Array | None, is_usable: BoolArray, start: int, stop: int
    ) -> Block:
        """Read rows with their vectors of length 1; without the rows that have none."""
        rows = self.rows[start:stop]
        block, usable = normalise(self._cache.take_vectors(self.embedding, rows))
        is_usable[start:stop] = usable
        if kept is not None:
            kept[start:stop] = block
        return (rows, block) if usable.all() else (rows[usable], block[usable])


def normalise(vectors: Array) -> tuple[Float32Array, BoolArray]:
    """Bring vectors to length 1.

    Parameters
    ----------
    vectors : ndarray
        Vectors ``(n, dim)`` of any dtype of floats.

    Returns
    -------
    units : ndarray of float32
        Vectors ``(n, dim)`` of length 1. Of a vector that is zero or not finite, it means nothing.
    is_usable : ndarray of bool
        ``(n,)``, whether the vector has a direction.

    Examples
    --------
    >>> import numpy as np
    >>> units, is_usable = normalise(np.array([[3.0, 4.0], [0.0, 0.0]]))
    >>> units[0].tolist(), is_usable.tolist()
    ([0.6000000238418579, 0.800000011920929], [True, False])
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        single = vectors.astype(np.float32, copy=False)
        squares = np.einsum("ij,ij->i", single, single)
        # Squares of very small and very large values leave the range of single precision.
        is_usable = (squares > 1e-30) & (squares < 1e30)
        units: Float32Array = single / np.sqrt(squares)[:, None]
        odd = np.flatnonzero(~is_usable)
        if len(odd):
            exact = vectors[odd].astype(np.float64)
            exact /= np.abs(exact).max(axis=1, keepdims=True)
            units[odd] = exact / np.linalg.norm(exact, axis=1, keepdims=True)
            is_usable[odd] = np.isfinite(units[odd]).all(axis=1)
    return units, is_usable


def _exhaust(blocks: Iterator[Block]) -> None:
    """Read all blocks."""
    for _ in blocks:
        pass


def _propose(scores: Float32Array, best: Neighbours, top: int) -> tuple[IntArray, IntArray]:
    """Choose the pairs of a query and a row of a block that may be among the best ones."""
    n_queries, n_rows = scores.shape
    # Every cosine is above -2; a row that must not be found has -inf.
    bar = np.maximum(best.scores[:, -1:], -2).astype(np.float32) - np.float32(MARGIN)
    keep = scores >= bar
    if n_rows > top and np.count_nonzero(keep) > 4 * top * n_queries:
        least = np.partition(scores, n_rows - top, axis=1)[:, n_rows - top, None]
        keep = scores >= np.maximum(bar, least - np.float32(2 * MARGIN))
    queries, places = np.divmod(np.flatnonzero(keep), n_rows)  # faster than nonzero in two axes
    most = 64 + 4 * top
    if len(queries) > most * n_queries:  # many copies of one image
        order = np.lexsort((places, -scores[queries, places], queries))
        queries, places = queries[order], places[order]
        rank = np.arange(len(queries)) - np.searchsorted(queries, queries)
        queries, places = queries[rank < most], places[rank < most]
    return queries, places


def _merge(
    best: Neighbours,
    proposed: tuple[IntArray, IntArray],
    vectors: tuple[Float32Array, Float32Array, IntArray],
) -> Neighbours:
    """Compute the cosines of the pairs that are proposed, and merge them into the best ones."""
    queries, places = proposed
    if not len(queries):
        return best
    units, block, rows = vectors
    step = max(1, MAX_PAIRS // units.shape[1])
    cosines = np.concatenate(
        [
            compute_cosines(
                units[queries[start : start + step]], block[places[start : start + step]]
            )
            for start in range(0, len(queries), step)
        ]
    )
    touched, queries = np.unique(queries, return_inverse=True)  # few, after some blocks
    n_queries, top = len(touched), best.rows.shape[1]
    all_queries = np.concatenate([np.repeat(np.arange(n_queries), top), queries])
    all_rows = np.concatenate([best.rows[touched].ravel(), rows[places]])
    all_scores = np.concatenate([best.scores[touched].ravel(), np.clip(cosines, -1, 1)])
    chosen = _choose_best(all_queries, all_rows, all_scores, top)
    merged = Neighbours(rows=best.rows.copy(), scores=best.scores.copy())
    merged.rows[touched], merged.scores[touched] = chosen.rows, chosen.scores
    return merged


def _choose_best(queries: IntArray, rows: IntArray, scores: Float64Array, top: int) -> Neighbours:
    """Choose the nearest rows of each query, of which there are at least `top`."""
    order = np.lexsort((rows, -scores, queries))
    firsts = np.searchsorted(queries[order], np.arange(queries[order[-1]] + 1))
    chosen = order[firsts[:, None] + np.arange(top)]
    return Neighbours(rows=rows[chosen], scores=scores[chosen])
