"""Find rows by their texts or digests through sorted 64-bit hashes: 16 bytes per row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from featx.core.columns import Texts, iter_blocks
from featx.core.typing import Array, BoolArray, IntArray, UInt8Array


class _HashIndex:
    """Rows in the order of their hashes. Rows of one hash are compared in full."""

    def __init__(self, hashes: Array) -> None:
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]

    def __len__(self) -> int:
        return len(self._order)

    def _find(self, hashes: Array, is_same: Callable[[IntArray, IntArray], BoolArray]) -> IntArray:
        """Find the first row of each hash that `is_same` accepts (queries, rows); -1 for none."""
        found = np.full(len(hashes), -1, np.int64)
        places = np.searchsorted(self._hashes, hashes)
        left = np.arange(len(hashes))
        while len(left):
            left = left[places[left] < len(self)]
            left = left[self._hashes[places[left]] == hashes[left]]
            rows = self._order[places[left]]
            same = is_same(left, rows)
            found[left[same]] = rows[same]
            left = left[~same]
            places[left] += 1
        return found


class TextIndex(_HashIndex):
    """The rows of a column of texts, to be found by their text.

    Parameters
    ----------
    texts : Texts
        The column, which is kept.

    Examples
    --------
    >>> index = TextIndex(Texts.from_list(["a", "b", "a"]))
    >>> index.find(Texts.from_list(["b", "a", "c"])).tolist()
    [1, 0, -1]
    """

    def __init__(self, texts: Texts) -> None:
        self.texts = texts
        super().__init__(_hash_texts(texts))

    def find(self, texts: Texts) -> IntArray:
        """Find the first row of each text, int64 ``(n_texts,)``; -1 for none.

        Parameters
        ----------
        texts : Texts
            Texts to find.
        """
        found = np.empty(len(texts), np.int64)
        for block in iter_blocks(len(texts)):
            found[block] = self._find_block(texts[block])
        return found

    def _find_block(self, texts: Texts) -> IntArray:
        def is_same(mine: IntArray, rows: IntArray) -> BoolArray:
            return texts[mine].equal(self.texts[rows])

        return self._find(_hash_texts(texts), is_same)

    def find_repeat(self) -> int | None:
        """Find the first row whose text an earlier row has; None if there is none."""
        rows = np.sort(self._order[1:][self._hashes[1:] == self._hashes[:-1]])
        repeats = rows[self.find(self.texts[rows]) != rows]
        return int(repeats[0]) if len(repeats) else None


def count_distinct(texts: Texts) -> int:
    """Count the texts of a column, equal ones once.

    Parameters
    ----------
    texts : Texts
        The column.
    """
    return int((TextIndex(texts).find(texts) == np.arange(len(texts))).sum())


class DigestIndex(_HashIndex):
    """The rows of a column of digests, to be found by their digest.

    Parameters
    ----------
    digests : ndarray of uint8
        ``(n_rows, 32)``, which are kept.
    """

    def __init__(self, digests: UInt8Array) -> None:
        self.digests = digests
        super().__init__(_hash_digests(digests))

    def find(self, digests: UInt8Array) -> IntArray:
        """Find the first row of each digest, int64 ``(n_digests,)``; -1 for none.

        Parameters
        ----------
        digests : ndarray of uint8
            ``(n_digests, 32)``.
        """
        found = np.empty(len(digests), np.int64)
        for block in iter_blocks(len(digests)):
            found[block] = self._find_block(digests[block])
        return found

    def _find_block(self, digests: UInt8Array) -> IntArray:
        def is_same(mine: IntArray, rows: IntArray) -> BoolArray:
            same: BoolArray = (digests[mine] == self.digests[rows]).all(axis=1)
            return same

        return self._find(_hash_digests(digests), is_same)


class SeenDigests(Protocol):
    """Digests that can be sought and added: a `DigestSet`, or a set of Python."""

    def __contains__(self, digest: str, /) -> bool:
        """Return True if the digest was added."""
        ...

    def add(self, digest: str, /) -> None:
        """Add one digest."""
        ...


class DigestSet:
    """A set of digests that takes some 40 bytes for each; hexadecimal digests are added and sought.

    Parameters
    ----------
    digests : ndarray of uint8
        ``(n, 32)``, digests that the set begins with.

    Examples
    --------
    >>> digests = DigestSet()
    >>> digests.add("0f" * 32)
    >>> "0f" * 32 in digests, "f0" * 32 in digests, "" in digests
    (True, False, False)
    """

    def __init__(self, digests: UInt8Array | None = None) -> None:
        self._buckets: dict[bytes, bytearray] = {}
        if digests is not None and len(digests):
            keys = digests[:, 0].astype(np.int32) << 8 | digests[:, 1]
            order = np.argsort(keys, kind="stable")
            starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
            ends = [*starts[1:].tolist(), len(order)]
            for start, end in zip(starts.tolist(), ends, strict=True):
                part = digests[order[start:end]].tobytes()
                self._buckets[part[:2]] = bytearray(part)

    def __contains__(self, digest: str) -> bool:
        sought = bytes.fromhex(digest)
        bucket = self._buckets.get(sought[:2])
        if not sought or bucket is None:
            return False
        place = bucket.find(sought)
        while place % 32 and place >= 0:  # the end of one digest with the start of the next
            place = bucket.find(sought, place + 1)
        return place >= 0

    def add(self, digest: str) -> None:
        """Add one digest.

        Parameters
        ----------
        digest : str
            Hexadecimal digest.
        """
        if digest not in self:
            added = bytes.fromhex(digest)
            self._buckets.setdefault(added[:2], bytearray()).extend(added)


def _hash_texts(texts: Texts) -> Array:
    """Hash texts with Python's keyed hash, which nobody can choose collisions for."""
    return np.fromiter(map(hash, texts.iter_encoded()), np.int64, len(texts))


def _hash_digests(digests: UInt8Array) -> Array:
    """Return the first 64 bits of each digest, uint64 ``(n,)``."""
    return np.ascontiguousarray(digests[:, :8]).view(">u8")[:, 0].astype(np.uint64)
