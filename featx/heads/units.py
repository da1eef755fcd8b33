"""Units: rows that belong together, and that nothing parts.

Rows of one group are one unit, and so are copies of one file and rows with the same vector: what is
known of one of them is known of all. Whatever parts rows asks here: splits, folds, the holdout of a
fine-tuning, a learning curve, an interval that draws rows again.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from featx.core.digests import is_known
from featx.core.learnt import shorten_each
from featx.core.typing import Array, BoolArray, IntArray, StrArray, UInt8Array


def join_units(*columns: StrArray | UInt8Array) -> IntArray:
    """Join rows that belong together: rows with the same value in one of the columns.

    Parameters
    ----------
    *columns : ndarray of str or of uint8
        Texts ``(n_rows,)``, such as groups, or the bytes of digests ``(n_rows, 32)``. An empty text
        and a digest of zeros stand for nothing.

    Returns
    -------
    ndarray of int64
        ``(n_rows,)``, the number of the unit of each row, from 0.

    See Also
    --------
    find_units : None for rows of which each is alone.

    Examples
    --------
    >>> groups = np.array(["a", "", "a", ""], dtype=object)
    >>> join_units(groups, np.array(["1", "2", "3", "2"], dtype=object)).tolist()
    [0, 1, 0, 1]
    """
    n_rows = n_nodes = len(columns[0])  # a node of a graph for each row, then for each value
    ends: list[tuple[IntArray, IntArray]] = []
    for column in columns:
        rows, values = _find_values(column)
        found, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
        joins = counts[codes] > 1
        ends.append((rows[joins], codes[joins] + n_nodes))
        n_nodes += len(found)
    starts, stops = (np.concatenate(part) for part in zip(*ends, strict=True))
    if not len(starts):
        return np.arange(n_rows)
    graph = coo_array((np.ones(len(starts), bool), (starts, stops)), shape=(n_nodes, n_nodes))
    units = connected_components(graph, directed=False)[1][:n_rows]
    return np.unique(units, return_inverse=True)[1].astype(np.int64)


def _find_values(column: StrArray | UInt8Array) -> tuple[IntArray, Array]:
    """Find the rows that have a value, and their values in a dtype that is sorted fast."""
    if column.ndim == 2:
        rows = np.flatnonzero(is_known(column))
        return rows, shorten_each(column[rows])
    rows = np.flatnonzero(column != "")
    return rows, column[rows].astype(str)


def find_units(*columns: StrArray | UInt8Array) -> IntArray | None:
    """Find the units of rows; None if each row is alone.

    Parameters
    ----------
    *columns : ndarray of str or of uint8
        Columns of the rows, as `join_units` takes them.

    Returns
    -------
    ndarray of int64 or None
        ``(n_rows,)``, the number of the unit of each row, from 0.

    Examples
    --------
    >>> find_units(np.array(["a", "", "b"], dtype=object)) is None
    True
    """
    return renumber_units(join_units(*columns))


def renumber_units(units: IntArray) -> IntArray | None:
    """Give the units of some rows numbers from 0; None if each of these rows is alone.

    Parameters
    ----------
    units : ndarray of int64
        ``(n_rows,)``, units of rows that were chosen from more.

    Examples
    --------
    >>> renumber_units(np.array([7, 2, 7])).tolist()
    [1, 0, 1]
    >>> renumber_units(np.array([7, 2])) is None
    True
    """
    found = np.unique(units, return_inverse=True)[1].astype(np.int64)
    return None if not len(found) or found.max() == len(found) - 1 else found


def count_units(units: Array) -> int:
    """Count the units of rows.

    Parameters
    ----------
    units : ndarray
        ``(n_rows,)``, the unit of each row.
    """
    return len(np.unique(units))


def count_even(units: Array) -> int:
    """Count the units of one size that would say as much as these: few, if one holds most rows.

    Parameters
    ----------
    units : ndarray
        ``(n_rows,)``, the unit of each row.

    Returns
    -------
    int
        The rows squared over the sum of the squares of the sizes of the units, rounded down: the
        number of units if all have one size.

    Examples
    --------
    >>> count_even(np.array([0, 0, 1, 1, 2, 2]))
    3
    >>> count_even(np.array([0, 0, 0, 0, 1, 2]))
    2
    """
    sizes = np.unique(units, return_counts=True)[1]
    return int(len(units) ** 2 // (sizes**2).sum()) if len(units) else 0


def find_parted(
    groups: StrArray, digests: UInt8Array, splits: StrArray, usable: BoolArray
) -> IntArray:
    """Find the rows that are scored while a head learns from others of their group.

    Groups that hold copies of one file are one. A copy of a row says so by its digest: where the
    group has nothing else in train, it is not told here.

    Parameters
    ----------
    groups, splits : ndarray of str
        ``(n_rows,)``, group and split of each row; ``""`` for none.
    digests : ndarray of uint8
        ``(n_rows, 32)``, zeros for none.
    usable : ndarray of bool
        ``(n_rows,)``, True for rows that are learnt from or scored: with a label and a vector.

    Returns
    -------
    ndarray of int64
        ``(n, 2)``, each such row of val or test in ascending order, and the first row of its group
        in train that is no copy of it.

    Examples
    --------
    >>> groups = np.array(["a", "a", "b", "b", "a"], dtype=object)
    >>> splits = np.array(["val", "train", "val", "test", "train"], dtype=object)
    >>> find_parted(groups, np.zeros((5, 32), np.uint8), splits, np.ones(5, bool)).tolist()
    [[0, 1]]
    """
    units, copies = join_units(groups, digests), join_units(digests)
    learnt = np.flatnonzero(usable & (splits == "train"))
    scored = np.flatnonzero(usable & (splits != "train") & (splits != ""))
    partners = np.full(len(scored), -1)
    for _ in range(2):  # a row is no copy of the first row of its unit, or of the first other one
        firsts = np.full(len(groups), -1)
        found, at = np.unique(units[learnt], return_index=True)
        firsts[found] = learnt[at]
        theirs = firsts[units[scored]]
        fits = (partners < 0) & (theirs >= 0) & (copies[theirs] != copies[scored])
        partners[fits] = theirs[fits]
        learnt = learnt[copies[learnt] != copies[firsts[units[learnt]]]]
    return np.stack([scored, partners], axis=1)[partners >= 0]


def spread_over_units(flags: BoolArray, units: Array | None) -> BoolArray:
    """Mark all rows of each unit that has a marked row.

    Parameters
    ----------
    flags : ndarray of bool
        ``(n_rows,)``, the marked rows.
    units : ndarray or None
        ``(n_rows,)``, the unit of each row; None if each row is alone.

    Returns
    -------
    ndarray of bool
        ``(n_rows,)``.

    Examples
    --------
    >>> units = np.array([0, 0, 1, 2])
    >>> spread_over_units(np.array([True, False, True, False]), units).tolist()
    [True, True, True, False]
    """
    if units is None or not flags.any():
        return flags
    return np.isin(units, np.unique(units[flags]))
