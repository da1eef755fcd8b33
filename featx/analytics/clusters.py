"""Clusters of near-duplicates, and which image of each to keep."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from featx.cache.reader import Cache
from featx.core.typing import BoolArray, Float64Array, IntArray, StrArray

STRONG = 0.9
"""Certainty from which on a pair joins two clusters."""

HELD_OUT = {"test": 0, "val": 1}
"""Splits in the order in which their images are kept; all others come after."""


def find_clusters(n_rows: int, a: IntArray, b: IntArray, score: Float64Array) -> IntArray:
    """Join pairs to clusters, but let no weak pair join two clusters.

    One wrong pair would join two clusters that have nothing in common. So a pair that is less sure
    than 0.9 adds a row that is alone to a cluster, and joins no two clusters.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    a, b : ndarray of int64
        ``(n_pairs,)``, the rows of each pair, most certain first.
    score : ndarray of float64
        ``(n_pairs,)``, their certainties.

    Returns
    -------
    ndarray of int64
        ``(n_rows,)``, number of the cluster of each row, from 0 in the order of their first rows;
        -1 for a row that has no duplicate.

    Examples
    --------
    >>> a, b = np.array([0, 2, 1, 4]), np.array([1, 3, 2, 3])
    >>> find_clusters(6, a, b, np.array([0.99, 0.99, 0.6, 0.6])).tolist()
    [0, 0, 1, 1, 1, -1]
    """
    strong = score >= STRONG
    parts = join_pairs(n_rows, a[strong], b[strong])
    has_cluster = np.zeros(n_rows, bool)
    has_cluster[a[strong]] = has_cluster[b[strong]] = True
    cluster = np.where(has_cluster, parts, -1)
    fresh = n_rows
    for one, other in zip(a[~strong].tolist(), b[~strong].tolist(), strict=True):
        mine, theirs = cluster[one], cluster[other]
        if mine < 0 and theirs < 0:
            cluster[one] = cluster[other] = fresh
            fresh += 1
        elif mine < 0:
            cluster[one] = theirs
        elif theirs < 0:
            cluster[other] = mine
    members = np.flatnonzero(cluster >= 0)
    _, first, codes = np.unique(cluster[members], return_index=True, return_inverse=True)
    cluster[members] = np.argsort(np.argsort(first))[codes]
    return cluster


def join_pairs(n_rows: int, a: IntArray, b: IntArray) -> IntArray:
    """Join all rows that pairs connect, also over others, int64 ``(n_rows,)``.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    a, b : ndarray of int64
        ``(n_pairs,)``, the rows of each pair.

    Examples
    --------
    >>> join_pairs(4, np.array([0, 1]), np.array([1, 3])).tolist()
    [0, 0, 1, 0]
    """
    graph = coo_array((np.ones(len(a), bool), (a, b)), shape=(n_rows, n_rows))
    joined: IntArray = connected_components(graph, directed=False)[1].astype(np.int64)
    return joined


def choose_kept(cache: Cache, cluster: IntArray) -> BoolArray:
    """Choose the image of each cluster that is kept.

    An image of test is kept before one of val, and one of val before any other, so that a score
    stays comparable with earlier ones and what leaked is taken out of train. Among these, the image
    with the most pixels is kept, and among these the first row.

    Parameters
    ----------
    cache : Cache
        Open cache.
    cluster : ndarray of int64
        ``(n_rows,)``, as `find_clusters` gives it.

    Returns
    -------
    ndarray of bool
        ``(n_rows,)``, True for rows that are kept: one of each cluster, and all without one.
    """
    members = np.flatnonzero(cluster >= 0)
    split = rank_splits(cache.splits[members])
    pixels = cache.sizes[members].astype(np.int64).prod(axis=1)
    order = members[np.lexsort((members, -pixels, split, cluster[members]))]
    kept = np.ones(len(cluster), bool)
    kept[members] = False
    kept[order[np.unique(cluster[order], return_index=True)[1]]] = True
    return kept


def rank_splits(splits: StrArray) -> IntArray:
    """Rank splits by which images are kept first, int64 ``(n_rows,)``.

    Parameters
    ----------
    splits : ndarray of str
        ``(n_rows,)``.

    Examples
    --------
    >>> rank_splits(np.array(["train", "test", "val", ""], object)).tolist()
    [2, 0, 1, 2]
    """
    ranks = np.full(len(splits), len(HELD_OUT), np.int64)
    for name, rank in HELD_OUT.items():
        ranks[splits == name] = rank
    return ranks
