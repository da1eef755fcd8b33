"""Embeddings that a head reads side by side: which ones, and in what order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from featx.core.fingerprint import Fingerprint
from featx.core.provenance import Origin
from featx.core.similarity import measure_lengths
from featx.core.typing import Array, Float32Array


@dataclass(frozen=True, kw_only=True)
class HeadEmbedding:
    """An embedding that a head reads.

    Attributes
    ----------
    name : str
        Name of the embedding in the cache that the head was fitted on. In other caches the
        embedding is found by its fingerprint.
    fingerprint : Fingerprint
        Identity of the embedding.
    origin : Origin
        Weights and preprocessing with which featx computes more such embeddings.

    See Also
    --------
    featx.Head : Holds the embeddings that it reads in ``embeddings``.
    """

    name: str
    fingerprint: Fingerprint
    origin: Origin


def scale_embeddings(X: Array, dims: Sequence[int]) -> Float32Array:
    """Scale each embedding of each row to length 1; vectors of zeros stay.

    An embedding of longer vectors would otherwise outweigh the others.

    Parameters
    ----------
    X : ndarray
        ``(n_rows, sum(dims))``, embeddings side by side.
    dims : sequence of int
        Length of each embedding.

    Returns
    -------
    ndarray of float32
        The scaled rows, a new array.

    Examples
    --------
    >>> scale_embeddings(np.array([[3, 4, 0, 2]]), [2, 2]).tolist()
    [[0.6000000238418579, 0.800000011920929, 0.0, 1.0]]
    """
    scaled = np.array(X, np.float32)
    for part in np.split(scaled, np.cumsum(dims)[:-1], axis=1):
        part /= np.maximum(measure_lengths(part), np.finfo(np.float32).tiny)
    return scaled


def prepare_rows(X: Array, dims: Sequence[int], scaling: object) -> Array:
    """Prepare rows for an estimator: rows of several embeddings are scaled one by one, if at all.

    Parameters
    ----------
    X : ndarray
        ``(n_rows, sum(dims))``, embeddings side by side.
    dims : sequence of int
        Length of each embedding.
    scaling : object
        Option of the head: if it is ``"l2"``, each of several embeddings is scaled to length 1. The
        estimator scales the whole row.

    Returns
    -------
    ndarray
        The rows; the array itself if nothing is to be done.
    """
    return scale_embeddings(X, dims) if scaling == "l2" and len(dims) > 1 else X


def name_layers(embeddings: Sequence[HeadEmbedding]) -> str:
    """Name the backbones and layers of embeddings.

    Parameters
    ----------
    embeddings : sequence of HeadEmbedding
        The embeddings that a head reads.
    """
    prints = [one.fingerprint for one in embeddings]
    named = [f"{one.backbone}, layer {one.layer}" for one in prints]
    return named[0] if len(named) == 1 else f"{'; '.join(named)}; side by side"
