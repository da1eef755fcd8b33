"""Clusters of embeddings: few directions, and k-means in them, of weighed rows."""

from __future__ import annotations

import math

import numpy as np

from featx.core.columns import iter_blocks
from featx.core.similarity import scale_to_length_one
from featx.core.typing import Array, Float32Array, Float64Array, IntArray

N_DIRECTIONS = 64
"""Number of principal directions that rows are clustered in: k-means takes a twentieth of the time
of 1,280 channels, and the choices were as good."""

MAX_BASIS_ROWS = 4000
"""Largest number of rows that the principal directions are found on."""

MAX_STEPS = 25
"""Largest number of steps of k-means: later ones move few rows."""

N_STARTS, FEW_CLUSTERS = 3, 100
"""Number of starts of k-means, and of clusters up to which so many are tried: with more, one start
is as good as another."""

BLOCK = 2048
"""Number of rows whose distances are held at once."""


def project(X: Array, rng: np.random.Generator) -> Float32Array:
    """Bring embeddings to length 1, and then into their principal directions.

    The directions are those of a random sample, by a randomised decomposition (Halko, Martinsson
    and Tropp 2011).

    Parameters
    ----------
    X : ndarray
        ``(n_rows, dim)``, embeddings.
    rng : Generator
        Source of the sample.

    Returns
    -------
    ndarray of float32
        ``(n_rows, n)``, at most `N_DIRECTIONS` of them.
    """
    rows = scale_to_length_one(np.asarray(X, np.float32))
    sample = rows[rng.permutation(len(rows))[:MAX_BASIS_ROWS]]
    centre = sample.mean(axis=0)
    sample = sample - centre
    n_directions = min(N_DIRECTIONS, *sample.shape)
    basis: Float32Array = rng.standard_normal((sample.shape[1], n_directions), np.float32)
    for _ in range(3):
        basis = np.asarray(np.linalg.qr(sample.T @ (sample @ basis))[0], np.float32)
    return np.asarray((rows - centre) @ basis, np.float32)


def cluster_rows(
    Z: Float32Array, n_clusters: int, rng: np.random.Generator, weights: Float64Array | None = None
) -> tuple[IntArray, Float32Array]:
    """Cluster rows by k-means; few clusters are those of the best of several starts.

    Parameters
    ----------
    Z : ndarray of float32
        ``(n_rows, n)``, the rows, at least one.
    n_clusters : int
        Largest number of clusters. Equal rows are never parted.
    rng : Generator
        Source of the starts.
    weights : ndarray of float64, optional
        ``(n_rows,)``, the weight of each row, above 0. Default: all weigh alike.

    Returns
    -------
    clusters : ndarray of int64
        ``(n_rows,)``, the cluster of each row.
    centres : ndarray of float32
        ``(n_clusters, n)``.
    """
    weighed = np.ones(len(Z)) if weights is None else weights
    n_starts = N_STARTS if n_clusters <= FEW_CLUSTERS else 1
    found = (_improve(Z, _start(Z, n_clusters, rng, weighed), weighed) for _ in range(n_starts))
    return min(found, key=lambda one: float(weighed @ ((Z - one[1][one[0]]) ** 2).sum(axis=1)))


def _improve(
    Z: Float32Array, centres: Float32Array, weights: Float64Array
) -> tuple[IntArray, Float32Array]:
    """Move the centres, in place, to the means of their rows, until the rows stay."""
    clusters = np.full(len(Z), -1)
    for _ in range(MAX_STEPS):
        before, clusters = clusters, find_nearest_centres(Z, centres)
        if np.array_equal(before, clusters):
            break
        mass = np.bincount(clusters, weights, minlength=len(centres))
        sums = np.stack(
            [np.bincount(clusters, weights * one, minlength=len(centres)) for one in Z.T], axis=1
        )
        has_mass = mass > 0  # the others stay where they are
        centres[has_mass] = sums[has_mass] / mass[has_mass, None]
    return clusters, centres


def _start(
    Z: Float32Array, n_clusters: int, rng: np.random.Generator, weights: Float64Array
) -> Float32Array:
    """Draw rows as first centres, each the best of a few that lie far from those before it.

    This is k-means++ with several trials (Arthur and Vassilvitskii 2007).
    """
    n_tried = 2 + int(math.log(n_clusters))
    squares = (Z**2).sum(axis=1)
    chosen: list[int] = []
    distances = np.full(len(Z), np.inf, np.float32)
    far = weights
    while len(chosen) < n_clusters and far.sum() > 0:
        tried = rng.choice(len(Z), n_tried if chosen else 1, p=far / far.sum())
        steps = np.maximum(squares[tried, None] + squares - 2 * Z[tried] @ Z.T, 0)
        best = int(tried[np.argmin(np.minimum(steps, distances) @ weights)])
        chosen.append(best)
        # Equal rows are at distance 0, which the product above does not give exactly.
        distances = np.minimum(distances, ((Z - Z[best]) ** 2).sum(axis=1))
        far = weights * distances
    return Z[chosen or [0]].copy()


def find_nearest_centres(Z: Float32Array, centres: Float32Array) -> IntArray:
    """Find the nearest centre of each row, in blocks.

    Parameters
    ----------
    Z : ndarray of float32
        ``(n_rows, n)``.
    centres : ndarray of float32
        ``(n_centres, n)``.
    """
    squares = (centres**2).sum(axis=1)
    nearest = np.empty(len(Z), np.int64)
    for block in iter_blocks(len(Z), BLOCK):
        nearest[block] = (squares - 2 * Z[block] @ centres.T).argmin(axis=1)
    return nearest
