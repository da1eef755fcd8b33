"""Scores of two classifiers on the same rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from featx.core.typing import Array, BoolArray, Measure
from featx.heads.gains import (
    ALPHA,
    average_strata,
    compute_p_value,
    find_strata,
    measure_gain,
    sum_units,
    widen_p_value,
)
from featx.heads.intervals import estimate_balanced_interval


@dataclass(frozen=True, kw_only=True)
class PairedRecall:
    """Recall of one class by two classifiers.

    Attributes
    ----------
    label : str
        Name of the class.
    n_rows : int
        Number of rows of the class.
    first, second : float
        Share of these rows that each classifier predicts correctly.
    p_value : float
        p-value of the difference, by the test that `PairedScores` describes.
    """

    label: str
    n_rows: int
    first: float
    second: float
    p_value: float


@dataclass(frozen=True, kw_only=True)
class PairedScores:
    """Scores of two classifiers on the same rows, and how much better the second one is.

    Attributes
    ----------
    n_rows : int
        Number of rows that both classifiers predicted.
    measure : {"accuracy", "balanced_accuracy"}
        Score in which the classifiers are compared. The balanced accuracy is the mean recall of the
        classes that have rows.
    first, second : float
        Score of each classifier.
    first_ci95, second_ci95 : tuple of float
        Ends of the 95 % interval of each score, as `featx.Evaluation` has them: wider if rows
        belong to units.
    gain : float
        Score of the second classifier minus score of the first one.
    gain_ci95 : tuple of float
        Ends of the 95 % interval of the gain, by percentile bootstrap (Efron 1979) over rows, or
        over units if rows have units. For a balanced accuracy, rows are drawn within each class.
    n_only_first, n_only_second : int
        Number of rows that only the first classifier predicts correctly, and number of rows that
        only the second one does.
    p_value : float
        Probability of a gain at least as far from 0 if each gain of a row, or of a unit, might as
        well have been a loss. If all rows weigh alike, this is McNemar's exact test (McNemar 1947);
        otherwise it is estimated from random signs.
    accuracies, balanced_accuracies : tuple of float
        Both scores of the first classifier and of the second one, whatever the measure is.
    per_class : tuple of PairedRecall
        Recalls of the classes that have rows, in the order of their names.

    See Also
    --------
    featx.Evaluation : Scores of one head.
    featx.fine_tune : Compares the frozen head with the tuned model.

    Examples
    --------
    >>> import numpy as np
    >>> y = np.array(["ants"] * 10)
    >>> first, second = y.copy(), y.copy()
    >>> first[:4] = "bees"
    >>> scores = compare_predictions(y, first, second)
    >>> scores.gain, scores.n_only_second, scores.p_value
    (0.4, 4, 0.125)
    >>> scores.is_better
    False
    """

    n_rows: int
    measure: Measure
    first: float
    first_ci95: tuple[float, float]
    second: float
    second_ci95: tuple[float, float]
    gain: float
    gain_ci95: tuple[float, float]
    n_only_first: int
    n_only_second: int
    p_value: float
    accuracies: tuple[float, float]
    balanced_accuracies: tuple[float, float]
    per_class: tuple[PairedRecall, ...]

    @property
    def is_better(self) -> bool:
        """Whether the second classifier is better by more than chance explains.

        The interval of the gain must lie above 0, and the p-value below 0.05: on few rows, the
        interval of the bootstrap alone is too narrow.
        """
        return self.gain_ci95[0] > 0 and self.p_value < ALPHA

    @property
    def losing(self) -> tuple[PairedRecall, ...]:
        """Classes whose recall falls by more than chance explains, the largest loss first.

        The p-value of such a class is below 0.05 divided by the number of classes (Bonferroni).
        """
        limit = ALPHA / max(1, len(self.per_class))
        lost = [one for one in self.per_class if one.second < one.first and one.p_value < limit]
        return tuple(sorted(lost, key=lambda one: one.second - one.first))

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, `is_better` and the names of `losing` as plain values, for JSON."""
        losing = [one.label for one in self.losing]
        return asdict(self) | {"is_better": self.is_better, "losing": losing}


def compare_predictions(
    y: Array,
    first: Array,
    second: Array,
    *,
    measure: Measure = "accuracy",
    units: Array | None = None,
    n_folds: int | None = None,
    seed: int = 0,
) -> PairedScores:
    """Compare the predictions of two classifiers for the same rows.

    Parameters
    ----------
    y : ndarray of str
        ``(n_rows,)``, true labels of at least one row.
    first, second : ndarray of str
        ``(n_rows,)``, labels that each classifier predicts.
    measure : {"accuracy", "balanced_accuracy"}
        Score to compare.
    units : ndarray, optional
        ``(n_rows,)``, the unit of each row. Rows of one unit are drawn together.
    n_folds : int, optional
        Number of folds, if each row was predicted by classifiers that were fitted on the other
        folds: folds depend on each other, so that intervals and p-values are wider.
    seed : int
        Seed of the bootstrap and of random signs.

    Returns
    -------
    PairedScores
        Both scores, and their difference with its interval and p-value.
    """
    is_first, is_second = np.asarray(first == y), np.asarray(second == y)
    labels, codes = np.unique(y, return_inverse=True)
    strata = find_strata(codes, measure)
    gain = measure_gain(is_first, is_second, strata, units=units, n_folds=n_folds, seed=seed)
    per_class = tuple(
        _compare_class(
            str(label), codes == code, is_first, is_second, units=units, n_folds=n_folds, seed=seed
        )
        for code, label in enumerate(labels)
    )
    return PairedScores(
        n_rows=len(y),
        measure=measure,
        first=average_strata(is_first, strata),
        first_ci95=estimate_balanced_interval(is_first, strata, units, n_folds=n_folds),
        second=average_strata(is_second, strata),
        second_ci95=estimate_balanced_interval(is_second, strata, units, n_folds=n_folds),
        gain=gain.mean,
        gain_ci95=gain.ci95,
        n_only_first=int((is_first & ~is_second).sum()),
        n_only_second=int((is_second & ~is_first).sum()),
        p_value=gain.p_value,
        accuracies=(float(is_first.mean()), float(is_second.mean())),
        balanced_accuracies=(
            float(np.mean([one.first for one in per_class])),
            float(np.mean([one.second for one in per_class])),
        ),
        per_class=per_class,
    )


def _compare_class(
    label: str,
    chosen: BoolArray,
    is_first: BoolArray,
    is_second: BoolArray,
    *,
    units: Array | None,
    n_folds: int | None,
    seed: int,
) -> PairedRecall:
    """Compare the recalls of one class, whose rows are chosen."""
    first, second = is_first[chosen], is_second[chosen]
    gains = second.astype(np.int64) - first.astype(np.int64)
    parted = None if units is None else units[chosen]
    p_value = compute_p_value(sum_units(gains, parted), seed)
    return PairedRecall(
        label=label,
        n_rows=len(first),
        first=float(first.mean()),
        second=float(second.mean()),
        p_value=p_value if n_folds is None else widen_p_value(p_value),
    )
