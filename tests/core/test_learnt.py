"""Learnt rows are found by the digest of their image."""

import numpy as np
import pytest

from featx.core.errors import CacheError
from featx.core.learnt import find_learnt, is_ascending, join_digests, shorten_digests

DIGESTS = np.array(["ff" * 32, "0a" * 32, "", "0a" * 32, "0b" * 32], object)
"""Two copies of one image, and an image whose digest is not known."""


def test_shorten_digests_are_sorted_and_without_copies() -> None:
    shortened = shorten_digests(DIGESTS)
    assert shortened.dtype == np.uint64
    assert [f"{value:016x}" for value in shortened.tolist()] == ["0a" * 8, "0b" * 8, "ff" * 8]


def test_find_learnt_finds_copies_and_no_row_without_a_digest() -> None:
    learnt = shorten_digests(np.array(["0a" * 32, "00" * 32], object))
    assert find_learnt(DIGESTS, learnt).tolist() == [False, True, False, True, False]


@pytest.mark.parametrize("n_rows", [0, 5])
def test_find_learnt_of_a_network_that_learnt_nothing_finds_none(n_rows: int) -> None:
    found = find_learnt(DIGESTS[:n_rows], np.empty(0, np.uint64))
    assert found.dtype == bool
    assert found.tolist() == [False] * n_rows


def test_join_digests_keeps_each_once() -> None:
    parts = [np.array(values, np.uint64) for values in ([3, 9], [], [1, 9, 2**64 - 1])]
    joined = join_digests(parts)
    assert joined.dtype == np.uint64
    assert joined.tolist() == [1, 3, 9, 2**64 - 1]
    assert len(join_digests([])) == 0


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], True), ([7], True), ([0, 2**63, 2**64 - 1], True), ([1, 1], False), ([2, 1], False)],
)
def test_is_ascending_refuses_copies(values: list[int], expected: bool) -> None:
    assert is_ascending(np.array(values, np.uint64)) is expected


@pytest.mark.parametrize("digest", ["nonsense", "-5", "0a" * 7 + " z"])
def test_find_learnt_refuses_texts_that_are_no_digests(digest: str) -> None:
    learnt = np.array([5], np.uint64)
    with pytest.raises(CacheError, match=r"expected the SHA-256 of each image in hexadecimal"):
        find_learnt(np.array([digest], object), learnt)
