"""Pairs of rows whose embeddings lie near each other: what may be near-duplicates.

All pairs are compared, by two roundings that keep the time short: vectors are projected to few
dimensions to find the nearest rows of each row, and only those are compared at full length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from featx.analytics.chance import TINY, count_by_chance, count_equal
from featx.cache.reader import Cache
from featx.cache.tables import BLOCK_ROWS
from featx.core.columns import iter_blocks
from featx.core.learnt import digest_vectors, shorten_each
from featx.core.similarity import scale_to_length_one
from featx.core.typing import Array, Float32Array, Float64Array, IntArray

N_DIMS = 128
"""Dimensions that vectors are projected to. They keep 0.79 of the variance of mobilenet_v2 on
CIFAR-10; the nearest rows are found among twice as many as are needed."""

N_SAMPLED = 10_000
"""Largest number of rows that say in which directions vectors vary."""

N_SCALE = 20
"""Neighbour whose distance is the scale of a row: a cluster of fewer copies leaves it as it is. Of
few rows, the neighbour that a quarter of them are nearer than: the others may be of other kinds."""

N_PROPOSED = 10
"""Number of nearest rows of each row that may be proposed."""

SHARE_SAMPLED = 15
"""One row in so many says how near the nearest rows are, and at least `MIN_SAMPLED`."""

MIN_SAMPLED = 4096

ROWS, COLUMNS = 2048, 8192
"""Shape of a block of products: 64 MB."""

MAX_NEAR, N_OF_SAME = 256, 16
"""Number of near rows of a row in one block, in the mean, above which only so many are taken: of
thousands of blank images, all pairs would be near."""

N_COUNTED = 1000
"""Number of rows that say how often vectors are equal by chance."""


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Pairs of rows, by their numbers, with the distances of their embeddings.

    Attributes
    ----------
    a, b : ndarray of int64
        ``(n_pairs,)``, rows; `a` is the smaller number.
    cosine : ndarray of float32
        ``(n_pairs,)``, cosine of the two vectors.
    distance : ndarray of float32
        ``(n_pairs,)``, one minus the cosine, relative to how far the neighbours of the two rows
        lie: 1 for neighbour number 20, and 0 for copies.
    rank : ndarray of int64
        ``(n_pairs,)``, how many rows are nearer to `a` or to `b`, whichever is less.
    by_chance : ndarray of float64
        ``(n_pairs,)``, expected number of pairs of the cache that are as near by chance.
    """

    a: IntArray
    b: IntArray
    cosine: Float32Array
    distance: Float32Array
    rank: IntArray
    by_chance: Float64Array

    def __len__(self) -> int:
        return len(self.a)

    def take(self, chosen: Array) -> Pairs:
        """Return some of the pairs.

        Parameters
        ----------
        chosen : ndarray
            Their numbers, or a bool for each pair.
        """
        return Pairs(
            a=self.a[chosen],
            b=self.b[chosen],
            cosine=self.cosine[chosen],
            distance=self.distance[chosen],
            rank=self.rank[chosen],
            by_chance=self.by_chance[chosen],
        )


def find_near_pairs(cache: Cache, embedding: str, rows: IntArray) -> Pairs:
    """Find the nearest rows of each row, as pairs.

    Memory holds the vectors once, and some 100 numbers of each row.

    Parameters
    ----------
    cache : Cache
        Open cache.
    embedding : str
        Name of the embedding.
    rows : ndarray of int64
        ``(n_rows,)``, rows to compare, ascending; each has a vector.

    Returns
    -------
    Pairs
        Each pair once: of each row some twenty nearest rows, or all where there are fewer.
    """
    if len(rows) < 2:
        none, no = np.empty(0, np.int64), np.empty(0, np.float32)
        return Pairs(a=none, b=none, cosine=no, distance=no, rank=none, by_chance=np.empty(0))
    X = np.empty((len(rows), cache.get_info(embedding).fingerprint.dim), np.float32)
    for block in iter_blocks(len(rows), BLOCK_ROWS):
        X[block] = scale_to_length_one(
            cache.read_vectors(embedding, rows[block]).astype(np.float32)
        )
    a, b = _propose(_project(X))
    cosine = _compute_cosines(X, a, b)
    del X
    rank, scales, n_scales = _rank(len(rows), a, b, cosine)
    scale = scales[1]
    distance = (1 - cosine) / np.maximum(np.sqrt(scale[a] * scale[b]), TINY)
    counted = np.sort(np.random.default_rng(3).permutation(rows)[:N_COUNTED])
    by_chance = np.maximum(
        count_by_chance((a, b), cosine, scales, n_scales),
        count_equal(cache.read_vectors(embedding, counted), len(rows)),
    )
    return Pairs(
        a=rows[a], b=rows[b], cosine=cosine, distance=distance, rank=rank, by_chance=by_chance
    )


def number_vectors(cache: Cache, embedding: str, rows: IntArray) -> IntArray:
    """Give rows with the same vector, bit for bit, the same number.

    Parameters
    ----------
    cache : Cache
        Open cache.
    embedding : str
        Name of the embedding.
    rows : ndarray of int64
        ``(n_rows,)``, rows to compare, ascending; each has a vector.

    Returns
    -------
    ndarray of int64
        ``(n_rows,)``, from 0.
    """
    keys = np.empty(len(rows), np.uint64)
    for block in iter_blocks(len(rows), BLOCK_ROWS):
        keys[block] = shorten_each(digest_vectors(cache.read_vectors(embedding, rows[block])))
    return np.unique(keys, return_inverse=True)[1].astype(np.int64)


def _project(X: Float32Array) -> Float32Array:
    """Project vectors to the directions in which they vary most, so that distances change little.

    Two columns are added, so that the product with `_swap_ends` is minus half a squared distance.
    """
    chosen = np.random.default_rng(0).permutation(len(X))[:N_SAMPLED]
    mean = X[chosen].mean(axis=0)
    short = X
    if X.shape[1] > N_DIMS:
        directions = _find_directions(X[chosen] - mean)
        short, mean = X @ directions, mean @ directions
    short = short - mean
    halves = -0.5 * np.einsum("ij,ij->i", short, short)[:, None]
    return np.hstack([short, halves, np.ones_like(halves)])


def _find_directions(centred: Float32Array) -> Float32Array:
    """Find the directions of largest variance by subspace iteration: a tenth of the time of all."""
    rng = np.random.default_rng(2)
    directions = rng.normal(size=(centred.shape[1], N_DIMS + 16)).astype(np.float32)
    for _ in range(3):
        directions = np.linalg.qr(centred.T @ (centred @ directions))[0]
    return directions[:, :N_DIMS]


def _swap_ends(P: Float32Array) -> Float32Array:
    return np.hstack([P[:, :-2], P[:, -1:], P[:, -2:-1]])


def _propose(P: Float32Array) -> tuple[IntArray, IntArray]:
    """Find pairs that are near by their projections: at least some twenty for most rows."""
    n_rows = len(P)
    swapped = _swap_ends(P)
    limits = _find_limits(P, swapped)
    found: list[tuple[IntArray, IntArray]] = []
    for first in range(0, n_rows, ROWS):
        rows = slice(first, first + ROWS)
        for second in range(first, n_rows, COLUMNS):
            columns = slice(second, second + COLUMNS)
            products = P[rows] @ swapped[columns].T
            near = products >= limits[rows, None]
            near |= products >= limits[None, columns]
            if np.count_nonzero(near) > MAX_NEAR * len(near):  # hundreds of the same image
                best = np.argpartition(products, -N_OF_SAME)[:, -N_OF_SAME:]
                near[:] = False
                np.put_along_axis(near, best, True, axis=1)
            hits = np.flatnonzero(near)
            a, b = hits // near.shape[1] + first, hits % near.shape[1] + second
            found.append((a[a < b], b[a < b]))
    a, b = (np.concatenate(part) for part in zip(*found, strict=True))
    return a, b


def _find_limits(P: Float32Array, swapped: Float32Array) -> Float32Array:
    """Estimate from a sample of rows how near the nearest rows of each row are."""
    n_rows = len(P)
    n_sampled = min(n_rows, max(MIN_SAMPLED, n_rows // SHARE_SAMPLED))
    sample = swapped[np.random.default_rng(1).permutation(n_rows)[:n_sampled]]
    # Of all rows, twice as many as needed are expected to be nearer; the row itself is one of them.
    n_nearer = min(n_sampled - 1, max(4, round(2 * N_SCALE * n_sampled / n_rows)))
    limits = np.empty(n_rows, np.float32)
    for block in iter_blocks(n_rows, ROWS):
        products = P[block] @ sample.T
        limits[block] = np.partition(products, n_sampled - 1 - n_nearer)[:, -1 - n_nearer]
    return limits


def _compute_cosines(X: Float32Array, a: IntArray, b: IntArray) -> Float32Array:
    cosines = np.empty(len(a), np.float32)
    for block in iter_blocks(len(a), 4096):
        cosines[block] = np.einsum("ij,ij->i", X[a[block]], X[b[block]])
    return cosines


def _rank(
    n_rows: int, a: IntArray, b: IntArray, cosine: Float32Array
) -> tuple[IntArray, tuple[Float32Array, Float32Array], tuple[int, int]]:
    """Rank the pairs of each row by their cosines.

    Returns
    -------
    rank : ndarray of int64
        ``(n_pairs,)``, the better of the two ranks of each pair, from 0.
    scales : (ndarray of float32, ndarray of float32)
        ``(n_rows,)`` each, one minus the cosine of the neighbour half as far in rank, and of that
        which is the scale.
    n_scales : (int, int)
        Numbers of these neighbours.
    """
    ends, cosines = np.concatenate([a, b]), np.concatenate([cosine, cosine])
    order = np.lexsort((-cosines, ends))
    counts = np.bincount(ends, minlength=n_rows)
    starts = np.cumsum(counts) - counts
    ranks = np.empty(len(ends), np.int64)
    ranks[order] = np.arange(len(ends)) - np.repeat(starts, counts)
    n_scale = min(N_SCALE, max(2, (n_rows - 1) // 4))
    n_scales = max(1, n_scale // 2), n_scale

    def find(number: int) -> Float32Array:
        last = np.minimum(starts + np.minimum(number, counts) - 1, len(order) - 1)
        found = np.maximum(1 - cosines[order[last]], 0)  # rounding makes it negative
        return np.where(counts > 0, found, 1).astype(np.float32)

    return (
        np.minimum(ranks[: len(a)], ranks[len(a) :]),
        (find(n_scales[0]), find(n_scale)),
        n_scales,
    )
