"""Ways to divide rows: folds for cross-validation, and the splits train, val and test."""

from __future__ import annotations

import math

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, train_test_split

from featx.core.errors import HeadError
from featx.core.process import ignore_warnings
from featx.core.text import count_noun
from featx.core.typing import Array, BoolArray, IntArray, StrArray

Fold = tuple[IntArray, IntArray]
"""Rows of the training part and of the test part."""

Folds = list[Fold]

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
        If the seed is negative or too large.
    """
    if not 0 <= seed <= MAX_SEED:
        raise HeadError(
            subject="seed",
            expected=f"a number from 0 to {MAX_SEED}",
            got=str(seed),
            remedy="Pass seed=0 or another number in this range.",
        )


def build_folds(y: Array, units: Array | None, *, n_folds: int, seed: int) -> Folds:
    """Divide rows into stratified folds and keep units together.

    Parameters
    ----------
    y : ndarray
        ``(n_rows,)``, labels or class codes.
    units : ndarray or None
        ``(n_rows,)``, the unit of each row; None if each row is alone.
    n_folds : int
        Number of folds. Fewer folds are made if the largest class has fewer rows, or if there are
        fewer units.
    seed : int
        Seed of the shuffle.

    Returns
    -------
    list of (ndarray, ndarray)
        Rows of the training part and of the test part of each fold. Folds whose training part has
        only one class are left out; the list may be empty.
    """
    largest = int(np.unique(y, return_counts=True)[1].max())
    n_folds = min(n_folds, largest, len(y) if units is None else len(np.unique(units)))
    if n_folds < 2:
        return []
    splitter_class = StratifiedKFold if units is None else StratifiedGroupKFold
    splitter = splitter_class(n_folds, shuffle=True, random_state=seed)
    with ignore_warnings(UserWarning, "The least populated class"):  # fewer rows than folds
        folds = list(splitter.split(np.zeros(len(y)), y, units))
    return [(train, test) for train, test in folds if len(test) and len(np.unique(y[train])) > 1]


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
    if min(val, test) < 0 or not 0 < val + test < 1:
        raise HeadError(
            subject="val, test",
            expected="fractions of at least 0 whose sum is above 0 and below 1",
            got=f"{val:g} and {test:g}",
            remedy="Pass val=0.2 or other fractions that leave rows to fit on.",
        )
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
            chosen = _choose(y[rest], None if units is None else units[rest], n_wanted, seed)
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
    if units is None:  # of a class without learnt rows, some must be left to fit on
        for code in np.setdiff1d(y[fresh], y[learnt]):
            rows = rng.permutation(fresh[y[fresh] == code])
            fresh = np.setdiff1d(fresh, rows[int(share * len(rows)) :])
    n_wanted = round(share * len(y))
    if len(fresh) - n_wanted >= len(np.unique(y[fresh])):  # else all of them
        chosen = _choose(y[fresh], None if units is None else units[fresh], n_wanted, seed)
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


def _choose(y: Array, units: Array | None, n_wanted: int, seed: int) -> IntArray:
    """Choose about `n_wanted` rows, stratified by class; return their indices."""
    if units is None:
        chosen = _choose_rows(y, n_wanted, seed)
    else:
        chosen = _choose_units(y, units, n_wanted, seed)
    if len(chosen) == 0:
        counts = np.unique(y, return_counts=True)[1]
        raise HeadError(
            subject="val, test",
            expected=f"{'rows' if units is None else 'groups'} of every class among the "
            f"{n_wanted} of {len(y)} rows set aside and among the others",
            got=f"{len(counts)} classes, {count_noun(counts.min(), 'row')} of the smallest",
            remedy="Label more rows, or pass another fraction.",
        )
    return chosen


def _choose_rows(y: Array, n_wanted: int, seed: int) -> IntArray:
    """Choose rows; a class of one row stays in the training part, so that it can be learnt."""
    labels, counts = np.unique(y, return_counts=True)
    common = np.flatnonzero(np.isin(y, labels[counts > 1]))
    n_classes = int((counts > 1).sum())
    if not 0 < n_classes <= n_wanted <= len(common) - n_classes:
        return common[:0]
    _, chosen = train_test_split(common, test_size=n_wanted, random_state=seed, stratify=y[common])
    return np.asarray(chosen)


def _choose_units(y: Array, units: Array, n_wanted: int, seed: int) -> IntArray:
    """Choose whole units: add every stratified fold that brings the size nearer to `n_wanted`."""
    # Each fold has at most half of `n_wanted` rows, so that a sum of folds comes near to it.
    n_folds = min(len(np.unique(units)), max(20, math.ceil(2 * len(y) / max(n_wanted, 1))))
    chosen: list[int] = []
    for _, fold in build_folds(y, units, n_folds=n_folds, seed=seed):
        if abs(len(chosen) + len(fold) - n_wanted) < abs(len(chosen) - n_wanted):
            chosen.extend(fold)
    return np.array(chosen, np.int64)
