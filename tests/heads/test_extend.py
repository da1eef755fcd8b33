"""New rows are dealt to splits, and all others stay where they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.core.errors import HeadError
from featx.core.typing import StrArray
from featx.heads.extend import extend_splits, spread_splits
from featx.heads.splits import assign_splits
from featx.heads.units import spread_over_units


def make_splits(text: str) -> StrArray:
    """Make a column of splits from their first letters, a dot for none; ``s`` stands for test."""
    names = {"t": "train", "v": "val", "s": "test", ".": ""}
    return np.array([names[letter] for letter in text], object)


def test_extend_splits_keeps_what_is_there_and_reaches_the_fractions() -> None:
    rng = np.random.default_rng(0)
    y = rng.choice(["a", "b", "c"], 300, p=[0.6, 0.3, 0.1])
    splits = np.full(300, "", object)
    splits[:100] = assign_splits(y[:100], None, val=0.1, test=0.1, seed=0)
    extended = extend_splits(y, None, splits, val=0.2, test=0.1, seed=0)
    assert extended[:100].tolist() == splits[:100].tolist()
    for label in "abc":
        of_class = extended[y == label]
        assert (of_class == "val").mean() == pytest.approx(0.2, abs=0.04)
        assert (of_class == "test").mean() == pytest.approx(0.1, abs=0.04)


def test_extend_splits_in_several_steps_moves_no_row() -> None:
    y = np.array(["a", "b"] * 100)
    splits = np.full(200, "", object)
    for stop in (40, 41, 60, 200):
        part = extend_splits(y[:stop], None, splits[:stop], val=0.25, test=0, seed=0)
        held = splits[:stop] != ""
        assert part[held].tolist() == splits[:stop][held].tolist()
        splits[:stop] = part
    assert (splits == "val").sum() == pytest.approx(50, abs=2)


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 8), st.sampled_from("tv....")),
        min_size=4,
        max_size=40,
    )
)
def test_extend_splits_parts_no_unit_that_was_whole(rows: list[tuple[int, int, str]]) -> None:
    y, units = np.array([row[0] for row in rows]).astype(str), np.array([row[1] for row in rows])
    held = make_splits("".join(row[2] for row in rows))
    filled, parted = spread_splits(held, units)
    extended = extend_splits(y, units, filled, val=0.3, test=0, seed=0)
    assert (extended != "").all()
    assert extended[held != ""].tolist() == held[held != ""].tolist()
    is_val = extended[~parted] == "val"
    assert (spread_over_units(is_val, units[~parted]) == is_val).all()


def test_extend_splits_of_a_new_class_leaves_rows_to_fit_on() -> None:
    splits = make_splits("tttttttvvv" + "......")
    y = np.array(["old"] * 10 + ["new"] * 5 + ["lone"])
    extended = extend_splits(y, None, splits, val=0.3, test=0, seed=0)
    assert set(extended[y == "new"]) == {"train", "val"}
    assert extended[-1] == "train"


def test_extend_splits_of_fraction_0_keeps_its_rows() -> None:
    splits = make_splits("ss" + "ttttvv" + "....")
    extended = extend_splits(np.array(["a", "b"] * 6), None, splits, val=0.3, test=0, seed=0)
    assert extended[:2].tolist() == ["test", "test"]
    assert "test" not in extended[2:]


def test_extend_splits_with_bad_fractions_is_refused() -> None:
    with pytest.raises(HeadError, match=r"^val, test: expected fractions"):
        extend_splits(np.array(["a", "b"]), None, make_splits("t."), val=0, test=0, seed=0)
    with pytest.raises(HeadError, match=r"^seed: expected"):
        extend_splits(np.array(["a", "b"]), None, make_splits("t."), val=0.5, test=0, seed=-1)


def test_spread_splits_gives_the_split_of_the_unit() -> None:
    units = np.array([0, 0, 1, 1, 2, 2, 2, 3])
    filled, parted = spread_splits(make_splits("v." + ".s" + "vt." + "."), units)
    assert filled.tolist() == make_splits("vv" + "ss" + "vtt" + ".").tolist()
    assert parted.tolist() == [False] * 4 + [True] * 3 + [False]
    alone, none = spread_splits(make_splits("t.v"), None)
    assert alone.tolist() == ["train", "", "val"]
    assert not none.any()
