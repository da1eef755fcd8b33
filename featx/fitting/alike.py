"""Rows that are all but the same, by their embeddings.

An image that was saved once more, in another size or format, has other bytes and all but the same
embedding. A head that was fitted on one of them knows the label of the other.
"""

from __future__ import annotations

import math

import numpy as np

from featx.cache.reader import Cache
from featx.cache.side_by_side import Names, list_names, read_joined
from featx.cache.tables import BLOCK_ROWS
from featx.core.columns import iter_blocks
from featx.core.typing import BoolArray, Float32Array, IntArray
from featx.heads.side_by_side import scale_embeddings

N_DIMS = 64
"""Dimensions that embeddings are projected to: distances keep within a fifth, at any length."""

N_SAMPLED = 1000
"""Number of rows whose distances to others say what is near."""

N_NEAR = 10
"""Neighbour whose distance is the scale: nine copies of a row do not make its tenth neighbour near.
"""

MIN_REFERENCES = 10
"""Smallest number of rows that say what is near."""

MAX_SHARE = 0.25
"""Largest share of the scale, in squared distances, that counts as all but the same. With
mobilenet_v2, the nearest of 245 images of ants and bees lies at 0.44 or more of 153 others; of the
same images in twice the size at 0.03 or less, and saved at a low quality at 0.09 in the median."""

FALSE_ALARMS = 1e-4
"""Expected share of rows that are as near by chance. It counts where embeddings have few dimensions
and rows are near by chance."""

ROUNDING = 1e-6
"""Error of a squared distance in float32, in squared lengths of the vectors."""

BLOCK = 2048
"""Number of rows whose distances are computed at once."""


def find_alike(cache: Cache, embeddings: Names, rows: IntArray, references: IntArray) -> BoolArray:
    """Find rows whose embedding is all but the same as that of a reference.

    A row counts if its nearest reference is much nearer than references are to each other. The
    vectors are read in blocks; memory holds 64 numbers of each row.

    Parameters
    ----------
    cache : Cache
        Open cache.
    embeddings : str or sequence of str
        Name of the embedding, or names of several, which count alike.
    rows : ndarray of int64
        ``(n_rows,)``, rows to look at.
    references : ndarray of int64
        ``(n_references,)``, other rows, such as those that a head was fitted on.

    Returns
    -------
    ndarray of bool
        ``(n_rows,)``; False throughout if there are too few references.
    """
    if not len(rows) or len(references) < MIN_REFERENCES:
        return np.zeros(len(rows), bool)
    dims = [cache.get_info(name).fingerprint.dim for name in list_names(embeddings)]
    dim = sum(dims)
    projection = None
    if dim > N_DIMS:
        projection = np.random.default_rng(0).normal(size=(dim, N_DIMS)).astype(np.float32)
    first = read_joined(cache, embeddings, references[:BLOCK_ROWS])
    origin = scale_embeddings(first, dims).mean(axis=0)  # near the rows, so that rounding is small
    known, asked = (
        np.concatenate(
            [
                _project(
                    scale_embeddings(read_joined(cache, embeddings, part[block]), dims) - origin,
                    projection,
                )
                for block in iter_blocks(len(part), BLOCK_ROWS)
            ]
        )
        for part in (references, rows)
    )
    return measure_distances(asked, known, 1)[:, 0] < find_limit(known)


def find_limit(known: Float32Array) -> float:
    """Find the squared distance below which rows are all but the same.

    Parameters
    ----------
    known : ndarray of float32
        ``(n_references, n_dims)``, at least `MIN_REFERENCES`.

    Returns
    -------
    float
        The limit: 0 if nothing can be told, because the references are all the same or of so few
        dimensions that rows are as near as copies by chance.
    """
    n_near = min(N_NEAR, (len(known) - 1) // 4)
    chosen = np.random.default_rng(0).permutation(len(known))[:N_SAMPLED]
    squares = measure_distances(known[chosen], known, 2 * n_near + 1)  # a row is its own first
    near, far = squares[:, n_near], squares[:, 2 * n_near]
    scale = float(np.median(near))
    if not scale:
        return 0.0
    growth = float(np.median(far[near > 0] / near[near > 0]))
    # Twice as many rows lie within the distance `growth`: so many dimensions do the rows have.
    n_dims = 2 * math.log(2) / math.log(growth) if growth > 1 else math.inf
    limit = scale * min(MAX_SHARE, (FALSE_ALARMS / n_near) ** (2 / n_dims))
    size = float(np.einsum("ij,ij->i", known, known).mean())
    return limit if limit > ROUNDING * size else 0.0


def measure_distances(asked: Float32Array, known: Float32Array, n_nearest: int) -> Float32Array:
    """Compute the squared distances of rows to their nearest others, in blocks.

    Parameters
    ----------
    asked : ndarray of float32
        ``(n_rows, n_dims)``.
    known : ndarray of float32
        ``(n_others, n_dims)``.
    n_nearest : int
        Number of distances per row, at most ``n_others``.

    Returns
    -------
    ndarray of float32
        ``(n_rows, n_nearest)``, ascending.

    Examples
    --------
    >>> rows = np.array([[0.0, 0.0], [0.0, 2.0]], np.float32)
    >>> measure_distances(rows, rows, 2).tolist()
    [[0.0, 4.0], [0.0, 4.0]]
    """
    found = np.empty((len(asked), n_nearest), np.float32)
    sizes = np.einsum("ij,ij->i", known, known)
    for block in iter_blocks(len(asked), BLOCK):
        part = asked[block]
        best = np.full((len(part), n_nearest), np.inf, np.float32)
        for other in iter_blocks(len(known), BLOCK):
            squares = sizes[other] - 2 * part @ known[other].T
            if n_nearest == 1:
                np.minimum(best, squares.min(axis=1, keepdims=True), out=best)
            else:
                best = np.partition(np.hstack([best, squares]), n_nearest - 1)[:, :n_nearest]
        found[block] = np.sort(best) + np.einsum("ij,ij->i", part, part)[:, None]
    return np.maximum(found, 0)


def _project(X: Float32Array, projection: Float32Array | None) -> Float32Array:
    return X if projection is None else X @ projection
