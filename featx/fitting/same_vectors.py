"""Rows with the same vector: copies that no digest tells, such as those of imported vectors."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from featx.cache.reader import Cache
from featx.cache.side_by_side import Names, read_joined
from featx.cache.tables import BLOCK_ROWS
from featx.core.columns import iter_blocks
from featx.core.digests import SIZE
from featx.core.learnt import digest_vectors, shorten_each
from featx.core.text import count_noun
from featx.core.typing import Array, IntArray, UInt8Array
from featx.heads.units import find_units


def digest_blocks(blocks: Iterable[Array]) -> UInt8Array:
    """Compute a digest of each vector.

    Parameters
    ----------
    blocks : iterable of ndarray
        Vectors ``(n_block, dim)``, all of one dtype.

    Returns
    -------
    ndarray of uint8
        ``(n_rows, 32)``; zeros, which stand for nothing, for a vector of zeros, and if all vectors
        are the same: that says nothing of which rows belong together.

    Examples
    --------
    >>> found = digest_blocks([np.array([[1.0], [2.0], [1.0]])])
    >>> (found == found[0]).all(axis=1).tolist()
    [True, False, True]
    >>> digest_blocks([np.ones((2, 3))]).any()
    np.False_
    """
    parts = [np.zeros((0, SIZE), np.uint8)]
    for block in blocks:
        digests = digest_vectors(block) * np.any(block, axis=1, keepdims=True)
        parts.append(digests.astype(np.uint8, copy=False))
    found = np.concatenate(parts)
    return np.zeros_like(found) if (found == found[:1]).all() else found


def digest_rows(cache: Cache, embeddings: Names, rows: IntArray) -> UInt8Array:
    """Compute a digest of the vectors of some rows, which are read in blocks.

    Parameters
    ----------
    cache : Cache
        Open cache.
    embeddings : str or sequence of str
        Name of the embedding, or names of several: rows are the same if they are in all of them.
    rows : ndarray of int64
        ``(n_rows,)``, rows that have a vector in each.

    Returns
    -------
    ndarray of uint8
        ``(n_rows, 32)``, as `digest_blocks` returns them.
    """
    return digest_blocks(
        read_joined(cache, embeddings, rows[block]) for block in iter_blocks(len(rows), BLOCK_ROWS)
    )


def find_all_units(cache: Cache, rows: IntArray, vectors: UInt8Array) -> IntArray | None:
    """Find the units of all rows of a cache: groups, copies of one file, and the same vectors.

    Parameters
    ----------
    cache : Cache
        Open cache.
    rows : ndarray of int64
        ``(n_rows,)``, the rows at hand. Others join them too: a copy without a label may lie in a
        group.
    vectors : ndarray of uint8
        ``(n_rows, 32)``, digests of the vectors of these rows.

    Returns
    -------
    ndarray of int64 or None
        ``(n_all,)``, the unit of each row of the cache; None if each is alone.
    """
    column = np.zeros((len(cache), SIZE), np.uint8)
    column[rows] = vectors
    return find_units(cache.groups, cache.read_column("digest"), column)


def find_units_of(cache: Cache, rows: IntArray, embeddings: Names) -> IntArray | None:
    """Find the units of some rows of a cache, which rows that are left out join too.

    Parameters
    ----------
    cache : Cache
        Open cache.
    rows : ndarray of int64
        ``(n_rows,)``, the rows.
    embeddings : str or sequence of str
        Name of the embedding in which each has a vector, or names of several.

    Returns
    -------
    ndarray of int64 or None
        ``(n_rows,)``, the unit of each row; None if no rows of the cache belong together.
    """
    units = find_all_units(cache, rows, digest_rows(cache, embeddings, rows))
    return None if units is None else units[rows]


def count_same(vectors: UInt8Array, units: IntArray) -> int:
    """Count the vectors that rows of several units have.

    Parameters
    ----------
    vectors : ndarray of uint8
        ``(n_rows, 32)``, digests of the vectors, as `digest_blocks` returns them.
    units : ndarray of int64
        ``(n_rows,)``, the unit of each row by its group and its file.

    Examples
    --------
    >>> vectors = digest_blocks([np.array([[1.0], [1.0], [2.0], [2.0], [3.0]])])
    >>> count_same(vectors, np.arange(5)), count_same(vectors, np.array([0, 0, 1, 2, 3]))
    (2, 1)
    """
    known = np.flatnonzero(vectors.any(axis=1))
    if not len(known):
        return 0
    numbers = np.unique(shorten_each(vectors[known]), return_inverse=True)[1]
    pairs = np.unique(np.stack([numbers, units[known]]), axis=1)
    return int((np.bincount(pairs[0]) > 1).sum())


def describe_same(n_vectors: int) -> str:
    """Say that rows with the same vector belong together.

    Parameters
    ----------
    n_vectors : int
        Number of vectors that several rows have.

    Examples
    --------
    >>> describe_same(1)
    '1 vector is here twice or more: its rows are kept together'
    """
    verb, whose = ("is", "its") if n_vectors == 1 else ("are", "their")
    told = f"{count_noun(n_vectors, 'vector')} {verb} here twice or more"
    return f"{told}: {whose} rows are kept together"
