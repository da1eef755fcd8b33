"""The rows of a cache that a head has learnt from, also where they have no digest."""

from __future__ import annotations

import os

import numpy as np

from featx.cache.reader import Cache
from featx.cache.side_by_side import Names, read_joined, read_present_in
from featx.cache.tables import BLOCK_ROWS
from featx.core.columns import iter_blocks
from featx.core.digests import is_known
from featx.core.learnt import Digests, digest_vectors, find_learnt, shorten_digests
from featx.core.text import count_noun
from featx.core.typing import Array, BoolArray, UInt8Array
from featx.heads.head import Head
from featx.heads.units import find_units, spread_over_units


def identify_rows(digests: UInt8Array, X: Array) -> Digests:
    """Find what rows are known by later: their digests, and those of vectors where there is none.

    Parameters
    ----------
    digests : ndarray of uint8
        ``(n_rows, 32)``, SHA-256 of each image; zeros for one not known.
    X : ndarray
        ``(n_rows, dim)``, embeddings as they are stored; several side by side.

    Returns
    -------
    ndarray of uint64
        ``(n_images,)``, ascending; see `shorten_digests`.
    """
    unknown = np.flatnonzero(~is_known(digests))
    named = digests.copy()
    for block in iter_blocks(len(unknown), BLOCK_ROWS):
        named[unknown[block]] = digest_vectors(X[unknown[block]])
    return shorten_digests(named)


def find_seen_rows(cache: Cache, head: Head, embeddings: Names) -> BoolArray:
    """Find the rows of a cache that a head, or the network of its embeddings, has learnt from.

    Images are known by their digests, and rows without one, such as imported vectors, by their
    vectors. A head of an older featx that knows no vectors has learnt from the rows of the cache
    and the split that it was fitted on, for all that can be told.

    Parameters
    ----------
    cache : Cache
        Open cache.
    head : Head
        The head.
    embeddings : str or sequence of str
        Names of the embeddings that the head takes.

    Returns
    -------
    ndarray of bool
        ``(n_rows,)``.
    """
    digests, fitted = cache.read_column("digest"), head.fitted_on
    seen, unknown = head.find_seen(digests), ~is_known(digests)
    if len(head.seen):
        rows = np.flatnonzero(unknown & read_present_in(cache, embeddings))
        for block in iter_blocks(len(rows), BLOCK_ROWS):
            named = digest_vectors(read_joined(cache, embeddings, rows[block]))
            seen[rows[block]] = find_learnt(named, head.seen)
        return seen
    if os.path.abspath(fitted.cache) != os.path.abspath(cache.path):
        return seen
    is_fitted = np.full(len(cache), True) if fitted.split == "all" else cache.splits == fitted.split
    found: BoolArray = seen | (is_fitted & unknown)
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
    verb, scores = ("is", "its score") if related.sum() == 1 else ("are", "their scores")
    return (
        f"{related.sum():,} of {count_noun(len(related), 'row')} {verb} of groups of which other "
        f"rows were learnt from: {scores} may be too high"
    )
