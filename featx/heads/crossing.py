"""Nested cross-validation of heads whose fits at all strengths come together, as one path.

The strength that predicts a fold is chosen by heads that saw neither this fold nor the one that
they are scored on. Each pair of folds is left out once, which serves both folds of the pair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from featx.core.typing import Array, Float64Array, IntArray
from featx.heads.splits import Fold, build_folds, leave_pairs_out
from featx.heads.units import count_units

PredictPaths = Callable[[Sequence[Fold]], Sequence[Array]]
"""Function that fits on the training part of each of several folds and returns the predictions of
its test part at all strengths, ``(n_strengths, n_test, …)``."""

MeasureLoss = Callable[[Array, IntArray], Float64Array]
"""Function that takes such predictions and their rows, and returns the loss of each strength, added
over the rows, ``(n_strengths,)``."""


MIN_UNITS = 10
"""Smallest number of units that are held out: a score of fewer says nothing."""


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """Held-out predictions, and the strength that they were made with.

    Attributes
    ----------
    predicted : ndarray of float64
        ``(n_rows, …)``, prediction of each row by a head that saw neither the row nor, in choosing
        its strength, the row's fold.
    folds : tuple of (ndarray, ndarray)
        The folds; every row lies in one test part.
    losses : ndarray of float64
        ``(n_strengths,)``, mean held-out loss of a row at each strength.
    best : int
        Position of the strength with the smallest loss.
    """

    predicted: Float64Array
    folds: tuple[Fold, ...]
    losses: Float64Array
    best: int


def build_fair_folds(
    strata: IntArray, units: IntArray | None, *, n_folds: int, seed: int
) -> list[Fold]:
    """Divide rows into folds; none if there are too few units.

    Parameters
    ----------
    strata : ndarray of int64
        ``(n_rows,)``, stratum of each row, of which each fold has its share.
    units : ndarray of int64 or None
        ``(n_rows,)``, the unit of each row; None if each row is alone.
    n_folds : int
        Number of folds.
    seed : int
        Seed of the shuffle.
    """
    if (len(strata) if units is None else count_units(units)) < MIN_UNITS:
        return []
    folds = build_folds(strata, units, n_folds=n_folds, seed=seed)
    return folds if len(folds) > 1 else []


def cross(
    folds: Sequence[Fold], predict: PredictPaths, measure: MeasureLoss, *, default: int
) -> Crossing:
    """Predict each row by nested cross-validation.

    Parameters
    ----------
    folds : sequence of (ndarray, ndarray)
        At least two folds; every row lies in one test part.
    predict : callable
        See `PredictPaths`.
    measure : callable
        See `MeasureLoss`.
    default : int
        Position of the strength that predicts the folds if there are only two: no third one is left
        to choose a strength with.
    """
    tests = [test for _, test in folds]
    n_rows = sum(map(len, tests))
    pairs = leave_pairs_out(folds) if len(folds) > 2 else []
    paths = predict([*folds, *(part for _, _, part in pairs)])
    losses = np.stack([measure(path, test) for path, test in zip(paths, tests, strict=False)])
    inner = np.zeros_like(losses)
    for (first, second, _), path in zip(pairs, paths[len(folds) :], strict=True):
        cut = len(tests[first])
        inner[second] += measure(path[:, :cut], tests[first])
        inner[first] += measure(path[:, cut:], tests[second])
    chosen = inner.argmin(axis=1) if pairs else np.full(len(folds), default)
    predicted = np.full((n_rows, *paths[0].shape[2:]), np.nan)
    for number, test in enumerate(tests):
        predicted[test] = paths[number][chosen[number]]
    means = losses.sum(axis=0) / n_rows
    return Crossing(predicted=predicted, folds=tuple(folds), losses=means, best=int(means.argmin()))
