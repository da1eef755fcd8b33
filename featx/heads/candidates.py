"""Compare several classifiers on the same rows, and name the best one only if it is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from featx.core.text import join_some
from featx.core.typing import Array, BoolArray, IntArray, Measure
from featx.heads.evaluate import Evaluation, score_predictions
from featx.heads.gains import ALPHA, Gain, adjust_p_values, find_strata, measure_gain

MAX_NAMED = 5
"""Largest number of candidates that a verdict names."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Predictions of one classifier for the rows of a comparison.

    Attributes
    ----------
    name : str
        Name of the classifier.
    predicted : ndarray of str
        ``(n_rows,)``, predicted labels.
    classes : ndarray of str
        ``(n_classes,)``, labels that the classifier knows, in the order of the probabilities.
    probabilities : ndarray or None
        ``(n_rows, n_classes)``, predicted probabilities.
    params : mapping of str to float
        Parameters that were chosen, such as C.
    seconds : float or None
        Time of the fit, with its search; None if nothing was fitted.
    """

    name: str
    predicted: Array
    classes: Array
    probabilities: Array | None = None
    params: Mapping[str, float] = field(default_factory=dict)
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class CandidateScores:
    """Scores of one classifier of a comparison; None for what was not measured.

    Attributes
    ----------
    name : str
        Name of the classifier; of the control, ``"always"`` and the most frequent class.
    is_control : bool
        Whether this is the control, which predicts the most frequent class of the rows for each
        row.
    accuracy : float
        Share of the rows that are predicted correctly.
    accuracy_ci95 : tuple of float
        Ends of the 95 % interval of the accuracy.
    balanced_accuracy : float
        Mean recall of the classes that have rows.
    balanced_accuracy_ci95 : tuple of float
        Ends of the 95 % interval of the balanced accuracy.
    log_loss : float or None
        Mean negative logarithm of the probability of the true class, in nats.
    calibration_error : float or None
        Expected calibration error of the predicted class.
    params : mapping of str to float
        Parameters that were chosen, such as C.
    seconds : float or None
        Time of the fit, with its search; None if nothing was fitted.
    gain : float or None
        Score of this classifier minus score of the best one, in the measure of the comparison: 0 or
        less. None for the best one.
    gain_ci95 : tuple of float or None
        Ends of the 95 % interval of the gain, by bootstrap over rows or units.
    p_value : float or None
        Probability of a gain at least as far from 0 if both classifiers were alike: McNemar's exact
        test of rows, a test of random signs of units; corrected for the number of comparisons
        (Holm 1979).
    """

    name: str
    is_control: bool
    accuracy: float
    accuracy_ci95: tuple[float, float]
    balanced_accuracy: float
    balanced_accuracy_ci95: tuple[float, float]
    log_loss: float | None
    calibration_error: float | None
    params: Mapping[str, float]
    seconds: float | None
    gain: float | None
    gain_ci95: tuple[float, float] | None
    p_value: float | None

    @property
    def is_worse(self) -> bool:
        """Whether the best classifier is better than this one by more than chance explains."""
        if self.gain_ci95 is None or self.p_value is None:
            return False
        return self.gain_ci95[1] < 0 and self.p_value < ALPHA

    @property
    def is_better(self) -> bool:
        """Whether this one, the control, is better than the best classifier beyond chance."""
        if self.gain_ci95 is None or self.p_value is None:
            return False
        return self.gain_ci95[0] > 0 and self.p_value < ALPHA


@dataclass(frozen=True, kw_only=True)
class HeadComparison:
    """Scores of several classifiers on the same rows.

    Attributes
    ----------
    n_rows : int
        Number of rows that all classifiers predicted.
    n_units : int or None
        Number of units, which are rows joined by their group or their digest; None if each row
        counts alone.
    n_left_out : int
        Number of labelled rows that were left out for all classifiers, because they lack a vector
        for one of them, or because one of them has learnt from them.
    n_related : int or None
        Number of the compared rows of a group of which other rows were learnt from by one of the
        classifiers. None if it was not measured.
    n_folds : int or None
        Number of folds, if each row was predicted by classifiers that were fitted without the row's
        fold; None for heads that were fitted before.
    split : str
        Split of the rows; ``"all"`` for all labelled rows.
    measure : {"accuracy", "balanced_accuracy"}
        Score in which the classifiers are compared.
    candidates : tuple of CandidateScores
        Scores of the classifiers, the best first, and of the control, which is the last.

    See Also
    --------
    featx.compare_heads : Compare heads on the rows of a cache.
    featx.compare_kinds : Compare kinds of heads, and embeddings, by cross-validation.
    featx.PairedScores : Two classifiers in detail.

    Examples
    --------
    >>> y = np.array(["ants", "bees"] * 20)
    >>> right = Candidate(name="right", predicted=y, classes=y[:2])
    >>> wrong = Candidate(name="wrong", predicted=y[::-1], classes=y[:2])
    >>> found = compare_candidates(y, [wrong, right])
    >>> found.winner, [one.name for one in found.candidates]
    ('right', ['right', 'wrong', 'always ants'])
    >>> found.verdict
    'right is the best: its accuracy is higher than that of each other by more than chance explains'
    """

    n_rows: int
    n_units: int | None
    n_left_out: int = 0
    n_related: int | None = None
    n_folds: int | None = None
    split: str = "all"
    measure: Measure
    candidates: tuple[CandidateScores, ...]

    @property
    def best(self) -> str:
        """Name of the classifier with the highest score, which may be so by chance."""
        return self.candidates[0].name

    @property
    def winner(self) -> str | None:
        """Name of the best classifier if it is better than each other by more than chance explains.

        The control counts among the others.
        """
        return self.best if all(one.is_worse for one in self.candidates[1:]) else None

    @property
    def verdict(self) -> str:
        """What the comparison says, in one sentence."""
        score = self.measure.replace("_", " ")
        control = next(one for one in self.candidates if one.is_control)
        if control.is_better:
            return f"no classifier is as good as {control.name}: look at the labels first"
        if self.winner is not None:
            return (
                f"{self.winner} is the best: its {score} is higher than that of each other by more "
                "than chance explains"
            )
        alike = [one.name for one in self.candidates[1:] if not one.is_worse]
        return f"cannot tell {self.best} from {join_some(alike, MAX_NAMED)}"

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, `best`, `winner` and `verdict` as plain values, for JSON."""
        found = {"best": self.best, "winner": self.winner, "verdict": self.verdict}
        return asdict(self) | found

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> HeadComparison:
        """Build the comparison again from the fields that `to_dict` returned.

        Parameters
        ----------
        fields : mapping
            Fields as `to_dict` returned them.
        """
        derived = ("best", "winner", "verdict")
        own = {name: value for name, value in fields.items() if name not in derived}
        candidates = tuple(CandidateScores(**one) for one in fields["candidates"])
        return cls(**{**own, "candidates": candidates})


def compare_candidates(
    y: Array,
    candidates: Sequence[Candidate],
    *,
    measure: Measure = "accuracy",
    units: IntArray | None = None,
    n_folds: int | None = None,
    seed: int = 0,
) -> HeadComparison:
    """Compare classifiers by their predictions for the same rows, and with a control.

    Parameters
    ----------
    y : ndarray of str
        ``(n_rows,)``, true labels of at least one row.
    candidates : sequence of Candidate
        At least one classifier.
    measure : {"accuracy", "balanced_accuracy"}
        Score to compare.
    units : ndarray of int64, optional
        ``(n_rows,)``, the unit of each row. Default: each row is a unit of its own.
    n_folds : int, optional
        Number of folds, if the predictions come from cross-validation.
    seed : int
        Seed of the bootstrap and of random signs.

    Returns
    -------
    HeadComparison
        The scores of all classifiers.
    """
    labels, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    usual = labels[counts.argmax()]
    control = Candidate(
        name=f"always {usual}", predicted=np.full(len(y), usual, object), classes=labels
    )
    scored = [
        score_predictions(
            y,
            one.predicted,
            classes=one.classes,
            probabilities=one.probabilities,
            units=units,
            n_folds=n_folds,
        )
        for one in [*candidates, control]
    ]
    order = sorted(range(len(candidates)), key=lambda number: _rank(scored[number], measure))
    order.append(len(candidates))
    right = [np.asarray(one.predicted == y) for one in [*candidates, control]]
    gains = _measure_gains(
        [right[number] for number in order],
        find_strata(codes, measure),
        units=units,
        n_folds=n_folds,
        seed=seed,
    )
    p_values = adjust_p_values([gain.p_value for gain in gains])
    lines = tuple(
        CandidateScores(
            name=one.name,
            is_control=one is control,
            accuracy=scores.accuracy,
            accuracy_ci95=scores.accuracy_ci95,
            balanced_accuracy=scores.balanced_accuracy,
            balanced_accuracy_ci95=scores.balanced_accuracy_ci95,
            log_loss=scores.log_loss,
            calibration_error=scores.calibration_error,
            params=dict(one.params),
            seconds=one.seconds,
            gain=None if gain is None else gain.mean,
            gain_ci95=None if gain is None else gain.ci95,
            p_value=p_value,
        )
        for one, scores, gain, p_value in zip(
            ([*candidates, control][number] for number in order),
            (scored[number] for number in order),
            [None, *gains],
            [None, *p_values],
            strict=True,
        )
    )
    return HeadComparison(
        n_rows=len(y),
        n_units=scored[0].n_units,
        n_folds=n_folds,
        measure=measure,
        candidates=lines,
    )


def _rank(scores: Evaluation, measure: Measure) -> tuple[float, float]:
    """Sort the highest score first; of equals, the one with the lowest log loss."""
    loss = np.inf if scores.log_loss is None else scores.log_loss
    score = scores.accuracy if measure == "accuracy" else scores.balanced_accuracy
    return -round(score, 12), loss


def _measure_gains(
    right: Sequence[BoolArray],
    strata: IntArray,
    *,
    units: IntArray | None,
    n_folds: int | None,
    seed: int,
) -> list[Gain]:
    """Measure the gain of all others over the first one."""
    return [
        measure_gain(right[0], one, strata, units=units, n_folds=n_folds, seed=seed)
        for one in right[1:]
    ]
