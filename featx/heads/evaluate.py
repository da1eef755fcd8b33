"""Scores of predictions on labelled rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix

from featx.core.typing import Array, BoolArray, IntArray, Measure
from featx.heads.class_scores import ClassScores, score_classes
from featx.heads.intervals import (
    estimate_balanced_interval,
    estimate_interval,
    estimate_recall_intervals,
)
from featx.heads.notebook import show_scores
from featx.heads.reliability import measure_reliability
from featx.heads.repeats import RepeatedScores


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of a head on labelled rows.

    Attributes
    ----------
    n_rows : int
        Number of rows that were scored.
    n_units : int or None
        Number of units, which are rows joined by their group or their digest; None if each row
        counts alone.
    accuracy : float
        Fraction of the rows that are predicted correctly.
    accuracy_ci95 : tuple of float
        Ends of the 95 % interval of the accuracy: the score interval of independent rows
        (Wilson 1927), a wider one if rows belong to units or are scored in folds.
    majority_accuracy : float
        Share of the most frequent class: the accuracy of always predicting it.
    balanced_accuracy : float
        Mean recall of the classes that have rows.
    balanced_accuracy_ci95 : tuple of float
        Ends of the 95 % interval of the balanced accuracy.
    macro_f1 : float
        Mean F1 of the classes that have rows or were predicted.
    log_loss : float or None
        Mean negative logarithm of the probability of the true class, in nats. None if the head has
        no probabilities, or some rows are of a class that the head does not know.
    brier : float or None
        Brier score: mean of the squared errors of the probabilities, summed over the classes, from
        0, the best, to 2. None as for the log loss.
    calibration_error : float or None
        Expected calibration error of the predicted class, in 15 bins of the same width. None
        without probabilities.
    mean_score : float or None
        Mean probability of the predicted class, which should be near the accuracy. None without
        probabilities.
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
        Ends of its 95 % interval.
    unseen_majority_accuracy : float or None
        Share of the most frequent class among the other rows.
    n_alike : int or None
        Number of rows, of those that were not learnt from, whose embedding is all but the same as
        that of a row that the head was fitted on, such as an image that was saved once more. None
        if it was not measured.
    n_related : int or None
        Number of rows, of those that were not learnt from, of a group of which other rows were.
        None if it was not measured.

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
    n_units: int | None
    accuracy: float
    accuracy_ci95: tuple[float, float]
    majority_accuracy: float
    balanced_accuracy: float
    balanced_accuracy_ci95: tuple[float, float]
    macro_f1: float
    log_loss: float | None
    brier: float | None
    calibration_error: float | None
    mean_score: float | None
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    per_class: tuple[ClassScores, ...]
    n_unknown: int
    n_seen: int
    unseen_accuracy: float | None
    unseen_accuracy_ci95: tuple[float, float] | None
    unseen_majority_accuracy: float | None
    n_alike: int | None = None
    n_related: int | None = None

    @property
    def majority_class(self) -> str:
        """Name of the most frequent class; the first of equals."""
        return max(self.per_class, key=lambda one: one.n_rows).label

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values, for JSON."""
        return asdict(self)

    def _repr_html_(self) -> str:
        return show_scores(self.to_dict())

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
class ComparedKind:
    """One kind of head in a search over kinds.

    Attributes
    ----------
    kind : str
        Name of the kind.
    score : float
        Held-out accuracy, balanced if the search has class weights; the strength of each fold was
        chosen without it.
    p_value : float or None
        p-value of its difference from the kind that was chosen, by signs of units (of single rows,
        McNemar's exact test), widened for folds and corrected for the number of kinds (Holm 1979);
        None for that kind itself.

    See Also
    --------
    featx.CrossValidation : The scores that the comparison belongs to.
    """

    kind: str
    score: float
    p_value: float | None


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """Held-out scores of a head on the rows that it was fitted on.

    Attributes
    ----------
    scores : Evaluation
        Scores of rows, each predicted by a head that was fitted, and whose options were chosen,
        without the row's fold: of all rows or, if the network of the embeddings has learnt from
        some, of the others.
    n_folds : int
        Number of folds.
    measure : {"accuracy", "balanced_accuracy"}
        Score that the search went by: the balanced accuracy if the head has class weights.
    strengths : tuple of float
        Strengths of the regularisation that the search tried, ascending; empty for a kind without
        a strength.
    mean_scores : tuple of float
        Mean over the folds of each strength's score, in that measure.
    chosen : float or None
        The strength that was chosen; None for a kind without a strength.
    n_learnt : int
        Number of rows that were fitted on and are not scored, because the network has learnt from
        them or from another image of their group.
    compared : tuple of ComparedKind
        Kinds that were compared on the same folds, the chosen one first; empty if one was asked
        for.
    repeated : RepeatedScores or None
        Scores over several dealings of the rows to folds, of which `scores` is the first; None if
        the rows were dealt once.

    See Also
    --------
    featx.Head : The head that carries these scores.
    """

    scores: Evaluation
    n_folds: int
    measure: Measure = "accuracy"
    strengths: tuple[float, ...] = ()
    mean_scores: tuple[float, ...] = ()
    chosen: float | None = None
    n_learnt: int = 0
    compared: tuple[ComparedKind, ...] = ()
    repeated: RepeatedScores | None = None

    @property
    def stands_at_end(self) -> bool:
        """Whether the chosen strength is the smallest or the largest of several that were tried."""
        ends = (self.strengths[0], self.strengths[-1]) if len(self.strengths) > 1 else ()
        return self.chosen in ends

    def to_dict(self) -> dict[str, Any]:
        """Return all fields and `stands_at_end` as plain values, for JSON."""
        return asdict(self) | {"stands_at_end": self.stands_at_end}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> CrossValidation:
        """Build the object again from the fields that `to_dict` returned.

        Parameters
        ----------
        fields : mapping
            Fields as `to_dict` returned them.
        """
        own = {name: value for name, value in fields.items() if name != "stands_at_end"}
        repeated = fields.get("repeated")
        objects = {
            "scores": Evaluation.from_dict(fields["scores"]),
            "compared": tuple(ComparedKind(**one) for one in fields["compared"]),
            "repeated": None if repeated is None else RepeatedScores.from_dict(repeated),
        }
        return cls(**{**own, **objects})


def score_predictions(
    y: Array,
    predicted: Array,
    *,
    classes: Array,
    probabilities: Array | None = None,
    seen: BoolArray | None = None,
    units: IntArray | None = None,
    n_folds: int | None = None,
    n_dims: int | None = None,
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
    units : ndarray of int64, optional
        ``(n_rows,)``, number of the unit of each row, for the intervals. Default: each row is a
        unit of its own.
    n_folds : int, optional
        Number of folds, if each row was predicted by a head that was fitted on the other folds.
        Default: the rows are not folded.
    n_dims : int, optional
        Number of dimensions of the vectors, for the intervals of folds.

    Returns
    -------
    Evaluation
        The scores.
    """
    unknown = ~np.isin(y, classes)
    labels = [str(label) for label in [*classes, *np.unique(y[unknown])]]
    confusion = confusion_matrix(y, predicted, labels=labels)
    right = np.asarray(y == predicted)
    n_units = None if units is None else len(np.unique(units))
    if n_units == len(y):
        units = n_units = None
    codes = {label: code for code, label in enumerate(labels)}
    of_row = np.array([codes[label] for label in y.tolist()])
    unseen = np.ones(len(y), bool) if seen is None else ~seen
    folds: dict[str, Any] = {"n_folds": n_folds, "n_dims": n_dims, "predicted": predicted}
    ends = estimate_recall_intervals(right, of_row, units, **folds)
    intervals = dict(zip(np.unique(of_row).tolist(), map(tuple, ends.tolist()), strict=True))
    per_class = score_classes(labels, confusion, intervals)
    score = _score_unseen(right, of_row, unseen, units=units, folds=folds)
    reliability = measure_reliability(np.where(unknown, -1, of_row), probabilities)
    return Evaluation(
        n_rows=len(y),
        n_units=n_units,
        accuracy=float(right.mean()),
        accuracy_ci95=estimate_interval(right, units, **folds),
        majority_accuracy=float(confusion.sum(axis=1).max() / len(y)),
        balanced_accuracy=float(np.mean([c.recall for c in per_class if c.recall is not None])),
        balanced_accuracy_ci95=estimate_balanced_interval(right, of_row, units, **folds),
        macro_f1=float(np.mean([c.f1 for c in per_class if c.f1 is not None])),
        **asdict(reliability),
        classes=tuple(labels),
        confusion=tuple(tuple(int(count) for count in line) for line in confusion),
        per_class=per_class,
        n_unknown=int(unknown.sum()),
        n_seen=int((~unseen).sum()),
        **score,
    )


def _score_unseen(
    right: BoolArray,
    codes: IntArray,
    unseen: BoolArray,
    *,
    units: IntArray | None,
    folds: Mapping[str, Any],
) -> dict[str, Any]:
    """Score the rows that were not learnt from; None for what cannot be measured."""
    if not unseen.any():
        names = ("accuracy", "accuracy_ci95", "majority_accuracy")
        return {f"unseen_{name}": None for name in names}
    parted = None if units is None else units[unseen]
    folds = {**folds, "predicted": folds["predicted"][unseen]}
    return {
        "unseen_accuracy": float(right[unseen].mean()),
        "unseen_accuracy_ci95": estimate_interval(right[unseen], parted, **folds),
        "unseen_majority_accuracy": float(np.bincount(codes[unseen]).max() / unseen.sum()),
    }
