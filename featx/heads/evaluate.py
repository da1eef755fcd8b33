"""How good predictions are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ClassScores:
    """One class's line: its rows, and how they were predicted."""

    label: str
    n_rows: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Evaluation:
    """Scores of a head on labelled rows.

    Attributes
    ----------
    n_rows : int
    accuracy : float
    accuracy_ci95 : tuple of float
        Wilson's score interval (Wilson 1927), which takes rows for independent: with groups, the
        true one is wider.
    balanced_accuracy : float
        Mean recall over the classes that have rows.
    macro_f1 : float
        Mean F1 over the classes that have rows or were predicted.
    log_loss : float or None
        In nats; None without probabilities, or where rows have a class that the head does not know.
    classes : tuple of str
        The order of the confusion matrix.
    confusion : tuple of tuple of int
        Rows are true classes, columns predicted ones.
    per_class : tuple of ClassScores
    n_unknown : int
        Rows whose class the head does not know; they count as wrong.
    n_seen : int
        Rows whose file was among those the head was fitted on: their scores flatter.
    """

    n_rows: int
    accuracy: float
    accuracy_ci95: tuple[float, float]
    balanced_accuracy: float
    macro_f1: float
    log_loss: float | None
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    per_class: tuple[ClassScores, ...]
    n_unknown: int = 0
    n_seen: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)


def estimate_interval(n_right: int, n_rows: int) -> tuple[float, float]:
    """Return Wilson's 95 % score interval of a proportion."""
    interval = binomtest(n_right, n_rows).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def score_predictions(
    y: Array,
    predicted: Array,
    *,
    classes: Array,
    probabilities: Array | None = None,
    n_seen: int = 0,
) -> Evaluation:
    """Compare predictions with labels.

    Parameters
    ----------
    y, predicted : ndarray of str
        ``(n_rows,)``, at least one row.
    classes : ndarray of str
        The head's, in the order of the columns of `probabilities`.
    probabilities : ndarray, optional
        ``(n_rows, n_classes)``.
    n_seen : int
        Passed on.
    """
    unknown = ~np.isin(y, classes)
    labels = [str(label) for label in [*classes, *np.unique(y[unknown])]]
    confusion = confusion_matrix(y, predicted, labels=labels)
    precision, recall, f1, support = precision_recall_fscore_support(
        y, predicted, labels=labels, zero_division=0.0
    )
    has_rows = support > 0
    n_right = int(np.trace(confusion))
    loss = None
    if probabilities is not None and not unknown.any():
        codes = np.searchsorted(classes, y)
        loss = float(log_loss(codes, probabilities, labels=np.arange(len(classes))))
    return Evaluation(
        n_rows=len(y),
        accuracy=n_right / len(y),
        accuracy_ci95=estimate_interval(n_right, len(y)),
        balanced_accuracy=float(recall[has_rows].mean()),
        macro_f1=float(f1[has_rows | (confusion.sum(axis=0) > 0)].mean()),
        log_loss=loss,
        classes=tuple(labels),
        confusion=tuple(tuple(int(count) for count in line) for line in confusion),
        per_class=tuple(
            ClassScores(label, int(n), float(p), float(r), float(f))
            for label, n, p, r, f in zip(labels, support, precision, recall, f1, strict=True)
        ),
        n_unknown=int(unknown.sum()),
        n_seen=n_seen,
    )
