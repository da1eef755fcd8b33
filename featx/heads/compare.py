"""Scores of two classifiers on the same rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.stats import binomtest

from featx.core.typing import Array, BoolArray, Float64Array, IntArray, Measure
from featx.heads.intervals import estimate_balanced_interval

N_RESAMPLES = 10_000
"""Number of resamples of the bootstrap, and of random signs of a test."""

ALPHA = 0.05
"""Largest p-value at which a difference counts."""


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
        Ends of the 95 % interval of each score, as `featx.Evaluation` has them: wider if rows have
        groups.
    gain : float
        Score of the second classifier minus score of the first one.
    gain_ci95 : tuple of float
        Ends of the 95 % interval of the gain, by percentile bootstrap (Efron 1979) over rows, or
        over groups if rows have groups. For a balanced accuracy, rows are drawn within each class.
    n_only_first, n_only_second : int
        Number of rows that only the first classifier predicts correctly, and number of rows that
        only the second one does.
    p_value : float
        Probability of a gain at least as far from 0 if each gain of a row, or of a group, might as
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
    groups: Array | None = None,
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
    groups : ndarray, optional
        ``(n_rows,)``, the group of each row. Rows of one group are drawn together.
    seed : int
        Seed of the bootstrap and of random signs.

    Returns
    -------
    PairedScores
        Both scores, and their difference with its interval and p-value.
    """
    is_first, is_second = np.asarray(first == y), np.asarray(second == y)
    if groups is not None and len(np.unique(groups)) == len(y):
        groups = None  # groups of one row are rows, which are drawn faster
    labels, codes = np.unique(y, return_inverse=True)
    strata = find_strata(codes, measure)
    counts = np.bincount(strata)
    right = [np.bincount(strata[part], minlength=len(counts)) for part in (is_first, is_second)]
    difference = is_second.astype(np.int64) - is_first.astype(np.int64)
    gains = sum_units(difference * weigh_rows(strata), groups)
    per_class = tuple(
        _compare_class(str(label), codes == code, is_first, is_second, groups=groups, seed=seed)
        for code, label in enumerate(labels)
    )
    return PairedScores(
        n_rows=len(y),
        measure=measure,
        first=float((right[0] / counts).mean()),
        first_ci95=estimate_balanced_interval(is_first, strata, groups),
        second=float((right[1] / counts).mean()),
        second_ci95=estimate_balanced_interval(is_second, strata, groups),
        gain=float(((right[1] - right[0]) / counts).mean()),
        gain_ci95=_bootstrap_gain(difference, strata, groups, seed),
        n_only_first=int((difference < 0).sum()),
        n_only_second=int((difference > 0).sum()),
        p_value=compute_p_value(gains, seed),
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
    groups: Array | None,
    seed: int,
) -> PairedRecall:
    """Compare the recalls of one class, whose rows are chosen."""
    first, second = is_first[chosen], is_second[chosen]
    gains = second.astype(np.int64) - first.astype(np.int64)
    units = None if groups is None else groups[chosen]
    return PairedRecall(
        label=label,
        n_rows=len(first),
        first=float(first.mean()),
        second=float(second.mean()),
        p_value=compute_p_value(sum_units(gains, units), seed),
    )


def find_strata(codes: IntArray, measure: Measure) -> IntArray:
    """Assign rows to the strata of a score: the score is the mean of the accuracies in the strata.

    Parameters
    ----------
    codes : ndarray of int64
        ``(n_rows,)``, class codes.
    measure : {"accuracy", "balanced_accuracy"}
        The score.

    Returns
    -------
    ndarray of int64
        ``(n_rows,)``: the class codes for a balanced accuracy, 0 throughout for an accuracy.
    """
    return codes if measure == "balanced_accuracy" else np.zeros_like(codes)


def weigh_rows(strata: IntArray) -> Float64Array:
    """Weigh rows such that each stratum has the same weight, and all rows together have 1.

    Parameters
    ----------
    strata : ndarray of int64
        ``(n_rows,)``, as `find_strata` returns them.

    Returns
    -------
    ndarray of float64
        ``(n_rows,)``. The score is the sum over the rows that are predicted correctly.

    Examples
    --------
    >>> weigh_rows(np.array([0, 0, 0, 0, 1])).tolist()
    [0.125, 0.125, 0.125, 0.125, 0.5]
    """
    counts = np.bincount(strata)
    return 1 / (np.count_nonzero(counts) * counts[strata].astype(np.float64))


def sum_units(gains: Array, units: Array | None) -> Float64Array:
    """Add up the gains of rows that belong together.

    Parameters
    ----------
    gains : ndarray
        ``(n_rows,)``, gain of each row.
    units : ndarray or None
        ``(n_rows,)``, the unit of each row; None if each row is a unit of its own.

    Returns
    -------
    ndarray of float64
        ``(n_units,)``.
    """
    if units is None:
        return gains.astype(np.float64)
    sums = np.bincount(np.unique(units, return_inverse=True)[1], gains)
    return sums.astype(np.float64)


def compute_p_value(gains: Float64Array, seed: int = 0) -> float:
    """Test whether gains are as likely to be losses of the same size: two-sided, by their sum.

    Parameters
    ----------
    gains : ndarray of float64
        ``(n_units,)``, gains of independent units; negative for a loss.
    seed : int
        Seed of random signs.

    Returns
    -------
    float
        The p-value: exact if all gains have one size (the binomial test), otherwise estimated from
        random signs.
    """
    sizes, counts = np.unique(np.abs(gains[gains != 0]), return_counts=True)
    if len(sizes) == 0:
        return 1.0
    if len(sizes) == 1:
        return float(binomtest(int((gains > 0).sum()), int(counts[0])).pvalue)
    rng = np.random.default_rng(seed)
    sums = np.zeros(N_RESAMPLES)
    for size, count in zip(sizes, counts, strict=True):
        sums += size * (2 * rng.binomial(count, 0.5, N_RESAMPLES) - count)
    as_far = np.abs(sums) >= abs(gains.sum()) * (1 - 1e-9)
    return float((1 + as_far.sum()) / (1 + N_RESAMPLES))


def _bootstrap_gain(
    difference: IntArray, strata: IntArray, groups: Array | None, seed: int
) -> tuple[float, float]:
    """Return the 95 % interval of the mean over strata of the mean of values that are -1, 0, 1."""
    rng = np.random.default_rng(seed)
    means = np.zeros(N_RESAMPLES)
    if groups is None:
        sizes = np.bincount(strata)
        for code in np.flatnonzero(sizes):
            # To resample rows is to draw how many of them are -1, 0 and 1.
            part = difference[strata == code]
            shares = [float((part == value).mean()) for value in (-1, 0, 1)]
            drawn = rng.multinomial(len(part), shares, N_RESAMPLES)  # (n_resamples, 3)
            means += (drawn[:, 2] - drawn[:, 0]) / len(part) / np.count_nonzero(sizes)
    else:
        codes = np.unique(groups, return_inverse=True)[1]
        sums, sizes = (
            coo_array((values, (strata, codes))).tocsr()
            for values in (difference, np.ones_like(difference))
        )
        n_groups = sums.shape[1]
        for number in range(N_RESAMPLES):  # all resamples at once would take gigabytes
            drawn = np.bincount(rng.integers(0, n_groups, n_groups), minlength=n_groups)
            n_rows = sizes @ drawn  # (n_strata,)
            means[number] = ((sums @ drawn)[n_rows > 0] / n_rows[n_rows > 0]).mean()
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
