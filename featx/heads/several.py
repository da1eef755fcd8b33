"""Heads for several classes per image: one logistic regression for each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from featx.core.typing import Array, BoolArray, Float64Array, IntArray
from featx.heads.repeats import average_fields
from featx.heads.resampling import estimate_by_resampling
from featx.heads.units import count_units

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True, kw_only=True)
class SeveralClassScores:
    """Scores of one class of several.

    Attributes
    ----------
    label : str
        Name of the class.
    n_rows : int
        Number of rows that have the class.
    average_precision : float or None
        Mean precision over the rows of the class, best-ranked first; None if no row has it.
    precision, recall, f1 : float or None
        Scores of the predicted classes; None if 0 would be divided by 0.
    threshold : float
        Probability from which on the class is predicted.
    """

    label: str
    n_rows: int
    average_precision: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    threshold: float


@dataclass(frozen=True, kw_only=True)
class SeveralScores:
    """Scores of a head for several classes per image.

    Attributes
    ----------
    n_rows, n_units : int
        Number of rows that were scored, and of units that they form.
    macro_average_precision : float or None
        Mean of the average precisions of the classes that have rows; None if no class has.
    macro_average_precision_ci95 : tuple of float or None
        Ends of its 95 % interval, by resampling units.
    control_average_precision : float or None
        The same of a ranking by chance, as `expect_average_precision` has it.
    macro_f1 : float or None
        Mean F1 of the classes that have rows or were predicted.
    exact : float
        Share of rows of which all classes are right.
    per_class : tuple of SeveralClassScores
        Scores of each class of the head.
    unknown_classes : tuple of str
        Classes of the rows that the head does not know; they are not scored.
    n_seen : int
        Number of other rows that were learnt from and are left out of the scores; the number of
        scored rows, if there are no rows that were not learnt from.
    n_related : int or None
        Number of scored rows of a group of which other rows were learnt from. None if it was not
        measured.
    repeats : tuple of float
        Macro average precision of each dealing of the rows to folds, if there are several: all
        scores but those of single classes are then means over the dealings, and the interval is as
        wide as that of one. Else empty.

    See Also
    --------
    featx.evaluate_target : Score a head on a cache.
    """

    n_rows: int
    n_units: int
    macro_average_precision: float | None
    macro_average_precision_ci95: tuple[float, float] | None
    control_average_precision: float | None
    macro_f1: float | None
    exact: float
    per_class: tuple[SeveralClassScores, ...]
    unknown_classes: tuple[str, ...] = ()
    n_seen: int = 0
    n_related: int | None = None
    repeats: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> SeveralScores:
        """Build the scores again from the fields that `to_dict` returned.

        Parameters
        ----------
        fields : mapping
            Fields as `to_dict` returned them.
        """
        ends = fields["macro_average_precision_ci95"]
        built = {
            "macro_average_precision_ci95": ends and tuple(ends),
            "per_class": tuple(SeveralClassScores(**one) for one in fields["per_class"]),
            "unknown_classes": tuple(fields["unknown_classes"]),
            "repeats": tuple(fields.get("repeats", ())),
        }
        return cls(**{**fields, **built})

    @classmethod
    def average(cls, scores: Sequence[SeveralScores]) -> SeveralScores:
        """Average the scores of several dealings of the same rows to folds.

        Parameters
        ----------
        scores : sequence of SeveralScores
            Scores of each dealing, at least one.
        """
        if len(scores) == 1:
            return scores[0]
        ranked = "macro_average_precision"
        averaged = average_fields(scores, (ranked, f"{ranked}_ci95", "macro_f1", "exact"))
        found = [one.macro_average_precision for one in scores]
        repeats = tuple(one for one in found if one is not None)
        return replace(scores[0], **averaged, repeats=repeats)


def score_several(  # noqa: PLR0913
    flags: BoolArray,
    probabilities: Array,
    predicted: BoolArray,
    *,
    classes: Sequence[str],
    thresholds: Sequence[float],
    units: IntArray | None = None,
    n_folds: int | None = None,
    unknown: Sequence[str] = (),
    n_seen: int = 0,
) -> SeveralScores:
    """Compare predicted classes with true ones.

    Parameters
    ----------
    flags, predicted : ndarray of bool
        ``(n_rows, n_classes)``, true and predicted classes of at least one row.
    probabilities : ndarray
        ``(n_rows, n_classes)``, predicted probabilities.
    classes : sequence of str
        Names of the classes.
    thresholds : sequence of float
        Probability of each class from which on it is predicted.
    units : ndarray of int64, optional
        ``(n_rows,)``, the unit of each row. Default: each row is a unit of its own.
    n_folds : int, optional
        Number of folds, if the probabilities come from cross-validation.
    unknown : sequence of str
        Classes of the rows that the head does not know.
    n_seen : int
        Number of rows that were learnt from; see `SeveralScores`.
    """
    n_rows = len(flags)
    rankings = [
        _Ranking(flags[:, column], probabilities[:, column])
        for column in np.flatnonzero(flags.any(axis=0))
    ]

    def average(weights: Float64Array) -> Float64Array:
        found = np.stack([ranking.compute(weights) for ranking in rankings])
        has_score = np.isfinite(found)  # a sample may lack a rare class
        with np.errstate(invalid="ignore"):
            total = np.where(has_score, found, 0).sum(axis=0)
            return np.asarray(total / has_score.sum(axis=0))

    once = np.ones((1, n_rows))
    per_class = tuple(
        _score_class(
            flags[:, at], probabilities[:, at], predicted[:, at], label=name, threshold=threshold
        )
        for at, (name, threshold) in enumerate(zip(classes, thresholds, strict=True))
    )
    f1 = [one.f1 for one in per_class if one.f1 is not None]
    ends = None
    if rankings:
        ends = estimate_by_resampling(average, n_rows, units, n_folds=n_folds)
    n_right = flags.sum(axis=0)
    by_chance = expect_average_precision(n_rows, n_right[n_right > 0])
    return SeveralScores(
        n_rows=n_rows,
        n_units=n_rows if units is None else count_units(units),
        macro_average_precision=float(average(once)[0]) if rankings else None,
        macro_average_precision_ci95=ends and (max(0.0, ends[0]), min(1.0, ends[1])),
        control_average_precision=float(by_chance.mean()) if rankings else None,
        macro_f1=float(np.mean(f1)) if f1 else None,
        exact=float((flags == predicted).all(axis=1).mean()),
        per_class=per_class,
        unknown_classes=tuple(unknown),
        n_seen=n_seen,
    )


def _score_class(
    flags: BoolArray, probabilities: Array, predicted: BoolArray, *, label: str, threshold: float
) -> SeveralClassScores:
    n_rows, n_predicted, n_right = map(
        int, (flags.sum(), predicted.sum(), (flags & predicted).sum())
    )
    ranked = None
    if n_rows:
        ranked = float(_Ranking(flags, probabilities).compute(np.ones((1, len(flags))))[0])
    return SeveralClassScores(
        label=label,
        n_rows=n_rows,
        average_precision=ranked,
        precision=_divide(n_right, n_predicted),
        recall=_divide(n_right, n_rows),
        f1=_divide(2 * n_right, n_rows + n_predicted),
        threshold=float(threshold),
    )


def expect_average_precision(n_rows: int, n_right: IntArray) -> Float64Array:
    """Expect the average precision of a ranking by chance.

    A row of the class has each rank r alike. Of the r - 1 rows before it, each has the class with
    probability (k - 1) / (n - 1), and the row itself has it for sure, so that it adds 1 / r to the
    precision: the mean lies above the share k / n, by more the fewer rows there are.

    Parameters
    ----------
    n_rows : int
        Number n of rows, at least one.
    n_right : ndarray of int64
        Number k of rows that have the class ``(n_classes,)``, at least one.

    Returns
    -------
    ndarray of float64
        Expected average precision of each class ``(n_classes,)``.

    Examples
    --------
    >>> expect_average_precision(2, np.array([1, 2]))
    array([0.75, 1.  ])
    """
    before = (n_right - 1) / max(1, n_rows - 1)
    itself = (1 / np.arange(1, n_rows + 1)).mean()
    return np.asarray(itself + before * (1 - itself))


def _divide(part: int, whole: int) -> float | None:
    return part / whole if whole else None


class _Ranking:
    """Rows ranked by the probability of one class; rows of one probability have one rank."""

    def __init__(self, flags: BoolArray, probabilities: Array) -> None:
        self.order = np.argsort(-probabilities, kind="stable")
        self.flags = flags[self.order].astype(np.float64)
        ranked = probabilities[self.order]
        self.ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))

    def compute(self, weights: Float64Array) -> Float64Array:
        """Compute the average precision of weighted rows, ``(n_draws,)``; NaN without such rows."""
        weights = weights[:, self.order]
        found = np.cumsum(weights, axis=1)[:, self.ends]
        right = np.cumsum(weights * self.flags, axis=1)[:, self.ends]
        gained = np.diff(right, axis=1, prepend=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            precision = np.where(found > 0, right / found, 0)
            return np.asarray((gained * precision).sum(axis=1) / right[:, -1])


def choose_thresholds(flags: BoolArray, probabilities: Array) -> Float64Array:
    """Choose the threshold of each class with the largest F1, ``(n_classes,)``.

    Parameters
    ----------
    flags : ndarray of bool
        ``(n_rows, n_classes)``, classes of each row.
    probabilities : ndarray
        ``(n_rows, n_classes)``, held-out probabilities.

    Examples
    --------
    >>> flags = np.array([[True], [True], [False], [False]])
    >>> choose_thresholds(flags, np.array([[0.8], [0.4], [0.2], [0.1]]))
    array([0.3])
    """
    thresholds = np.full(flags.shape[1], DEFAULT_THRESHOLD)
    for column in np.flatnonzero(flags.any(axis=0)):
        ranking = _Ranking(flags[:, column], probabilities[:, column])
        right = np.cumsum(ranking.flags)[ranking.ends]
        best = int(np.argmax(2 * right / (ranking.ends + 1 + right[-1])))
        ranked = probabilities[ranking.order, column]
        at = int(ranking.ends[best])
        below = ranked[at + 1] if at + 1 < len(ranked) else 0.0
        thresholds[column] = (ranked[at] + below) / 2
    return thresholds
