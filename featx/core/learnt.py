"""Learnt rows: the images that a network or a head has learnt from, by their digests.

A score of such images is too high, and says nothing of new ones. So tuned weights carry the digests
of the images that they were tuned on, caches take them over, and heads add them to their own.
Whatever fits, folds, splits or scores rows asks `find_learnt` which of them were learnt from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from featx.core.digests import SIZE, is_known
from featx.core.errors import CacheError
from featx.core.typing import Array, BoolArray, StrArray, UInt8Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Digests = NDArray[np.uint64]
    """Shortened digests ``(n_images,)``, ascending, each one once."""
else:
    Digests = Any

N_DIGITS = 16
"""Number of hexadecimal digits that are kept of a SHA-256: 64 bits. Of five million learnt images
and as many others, two have the same ones with a probability of one in a million."""


def shorten_digests(digests: StrArray | UInt8Array) -> Digests:
    """Shorten SHA-256 digests to their first 64 bits.

    Parameters
    ----------
    digests : ndarray of str or of uint8
        ``(n_rows,)``, hexadecimal digests; or ``(n_rows, 32)``, their bytes. Those that are not
        known, empty or zeros, are left out.

    Returns
    -------
    ndarray of uint64
        ``(n_images,)``, ascending, each one once.

    Examples
    --------
    >>> shorten_digests(np.array(["00000000000000ff" + 48 * "0", ""], object)).tolist()
    [255]
    """
    return np.unique(shorten_each(digests)[_is_known(digests)])


def digest_vectors(X: Array) -> UInt8Array:
    """Compute a digest of each vector, which stands for an image whose bytes are not known.

    Parameters
    ----------
    X : ndarray of float32 or float16
        ``(n_rows, dim)``; the same numbers have the same digest in both.

    Returns
    -------
    ndarray of uint8
        ``(n_rows, 32)``, SHA-256 of the numbers as float32.
    """
    vectors = np.ascontiguousarray(X, "<f4")
    text = b"".join(hashlib.sha256(one).digest() for one in vectors)
    return np.frombuffer(text, np.uint8).reshape(-1, SIZE)


def join_digests(parts: Iterable[Digests]) -> Digests:
    """Join the shortened digests of several records.

    Parameters
    ----------
    parts : iterable of ndarray of uint64
        Shortened digests of each record, ``(n_images,)``.

    Returns
    -------
    ndarray of uint64
        ``(n_images,)``, ascending, each one once.
    """
    return np.unique(np.concatenate([np.empty(0, np.uint64), *parts]))


def find_learnt(digests: StrArray | UInt8Array, learnt: Digests) -> BoolArray:
    """Find the rows of a table whose image was learnt from.

    An image is identified by its bytes: a copy under another name is found, an image that was
    edited or saved again is not.

    Parameters
    ----------
    digests : ndarray of str or of uint8
        SHA-256 of each row's image, as `shorten_digests` takes them.
    learnt : ndarray of uint64
        ``(n_images,)``, shortened digests of the images that were learnt from.

    Returns
    -------
    ndarray of bool
        ``(n_rows,)``, True if the row's image was learnt from.

    Examples
    --------
    >>> digests = np.array(["0a" * 32, "0b" * 32, ""], object)
    >>> find_learnt(digests, shorten_digests(digests[:1])).tolist()
    [True, False, False]
    """
    if not len(learnt):
        return np.zeros(len(digests), bool)
    found: BoolArray = np.isin(shorten_each(digests), learnt) & _is_known(digests)
    return found


def is_ascending(values: Digests) -> bool:
    """Return True if shortened digests are ascending and each is there once."""
    return bool((values[1:] > values[:-1]).all())


def _is_known(digests: StrArray | UInt8Array) -> BoolArray:
    return is_known(digests) if digests.ndim == 2 else np.asarray(digests != "")


def shorten_each(digests: StrArray | UInt8Array) -> Digests:
    """Return the first 64 bits of each digest, 0 for an empty one, uint64 ``(n_rows,)``.

    Parameters
    ----------
    digests : ndarray of str or of uint8
        SHA-256 of each row's image, as `shorten_digests` takes them.

    Raises
    ------
    CacheError
        If a digest is not hexadecimal.
    """
    if digests.ndim == 2:
        return np.ascontiguousarray(digests[:, :8]).view(">u8")[:, 0].astype(np.uint64)
    values = (int(digest[:N_DIGITS] or "0", 16) for digest in digests)
    try:
        return np.fromiter(values, np.uint64, len(digests))
    except (ValueError, OverflowError) as error:
        raise CacheError(
            subject="digests",
            expected="the SHA-256 of each image in hexadecimal",
            got=str(error),
            remedy="Check the cache with featx.verify_cache(path).",
        ) from error
