"""Units: rows that belong together by any column."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from featx.core.digests import pack_digests
from featx.core.typing import StrArray
from featx.heads.units import count_units, find_parted, find_units, join_units, spread_over_units

NOTHING = np.full(6, "", object)


def build_texts(text: str) -> StrArray:
    """Build a column of one character per row, a dot for an empty cell."""
    return np.array([character.strip(".") for character in text], object)


def test_join_units_joins_rows_by_any_column() -> None:
    groups, digests = build_texts("aa..b."), build_texts("12234.")
    # a joins 0 and 1, and the digest 2 joins 1 and 2; a text of one column is not of another.
    assert join_units(groups, digests).tolist() == [0, 0, 0, 1, 2, 3]
    assert join_units(digests, build_texts("....1.")).tolist() == [0, 1, 1, 2, 3, 4]


def test_join_units_joins_a_chain_from_end_to_end() -> None:
    assert join_units(build_texts("abbccd"), build_texts("112233")).tolist() == [0] * 6


def test_join_units_of_rows_apart_are_rows() -> None:
    assert join_units(NOTHING, build_texts("abcdef")).tolist() == list(range(6))
    assert join_units(NOTHING[:0], NOTHING[:0]).tolist() == []


def test_join_units_takes_digests_as_bytes() -> None:
    digests = pack_digests(["00" * 31 + "01", "ab" * 32, "", "", "ab" * 32, "01" + "00" * 31])
    assert join_units(digests).tolist() == [0, 1, 2, 3, 1, 4]


def test_find_units_of_rows_of_which_each_is_alone_is_none() -> None:
    assert find_units(build_texts("ab.c.."), NOTHING) is None
    assert find_units(NOTHING[:0]) is None
    units = find_units(build_texts("ab.a.."), NOTHING)
    assert units is not None
    assert count_units(units) == 5


@pytest.mark.parametrize(
    ("units", "expected"), [(None, "010000"), ([0, 1, 1, 0, 1, 2], "011010"), ([5] * 6, "111111")]
)
def test_spread_over_units_marks_whole_units(units: list[int] | None, expected: str) -> None:
    flags = np.arange(6) == 1
    spread = spread_over_units(flags, None if units is None else np.array(units))
    assert spread.tolist() == [mark == "1" for mark in expected]
    assert not spread_over_units(np.zeros(6, bool), np.zeros(6)).any()


def find(groups: str, splits: str, *, files: str = "", lacking: tuple[int, ...] = ()) -> Any:
    """Find parted rows; a letter of `splits` is that of its name, and one of `files` a digest."""
    names = {"r": "train", "v": "val", "s": "test", "": ""}
    columns = build_texts(groups), np.array([names[one] for one in build_texts(splits)], object)
    digests = pack_digests([one * 64 for one in build_texts(files or "." * len(groups))])
    usable = ~np.isin(np.arange(len(groups)), lacking)
    return find_parted(columns[0], digests, columns[1], usable).tolist()


def test_find_parted_names_the_first_row_of_train() -> None:
    assert find("aab.bcab", "srsvrsv.") == [[0, 1], [2, 4], [6, 1]]


@pytest.mark.parametrize(
    ("groups", "splits"), [("aaa", "..."), ("...", "rvs"), ("aaa", "vs."), ("aa.", "rrv")]
)
def test_find_parted_finds_none_where_nothing_is_learnt(groups: str, splits: str) -> None:
    assert find(groups, splits) == []


def test_find_parted_leaves_out_what_is_not_learnt_from_or_scored() -> None:
    assert find("aaaa", "rvrs", lacking=(0,)) == [[1, 2], [3, 2]]
    assert find("aaaa", "rvrs", lacking=(0, 2)) == []
    assert find("aaaa", "rvrs", lacking=(1,)) == [[3, 0]]


def test_find_parted_joins_groups_by_copies_and_leaves_copies_out() -> None:
    assert find("aabb", "r..v", files="1223") == [[3, 0]]  # a copy is in both groups
    assert find("aa", "rv", files="11") == []  # a leak of a copy
    assert find("aaa", "rrv", files="121") == [[2, 1]]
    assert find("...", "rvv", files="112") == []
