"""The calibration curve: how often a head is right where it claims to be sure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from featx.core.typing import BoolArray, Float64Array, IntArray
from featx.heads.intervals import estimate_interval
from featx.heads.reliability import N_BINS, find_bins


@dataclass(frozen=True, kw_only=True)
class CalibrationBin:
    """Rows whose predicted class has a probability in one range.

    Attributes
    ----------
    low, high : float
        Range of the probability; `high` belongs to it.
    n_rows : int
        Number of rows, at least 1.
    mean_score : float
        Mean probability of the predicted class.
    accuracy : float
        Share of right predictions.
    accuracy_ci95 : (float, float)
        Ends of its 95 % interval.
    """

    low: float
    high: float
    n_rows: int
    mean_score: float
    accuracy: float
    accuracy_ci95: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class CalibrationCurve:
    """How often a head is right, by the probability of the class that it predicts.

    Attributes
    ----------
    bins : tuple of CalibrationBin
        Bins that hold rows, by their probability, ascending: those of the expected calibration
        error.
    n_seen : int
        Number of the rows that the head or its network has learnt from: with them, the curve looks
        better than it is.
    n_related : int or None
        Number of other rows of a group of which some rows were learnt from: with them, the curve
        may look better than it is. None if it was not measured.

    See Also
    --------
    featx.measure_calibration_curve : Measures such a curve.
    featx.plot_calibration : Draws one.
    """

    bins: tuple[CalibrationBin, ...]
    n_seen: int = 0
    n_related: int | None = None

    @property
    def n_rows(self) -> int:
        """Number of rows in all bins."""
        return sum(one.n_rows for one in self.bins)

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: mean distance of score and accuracy of the rows' bins."""
        gaps = sum(one.n_rows * abs(one.accuracy - one.mean_score) for one in self.bins)
        return gaps / self.n_rows

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, the number of rows and the calibration error, for JSON."""
        more = {"n_rows": self.n_rows, "calibration_error": self.calibration_error}
        return asdict(self) | more


def measure_calibration(
    right: BoolArray, scores: Float64Array, units: IntArray | None = None
) -> CalibrationCurve:
    """Measure how often predictions are right, by their score.

    Parameters
    ----------
    right : ndarray of bool
        ``(n_rows,)``, rows that are predicted correctly; at least one.
    scores : ndarray of float64
        ``(n_rows,)``, probability of the predicted class.
    units : ndarray of int64, optional
        ``(n_rows,)``, the unit of each row, for the intervals. Default: each row is a unit.

    Returns
    -------
    CalibrationCurve
        The curve.

    Examples
    --------
    >>> right = np.array([True, True, False, True])
    >>> curve = measure_calibration(right, np.array([0.95, 0.99, 0.55, 0.6]))
    >>> [(one.n_rows, one.accuracy) for one in curve.bins]
    [(2, 0.5), (2, 1.0)]
    """
    bins = find_bins(scores)
    found = []
    for number in np.unique(bins):
        rows = bins == number
        of_rows = None if units is None else units[rows]
        found.append(
            CalibrationBin(
                low=float(number) / N_BINS,
                high=float(number + 1) / N_BINS,
                n_rows=int(rows.sum()),
                mean_score=float(scores[rows].mean()),
                accuracy=float(right[rows].mean()),
                accuracy_ci95=estimate_interval(right[rows], of_rows),
            )
        )
    return CalibrationCurve(bins=tuple(found))
