"""A map of rows: their two (or more) principal components, computed in blocks."""

from __future__ import annotations

import numpy as np

from featx.cache.selection import Selection
from featx.core.errors import CacheError
from featx.core.process import single_threaded
from featx.core.similarity import scale_to_length_one
from featx.core.typing import Float32Array


def project_rows(chosen: Selection, *, n_dims: int = 2) -> Float32Array:
    """Project the vectors of rows on their principal components.

    Vectors are scaled to length 1 first, so that near points have a large cosine. Memory holds one
    block of vectors at a time, and a matrix of dim × dim.

    Parameters
    ----------
    chosen : Selection
        Rows, each with a vector in the embedding that was chosen.
    n_dims : int
        Number of components.

    Returns
    -------
    ndarray
        Coordinates ``(n_rows, n_dims)``. The axes have the variance of their components; of each
        component, the largest weight is positive, so that a map is not mirrored from run to run.

    Raises
    ------
    CacheError
        If there are no rows.

    Examples
    --------
    >>> with featx.open_cache("photos.h5") as cache:
    ...     project_rows(cache.select(embedding="mini")).shape
    (12, 2)
    """
    if not len(chosen):
        raise CacheError(
            subject=str(chosen.cache.path),
            expected="at least one row with a vector",
            got="none",
            remedy="Choose other rows, or another embedding.",
        )
    dim = chosen.cache.get_info(chosen.embedding).fingerprint.dim
    total, products = np.zeros(dim), np.zeros((dim, dim))
    with single_threaded():
        for block in chosen.iter_blocks():
            units = _read_units(block)
            total += units.sum(axis=0)
            products += units.T @ units
        mean = total / len(chosen)
        _, vectors = np.linalg.eigh(products / len(chosen) - np.outer(mean, mean))
        axes = vectors[:, ::-1][:, :n_dims]
        largest = np.abs(axes).argmax(axis=0)
        axes = axes * np.sign(axes[largest, np.arange(axes.shape[1])])
        parts = [(_read_units(block) - mean) @ axes for block in chosen.iter_blocks()]
    points: Float32Array = np.zeros((len(chosen), n_dims), np.float32)
    points[:, : axes.shape[1]] = np.concatenate(parts)
    return points


def _read_units(block: Selection) -> Float32Array:
    """Read the vectors of a block, each scaled to length 1."""
    return scale_to_length_one(block.X.astype(np.float32))
