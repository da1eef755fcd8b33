"""Rows whose files have the same bytes, by their digests."""

from __future__ import annotations

import numpy as np

from featx.cache.reader import Cache
from featx.core.digests import is_known
from featx.core.learnt import shorten_each
from featx.core.typing import IntArray

MAX_ALL = 32
"""Largest number of copies of one file of which all pairs are listed. Of more, those pairs are
listed that hold the first copy in a split: each copy that is in two splits is in such a pair."""


def find_exact(cache: Cache) -> tuple[IntArray, tuple[IntArray, IntArray]]:
    """Find files of the same bytes.

    Parameters
    ----------
    cache : Cache
        Open cache.

    Returns
    -------
    first : ndarray of int64
        ``(n_rows,)``, the first row with the same bytes as each row.
    copies : (ndarray, ndarray)
        Pairs of such rows: all, or those with the first row in a split if there are too many.
    """
    digests, splits = cache.read_column("digest"), cache.splits
    first = np.arange(len(cache))
    known = np.flatnonzero(is_known(digests))
    short = shorten_each(digests[known])
    codes, counts = np.unique(short, return_inverse=True, return_counts=True)[1:]
    order = known[np.argsort(codes, kind="stable")]
    starts = np.cumsum(counts) - counts
    a, b = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for start, count in zip(starts[counts > 1], counts[counts > 1], strict=True):
        members = order[start : start + count]
        first[members] = members[0]
        if count <= MAX_ALL:
            one, other = np.triu_indices(count, 1)
            a.append(members[one])
            b.append(members[other])
        else:
            firsts = members[np.unique(splits[members].astype(str), return_index=True)[1]]
            one, other = np.repeat(firsts, count), np.tile(members, len(firsts))
            pairs = np.stack([np.minimum(one, other), np.maximum(one, other)])
            one, other = np.unique(pairs[:, one != other], axis=1)
            a.append(one)
            b.append(other)
    return first, (np.concatenate(a), np.concatenate(b))


def count_pairs(names: IntArray) -> int:
    """Count the pairs of rows with the same name.

    Parameters
    ----------
    names : ndarray of int64
        ``(n_rows,)``, a number of each row.

    Examples
    --------
    >>> count_pairs(np.array([7, 7, 7, 2, 2]))
    4
    """
    counts = np.unique(names, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())
