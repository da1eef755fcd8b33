"""Splits of data that grow: new rows are dealt, and all others stay where they are."""

from __future__ import annotations

import numpy as np

from featx.core.typing import Array, BoolArray, Split, StrArray, list_choices
from featx.heads.dealing import Units, deal_units, spread_classes
from featx.heads.splits import check_fractions, check_seed


def extend_splits(
    y: Array, units: Array | None, splits: StrArray, *, val: float, test: float, seed: int
) -> StrArray:
    """Deal rows that have no split, and leave all others where they are.

    Rows go where their class lacks rows, so that all rows together, old and new, come near to the
    fractions.

    Parameters
    ----------
    y : ndarray of str
        ``(n_rows,)``, labels.
    units : ndarray or None
        ``(n_rows,)``, the unit of each row; None if each row is alone. A unit of a row without a
        split has no row with one: `spread_splits` has seen to it.
    splits : ndarray of str
        ``(n_rows,)``, the split of each row, ``""`` for none.
    val, test : float
        Fractions of the rows for val and for test, 0 for none. A split of fraction 0 keeps the rows
        that it has.
    seed : int
        Seed of the shuffle.

    Returns
    -------
    ndarray of str
        ``(n_rows,)``: ``"train"``, ``"val"`` or ``"test"``.

    Raises
    ------
    HeadError
        If the fractions leave no rows for train.

    Examples
    --------
    >>> splits = np.array([*["train"] * 4, ""], object)
    >>> extend_splits(np.full(5, "ant"), None, splits, val=0.2, test=0.0, seed=0).tolist()
    ['train', 'train', 'train', 'train', 'val']
    """
    check_fractions(val, test)
    check_seed(seed)
    asked = {"train": 1 - val - test, "val": val, "test": test}
    names = [name for name, share in asked.items() if share]
    codes = np.full(len(y), -1)
    for number, name in enumerate(names):
        codes[splits == name] = number
    rows = np.flatnonzero((codes >= 0) | (splits == ""))
    table = Units(
        np.unique(y[rows], return_inverse=True)[1],
        (np.arange(len(y)) if units is None else units)[rows],
    )
    dealt = np.full(len(table), -1)
    dealt[table.of_row] = codes[rows]
    shares = np.array([asked[name] for name in names])
    parts = deal_units(table, shares, np.random.default_rng(seed), dealt)
    spread_classes(table, parts, shares, dealt < 0)
    extended = splits.copy()
    is_open = splits[rows] == ""
    extended[rows[is_open]] = np.array(names, object)[parts[table.of_row[is_open]]]
    return extended


def spread_splits(splits: StrArray, units: Array | None) -> tuple[StrArray, BoolArray]:
    """Give rows without a split the one that other rows of their unit have.

    Parameters
    ----------
    splits : ndarray of str
        ``(n_rows,)``, the split of each row, ``""`` for none.
    units : ndarray or None
        ``(n_rows,)``, the unit of each row; None if each row is alone.

    Returns
    -------
    splits : ndarray of str
        ``(n_rows,)``. A unit that lies on several sides gives the first of train, val and test.
    is_parted : ndarray of bool
        ``(n_rows,)``, True for rows whose unit lies on several sides.

    Examples
    --------
    >>> splits, is_parted = spread_splits(np.array(["val", "", ""], object), np.array([0, 0, 1]))
    >>> splits.tolist(), is_parted.tolist()
    (['val', 'val', ''], [False, False, False])
    """
    if units is None:
        return splits, np.zeros(len(splits), bool)
    names = np.array([*list_choices(Split), ""], object)
    of_row = np.unique(units, return_inverse=True)[1]
    first = np.full(len(of_row), len(names) - 1)
    n_sides = np.zeros(len(of_row), np.int64)
    for code in reversed(range(len(names) - 1)):
        found = np.unique(of_row[splits == names[code]])
        first[found] = code
        n_sides[found] += 1
    filled = np.where(splits == "", names[first[of_row]], splits)
    return filled, n_sides[of_row] > 1
