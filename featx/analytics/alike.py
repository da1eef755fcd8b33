"""Wrong labels among classes that look alike: how many there can be at most.

`featx.analytics.noise` takes a wrong label to be any other class alike, and all classes to have as
many. Ants that are called wasps are neither: the head learns from them that such an image may be
either, and the classes that nobody mistakes say that there are no errors. So the share of wrong
labels is fitted once more, as the most that the labels allow: a wrong label is that of a class that
the image looks like, as the head says it, and each class has a share of its own,

    P(label | image) = (1 - rate) * p[label] + rate * sum over others (p[other] * p[label]
                       / (1 - p[other])),

with the rate of the class that the image looks like most; some of the errors may go to any class.
Where a head cannot tell two classes apart, both terms are as large, and any rate is as likely.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from featx.analytics.noise import LIKELY, MAX_RATE, SHARPNESS, TINY
from featx.core.columns import iter_blocks
from featx.core.typing import Float64Array, IntArray

TO_ANY = (0.0, 0.1, 1.0)
"""Shares of the wrong labels that may be any class. They are fitted along: few errors to a class
that the image is unlike would say otherwise that the head is less sure than it is."""

BLOCK_ROWS = 4096
N_RATES, N_PRICES = 16, 12
"""Numbers of halvings that find a rate, and a price."""

PRICES = (1e-2, 1e6)
"""Least and largest worth of the share of wrong labels, in units of likelihood, that is tried."""

Terms = tuple[Float64Array, Float64Array]
"""Probability of each label if it is right, and how much more likely it is as a wrong one."""


def bound_alike(probabilities: Float64Array, codes: IntArray, weights: Float64Array) -> float:
    """Find the largest share of wrong labels that held-out probabilities allow.

    Parameters
    ----------
    probabilities : ndarray of float64
        ``(n_rows, n_classes)``, by heads that have not seen the row.
    codes : ndarray of int64
        ``(n_rows,)``, class code of each label.
    weights : ndarray of float64
        ``(n_rows,)``, weight of each row: those of one unit have 1 together.

    Returns
    -------
    float
        Upper end of the 95 % interval of the share of labels that are wrong; at most 0.5.

    Examples
    --------
    >>> import numpy as np
    >>> codes = np.arange(600) % 3
    >>> sure, unsure = np.full((600, 3), 0.0005), np.full((600, 3), 0.0005)
    >>> sure[np.arange(600), codes] = 0.999
    >>> round(bound_alike(sure, codes, np.ones(600)), 3)
    0.003
    >>> unsure[codes < 2, :2] = 0.49975  # the first two classes look alike
    >>> unsure[codes == 2, 2] = 0.999
    >>> round(bound_alike(unsure, codes, np.ones(600)), 2)  # half the labels of these two
    0.34
    """
    looks = np.unique(probabilities.argmax(axis=1), return_inverse=True)[1]
    to_any = TO_ANY if probabilities.shape[1] > 2 else TO_ANY[:1]
    heights = np.array(
        [
            [_fit_rates(terms, looks, weights)[0] for terms in mixed]
            for mixed in _iter_terms(probabilities, codes, SHARPNESS, to_any)
        ]
    )
    least = float(heights.max()) - LIKELY / 2
    likely = SHARPNESS[heights.max(axis=1) >= least]
    return max(
        _find_most(terms, looks, weights, least=least)
        for mixed in _iter_terms(probabilities, codes, likely, to_any)
        for terms in mixed
    )


def _iter_terms(
    probabilities: Float64Array,
    codes: IntArray,
    sharpness: Float64Array,
    to_any: tuple[float, ...],
) -> Iterator[list[Terms]]:
    """Yield the terms of the model for each sharpness, for each share of errors to any class."""
    for power in sharpness.tolist():
        right, alike, even = _list_chances(probabilities, codes, power)
        yield [(right, (1 - share) * alike + share * even - right) for share in to_any]


def _list_chances(probabilities: Float64Array, codes: IntArray, sharpness: float) -> Float64Array:
    """List the probability of each label if it is right, alike, and any other, ``(3, n_rows)``."""
    right, alike, even = chances = np.empty((3, len(codes)))
    for block in iter_blocks(len(codes), BLOCK_ROWS):
        logs = sharpness * np.log(probabilities[block] + TINY)
        p = np.exp(logs - logs.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        own = (np.arange(len(p)), codes[block])
        odds = p / np.maximum(1 - p, np.finfo(np.float64).eps)
        right[block] = p[own]
        alike[block] = np.minimum(p[own] * (odds.sum(axis=1) - odds[own]), 1 - p[own])
        even[block] = (1 - p[own]) / (p.shape[1] - 1)
    return chances + TINY


def _fit_rates(
    terms: Terms, looks: IntArray, weights: Float64Array, *, price: float = 0.0
) -> tuple[float, float]:
    """Return the likelihood and the share of wrong labels of the best rates of all classes.

    The share is worth `price` units of likelihood, and grows with it.
    """
    right, more = terms
    shares = np.bincount(looks, weights) / weights.sum()
    low, high = np.zeros(len(shares)), np.full(len(shares), MAX_RATE)
    for _ in range(N_RATES):
        rates = (low + high) / 2
        slopes = np.bincount(looks, weights * more / (right + rates[looks] * more))
        rises = slopes + price * shares > 0
        low, high = np.where(rises, rates, low), np.where(rises, high, rates)
    return float(weights @ np.log(right + low[looks] * more)), float(shares @ low)


def _find_most(terms: Terms, looks: IntArray, weights: Float64Array, *, least: float) -> float:
    """Find the largest share of wrong labels whose likelihood is not below the least one."""
    low, high = PRICES
    most = 0.0
    for _ in range(N_PRICES):
        price = math.sqrt(low * high)
        height, share = _fit_rates(terms, looks, weights, price=price)
        if height >= least:
            low, most = price, share
        else:
            high = price
    return most
