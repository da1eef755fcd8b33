"""Wrong labels where the classes are far apart: rows beyond the tail that right labels can have.

The margin of a row is the logarithm of the probability of its label over that of the best other
class. If the margins of a class have a density whose logarithm is concave, as the normal, the
logistic and the Laplace distribution have, then so has their distribution function: beyond two
quantiles it lies below the exponential through both. This bounds how many right labels are as
unlikely as those seen, whatever the margins are scaled by. `featx.analytics.noise` needs rows of
every difficulty, and has little power where all images are easy; this bound has most power there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import poisson

from featx.core.typing import Float64Array, IntArray

QUANTILES = (0.5, 0.25)
"""The quantiles of the margins of a class that the exponential goes through."""

ERRORS = 1.0
"""Standard errors by which the lower quantile is taken further out."""

MIN_OF_CLASS = 20
"""Smallest number of rows of a class whose quantiles are known well enough."""

EVIDENT = 0.001
"""Largest p-value at which rows beyond the tail are wrong labels. Of 120 clean data sets, none
had one below 0.03."""

MAX_RANK = 500
"""Largest number of rows beyond the tail that the p-value looks at."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tail:
    """Rows beyond the tail that right labels can have.

    Attributes
    ----------
    scores : ndarray of float64
        ``(n_rows,)``, least share of wrong labels among the row and those that are less likely.
    p_value : float
        Smallest probability that so many right labels are so unlikely.
    """

    scores: Float64Array
    p_value: float

    @property
    def is_evident(self) -> bool:
        """Whether some labels are wrong beyond doubt."""
        return self.p_value < EVIDENT


def bound_tail(probabilities: Float64Array, codes: IntArray, weights: Float64Array) -> Tail:
    """Bound the number of right labels that are as unlikely as each label.

    Parameters
    ----------
    probabilities : ndarray of float64
        ``(n_rows, n_classes)``, above 0, by heads that have not seen the row.
    codes : ndarray of int64
        ``(n_rows,)``, class code of each label.
    weights : ndarray of float64
        ``(n_rows,)``, weight of each row: those of one unit have 1 together.

    Examples
    --------
    >>> import numpy as np
    >>> margins = np.random.default_rng(0).normal(5, 1, 400)
    >>> margins[:8] *= -1  # wrong labels
    >>> p = 1 / (1 + np.exp(-margins))
    >>> codes = np.arange(400) % 2
    >>> both = np.where(codes[:, None] == [0, 1], p[:, None], 1 - p[:, None])
    >>> tail = bound_tail(both, codes, np.ones(400))
    >>> tail.is_evident, int((tail.scores > 0.5).sum())
    (True, 8)
    """
    logs = np.log(probabilities)
    each = np.arange(len(codes))
    own = logs[each, codes]
    logs[each, codes] = -np.inf
    margins = own - logs.max(axis=1)
    shares = np.ones(len(codes))
    for code in np.unique(codes):
        rows = np.flatnonzero((codes == code) & (margins < 0))
        of_class = margins[codes == code]
        half, low = QUANTILES
        doubt = ERRORS * math.sqrt(low * (1 - low) / len(of_class))
        middle, quarter = np.quantile(of_class, [half, max(0.0, low - doubt)])
        if len(of_class) >= MIN_OF_CLASS and middle > quarter > 0:
            steps = (middle - margins[rows]) / (middle - quarter)
            shares[rows] = half * (low / half) ** steps
    order = np.argsort(shares, kind="stable")
    right = shares[order] * weights.sum()
    found = np.cumsum(weights[order])
    rates = np.minimum.accumulate((right / found)[::-1])[::-1]
    scores = np.empty(len(codes))
    scores[order] = np.maximum(0.0, 1 - rates)
    first = slice(0, min(MAX_RANK, int((shares < 1).sum())))
    p_values = poisson.sf(np.floor(found[first] + 1e-9) - 1, right[first])
    return Tail(scores=scores, p_value=float(p_values.min(initial=1.0)))
