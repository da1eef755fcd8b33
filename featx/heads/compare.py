"""Two classifiers on the same rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest

from featx.heads.evaluate import estimate_interval

Array = np.ndarray[Any, Any]

N_RESAMPLES = 10_000
"""Of the bootstrap."""


@dataclass(frozen=True)
class PairedScores:
    """How much better a second classifier is than a first one, on the same rows.

    Attributes
    ----------
    n_rows : int
    first, second : float
        Accuracies.
    first_ci95, second_ci95 : tuple of float
        Wilson's score intervals (Wilson 1927).
    gain : float
        The second less the first.
    gain_ci95 : tuple of float
        By percentile bootstrap over rows, or over groups where rows have them (Efron 1979).
    n_only_first, n_only_second : int
        Rows that one of the two alone has right.
    p_value : float
        Of these counts if both were equally good: McNemar's exact test (McNemar 1947), which takes
        rows for independent.
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
        """The second is better, beyond what chance in these rows explains.

        By both: on few rows the bootstrap alone is too sure of itself.
        """
        return self.gain_ci95[0] > 0 and self.p_value < 0.05

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self) | {"is_better": self.is_better}


def compare_predictions(
    y: Array, first: Array, second: Array, *, groups: Array | None = None, seed: int = 0
) -> PairedScores:
    """Compare two classifiers' predictions of the same rows.

    Parameters
    ----------
    y, first, second : ndarray of str
        ``(n_rows,)``, at least one row: labels, and what each classifier says.
    groups : ndarray, optional
        ``(n_rows,)``: rows of one group are drawn together.
    seed : int
        Of the bootstrap.
    """
    is_first, is_second = np.asarray(first == y), np.asarray(second == y)
    n_rows = len(y)
    difference = is_second.astype(int) - is_first.astype(int)
    counts = int((difference < 0).sum()), int((difference > 0).sum())
    p_value = binomtest(counts[0], sum(counts)).pvalue if sum(counts) else 1.0
    return PairedScores(
        n_rows=n_rows,
        first=float(is_first.mean()),
        first_ci95=estimate_interval(int(is_first.sum()), n_rows),
        second=float(is_second.mean()),
        second_ci95=estimate_interval(int(is_second.sum()), n_rows),
        gain=float(difference.mean()),
        gain_ci95=_bootstrap(difference, groups, seed),
        n_only_first=counts[0],
        n_only_second=counts[1],
        p_value=float(p_value),
    )


def _bootstrap(difference: Array, groups: Array | None, seed: int) -> tuple[float, float]:
    """Return the 95 % interval of the mean of ``(n_rows,)``."""
    rng = np.random.default_rng(seed)
    if groups is None:
        # A resample of rows is a draw of how many are -1, 0 and 1.
        n_rows = len(difference)
        shares = [float((difference == value).mean()) for value in (-1, 0, 1)]
        drawn = rng.multinomial(n_rows, shares, N_RESAMPLES)  # (n_resamples, 3)
        means = (drawn[:, 2] - drawn[:, 0]) / n_rows
    else:
        codes = np.unique(groups, return_inverse=True)[1]
        sums, sizes = np.bincount(codes, difference), np.bincount(codes)
        means = np.empty(N_RESAMPLES)
        for number in range(N_RESAMPLES):  # at once they would be gigabytes
            chosen = rng.integers(0, len(sizes), len(sizes))
            means[number] = sums[chosen].sum() / sizes[chosen].sum()
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
