"""Scores of predictions on labelled rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support

from featx.core.typing import Array, BoolArray, IntArray


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """Scores of one class.

    Attributes
    ----------
    label : str
        Name of the class.
    n_rows : int
        Number of rows of the class.
    precision : float
        Fraction of correct predictions among the rows that are predicted as the class; 0 if there
        are no such rows.
    recall : float
        Fraction of correct predictions among the rows of the class; 0 if there are no such rows.
    f1 : float
        Harmonic mean of precision and recall.
    """

    label: str
    n_rows: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of a head on labelled rows.

    Attributes
    ----------
    n_rows : int
        Number of rows that were scored.
    accuracy : float
        Fraction of the rows that are predicted correctly.
    accuracy_ci95 : tuple of float
        Ends of the 95 % score interval of the accuracy (Wilson 1927). The interval assumes that
        rows are independent: if rows form groups, the true interval is wider.
    balanced_accuracy : float
        Mean recall of the classes that have rows.
    macro_f1 : float
        Mean F1 of the classes that have rows or were predicted.
    log_loss : float or None
        Mean negative logarithm of the probability of the true class, in nats. None if the head has
        no probabilities, or some rows are of a class that the head does not know.
    classes : tuple of str
        Order of the classes in the confusion matrix: the classes of the head come first, then
        others.
    confusion : tuple of tuple of int
        Confusion matrix: true classes in rows, predicted classes in columns.
    per_class : tuple of ClassScores
        Scores of each class, in the same order.
    n_unknown : int
        Number of rows of a class that the head does not know; these rows count as wrong.
    n_seen : int
        Number of rows whose image was learnt from: the head was fitted on it, or the network of the
        embeddings was tuned on it. The scores of these rows are too high.
    unseen_accuracy : float or None
        Accuracy of the other rows, the only one that says something of new images; None if there
        are no others.
    unseen_accuracy_ci95 : tuple of float or None
        Ends of its 95 % score interval.

    See Also
    --------
    featx.evaluate : Score a head on a cache.
    featx.PairedScores : Scores of two classifiers on the same rows.

    Examples
    --------
    >>> import numpy as np
    >>> y = np.array(["ants", "ants", "bees", "bees"])
    >>> predicted = np.array(["ants", "bees", "bees", "bees"])
    >>> scores = score_predictions(y, predicted, classes=np.array(["ants", "bees"]))
    >>> scores.accuracy
    0.75
    >>> scores.confusion
    ((1, 1), (0, 2))
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
    n_unknown: int
    n_seen: int
    unseen_accuracy: float | None
    unseen_accuracy_ci95: tuple[float, float] | None

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Evaluation:
        """Build the evaluation again from the fields that `to_dict` returned.

        Parameters
        ----------
        fields : mapping
            Fields as `to_dict` returned them.
        """
        per_class = tuple(ClassScores(**scores) for scores in fields["per_class"])
        return cls(**{**fields, "per_class": per_class})


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """Held-out scores of a head on the rows that it was fitted on.

    Attributes
    ----------
    scores : Evaluation
        Scores of rows, each predicted by a head that was fitted without the row's fold: of all
        rows or, if the network of the embeddings has learnt from some, of the others.
    n_folds : int
        Number of folds.
    strengths : tuple of float
        Strengths of the regularisation that the search tried, ascending.
    mean_scores : tuple of float
        Mean over the folds of each strength's score: accuracy, or balanced accuracy if the head has
        class weights.
    n_learnt : int
        Number of rows that were fitted on and are not scored, because the network has learnt from
        them or from another image of their group.

    See Also
    --------
    featx.Head : The head that carries these scores.
    """

    scores: Evaluation
    n_folds: int
    strengths: tuple[float, ...]
    mean_scores: tuple[float, ...]
    n_learnt: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> CrossValidation:
        """Build the object again from the fields that `to_dict` returned.

        Parameters
        ----------
        fields : mapping
            Fields as `to_dict` returned them.
        """
        return cls(**{**fields, "scores": Evaluation.from_dict(fields["scores"])})


def estimate_interval(n_right: int, n_rows: int) -> tuple[float, float]:
    """Estimate the 95 % score interval of a proportion (Wilson 1927).

    Parameters
    ----------
    n_right : int
        Number of rows that are predicted correctly.
    n_rows : int
        Number of all rows, at least 1.

    Returns
    -------
    tuple of float
        Ends of the interval.

    Examples
    --------
    >>> low, high = estimate_interval(8, 10)
    >>> round(low, 3), round(high, 3)
    (0.49, 0.943)
    """
    interval = binomtest(n_right, n_rows).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def estimate_balanced_interval(n_right: IntArray, n_rows: IntArray) -> tuple[float, float]:
    """Estimate the 95 % interval of a balanced accuracy from the score intervals of the recalls.

    The distances of the recalls from the ends of their intervals are squared and added (Zou and
    Donner 2008). For one class, the interval is that of `estimate_interval`.

    Parameters
    ----------
    n_right : ndarray of int64
        ``(n_classes,)``, number of rows of each class that are predicted correctly.
    n_rows : ndarray of int64
        ``(n_classes,)``, number of all rows of each class, at least 1.

    Returns
    -------
    tuple of float
        Ends of the interval.

    Examples
    --------
    >>> low, high = estimate_balanced_interval(np.array([90, 5]), np.array([100, 10]))
    >>> round(low, 3), round(high, 3)
    (0.563, 0.834)
    """
    if len(n_rows) == 1:
        return estimate_interval(int(n_right[0]), int(n_rows[0]))
    ends = np.array(
        [estimate_interval(int(n), int(of)) for n, of in zip(n_right, n_rows, strict=True)]
    )
    recalls = n_right / n_rows
    below, above = np.sqrt(((ends - recalls[:, None]) ** 2).sum(axis=0)) / len(recalls)
    return float(recalls.mean() - below), float(recalls.mean() + above)


def score_predictions(
    y: Array,
    predicted: Array,
    *,
    classes: Array,
    probabilities: Array | None = None,
    seen: BoolArray | None = None,
) -> Evaluation:
    """Compare predictions with labels.

    Parameters
    ----------
    y, predicted : ndarray of str
        ``(n_rows,)``, true and predicted labels of at least one row.
    classes : ndarray of str
        ``(n_classes,)``, classes of the head, in the order of the columns of `probabilities`.
    probabilities : ndarray, optional
        ``(n_rows, n_classes)``, predicted probabilities.
    seen : ndarray of bool, optional
        ``(n_rows,)``, True for rows that were learnt from. Default: none was.

    Returns
    -------
    Evaluation
        The scores.
    """
    unknown = ~np.isin(y, classes)
    labels = [str(label) for label in [*classes, *np.unique(y[unknown])]]
    confusion = confusion_matrix(y, predicted, labels=labels)
    precision, recall, f1, n_of_class = precision_recall_fscore_support(
        y, predicted, labels=labels, zero_division=0.0
    )
    has_rows = n_of_class > 0
    n_right = int(np.trace(confusion))
    seen = np.zeros(len(y), bool) if seen is None else seen
    n_unseen = int((~seen).sum())
    n_unseen_right = int((y == predicted)[~seen].sum())
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
            ClassScores(
                label=label, n_rows=int(n), precision=float(p), recall=float(r), f1=float(f)
            )
            for label, n, p, r, f in zip(labels, n_of_class, precision, recall, f1, strict=True)
        ),
        n_unknown=int(unknown.sum()),
        n_seen=len(y) - n_unseen,
        unseen_accuracy=n_unseen_right / n_unseen if n_unseen else None,
        unseen_accuracy_ci95=estimate_interval(n_unseen_right, n_unseen) if n_unseen else None,
    )
