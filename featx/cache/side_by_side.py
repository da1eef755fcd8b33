"""Several embeddings of a cache, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from featx.cache.reader import Cache
from featx.core.errors import CacheError
from featx.core.learnt import Digests, find_learnt, join_digests
from featx.core.text import join_some
from featx.core.typing import BoolArray, IntArray, Vectors

Names = str | Sequence[str]
"""Name of an embedding, or names of several."""


def list_names(embeddings: Names) -> tuple[str, ...]:
    """List the names of embeddings.

    Parameters
    ----------
    embeddings : str or sequence of str
        Name of an embedding, or names of several.

    Examples
    --------
    >>> list_names("mini"), list_names(["mini", "lenet5"])
    (('mini',), ('mini', 'lenet5'))
    """
    return (embeddings,) if isinstance(embeddings, str) else tuple(embeddings)


def read_joined(cache: Cache, embeddings: Names, rows: IntArray) -> Vectors:
    """Read the vectors of embeddings side by side.

    Parameters
    ----------
    cache : Cache
        Open cache.
    embeddings : str or sequence of str
        Names of the embeddings, in the order of their columns.
    rows : ndarray of int64
        ``(n_rows,)``, rows that have a vector in each embedding.

    Returns
    -------
    ndarray
        ``(n_rows, dim)``, where ``dim`` is the sum of their lengths; float16 if all are.

    Raises
    ------
    CacheError
        As `Cache.read_vectors`.
    """
    names = list_names(embeddings)
    if len(names) == 1:
        return cache.read_vectors(names[0], rows)
    dims = [cache.get_info(name).fingerprint.dim for name in names]
    dtype = np.result_type(*(np.dtype(cache.get_dtype(name)) for name in names))
    joined = np.empty((len(rows), sum(dims)), dtype)
    for name, part in zip(names, np.split(joined, np.cumsum(dims)[:-1], axis=1), strict=True):
        part[:] = cache.read_vectors(name, rows)
    return joined


def read_present_in(cache: Cache, embeddings: Names) -> BoolArray:
    """Read which rows have a vector in each of the embeddings, bool ``(n_rows,)``.

    Parameters
    ----------
    cache : Cache
        Open cache.
    embeddings : str or sequence of str
        Names of the embeddings.
    """
    present = np.ones(len(cache), bool)
    for name in list_names(embeddings):
        present &= cache.read_present(name)
    return present


def select_labelled(cache: Cache, split: str, embeddings: Names) -> IntArray:
    """Select the labelled rows of a split that have a vector in each of the embeddings.

    Parameters
    ----------
    cache : Cache
        Open cache.
    split : str
        Name of the split, or ``"all"``.
    embeddings : str or sequence of str
        Names of the embeddings.

    Returns
    -------
    ndarray of int64
        ``(n_rows,)``, ascending; none if the split has no labelled rows.

    Raises
    ------
    CacheError
        If the cache has no such split, or none of its labelled rows has a vector in each embedding.
    """
    labelled = cache.select_rows(split, labelled=True)
    rows = labelled[read_present_in(cache, embeddings)[labelled]]
    if len(labelled) and not len(rows):
        raise CacheError(
            subject=f"{cache.path}, split {split}",
            expected=f"labelled rows with a vector in {join_some(list_names(embeddings), 5)}",
            got="none",
            remedy="Add the vectors with featx.extract(source, output=path).",
        )
    return rows


def read_learnt_by(cache: Cache, embeddings: Names) -> BoolArray:
    """Read which rows the network of one of the embeddings has learnt from, bool ``(n_rows,)``.

    Parameters
    ----------
    cache : Cache
        Open cache.
    embeddings : str or sequence of str
        Names of the embeddings.
    """
    learnt = read_digests_learnt_by(cache, embeddings)
    if not len(learnt):
        return np.zeros(len(cache), bool)
    return find_learnt(cache.read_column("digest"), learnt)


def read_digests_learnt_by(cache: Cache, embeddings: Names) -> Digests:
    """Read the digests of all images that one of the networks has learnt from.

    Parameters
    ----------
    cache : Cache
        Open cache.
    embeddings : str or sequence of str
        Names of the embeddings.

    Returns
    -------
    ndarray of uint64
        ``(n_images,)``, ascending; see `Cache.read_learnt_digests`.
    """
    return join_digests([cache.read_learnt_digests(name) for name in list_names(embeddings)])
