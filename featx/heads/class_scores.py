"""Scores of single classes: precision, recall with its interval, and F1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from featx.core.typing import IntArray


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """Scores of one class; None for what was not measured.

    Attributes
    ----------
    label : str
        Name of the class.
    n_rows : int
        Number of rows of the class.
    precision : float or None
        Fraction of correct predictions among the rows that are predicted as the class; None if
        there are no such rows.
    recall : float or None
        Fraction of correct predictions among the rows of the class; None if there are no such rows.
    f1 : float or None
        Twice the number of correct predictions of the class, divided by the number of its rows and
        the number of rows that are predicted as the class, added up. None if both are 0.
    recall_ci95 : (float, float) or None
        Ends of the 95 % interval of the recall, wider if rows belong to units or are scored in
        folds, as that of the accuracy. None if there are no rows of the class, and in scores that
        an older featx stored.
    """

    label: str
    n_rows: int
    precision: float | None
    recall: float | None
    f1: float | None
    recall_ci95: tuple[float, float] | None = None


def score_classes(
    labels: Sequence[str], confusion: IntArray, intervals: Mapping[int, tuple[float, float]]
) -> tuple[ClassScores, ...]:
    """Score each class of a confusion matrix.

    Parameters
    ----------
    labels : sequence of str
        Names of the classes.
    confusion : ndarray of int64
        Numbers of rows ``(n_classes, n_classes)``: true classes in rows, predicted ones in columns.
    intervals : mapping of int to tuple of float
        Ends of the interval of the recall, by the position of the class.

    Examples
    --------
    >>> first, second = score_classes(["ants", "bees"], np.array([[3, 1], [0, 0]]), {})
    >>> first.recall, first.precision, second.recall, second.precision
    (0.75, 1.0, None, 0.0)
    """
    n_right, n_of_class, n_predicted = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    return tuple(
        ClassScores(
            label=label,
            n_rows=int(n_of_class[code]),
            precision=_divide(n_right[code], n_predicted[code]),
            recall=_divide(n_right[code], n_of_class[code]),
            f1=_divide(2 * n_right[code], n_of_class[code] + n_predicted[code]),
            recall_ci95=intervals.get(code),
        )
        for code, label in enumerate(labels)
    )


def _divide(part: int, whole: int) -> float | None:
    """Divide; None for 0/0, which is not 0."""
    return float(part / whole) if whole else None
