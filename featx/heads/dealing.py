"""Deal rows or whole units to parts, with each class in the same ratio in all of them.

Units that are made up alike, such as pairs of copies of one class, are dealt all at once: so many
to each part as its share is of them. Large units before them, and what is left over after them, are
dealt one by one, the largest first, each to the part that lacks its classes most. At last, units of
two parts are swapped where both come nearer to what they should have.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from featx.core.typing import Array, BoolArray, Float64Array, IntArray

LARGE = 0.2
"""Size from which a unit is dealt one by one and first, as a share of the rows of its class that
the smallest part should have."""

MAX_SWAPPED = 300
"""Number of units up to which they are swapped; more of them even out."""

MAX_SHARE = 0.5
"""Largest share of the rows that is set aside so that each class is among them."""


def deal_rows(codes: IntArray, n_parts: int, rng: np.random.Generator) -> IntArray:
    """Deal rows to parts, each class evenly.

    What a class has above a multiple of the number of parts goes to the first parts, for all
    classes alike: parts of two classes of one size have as many rows of the one as of the other. If
    they had not, the other parts would have more of what a part lacks, and heads that guess would
    score below a guess.

    Parameters
    ----------
    codes : ndarray of int64
        ``(n_rows,)``, class codes.
    n_parts : int
        Number of parts.
    rng : Generator
        Source of the order.

    Returns
    -------
    ndarray of int64
        ``(n_rows,)``, the part of each row. Numbers of rows of a class differ by one at most
        between parts. Classes with fewer rows than parts are dealt on from each other.

    Examples
    --------
    >>> parts = deal_rows(np.array([0, 0, 0, 1, 1, 1]), 3, np.random.default_rng(0))
    >>> sorted(parts[:3].tolist()), sorted(parts[3:].tolist())
    ([0, 1, 2], [0, 1, 2])
    """
    counts = np.bincount(codes)
    is_few = counts < n_parts
    left = counts % n_parts
    begins = np.where(is_few, np.cumsum(np.where(is_few, counts, 0)) - counts, 0)
    begins[is_few] += left[~is_few].max(initial=0)  # where the others end
    order = rng.permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    ranks = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    parts = np.empty(len(codes), np.int64)
    parts[order] = (begins[codes[order]] + ranks) % n_parts
    return parts


def choose_rows(codes: IntArray, n_wanted: int, rng: np.random.Generator) -> IntArray:
    """Choose rows, each class in proportion, and of each class that has two at least one.

    Parameters
    ----------
    codes : ndarray of int64
        ``(n_rows,)``, class codes from 0.
    n_wanted : int
        Number of rows to choose.
    rng : Generator
        Source of the order.

    Returns
    -------
    ndarray of int64
        ``(n_wanted,)``, indices of the rows, ascending. A class of one row is not chosen. None, if
        so many rows cannot have a row of each other class, and leave one.

    Examples
    --------
    >>> codes = np.array([0, 0, 0, 0, 1, 1, 2])
    >>> codes[choose_rows(codes, 3, np.random.default_rng(0))].tolist()
    [0, 0, 1]
    """
    counts = np.bincount(codes)
    quotas = _find_quotas(np.where(counts > 1, counts, 0), n_wanted, rng)
    order = rng.permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    ranks = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    is_chosen = np.zeros(len(codes), bool)
    is_chosen[order] = ranks < quotas[codes[order]]
    return np.flatnonzero(is_chosen)


def _find_quotas(counts: IntArray, n_wanted: int, rng: np.random.Generator) -> IntArray:
    """Find how many rows to choose of each class: at least one, and not the last one."""
    is_open = counts > 0
    if not is_open.sum() <= n_wanted <= counts.sum() - is_open.sum() or not is_open.any():
        return np.zeros(len(counts), np.int64)
    exact = counts * (n_wanted / counts.sum())
    quotas: IntArray = np.clip(np.floor(exact).astype(np.int64), is_open, np.maximum(counts - 1, 0))
    while n_short := n_wanted - int(quotas.sum()):
        step = 1 if n_short > 0 else -1
        able = np.flatnonzero(is_open & (quotas < counts - 1 if step > 0 else quotas > 1))
        able = rng.permutation(able)
        able = able[np.argsort(step * (quotas - exact)[able], kind="stable")]
        quotas[able[: abs(n_short)]] += step
    return quotas


class Units:
    """Units as rows of a sparse table: how many rows of each class a unit has.

    Parameters
    ----------
    codes : ndarray of int64
        ``(n_rows,)``, class codes. Here, classes are counted from 0.
    units : ndarray
        ``(n_rows,)``, the unit of each row.

    Attributes
    ----------
    of_row : ndarray of int64
        ``(n_rows,)``, the number of the unit of each row, from 0.
    sizes : ndarray of int64
        ``(n_units,)``, rows of each unit.
    starts : ndarray of int64
        ``(n_units + 1,)``, where the classes of each unit begin in `classes` and `counts`.
    classes, counts : ndarray of int64
        ``(n_cells,)``, a class of a unit, and how many rows the unit has of it.
    totals : ndarray of int64
        ``(n_classes,)``, rows of each class.
    """

    def __init__(self, codes: IntArray, units: Array) -> None:
        self.of_row = np.unique(units, return_inverse=True)[1].astype(np.int64)
        self.sizes = np.bincount(self.of_row)
        codes = np.unique(codes, return_inverse=True)[1]
        self.totals = np.bincount(codes)
        n_classes = len(self.totals)
        cells, self.counts = np.unique(self.of_row * n_classes + codes, return_counts=True)
        self.classes = cells % n_classes
        self.of_cell = cells // n_classes
        self.starts = np.searchsorted(self.of_cell, np.arange(len(self.sizes) + 1))

    def __len__(self) -> int:
        return len(self.sizes)

    def count_by_class(self, chosen: BoolArray | None = None) -> IntArray:
        """Count the units that have rows of each class, int64 ``(n_classes,)``.

        Parameters
        ----------
        chosen : ndarray of bool, optional
            ``(n_units,)``, the units to count. Default: all of them.
        """
        classes = self.classes if chosen is None else self.classes[chosen[self.of_cell]]
        return np.bincount(classes, minlength=len(self.totals))

    def find_likes(self, rng: np.random.Generator) -> IntArray:
        """Give units that are made up alike the same number, int64 ``(n_units,)``.

        Parameters
        ----------
        rng : Generator
            Source of the weights of the classes: units alike have the same sum of weights.
        """
        weights = rng.integers(1 << 62, size=len(self.totals), dtype=np.uint64)
        sums = np.add.reduceat(
            weights[self.classes] * self.counts.astype(np.uint64), self.starts[:-1]
        )
        return np.unique(sums, return_inverse=True)[1].astype(np.int64)


def deal_units(
    table: Units, shares: Float64Array, rng: np.random.Generator, dealt: IntArray | None = None
) -> IntArray:
    """Deal whole units to parts.

    Parameters
    ----------
    table : Units
        The units.
    shares : ndarray of float64
        ``(n_parts,)``, the share of the rows that each part should have; they add up to 1.
    rng : Generator
        Source of the order.
    dealt : ndarray of int64, optional
        ``(n_units,)``, the part of units that were dealt before and stay there, -1 for the others.
        Default: all of them are dealt.

    Returns
    -------
    ndarray of int64
        ``(n_units,)``, the part of each unit.
    """
    wanted = np.append(table.totals, table.sizes.sum())[:, None] * shares
    parts = np.full(len(table), -1) if dealt is None else dealt.copy()
    least = wanted[:-1].min(axis=1)[table.classes]
    is_large = np.bincount(table.of_cell, table.counts > LARGE * least) > 0
    _deal_single(table, parts, wanted, rng.permutation(np.flatnonzero(is_large & (parts < 0))))
    _deal_alike(table, parts, wanted, rng)
    _deal_single(table, parts, wanted, rng.permutation(np.flatnonzero(parts < 0)))
    free = np.arange(len(table)) if dealt is None else np.flatnonzero(dealt < 0)
    if len(free) <= MAX_SWAPPED:
        _swap(table, parts, shares, free)
    return parts


def _count_cells(table: Units, parts: IntArray, n_parts: int) -> IntArray:
    """Count the rows dealt by class, and of all classes at the end, and by part."""
    cells = np.zeros((len(table.totals) + 1, n_parts), np.int64)
    of_cell = parts[table.of_cell]
    dealt = of_cell >= 0
    np.add.at(cells, (table.classes[dealt], of_cell[dealt]), table.counts[dealt])
    cells[-1] = cells[:-1].sum(axis=0)
    return cells


def _deal_single(table: Units, parts: IntArray, wanted: Float64Array, chosen: IntArray) -> None:
    """Deal units one by one, the largest first, in place."""
    # Rows above what a part should have of each class, and of all, as a share of what it should.
    excess = _count_cells(table, parts, wanted.shape[1]) / wanted - 1
    for unit in chosen[np.argsort(-table.sizes[chosen], kind="stable")].tolist():
        cells = slice(table.starts[unit], table.starts[unit + 1])
        which = np.append(table.classes[cells], len(table.totals))
        added = np.append(table.counts[cells], table.sizes[unit])
        steps = added[:, None] / wanted[which]
        part = int(np.argmin(added @ (2 * excess[which] + steps)))
        parts[unit] = part
        excess[which, part] += steps[:, part]


def _deal_alike(
    table: Units, parts: IntArray, wanted: Float64Array, rng: np.random.Generator
) -> None:
    """Deal of units that are alike the whole number that is due to each part, in place."""
    open_units = rng.permutation(np.flatnonzero(parts < 0))
    likes = table.find_likes(rng)[open_units]
    order = np.argsort(likes, kind="stable")
    _, firsts, counts = np.unique(likes[order], return_index=True, return_counts=True)
    lacking = np.maximum(wanted - _count_cells(table, parts, wanted.shape[1]), 1e-9)[:-1]
    classes = table.classes[table.starts[open_units[order[firsts]]]]
    shares = lacking[classes] / lacking[classes].sum(axis=1, keepdims=True)
    ends = np.cumsum(np.floor(counts[:, None] * shares + 1e-9), axis=1).astype(np.int64)
    ranks = np.arange(len(order)) - np.repeat(firsts, counts)
    dealt = (ranks[:, None] >= np.repeat(ends, counts, axis=0)).sum(axis=1)
    parts[open_units[order]] = np.where(dealt < wanted.shape[1], dealt, -1)


def _swap(table: Units, parts: IntArray, shares: Float64Array, free: IntArray) -> None:
    """Swap two units of two parts, in place, as long as it brings the parts nearer to their shares.

    Without it, the parts of ten units of both of two classes differ by 6 points in the share of a
    class, and heads of the others guess what a part lacks: random labels score 4 points below
    chance. With it, by 3 and 2 points.
    """
    totals = np.append(table.totals, table.sizes.sum())
    cells = np.zeros((len(table), len(totals)))
    cells[table.of_cell, table.classes] = table.counts
    cells[:, -1] = table.sizes
    cells /= np.sqrt(totals)  # a squared difference counts by the share of what there should be
    sums = np.zeros((len(shares), len(totals)))
    np.add.at(sums, parts, cells)
    cells = cells[free]
    squares = (cells**2).sum(axis=1)
    apart = squares[:, None] + squares - 2 * cells @ cells.T  # squared difference of two units
    for _ in range(len(free)):
        of = parts[free]
        missed = cells @ (sums - shares[:, None] * np.sqrt(totals)).T  # (n_free, n_parts)
        there, own = missed[:, of], missed[np.arange(len(free)), of]
        gain = (apart - 2 * (own[:, None] - there.T)) / shares[of][:, None]
        change = gain + gain.T  # of the sum of squared differences, if two units are swapped
        first, second = np.unravel_index(np.argmin(change), change.shape)
        if change[first, second] > -1e-9:
            return
        moved = cells[second] - cells[first]
        sums[of[first]] += moved
        sums[of[second]] -= moved
        parts[free[[first, second]]] = of[[second, first]]


def choose_units(
    codes: IntArray, units: Array, n_wanted: int, rng: np.random.Generator
) -> IntArray:
    """Choose rows of whole units, each class about in proportion.

    Parameters
    ----------
    codes : ndarray of int64
        ``(n_rows,)``, class codes.
    units : ndarray
        ``(n_rows,)``, the unit of each row.
    n_wanted : int
        Number of rows to choose, at least 1 and not all.
    rng : Generator
        Source of the order.

    Returns
    -------
    ndarray of int64
        Indices of the rows, ascending. The other rows have all classes, and `spread_classes` says
        when those chosen have.
    """
    table = Units(codes, units)
    shares = np.array([1 - n_wanted / len(codes), n_wanted / len(codes)])
    parts = deal_units(table, shares, rng)
    spread_classes(table, parts, shares)
    return np.flatnonzero(parts[table.of_row] == 1)


def spread_classes(
    table: Units, parts: IntArray, shares: Float64Array, is_open: BoolArray | None = None
) -> None:
    """Move units, in place, so that parts have all classes.

    The first part has each class that has an open unit. A class of several units has one of them in
    each of the other parts, as long as these have no more than `MAX_SHARE` of all rows, or than
    their share.

    Parameters
    ----------
    table : Units
        The units.
    parts : ndarray of int64
        ``(n_units,)``, the part of each unit.
    shares : ndarray of float64
        ``(n_parts,)``, the share of the rows that each part should have.
    is_open : ndarray of bool, optional
        ``(n_units,)``, units that may be moved. Default: all of them.
    """
    is_open = np.ones(len(parts), bool) if is_open is None else is_open
    by_rarity = np.argsort(table.count_by_class(), kind="stable")
    for code in _list_lacking(table, parts, 0, by_rarity):
        parts[_find_smallest(table, is_open, code)] = 0
    n_rows, n_others = table.sizes.sum(), len(shares) - 1
    for part in range(1, len(shares)):
        limit = n_rows * max(shares[part], MAX_SHARE / n_others)
        for code in _list_lacking(table, parts, part, by_rarity):
            left = table.count_by_class(parts == 0)
            is_last = np.bincount(table.of_cell, left[table.classes] < 2) > 0
            fits = table.sizes + table.sizes[parts == part].sum() <= limit
            free = is_open & (parts == 0) & ~is_last & fits
            parts[_find_smallest(table, free, code)] = part


def _list_lacking(table: Units, parts: IntArray, part: int, codes: IntArray) -> Iterator[int]:
    """Yield the classes that a part lacks when it is their turn."""
    for code in codes[table.count_by_class(parts == part)[codes] == 0].tolist():
        if not table.count_by_class(parts == part)[code]:
            yield code


def _find_smallest(table: Units, among: BoolArray, code: int) -> IntArray:
    """Find the smallest unit with rows of a class, ``(1,)``, or ``(0,)`` if there is none."""
    found = table.of_cell[(table.classes == code) & among[table.of_cell]]
    return np.asarray(found[np.argsort(table.sizes[found], kind="stable")][:1])
