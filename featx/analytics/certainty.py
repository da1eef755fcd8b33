"""How sure it is that two images are the same shot: embeddings and pixels in one number.

The certainty is a logistic of two measures. Both are relative to what is usual in the same cache:
the distance of the embeddings to that of neighbour number 20, and the agreement of the pixels to
that of such neighbours, which are alike and no copies. So no threshold has to be chosen by hand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from featx.core.typing import Array, Float32Array, Float64Array

LIMIT, GROWTH, SHARPNESS = 0.24, 0.19, 10.0
"""Pixels and embeddings: a pair of usual agreement is even odds at a distance of 0.24, each further
step of the agreement allows 0.19 more, and 0.1 of distance changes the odds by a factor of e."""

ALONE_LIMIT, ALONE_SHARPNESS = 0.6, 12.0
"""Embeddings alone: even odds at a distance of 0.6. On CIFAR-10, the pixels agree for 93 % of the
pairs below 0.4, for 85 % from 0.4 to 0.5, and for 68 % from 0.5 to 0.6."""

MANY_ROWS = 80
"""Number of rows below which embeddings alone must be nearer: few rows are as near by chance."""

TOP = 0.995
"""Agreement above which more of it says nothing: re-encoding alone takes as much."""

USUAL, SPREAD = 0.3, 0.3
"""Least agreement, on Fisher's scale, that counts as usual, and its least spread up to the ninth
decile: where images are few, or agree in nothing, less would be rounding."""

MIN_NULL = 50
"""Smallest number of pairs that say what agreement is usual."""

MAX_WRONG = 0.03
"""Largest expected share of wrong pairs among those that are reported."""

LEAST = 0.85
"""Least certainty of a pair that is reported: looked at on CIFAR-10, pairs from 0.5 to 0.85 are
mostly two of a kind, such as two horses that stand alike."""

MAX_WRONG_ALONE, LEAST_ALONE = 0.1, 0.5
"""The same if no image was compared: embeddings are less sure, and nothing else is left."""

DIGITS = 2
"""Digits of a certainty: no more are known."""


@dataclass(frozen=True, kw_only=True)
class Usual:
    """Agreement of the pixels of images that are alike and no copies, on Fisher's scale.

    Attributes
    ----------
    middle : float
        Its median.
    spread : float
        How far above the median its ninth decile lies.
    n_rows : int
        Number of rows that distances are relative to.
    """

    middle: float = 0.45
    spread: float = 0.42
    n_rows: int = MANY_ROWS


def measure_usual(agreement: Float32Array, n_rows: int) -> Usual:
    """Measure the usual agreement from pairs of neighbours that are not the nearest.

    Parameters
    ----------
    agreement : ndarray of float32
        ``(n_pairs,)``; NaN for pairs that could not be compared.
    n_rows : int
        Number of rows that have a vector.
    """
    known = _stretch(agreement[~np.isnan(agreement)])
    if len(known) < MIN_NULL:
        return Usual(n_rows=n_rows)
    middle, high = np.quantile(known, [0.5, 0.9])
    middle = max(float(middle), USUAL)
    return Usual(middle=middle, spread=max(float(high) - middle, SPREAD), n_rows=n_rows)


def compute_log_odds(
    distance: Float32Array, agreement: Float32Array, usual: Usual, wrong: Float64Array
) -> Float64Array:
    """Compute the log-odds that pairs are the same shot.

    Parameters
    ----------
    distance : ndarray of float32
        ``(n_pairs,)``, relative distances of the embeddings, as `Pairs` has them.
    agreement : ndarray of float32
        ``(n_pairs,)``, agreement of the pixels; NaN for pairs that could not be compared.
    usual : Usual
        Agreement that is usual.
    wrong : ndarray of float64
        ``(n_pairs,)``, share of pairs like each that are as near by chance.

    Examples
    --------
    >>> pairs = np.array([0.3, 0.9, 0.9, 0.1]), np.array([0.9, 0.9, np.nan, np.nan])
    >>> compute_log_odds(*pairs, Usual(), np.array([0.0, 0.0, 0.0, 0.4])).round(1).tolist()
    [4.0, -2.0, -3.6, 0.4]
    """
    limit = ALONE_LIMIT * min(1.0, usual.n_rows / MANY_ROWS)
    alone: Float64Array = np.minimum(ALONE_SHARPNESS * (limit - distance), -logit(wrong))
    # Where rows are near by chance, pixels decide: such a pair counts as no nearer than even odds.
    nearest = np.minimum(limit - alone / ALONE_SHARPNESS, ALONE_LIMIT)
    steps = (_stretch(agreement) - usual.middle) / usual.spread
    both: Float64Array = SHARPNESS * (LIMIT + GROWTH * steps - np.maximum(distance, nearest))
    return np.where(np.isnan(agreement), alone, both).astype(np.float64)


def _stretch(agreement: Float32Array) -> Array:
    """Put correlations on Fisher's scale, on which the upper ones lie apart."""
    return np.arctanh(np.clip(agreement, -TOP, TOP))


def compute_certainty(log_odds: Float64Array) -> Float64Array:
    """Compute certainties of log-odds, rounded: 0.99 at most, because only exact copies are sure.

    Parameters
    ----------
    log_odds : ndarray of float64
        ``(n_pairs,)``.

    Examples
    --------
    >>> compute_certainty(np.array([0.0, 20.0])).tolist()
    [0.5, 0.99]
    """
    rounded: Float64Array = np.round(expit(log_odds), DIGITS)
    return np.minimum(rounded, 1 - 10.0**-DIGITS)


def choose_threshold(certainty: Float64Array, *, has_pixels: bool) -> float:
    """Choose the least certainty to report: as low as the expected share of wrong pairs allows.

    Parameters
    ----------
    certainty : ndarray of float64
        ``(n_pairs,)``, descending.
    has_pixels : bool
        Whether images were compared, and not their embeddings alone.

    Returns
    -------
    float
        The threshold. It is at least 0.85, and 0.97 if no pair is that sure; of embeddings alone,
        0.5 and 0.9.

    Examples
    --------
    >>> certainty = np.array([0.99, 0.99, 0.99, 0.95, 0.6])
    >>> choose_threshold(certainty, has_pixels=True), choose_threshold(certainty, has_pixels=False)
    (0.95, 0.6)
    """
    most, least = (MAX_WRONG, LEAST) if has_pixels else (MAX_WRONG_ALONE, LEAST_ALONE)
    wrong = np.cumsum(1 - certainty) / np.arange(1, len(certainty) + 1)
    last = np.searchsorted(-certainty, -certainty, side="right") - 1  # equals are told together
    fitting = certainty[(wrong[last] <= most) & (certainty >= least)]
    return float(fitting[-1]) if len(fitting) else 1 - most
