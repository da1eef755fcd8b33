"""Ways to part rows: folds for cross-validation, and train/val/test splits."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, train_test_split

from featx.core.errors import HeadError

Array = np.ndarray[Any, Any]
Folds = list[tuple[Array, Array]]


def fill_groups(groups: Array) -> Array | None:
    """Give each row without a group one of its own; None where no row has a group.

    Parameters
    ----------
    groups : ndarray of str
        ``(n_rows,)``, empty for none.
    """
    if not (groups != "").any():
        return None
    return np.array([f"g:{g}" if g else f"row:{i}" for i, g in enumerate(groups)], dtype=object)


def check_seed(seed: int) -> None:
    """Refuse a seed that numpy's generator does not take.

    Raises
    ------
    HeadError
    """
    if not 0 <= seed < 2**32:
        raise HeadError(f"seed: expected 0 to {2**32 - 1}, got {seed}. Pass such a number.")


def build_folds(y: Array, groups: Array | None, *, n_folds: int, seed: int) -> Folds:
    """Part rows into stratified folds, keeping groups together.

    Parameters
    ----------
    y : ndarray
        ``(n_rows,)``.
    groups : ndarray or None
        ``(n_rows,)``.
    n_folds : int
        Fewer are made where no class, or not as many groups, would fill them.
    seed : int
        Of the shuffle.

    Returns
    -------
    list of (train, test)
        Indices. Folds whose training part lacks all classes but one are left out, so that the
        list may be empty.
    """
    largest = int(np.unique(y, return_counts=True)[1].max())
    n_folds = min(n_folds, largest, len(y) if groups is None else len(np.unique(groups)))
    if n_folds < 2:
        return []
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    splitter = kind(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # classes of fewer rows than folds are dealt with here
        warnings.simplefilter("ignore", UserWarning)
        folds = list(splitter.split(np.zeros(len(y)), y, groups))
    return [(train, test) for train, test in folds if len(test) and len(np.unique(y[train])) > 1]


def assign_splits(y: Array, groups: Array | None, *, val: float, test: float, seed: int) -> Array:
    """Part labelled rows into train, val and test: stratified, groups kept together.

    Parameters
    ----------
    y : ndarray of str
        ``(n_rows,)``.
    groups : ndarray or None
        ``(n_rows,)``.
    val, test : float
        Fractions of the rows, 0 for none; groups make them approximate.
    seed : int
        Of the shuffle.

    Returns
    -------
    ndarray of str
        ``(n_rows,)``: ``"train"``, ``"val"`` or ``"test"``.

    Raises
    ------
    HeadError
        If a fraction is none, or rows or groups are too few for it.
    """
    if min(val, test) < 0 or not 0 < val + test < 1:
        raise HeadError(
            f"split: expected val and test that leave rows to train on, got {val:g} and {test:g}. "
            "Pass fractions such as --val 0.2."
        )
    check_seed(seed)
    splits = np.full(len(y), "train", dtype=object)
    rest = np.arange(len(y))
    for name, fraction in (("test", test), ("val", val)):
        if fraction:
            size = round(fraction * len(y))
            chosen = _choose(y[rest], None if groups is None else groups[rest], size, seed)
            splits[rest[chosen]] = name
            rest = np.delete(rest, chosen)
    return splits


def _choose(y: Array, groups: Array | None, size: int, seed: int) -> Array:
    """Choose about `size` rows, with the classes in proportion; indices."""
    labels, counts = np.unique(y, return_counts=True)
    if groups is not None:
        # Folds of at most half the size, so that some number of them comes near to it.
        n_folds = min(len(np.unique(groups)), max(20, math.ceil(2 * len(y) / max(size, 1))))
        folds = build_folds(y, groups, n_folds=n_folds, seed=seed)
        chosen: list[int] = []
        for _, fold in folds:
            # Take a fold where that comes nearer to the size than leaving it.
            if abs(len(chosen) + len(fold) - size) < abs(len(chosen) - size):
                chosen.extend(fold)
    else:
        # A class of one row stays on the training side, where it can be learnt.
        common = np.flatnonzero(np.isin(y, labels[counts > 1]))
        n_classes = int((counts > 1).sum())
        if not n_classes <= size <= len(common) - n_classes:
            chosen = []
        else:
            chosen = train_test_split(
                common, test_size=size, random_state=seed, stratify=y[common]
            )[1]
    if len(chosen) == 0:
        what = "rows" if groups is None else "groups"
        raise HeadError(
            f"split: expected {what} enough for {size} of {len(y)} rows with every class among "
            f"them, got {len(labels)} classes of {counts.min()} to {counts.max()} rows. "
            "Label more rows, or pass another fraction."
        )
    return np.asarray(chosen)
