"""Ways to divide rows: folds for cross-validation, and the splits train, val and test."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from numbers import Real

import numpy as np

from featx.core.errors import HeadError
from featx.core.text import count_noun, join_some, show_text
from featx.core.typing import Array, BoolArray, IntArray, StrArray
from featx.heads.dealing import (
    Units,
    choose_rows,
    choose_units,
    deal_rows,
    deal_units,
)

Fold = tuple[IntArray, IntArray]
"""Rows of the training part and of the test part."""

Folds = list[Fold]

MIN_FOLDS = 5
MORE_FOLDS = (25, 10)
"""Numbers of folds for few rows. They divide sizes that classes often have: where classes of one
size are dealt unevenly, each fold lacks what its training part has most of, and heads that guess
score 7 points below a guess."""

FITS_OF_FEW = 2500
"""Largest number of folds times number of units, where there are more than `MIN_FOLDS`."""

MAX_SEED = 2**32 - 1

MIN_FRESH = 30
"""Smallest number of rows to score if the network has learnt from the others: of 30 rows, the
interval of an accuracy is up to 0.34 wide."""


def check_seed(seed: int) -> None:
    """Refuse a seed that numpy's random generator does not take.

    Parameters
    ----------
    seed : int
        Value to check.

    Raises
    ------
    HeadError
        If the seed is no whole number, negative or too large.
    """
    is_whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if not (is_whole and 0 <= seed <= MAX_SEED):
        raise HeadError(
            subject="seed",
            expected=f"a whole number from 0 to {MAX_SEED}",
            got=repr(seed),
            remedy="Pass seed=0 or another number in this range.",
        )


def choose_n_folds(codes: IntArray, units: Array | None) -> int:
    """Choose the number of folds: five, and more for few rows.

    A head of a fold is fitted on fewer rows than the head of all rows, and is worse: the fewer rows
    there are, the more the missing ones count. If units hold rows of several classes, more folds
    would be of so few units that each lacks what its training part has most of.

    Parameters
    ----------
    codes : ndarray of int64
        ``(n_rows,)``, class codes.
    units : ndarray or None
        ``(n_rows,)``, the unit of each row; None if each row is alone.

    Examples
    --------
    >>> codes = np.arange(200) % 2
    >>> choose_n_folds(codes[:100], None), choose_n_folds(codes, None)
    (25, 10)
    >>> choose_n_folds(codes[:100], np.arange(100) // 10)
    5
    """
    n_units = len(codes)
    if units is not None:
        table = Units(codes, units)
        n_units = len(table)
        if len(table.classes) > n_units:
            return MIN_FOLDS
    return next((n for n in MORE_FOLDS if n * n_units <= FITS_OF_FEW), MIN_FOLDS)


def build_folds(y: Array, units: Array | None, *, n_folds: int, seed: int) -> Folds:
    """Divide rows into stratified folds that part no unit.

    Parameters
    ----------
    y : ndarray
        ``(n_rows,)``, labels or class codes.
    units : ndarray or None
        ``(n_rows,)``, the unit of each row; None if each row is alone.
    n_folds : int
        Number of folds. Fewer folds are made if no class has rows in so many units.
    seed : int
        Seed of the shuffle.

    Returns
    -------
    list of (ndarray, ndarray)
        Rows of the training part and of the test part of each fold, ascending. Each row is in the
        test part of one fold. A training part may lack classes, and may have only one: whoever fits
        a head on it predicts that class. The list is empty if no class has rows in two units.

    Examples
    --------
    >>> y, units = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 2, 3, 3])
    >>> [test.tolist() for _, test in build_folds(y, units, n_folds=2, seed=0)]
    [[0, 1, 3], [2, 4, 5]]
    """
    codes = np.unique(y, return_inverse=True)[1].astype(np.int64)
    rng = np.random.default_rng(seed)
    if units is None:
        n_folds = min(n_folds, int(np.bincount(codes).max()))
        parts = deal_rows(codes, max(1, n_folds), rng)
    else:
        table = Units(codes, units)
        n_folds = min(n_folds, int(table.count_by_class().max()))
        parts = deal_units(table, np.full(max(1, n_folds), 1 / max(1, n_folds)), rng)[table.of_row]
    numbers = np.unique(parts)
    if len(numbers) < 2:
        return []
    return [(np.flatnonzero(parts != part), np.flatnonzero(parts == part)) for part in numbers]


def leave_pairs_out(folds: Sequence[Fold]) -> list[tuple[int, int, Fold]]:
    """List what is fitted and scored where two folds are left out: each pair of folds once.

    A pair serves both of its folds: a head without the two says how a strength does on the one,
    and knows nothing of the other.

    Parameters
    ----------
    folds : sequence of (ndarray, ndarray)
        Rows of the training part and of the test part of each fold.

    Returns
    -------
    list of (int, int, (ndarray, ndarray))
        Numbers of the two folds, rows that are in neither test part, and the rows of both, those of
        the first fold before those of the second one.

    Examples
    --------
    >>> folds = build_folds(np.zeros(3), None, n_folds=3, seed=0)
    >>> [(one, other, len(part[0]), len(part[1])) for one, other, part in leave_pairs_out(folds)]
    [(0, 1, 1, 2), (0, 2, 1, 2), (1, 2, 1, 2)]
    """
    return [
        (
            one,
            other,
            (
                np.setdiff1d(folds[one][0], folds[other][1], assume_unique=True),
                np.concatenate([folds[one][1], folds[other][1]]),
            ),
        )
        for one, other in itertools.combinations(range(len(folds)), 2)
    ]


def find_fresh(y: Array, learnt: BoolArray) -> IntArray:
    """Find the rows to score, where a network has learnt from some: the others, if they are enough.

    A score needs `MIN_FRESH` rows, and two of each class: over a part of the classes it would say
    nothing of the rest.

    Parameters
    ----------
    y : ndarray
        ``(n_rows,)``, labels or class codes.
    learnt : ndarray of bool
        ``(n_rows,)``, rows that the network has learnt from, or that belong to the same units.

    Returns
    -------
    ndarray of int
        Indices of the other rows, ascending; none if they are too few.
    """
    fresh = np.flatnonzero(~learnt)
    classes, counts = np.unique(y[fresh], return_counts=True)
    is_enough = len(fresh) >= MIN_FRESH and len(classes) == len(np.unique(y)) and counts.min() > 1
    return fresh if is_enough else fresh[:0]


def build_fresh_folds(
    y: Array, units: Array | None, learnt: BoolArray, *, n_folds: int, seed: int
) -> Folds:
    """Divide rows into folds that test only rows that a network has not learnt from.

    The rows that it has learnt from lie in the training part of each fold, as the head will be
    fitted on them too.

    Parameters
    ----------
    y : ndarray
        ``(n_rows,)``, labels or class codes.
    units : ndarray or None
        ``(n_rows,)``, the unit of each row; None if each row is alone.
    learnt : ndarray of bool
        ``(n_rows,)``, rows that the network has learnt from, or that belong to the same units.
    n_folds : int
        Number of folds.
    seed : int
        Seed of the shuffle.

    Returns
    -------
    list of (ndarray, ndarray)
        As `build_folds` returns them; empty if there are too few such rows.
    """
    fresh = find_fresh(y, learnt)
    if not len(fresh):
        return []
    folds = build_folds(
        y[fresh], None if units is None else units[fresh], n_folds=n_folds, seed=seed
    )
    others = np.flatnonzero(learnt)
    return [(np.sort(np.append(fresh[train], others)), fresh[test]) for train, test in folds]


def check_fractions(val: float, test: float) -> None:
    """Refuse fractions that leave no rows to fit on, or none to score on.

    Parameters
    ----------
    val, test : float
        Fractions of the rows for val and for test.

    Raises
    ------
    HeadError
        If a fraction is negative, or their sum is not between 0 and 1.
    """
    are_numbers = all(isinstance(x, Real) and not isinstance(x, bool) for x in (val, test))
    if not (are_numbers and min(val, test) >= 0 and 0 < val + test < 1):
        raise HeadError(
            subject="val, test",
            expected="fractions of at least 0 whose sum is above 0 and below 1",
            got=f"{val:g} and {test:g}" if are_numbers else f"{val!r} and {test!r}",
            remedy="Pass val=0.2 or other fractions that leave rows to fit on.",
        )


def assign_splits(
    y: Array,
    units: Array | None,
    *,
    val: float,
    test: float,
    seed: int,
    learnt: BoolArray | None = None,
) -> StrArray:
    """Divide labelled rows into train, val and test: stratified, with units kept together.

    Parameters
    ----------
    y : ndarray of str
        ``(n_rows,)``, labels.
    units : ndarray or None
        ``(n_rows,)``, the unit of each row; None if each row is alone.
    val, test : float
        Fractions of the rows for val and for test, 0 for none. With units the fractions are
        approximate.
    seed : int
        Seed of the shuffle.
    learnt : ndarray of bool, optional
        ``(n_rows,)``, rows that a network has learnt from, or that belong to the same units. They
        become train, and val and test take of the other rows what there is. Default: none.

    Returns
    -------
    ndarray of str
        ``(n_rows,)``: ``"train"``, ``"val"`` or ``"test"``.

    Raises
    ------
    HeadError
        If the fractions leave no rows for train, or rows or units are too few for them.

    Examples
    --------
    >>> y = np.array(["ants", "bees"] * 4)
    >>> splits = assign_splits(y, None, val=0.25, test=0.0, seed=0)
    >>> (splits == "train").sum(), (splits == "val").sum()
    (np.int64(6), np.int64(2))
    """
    check_fractions(val, test)
    check_seed(seed)
    labels, y = np.unique(y, return_inverse=True)  # numbers are compared faster than texts
    splits = np.full(len(y), "train", dtype=object)
    if learnt is not None and learnt.any():
        rest = _choose_fresh(y, labels, units, learnt, share=val + test, seed=seed)
        fractions, n_rows = {"test": test / (val + test)}, len(rest)
        splits[rest] = "val" if val else "test"
        if not val * test:
            return splits
    else:
        rest, fractions, n_rows = np.arange(len(y)), {"test": test, "val": val}, len(y)
    for name, fraction in fractions.items():
        if fraction:
            n_wanted = round(fraction * n_rows)
            chosen = _choose(
                y[rest],
                labels,
                None if units is None else units[rest],
                n_wanted=n_wanted,
                seed=seed,
            )
            splits[rest[chosen]] = name
            rest = np.delete(rest, chosen)
    return splits


def _choose_fresh(
    y: IntArray,
    labels: StrArray,
    units: Array | None,
    learnt: BoolArray,
    *,
    share: float,
    seed: int,
) -> IntArray:
    """Choose the rows of val and test among those that no network has learnt from."""
    rng = np.random.default_rng(seed)
    fresh = np.flatnonzero(~learnt)
    of_row = np.arange(len(y)) if units is None else units
    for code in np.setdiff1d(y[fresh], y[learnt]):  # of these, some must be left to fit on
        own = rng.permutation(np.unique(of_row[fresh[y[fresh] == code]]))
        fresh = fresh[~np.isin(of_row[fresh], own[int(share * len(own)) :])]
    n_wanted = round(share * len(y))
    if len(fresh) - n_wanted >= len(np.unique(y[fresh])):  # else all of them
        chosen = _choose(
            y[fresh], labels, None if units is None else units[fresh], n_wanted=n_wanted, seed=seed
        )
        fresh = fresh[chosen]
    unlearnable = np.setdiff1d(y, np.delete(y, fresh))
    if not len(fresh) or len(unlearnable):
        raise HeadError(
            subject="val, test",
            expected="rows that no network of the cache has learnt from, to score on, and rows of "
            "every class beside them",
            got=f"{len(fresh):,} of {len(y):,} rows"
            + (f", with all of {labels[unlearnable[0]]!r}" if len(unlearnable) else ""),
            remedy="Split the cache of the network as it was before, or extract new images.",
        )
    return fresh


def _choose(
    y: IntArray, labels: StrArray, units: Array | None, *, n_wanted: int, seed: int
) -> IntArray:
    """Choose about `n_wanted` rows, stratified by class; return their indices."""
    rng = np.random.default_rng(seed)
    if units is None:
        chosen = choose_rows(y, n_wanted, rng)
    elif 0 < n_wanted < len(y):
        chosen = choose_units(y, units, n_wanted, rng)
    else:
        chosen = np.empty(0, np.int64)
    if len(chosen) == 0:
        raise _refuse(y, labels, units, n_wanted)
    return chosen


def _refuse(y: IntArray, labels: StrArray, units: Array | None, n_wanted: int) -> HeadError:
    """Say why no rows can be set aside, by the smallest classes."""
    noun = "row" if units is None else "unit"
    counts = Units(y, np.arange(len(y)) if units is None else units).count_by_class()
    order = np.argsort(counts, kind="stable").tolist()
    names = labels[np.unique(y)].tolist()
    smallest = [f"{show_text(str(names[i]), 40)} {count_noun(counts[i], noun)}" for i in order]
    return HeadError(
        subject="val, test",
        expected=f"{noun}s of every class among the {n_wanted} of {len(y)} rows set aside and "
        "among the others",
        got=f"{len(counts)} classes: {join_some(smallest, 3)}",
        remedy="Label more rows, or pass another fraction.",
    )
