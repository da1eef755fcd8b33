"""The rows of a cache that a head has learnt from, also where they have no digest."""

from __future__ import annotations

import os

import numpy as np

from featx.cache.reader import Cache
from featx.core.text import count_noun
from featx.core.typing import BoolArray
from featx.heads.head import Head
from featx.heads.units import find_units, spread_over_units


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


def find_related_rows(cache: Cache, seen: BoolArray) -> BoolArray | None:
    """Find the rows that were not learnt from, of a group of which other rows were.

    What a head has learnt of some rows of a group, such as the photos of one animal, it knows of
    the others: their scores say nothing of new groups. A copy of an image joins the groups that it
    lies in.

    Parameters
    ----------
    cache : Cache
        Open cache.
    seen : ndarray of bool
        ``(n_cache_rows,)``, rows that were learnt from.

    Returns
    -------
    ndarray of bool or None
        ``(n_cache_rows,)``; None if the cache has no row that was learnt from: names of groups of
        other caches are not known.
    """
    if not seen.any():
        return None
    units = find_units(cache.groups, cache.read_column("digest"))
    related: BoolArray = spread_over_units(seen, units) & ~seen
    return related


def count_related(related: BoolArray | None) -> int | None:
    """Count the rows of groups that were learnt from; None if it is not known.

    Parameters
    ----------
    related : ndarray of bool or None
        ``(n_rows,)``, those of the rows to score that `find_related_rows` found.
    """
    return None if related is None else int(related.sum())


def describe_related(related: BoolArray | None) -> str:
    """Say how many rows are of groups that were learnt from; empty if none is.

    Parameters
    ----------
    related : ndarray of bool or None
        ``(n_rows,)``, those of the rows to score that `find_related_rows` found.

    Examples
    --------
    >>> describe_related(np.array([True, False, True]))
    '2 of 3 rows are of groups of which other rows were learnt from: their scores may be too high'
    """
    if related is None or not related.any():
        return ""
    verb = "is" if related.sum() == 1 else "are"
    return (
        f"{related.sum():,} of {count_noun(len(related), 'row')} {verb} of groups of which other "
        "rows were learnt from: their scores may be too high"
    )
