"""The rows of a cache that a head has learnt from, also where they have no digest."""

from __future__ import annotations

import os

import numpy as np

from featx.cache.reader import Cache
from featx.core.typing import BoolArray
from featx.heads.head import Head


def find_seen_rows(cache: Cache, head: Head) -> BoolArray:
    """Find the rows of a cache that a head, or the network of its embeddings, has learnt from.

    Images are known by their digests. Rows without one, such as imported vectors, count as learnt
    from if they lie in the cache and in the split that the head was fitted on: nobody can tell that
    they are others.

    Parameters
    ----------
    cache : Cache
        Open cache.
    head : Head
        The head.

    Returns
    -------
    ndarray of bool
        ``(n_rows,)``.
    """
    digests, fitted = cache.read_column("digest"), head.fitted_on
    seen = head.find_seen(digests)
    if os.path.abspath(fitted.cache) != os.path.abspath(cache.path):
        return seen
    is_fitted = np.full(len(cache), True) if fitted.split == "all" else cache.splits == fitted.split
    found: BoolArray = seen | (is_fitted & ~digests.any(axis=1))
    return found
