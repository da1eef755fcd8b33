"""Scores of two classifiers on the same rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest

from featx.core.typing import Array, IntArray
from featx.heads.evaluate import estimate_interval

N_RESAMPLES = 10_000
"""Number of resamples of the bootstrap."""

ALPHA = 0.05
"""Largest p-value at which a difference counts."""


@dataclass(frozen=True, kw_only=True)
class PairedScores:
    """Scores of two classifiers on the same rows, and how much better the second one is.

    Attributes
    ----------
    n_rows : int
        Number of rows that both classifiers predicted.
    first, second : float
        Accuracy of each classifier.
    first_ci95, second_ci95 : tuple of float
        Ends of the 95 % score interval of each accuracy (Wilson 1927).
    gain : float
        Accuracy of the second classifier minus accuracy of the first one.
    gain_ci95 : tuple of float
        Ends of the 95 % interval of the gain, by percentile bootstrap (Efron 1979) over rows, or
        over groups if rows have groups.
    n_only_first, n_only_second : int
        Number of rows that only the first classifier predicts correctly, and number of rows that
        only the second one does.
    p_value : float
        Probability of counts at least as unequal if both classifiers were equally good: McNemar's
        exact test (McNemar 1947), which assumes that rows are independent.

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
    first: float
    first_ci95: tuple[float, float]
    second: float
    second_ci95: tuple[float, float]
    gain: float
    gain_ci95: tuple[float, float]
    n_only_first: int
    n_only_second: int
    p_value: float

    @property
    def is_better(self) -> bool:
        """Whether the second classifier is better by more than chance explains.

        The interval of the gain must lie above 0, and the p-value below 0.05: on few rows, the
        interval of the bootstrap alone is too narrow.
        """
        return self.gain_ci95[0] > 0 and self.p_value < ALPHA

    def to_dict(self) -> dict[str, Any]:
        """Return all fields and `is_better` as plain values, for JSON."""
        return asdict(self) | {"is_better": self.is_better}


def compare_predictions(
    y: Array, first: Array, second: Array, *, groups: Array | None = None, seed: int = 0
) -> PairedScores:
    """Compare the predictions of two classifiers for the same rows.

    Parameters
    ----------
    y : ndarray of str
        ``(n_rows,)``, true labels of at least one row.
    first, second : ndarray of str
        ``(n_rows,)``, labels that each classifier predicts.
    groups : ndarray, optional
        ``(n_rows,)``, the group of each row. Rows of one group are drawn together.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    PairedScores
        Both accuracies, and their difference with its interval and p-value.
    """
    is_first, is_second = np.asarray(first == y), np.asarray(second == y)
    n_rows = len(y)
    difference = is_second.astype(np.int64) - is_first.astype(np.int64)
    n_only_first, n_only_second = int((difference < 0).sum()), int((difference > 0).sum())
    return PairedScores(
        n_rows=n_rows,
        first=float(is_first.mean()),
        first_ci95=estimate_interval(int(is_first.sum()), n_rows),
        second=float(is_second.mean()),
        second_ci95=estimate_interval(int(is_second.sum()), n_rows),
        gain=float(difference.mean()),
        gain_ci95=_bootstrap_mean(difference, groups, seed),
        n_only_first=n_only_first,
        n_only_second=n_only_second,
        p_value=_test_counts(n_only_first, n_only_second),
    )


def _test_counts(n_only_first: int, n_only_second: int) -> float:
    """Return the p-value of McNemar's exact test; 1 if the classifiers never differ."""
    n_different = n_only_first + n_only_second
    return float(binomtest(n_only_first, n_different).pvalue) if n_different else 1.0


def _bootstrap_mean(difference: IntArray, groups: Array | None, seed: int) -> tuple[float, float]:
    """Return the 95 % interval of the mean of ``(n_rows,)`` values that are -1, 0 or 1."""
    rng = np.random.default_rng(seed)
    if groups is None:
        # To resample rows is to draw how many of them are -1, 0 and 1.
        n_rows = len(difference)
        shares = [float((difference == value).mean()) for value in (-1, 0, 1)]
        drawn = rng.multinomial(n_rows, shares, N_RESAMPLES)  # (n_resamples, 3)
        means = (drawn[:, 2] - drawn[:, 0]) / n_rows
    else:
        codes = np.unique(groups, return_inverse=True)[1]
        sums, sizes = np.bincount(codes, difference), np.bincount(codes)
        means = np.empty(N_RESAMPLES)
        for number in range(N_RESAMPLES):  # all resamples at once would take gigabytes
            chosen = rng.integers(0, len(sizes), len(sizes))
            means[number] = sums[chosen].sum() / sizes[chosen].sum()
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
