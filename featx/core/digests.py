"""Digests as columns: the SHA-256 of each row's bytes in 32 bytes, zeros for one not known."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from featx.core.typing import Array, BoolArray, UInt8Array

SIZE = 32
"""Number of bytes of a digest."""

UNKNOWN = "0" * (2 * SIZE)


def pack_digests(digests: Iterable[str]) -> UInt8Array:
    """Write hexadecimal digests as bytes, uint8 ``(n_rows, 32)``.

    Parameters
    ----------
    digests : iterable of str
        Digests of 64 hexadecimal digits; ``""`` for one that is not known.

    Raises
    ------
    ValueError
        If a text is no digest.

    Examples
    --------
    >>> pack_digests(["ff" * 32, ""])[:, 0].tolist()
    [255, 0]
    """
    texts = [digest or UNKNOWN for digest in digests]
    if any(len(text) != len(UNKNOWN) for text in texts):
        raise ValueError("expected 64 hexadecimal digits")
    return np.frombuffer(bytes.fromhex("".join(texts)), np.uint8).reshape(-1, SIZE)


def unpack_digests(digests: UInt8Array) -> list[str]:
    """List digests as hexadecimal texts, ``""`` for one that is not known.

    Parameters
    ----------
    digests : ndarray of uint8
        ``(n_rows, 32)``.

    Examples
    --------
    >>> unpack_digests(pack_digests(["0f" * 32, ""])) == ["0f" * 32, ""]
    True
    """
    text, step = digests.tobytes().hex(), 2 * SIZE
    starts = range(0, len(text), step)
    known = is_known(digests).tolist()
    return [
        text[start : start + step] if found else ""
        for start, found in zip(starts, known, strict=True)
    ]


def is_known(digests: Array) -> BoolArray:
    """Find the rows whose digest is known, bool ``(n_rows,)``.

    Parameters
    ----------
    digests : ndarray of uint8
        ``(n_rows, 32)``.
    """
    return np.asarray(digests.any(axis=1))
