"""Copies of one file, and files that lie in several classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from featx.core.columns import Texts
from featx.core.digests import pack_digests
from featx.core.same_files import (
    count_copied,
    describe_conflicts,
    describe_copied,
    find_conflicts,
    number_files,
)
from featx.core.typing import UInt8Array


def make_digests(text: str) -> UInt8Array:
    """Make the digest of each row from one hexadecimal digit, a dot for a file not known."""
    return pack_digests([digit.strip(".") * 64 for digit in text])


def test_number_files_by_their_digests() -> None:
    assert number_files(make_digests("b.ab.")).tolist() == [1, -1, 0, 1, -1]
    assert number_files(make_digests("")).tolist() == []


@pytest.mark.parametrize(
    ("digests", "n_copied"), [("", 0), ("...", 0), ("abc", 0), ("abab.", 2), ("aaa", 1)]
)
def test_count_copied_counts_files_not_rows(digests: str, n_copied: int) -> None:
    assert count_copied(make_digests(digests)) == n_copied


@pytest.mark.parametrize(
    ("digests", "labels", "expected"),
    [
        ("aabb", "xyxx", [[0, 1]]),
        ("aabb", "xxyy", []),
        ("abab", "x.y.", [[0, 2]]),
        ("abba", "xyzw", [[0, 3], [1, 2]]),
        ("aaaa", "xxyz", [[0, 2]]),
        ("aaaa", ".x.y", [[1, 3]]),
        ("....", "xyxy", []),
        ("", "", []),
    ],
)
def test_find_conflicts_names_rows_of_two_classes(
    digests: str, labels: str, expected: Sequence[Sequence[int]]
) -> None:
    texts = np.array([label.strip(".") for label in labels], object)
    assert find_conflicts(make_digests(digests), texts).tolist() == expected
    codes = np.array([" xyzw".index(label.replace(".", " ")) for label in labels], np.int32)
    assert find_conflicts(make_digests(digests), codes).tolist() == expected


def test_describe_conflicts_names_three_files() -> None:
    ids = [f"{number}.png" for number in range(10)]
    pairs = np.arange(10).reshape(5, 2)
    told = "5 files lie in two classes: 0.png and 1.png, 2.png and 3.png, 4.png and 5.png, …"
    assert describe_conflicts(ids, pairs) == told
    assert (
        describe_conflicts(Texts.from_list(ids), pairs[:3])
        == told.replace("5 files", "3 files")[:-3]
    )
    assert describe_conflicts(["a\nb", "c"], np.array([[0, 1]])).endswith(r": a\u000ab and c")


def test_describe_copied_of_one_file() -> None:
    assert describe_copied(1) == "1 file lies here twice or more: copies are kept together"
