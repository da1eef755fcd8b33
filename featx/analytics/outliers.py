"""Outliers: rows that are unlike all labelled rows, or unlike the rest of a cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from featx.core.text import count_noun
from featx.core.typing import Array, Float64Array, IntArray
from featx.heads.splits import build_folds
from featx.heads.unknown import MAX_ROWS, UnknownDetector

RATE = 0.001
"""Share of usual rows that are listed as well: 1 in 1,000."""

N_FOLDS = 5
SHOULDER = 0.9
"""Quantile of the distances that says how far the usual ones spread: above, outliers may lie."""

MIN_ROWS = 30


@dataclass(frozen=True, kw_only=True, eq=False)
class Outliers:
    """Rows that lie far from all classes, the farthest first.

    Attributes
    ----------
    rows : ndarray of int64
        ``(n,)``, rows of the cache.
    scores : ndarray of float64
        ``(n,)``, squared distance from the nearest class mean; 1 is that of a usual row.
    rate : float
        Share of usual rows that lie beyond the limit by chance.
    limit : float
        Smallest distance that is listed.
    n_judged : int
        Number of rows that were judged.
    """

    rows: IntArray
    scores: Float64Array
    rate: float
    limit: float
    n_judged: int

    def __len__(self) -> int:
        return len(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers, without the rows, as what JSON can hold."""
        return {
            "n_judged": self.n_judged,
            "n_listed": len(self),
            "rate": self.rate,
            "n_by_chance": round(self.rate * self.n_judged, 1),
            "limit": round(self.limit, 3),
        }


def find_outliers(
    X: Array, codes: IntArray, units: IntArray | None, numbers: IntArray
) -> Outliers | str:
    """Find rows that lie far from all classes, each measured without its unit.

    The distance is that of `featx.UnknownDetector`, out of fold. The limit follows from the
    distances of the middle of the rows: their logarithms are taken as normal above the median, with
    the spread from there to the 90 % quantile, so that outliers do not hide themselves.

    Parameters
    ----------
    X : ndarray
        ``(n_rows, dim)``, embeddings.
    codes : ndarray of int64
        ``(n_rows,)``, class of each row; -1 for a row without a label. Without any label, all rows
        are one class.
    units : ndarray of int64 or None
        ``(n_rows,)``, the unit of each row; None if each is alone.
    numbers : ndarray of int64
        ``(n_rows,)``, rows of the cache.

    Returns
    -------
    Outliers or str
        The findings; or a text that says why nothing can be told.
    """
    if not len(X):
        return "no row has a vector"
    if (codes < 0).all():
        codes = np.zeros(len(codes), np.int64)
    distances = measure_outside(X, codes, units)
    with np.errstate(invalid="ignore"):
        far = distances > np.nanquantile(distances, SHOULDER) if np.isfinite(distances).any() else 0
    # Outliers that were fitted on hide each other: of five planted ones, four were found only so.
    distances = measure_outside(X, np.where(far, -1, codes), units)
    measured = np.isfinite(distances)
    usual = np.log(np.maximum(distances[measured & (codes >= 0)], np.finfo(np.float64).tiny))
    if len(usual) < MIN_ROWS:
        return (
            f"{len(usual)} of {count_noun(len(X), 'row')} can be compared with other rows of their "
            f"class; {MIN_ROWS} are needed"
        )
    middle, shoulder = np.quantile(usual, [0.5, SHOULDER])
    limit = float(np.exp(middle + (shoulder - middle) * norm.isf(RATE) / norm.ppf(SHOULDER)))
    found = np.flatnonzero(measured & (distances > limit))
    found = found[np.argsort(-distances[found], kind="stable")]
    return Outliers(
        rows=numbers[found],
        scores=distances[found],
        rate=RATE,
        limit=limit,
        n_judged=int(measured.sum()),
    )


def measure_outside(X: Array, codes: IntArray, units: IntArray | None) -> Float64Array:
    """Measure how far each row lies from the nearest class mean of rows of other units.

    Parameters
    ----------
    X : ndarray
        ``(n_rows, dim)``, embeddings.
    codes : ndarray of int64
        ``(n_rows,)``, class of each row; -1 for a row that is measured and not fitted on.
    units : ndarray of int64 or None
        ``(n_rows,)``, the unit of each row; None if each is alone.

    Returns
    -------
    ndarray of float64
        ``(n_rows,)``, squared distances; 1 is that of a usual row; NaN where it cannot be told.
    """
    distances = np.full(len(X), np.nan)
    rows = np.flatnonzero(codes >= 0)
    n_folds = N_FOLDS if len(rows) <= MAX_ROWS else 2
    own = None if units is None else units[rows]
    folds = build_folds(codes[rows], own, n_folds=n_folds, seed=0)
    for train, test in folds:
        detector = _fit(X, codes, units, rows[train])
        if detector is not None:
            distances[rows[test]] = detector.measure_distances(X[rows[test]])
    others = np.flatnonzero(codes < 0)
    detector = _fit(X, codes, units, rows) if len(others) else None
    if detector is not None:
        distances[others] = detector.measure_distances(X[others])
    return distances


def _fit(
    X: Array, codes: IntArray, units: IntArray | None, rows: IntArray
) -> UnknownDetector | None:
    """Fit a detector on some rows, whose classes get numbers without gaps."""
    own = None if units is None else units[rows]
    return UnknownDetector.fit(X[rows], np.unique(codes[rows], return_inverse=True)[1], own)
