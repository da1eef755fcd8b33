"""Similarity of embeddings."""

from __future__ import annotations

import numpy as np

from featx.core.typing import Array, Float64Array


def compute_cosines(first: Array, second: Array) -> Float64Array:
    """Compute the cosine of each row of one array with the same row of another.

    Equal rows have cosine 1, even if they are all zeros or infinite. Otherwise, a row of zeros has
    cosine 0 with any finite row, and a row with a NaN or an infinity has cosine NaN. Every
    comparison with NaN is false.

    Parameters
    ----------
    first, second : ndarray
        Two arrays of vectors, both of shape ``(n, dim)``.

    Returns
    -------
    ndarray
        Cosines ``(n,)``, float64, from -1 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> first = np.array([[3.0, 4.0], [0.0, 0.0], [0.0, 0.0]])
    >>> second = np.array([[4.0, 3.0], [0.0, 0.0], [1.0, 0.0]])
    >>> compute_cosines(first, second)
    array([0.96, 1.  , 0.  ])
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    with np.errstate(invalid="ignore"):
        norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        cosines = (first * second).sum(axis=1) / np.where(norms > 0, norms, 1)
    return np.where((first == second).all(axis=1), 1.0, cosines)


def scale_to_length_one(vectors: Array) -> Array:
    """Scale each vector to length 1; a vector of zeros stays.

    Parameters
    ----------
    vectors : ndarray
        Vectors ``(n, dim)``, float32 or float64.

    Returns
    -------
    ndarray
        Vectors ``(n, dim)`` of the same dtype, a new array.

    Examples
    --------
    >>> import numpy as np
    >>> scale_to_length_one(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    lengths = measure_lengths(vectors)
    scaled = np.empty_like(vectors)
    return np.divide(vectors, np.where(lengths > 0, lengths, 1), out=scaled, casting="same_kind")


def measure_lengths(vectors: Array) -> Float64Array:
    """Measure the length of each vector, in double precision: squares leave the range of single.

    Parameters
    ----------
    vectors : ndarray
        Vectors ``(n, dim)``, float32 or float64.

    Returns
    -------
    ndarray of float64
        Lengths ``(n, 1)``.

    Examples
    --------
    >>> import numpy as np
    >>> measure_lengths(np.array([[3e30, 4e30]], np.float32)).round(-24)
    array([[5.e+30]])
    """
    lengths: Float64Array = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    return lengths[:, None]
