"""Dealing rows and whole units to parts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.core.typing import Array, IntArray
from featx.heads.dealing import (
    Units,
    choose_rows,
    choose_units,
    deal_rows,
    deal_units,
)


def make_rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def count_cells(codes: IntArray, parts: IntArray) -> IntArray:
    """Count rows by class and part."""
    table = np.zeros((codes.max() + 1, parts.max() + 1), np.int64)
    np.add.at(table, (codes, parts), 1)
    return table


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(1, 7), st.integers(0, 9))
def test_deal_rows_of_a_class_differ_by_one_row_at_most(
    drawn: list[int], n_parts: int, seed: int
) -> None:
    codes = np.array(drawn)
    parts = deal_rows(codes, n_parts, make_rng(seed))
    for code in np.unique(codes):
        assert np.ptp(np.bincount(parts[codes == code], minlength=n_parts)) <= 1
    few = np.isin(codes, np.flatnonzero(np.bincount(codes) < n_parts))
    assert np.ptp(np.bincount(parts[few], minlength=n_parts)) <= 1


@pytest.mark.parametrize(("n_rows", "n_classes"), [(70, 2), (72, 2), (130, 2), (87, 3), (500, 4)])
def test_deal_rows_of_classes_of_one_size_gives_each_part_as_many_of_each(
    n_rows: int, n_classes: int
) -> None:
    codes = np.arange(n_rows) % n_classes
    cells = count_cells(codes, deal_rows(codes, 25, make_rng()))
    assert (np.ptp(cells, axis=0) == 0).all()
    assert cells.sum(axis=0).min() > 0


def test_deal_rows_fills_the_parts_that_large_classes_leave_smaller() -> None:
    codes = np.repeat([0, 1, 2], [90, 6, 4])
    assert np.bincount(deal_rows(codes, 25, make_rng())).tolist() == [4] * 25


@given(st.lists(st.integers(1, 9), min_size=2, max_size=8), st.integers(1, 40), st.integers(0, 9))
def test_choose_rows_takes_some_of_each_class_and_leaves_some(
    sizes: list[int], n_wanted: int, seed: int
) -> None:
    codes = np.repeat(np.arange(len(sizes)), sizes)
    chosen = choose_rows(codes, n_wanted, make_rng(seed))
    common = np.flatnonzero(np.array(sizes) > 1)
    n_common = int(np.array(sizes)[common].sum())
    if not len(common) or not len(common) <= n_wanted <= n_common - len(common):
        assert len(chosen) == 0
        return
    assert len(chosen) == n_wanted
    taken = np.bincount(codes[chosen], minlength=len(sizes))
    for code, n_rows in enumerate(sizes):
        assert (0 < taken[code] < n_rows) if n_rows > 1 else taken[code] == 0


def test_choose_rows_takes_classes_in_proportion() -> None:
    codes = np.repeat(np.arange(4), [500, 300, 150, 50])
    chosen = choose_rows(codes, 200, make_rng())
    assert np.bincount(codes[chosen]).tolist() == [100, 60, 30, 10]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_deal_units_of_one_size_is_as_even_as_rows(size: int) -> None:
    codes = np.repeat(np.repeat(np.arange(3), 40), size)
    table = Units(codes, np.repeat(np.arange(120), size))
    parts = deal_units(table, np.full(5, 0.2), make_rng())[table.of_row]
    assert (count_cells(codes, parts) == 8 * size).all()


def draw_mixed(seed: int, n_rows: int, n_units: int, n_classes: int) -> tuple[IntArray, Array]:
    rng = make_rng(seed)
    return rng.integers(0, n_classes, n_rows), rng.integers(0, n_units, n_rows)


@pytest.mark.parametrize("seed", range(4))
def test_deal_units_of_mixed_classes_is_nearly_even(seed: int) -> None:
    codes, units = draw_mixed(seed, 2000, 300, 6)
    table = Units(codes, units)
    parts = deal_units(table, np.full(5, 0.2), make_rng(seed))[table.of_row]
    cells = count_cells(codes, parts)
    assert abs(cells - cells.mean(axis=1, keepdims=True)).max() <= 4
    assert np.ptp(np.bincount(parts)) <= 4


def test_deal_units_gives_parts_their_share() -> None:
    codes, units = draw_mixed(0, 3000, 500, 4)
    table = Units(codes, units)
    shares = np.array([0.7, 0.2, 0.1])
    parts = deal_units(table, shares, make_rng())[table.of_row]
    assert np.bincount(parts) == pytest.approx(3000 * shares, rel=0.02)


def test_deal_units_of_one_that_is_larger_than_a_part() -> None:
    codes = np.repeat([0, 1], 60)
    units = np.append(np.zeros(50, int), np.arange(1, 71))
    table = Units(codes, units)
    parts = deal_units(table, np.full(5, 0.2), make_rng())[table.of_row]
    of_class = np.delete(np.bincount(parts[codes == 0], minlength=5), parts[0])
    assert sum(of_class) == 10  # the part of the large unit gets no other row of its class
    assert np.ptp(of_class) <= 1


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=2, max_size=50),
    st.floats(0.05, 0.6),
    st.integers(0, 9),
)
def test_choose_units_leaves_a_unit_of_each_class(
    rows: list[tuple[int, int]], share: float, seed: int
) -> None:
    codes, units = np.array(rows).T
    n_wanted = min(len(rows) - 1, max(1, round(share * len(rows))))
    chosen = choose_units(codes, units, n_wanted, make_rng(seed))
    rest = np.setdiff1d(np.arange(len(rows)), chosen)
    assert set(codes[rest]) == set(codes)
    assert set(units[rest]).isdisjoint(units[chosen])


def test_choose_units_takes_the_smallest_where_none_is_due() -> None:
    codes = np.repeat([0, 1], [180, 20])
    units = np.append(np.arange(180), 180 + (np.arange(20) >= 8))  # the others: 8 and 12 rows
    chosen = choose_units(codes, units, 20, make_rng())
    assert (codes[chosen] == 1).sum() == 8


def test_choose_units_takes_no_more_than_half_for_the_sake_of_a_class() -> None:
    codes, units = np.repeat([0, 1], [10, 90]), np.append(np.arange(10), 10 + np.arange(90) // 45)
    chosen = choose_units(codes, units, 10, make_rng())
    assert (codes[chosen] == 1).sum() in (0, 45)
    assert len(chosen) <= 50


def test_units_are_counted_by_class() -> None:
    codes, units = np.array([3, 3, 7, 7, 7]), np.array(["x", "y", "y", "z", "z"])
    table = Units(codes, units)
    assert (len(table), table.sizes.tolist(), table.totals.tolist()) == (3, [1, 2, 2], [2, 3])
    assert table.count_by_class().tolist() == [2, 2]
    assert table.count_by_class(np.array([True, False, True])).tolist() == [1, 1]


def test_units_made_up_alike_are_found() -> None:
    codes = np.array([0, 1, 1, 0, 0, 0, 1, 1, 1])
    units = np.array([0, 0, 1, 1, 2, 2, 3, 4, 4])
    likes = Units(codes, units).find_likes(make_rng())
    assert likes[0] == likes[1]
    assert len(set(likes.tolist())) == 4


# --- swaps


@given(
    st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=3, max_size=9),
    st.lists(st.integers(1, 9), min_size=2, max_size=4),
    st.integers(0, 99),
)
def test_no_swap_of_two_units_brings_parts_nearer_to_their_shares(
    made: list[list[int]], weights: list[int], seed: int
) -> None:
    cells = np.array([*made, [1, 1, 1]])
    cells = cells[cells.sum(axis=1) > 0]
    codes = np.concatenate([np.repeat(np.arange(3), one) for one in cells])
    units = np.repeat(np.arange(len(cells)), cells.sum(axis=1))
    shares = np.array(weights) / sum(weights)
    rng = make_rng(seed)
    dealt = np.where(rng.random(len(cells)) < 0.3, rng.integers(len(shares), size=len(cells)), -1)
    parts = deal_units(Units(codes, units), shares, rng, dealt)
    assert (parts[dealt >= 0] == dealt[dealt >= 0]).all()
    wanted = shares[:, None] * np.append(cells.sum(axis=0), cells.sum())

    def measure(parts: IntArray) -> float:
        sums = np.zeros_like(wanted)
        np.add.at(sums, parts, np.column_stack([cells, cells.sum(axis=1)]))
        return float(((sums - wanted) ** 2 / wanted).sum())

    now, free = measure(parts), np.flatnonzero(dealt < 0)
    for first, second in itertools.combinations(free, 2):
        other = parts.copy()
        other[[first, second]] = parts[[second, first]]
        assert measure(other) > now - 1e-6


def test_folds_of_few_units_of_both_classes_have_like_shares_of_them() -> None:
    apart = []
    for seed in range(40):
        codes = make_rng(seed).permutation(np.arange(50) % 2)
        table = Units(codes, np.arange(50) // 5)
        parts = deal_units(table, np.full(5, 0.2), make_rng(seed))[table.of_row]
        apart.append(np.abs(count_cells(codes, parts) - 5).mean() / 10)
    assert np.mean(apart) < 0.035  # dealt one by one: 0.065
