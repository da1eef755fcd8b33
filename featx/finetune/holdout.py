"""Labelled rows of a cache, and the holdout that decides when training ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from featx.cache.reader import Cache
from featx.core.errors import HeadError, TuningError
from featx.core.typing import Array, IntArray
from featx.heads.splits import assign_splits, check_seed
from featx.heads.units import find_units

HOLDOUT = 0.1
"""Share of the split train that is held out to decide when to stop."""

HOLDOUT_OF_FEW = 0.2
FEW_ROWS = 1000
"""Number of rows below which `HOLDOUT_OF_FEW` is held out: a tenth would be too few to decide."""


@dataclass(frozen=True, kw_only=True)
class LabelledRows:
    """Columns of labelled rows of a cache; all have the shape ``(n_rows,)``.

    Attributes
    ----------
    rows : ndarray of int
        Indices of the rows in the cache.
    ids, labels, groups, digests : ndarray of str
        Columns of the cache; ``""`` stands for no group.
    """

    rows: IntArray
    ids: Array
    labels: Array
    groups: Array
    digests: Array

    @classmethod
    def read(cls, cache: Cache, split: str, embedding: str) -> LabelledRows:
        """Read the labelled rows of a split that have a vector in an embedding."""
        rows = cache.select_rows(split, labelled=True, embedding=embedding)
        return cls(
            rows=rows,
            ids=cache.ids[rows],
            labels=cache.labels[rows],
            groups=cache.groups[rows],
            digests=cache.digests[rows],
        )

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, chosen: Array) -> LabelledRows:
        """Select rows by a mask or by numbers."""
        return LabelledRows(
            rows=self.rows[chosen],
            ids=self.ids[chosen],
            labels=self.labels[chosen],
            groups=self.groups[chosen],
            digests=self.digests[chosen],
        )


def check_every_class(labels: Array, classes: Array, subject: str) -> None:
    """Refuse a holdout that leaves no row of a class to learn from.

    Parameters
    ----------
    labels : ndarray of str
        Labels of the rows to learn from.
    classes : ndarray of str
        Classes of the head.
    subject : str
        Name of the cache, for the error.

    Raises
    ------
    TuningError
        If a class has no row.
    """
    missing = sorted(set(classes) - set(labels))
    if missing:
        raise TuningError(
            subject=subject,
            expected="rows of each class outside the holdout",
            got=f"none of {missing[0]!r}",
            remedy="Label more rows.",
        )


def hold_out(train: LabelledRows, seed: int, subject: str) -> tuple[IntArray, IntArray]:
    """Divide rows into rows to learn from and a holdout, which decides when to stop.

    The division is stratified. It keeps groups together, and copies of an image.

    Parameters
    ----------
    train : LabelledRows
        Rows of the split train.
    seed : int
        Seed of the shuffle.
    subject : str
        Name of the cache, for the error.

    Returns
    -------
    learnt, holdout : ndarray of int
        Numbers of rows, ascending.

    Raises
    ------
    TuningError
        If there are too few rows.
    HeadError
        If the seed is out of its range.
    """
    units = find_units(train.groups, train.digests)
    counts = np.unique(train.labels, return_counts=True)[1]
    share = HOLDOUT_OF_FEW if len(train) < FEW_ROWS else HOLDOUT
    if units is None:  # a stratified holdout has a row of each class that has more than one
        share = max(share, int((counts > 1).sum()) / len(train))
    check_seed(seed)
    try:
        parts = assign_splits(train.labels, units, val=share, test=0, seed=seed)
    except HeadError as error:
        raise TuningError(
            subject=f"{subject}, split train",
            expected="enough images to hold out some of each class, to decide when to stop",
            got=f"{len(train)} images of {len(counts)} classes",
            remedy="Label more images.",
        ) from error
    return np.flatnonzero(parts == "train"), np.flatnonzero(parts == "val")
