"""Wrong labels against hard images: how many labels of a data set are wrong, and which.

Held-out probabilities of a head say how likely each label is. An unlikely label is either wrong, or
the image is hard. The two differ in how they go on where the head is surer and surer: hard images
become rare, wrong labels keep their share. So the model is a mixture,

    P(label | image) = (1 - rate) * p[label] + rate * (1 - p[label]) / (n_classes - 1),

with `p` the held-out probabilities, whose sharpness is fitted along: a head that learnt from wrong
labels is less sure than it should be. Rate and sharpness are those of the largest likelihood. On
data without wrong labels the rate is 0, however hard the images are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from featx.core.columns import iter_blocks
from featx.core.typing import Float64Array, IntArray

SHARPNESS = np.exp(np.arange(-30, 31) / 10)
"""Powers of the probabilities that are tried; with 1 they stay as they are."""

MAX_RATE = 0.5
"""Largest rate that is considered: beyond, no label could be told from a wrong one."""

LIKELY = 3.84
"""Twice the logarithm of a ratio of likelihoods that is exceeded by chance in 5 % of cases."""

EVIDENT = 6.63
"""The same for 1 %: below, featx does not say that a data set has wrong labels."""

WITHOUT_FIRST = 2.71
"""The same for 10 %, without the row that says most: one strange image is no share of labels. Of 16
clean data sets, one had evidence of 10 by one row alone; without it, none had more than 2.4."""

FEW_UNITS = 40
"""Number of units of which half the evidence is that of the head's own errors."""

BLOCK_ROWS = 4096
TINY = 1e-300


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelNoise:
    """Wrong labels of a data set.

    Attributes
    ----------
    rate : float
        Share of labels that are wrong, of the largest likelihood.
    rate_ci95 : (float, float)
        95 % interval of the rate.
    evidence : float
        Twice the logarithm of the ratio of the largest likelihood to that without wrong labels.
    needed : float
        Evidence from which on featx says that labels are wrong.
    rest : float
        Evidence without the row that says most.
    scores : ndarray of float64
        ``(n_rows,)``, probability that the label of the row is wrong.
    low, high : ndarray of float64
        ``(n_rows,)``, the same at the ends of the interval of the rate.
    """

    rate: float
    rate_ci95: tuple[float, float]
    evidence: float
    needed: float
    rest: float
    scores: Float64Array
    low: Float64Array
    high: Float64Array

    @property
    def is_evident(self) -> bool:
        """Whether some labels are wrong beyond doubt."""
        return self.evidence > self.needed and self.rest > WITHOUT_FIRST


def fit_noise(probabilities: Float64Array, codes: IntArray, weights: Float64Array) -> LabelNoise:
    """Fit the share of wrong labels to held-out probabilities.

    Parameters
    ----------
    probabilities : ndarray of float64
        ``(n_rows, n_classes)``, by heads that have not seen the row.
    codes : ndarray of int64
        ``(n_rows,)``, class code of each label.
    weights : ndarray of float64
        ``(n_rows,)``, weight of each row: those of one unit have 1 together.

    Examples
    --------
    >>> import numpy as np
    >>> codes = np.arange(2000) % 2
    >>> p = np.where(np.arange(2000) % 10, 0.999, 0.7)  # each tenth image is hard
    >>> sure = np.stack([np.where(codes, 1 - p, p), np.where(codes, p, 1 - p)], axis=1)
    >>> rng = np.random.default_rng(0)
    >>> labels = np.where(rng.random(2000) < p, codes, 1 - codes)  # nothing but hard images
    >>> fit_noise(sure, labels, np.ones(2000)).is_evident
    False
    >>> wrong = rng.random(2000) < 0.05
    >>> noise = fit_noise(sure, np.where(wrong, 1 - labels, labels), np.ones(2000))
    >>> noise.is_evident, bool(noise.rate_ci95[0] < 0.05 < noise.rate_ci95[1])
    (True, True)
    """
    right = _list_right(probabilities, codes)  # (n_sharpness, n_rows)
    n_wrong = probabilities.shape[1] - 1
    rates = np.array([_find_rate(p, (1 - p) / n_wrong, weights) for p in right])
    heights = np.array(
        [
            _measure(p, (1 - p) / n_wrong, weights, rate)
            for p, rate in zip(right, rates, strict=True)
        ]
    )
    best = int(heights.argmax())
    without = max(right, key=lambda p: _measure(p, p, weights, 0.0))
    p, wrong = right[best], (1 - right[best]) / n_wrong
    mixed = (1 - rates[best]) * p + rates[best] * wrong
    evidence = 2 * weights * (np.log(mixed + TINY) - np.log(without + TINY))
    ends: list[tuple[float, int]] = []
    for number, p in enumerate(right):
        if 2 * (heights[best] - heights[number]) <= LIKELY:
            low, high = _find_ends(
                p,
                (1 - p) / n_wrong,
                weights,
                rate=rates[number],
                height=heights[best] - LIKELY / 2,
            )
            ends += [(low, number), (high, number)]
    first, last = min(ends), max(ends)

    def score(rate: float, number: int) -> Float64Array:
        p = right[number]
        wrong = rate * (1 - p) / n_wrong
        shares: Float64Array = wrong / ((1 - rate) * p + wrong + TINY)
        return shares

    n_units = float(weights.sum())
    return LabelNoise(
        rate=float(rates[best]),
        rate_ci95=(float(first[0]), float(last[0])),
        evidence=float(evidence.sum()),
        rest=float(evidence.sum() - evidence.max()),
        needed=EVIDENT * (1 + FEW_UNITS / n_units),
        scores=score(rates[best], best),
        low=score(*first),
        high=score(*last),
    )


def _list_right(probabilities: Float64Array, codes: IntArray) -> Float64Array:
    """Return the probability of each row's label for each sharpness."""
    right = np.empty((len(SHARPNESS), len(codes)))
    for block in iter_blocks(len(codes), BLOCK_ROWS):
        logs = np.log(probabilities[block] + TINY)
        logs -= logs.max(axis=1, keepdims=True)
        own = logs[np.arange(len(logs)), codes[block]]
        for number, sharpness in enumerate(SHARPNESS):
            right[number, block] = np.exp(sharpness * own) / np.exp(sharpness * logs).sum(axis=1)
    return right


def _measure(p: Float64Array, wrong: Float64Array, weights: Float64Array, rate: float) -> float:
    """Return the logarithm of the likelihood of a rate."""
    return float(weights @ np.log((1 - rate) * p + rate * wrong + TINY))


def _find_rate(p: Float64Array, wrong: Float64Array, weights: Float64Array) -> float:
    """Find the rate of the largest likelihood, which is concave in it, by bisection."""

    def is_rising(rate: float) -> bool:
        return float(weights @ ((wrong - p) / ((1 - rate) * p + rate * wrong + TINY))) > 0

    if not is_rising(0.0):
        return 0.0
    low, high = 0.0, MAX_RATE
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if is_rising(middle) else (low, middle)
    return (low + high) / 2


def _find_ends(
    p: Float64Array, wrong: Float64Array, weights: Float64Array, *, rate: float, height: float
) -> tuple[float, float]:
    """Find the rates on both sides of the best one at which the likelihood falls below a height."""
    ends = []
    for end in (0.0, MAX_RATE):
        inside, outside = rate, end
        if _measure(p, wrong, weights, end) >= height:
            inside = end
        for _ in range(30 * (inside != end)):
            middle = (inside + outside) / 2
            if _measure(p, wrong, weights, middle) >= height:
                inside = middle
            else:
                outside = middle
        ends.append(inside)
    return ends[0], ends[1]
