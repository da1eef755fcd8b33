"""A learning curve: the accuracy of heads by the number of rows that they are fitted on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from featx.core.errors import TuningError
from featx.core.typing import Array
from featx.heads.classifier import HeadClassifier
from featx.heads.intervals import estimate_interval
from featx.heads.splits import build_folds

SHARES = (0.125, 0.25, 0.5, 1.0)
"""Shares of the rows that the heads of the curve are fitted on."""


@dataclass(frozen=True)
class CurvePoint:
    """One point of a learning curve.

    Attributes
    ----------
    rows_per_class : float
        Number of rows per class that the head was fitted on.
    accuracy : float
        Accuracy of the head on held-out rows.
    accuracy_ci95 : (float, float)
        Interval that contains the true accuracy with 95 % confidence.
    """

    rows_per_class: float
    accuracy: float
    accuracy_ci95: tuple[float, float]


def draw_curve(
    X: Array, y: Array, units: Array | None, *, seed: int, subject: str
) -> tuple[CurvePoint, ...]:
    """Fit heads on a growing part of the rows, and score them on a fifth that is held out.

    Parameters
    ----------
    X : ndarray
        Embeddings ``(n_rows, dim)``.
    y : ndarray of str
        Labels ``(n_rows,)``.
    units : ndarray or None
        Units ``(n_rows,)``: rows of one unit stay together; None if each row is alone.
    seed : int
        Seed of the folds and of the order of the rows.
    subject : str
        Name of the cache and the split, for the error.

    Returns
    -------
    tuple of CurvePoint
        Points by their number of rows, ascending; at least one.

    Raises
    ------
    TuningError
        If there are fewer than two classes, or too few rows of them.
    """
    counts = np.unique(y, return_counts=True)[1] if len(y) else np.zeros(0, int)
    folds = build_folds(y, units, n_folds=5, seed=seed) if len(counts) > 1 else []
    # A fold that holds out a whole class cannot be the end of the curve.
    folds = [pair for pair in folds if len(np.unique(y[pair[0]])) == len(counts)]
    if not folds:
        raise TuningError(
            subject=subject,
            expected="labelled rows of at least 2 classes for a learning curve, some of each class "
            "to learn from and others to score",
            got=f"{len(counts)} classes of at least {min(counts, default=0)} rows",
            remedy="Label more rows.",
        )
    train, test = folds[0]
    train = np.random.default_rng(seed).permutation(train)
    head = HeadClassifier(random_state=seed, progress=None)
    points: list[CurvePoint] = []
    for share in sorted(SHARES, reverse=True):
        part = train[: max(2, round(share * len(train)))]
        n_classes = len(np.unique(y[part]))
        if n_classes < len(counts):
            break  # a smaller part lacks a class and would say nothing
        head.fit(X[part], y[part], None if units is None else units[part])
        # All smaller parts use the C of all rows, because the search takes most of the time.
        head.set_params(C=head.C_)
        right = head.predict(X[test]) == y[test]
        interval = estimate_interval(right, None if units is None else units[test])
        points.append(CurvePoint(len(part) / n_classes, float(right.mean()), interval))
    return tuple(points[::-1])
