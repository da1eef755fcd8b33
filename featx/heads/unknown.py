"""Unknown images: those that are like nothing a head was fitted on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from featx.core.errors import HeadError
from featx.core.typing import Array, BoolArray, Float32Array, Float64Array, IntArray
from featx.heads.covariance import CovarianceMetric, fit_covariance, measure_squares
from featx.heads.left_out import measure_left_out
from featx.heads.side_by_side import scale_embeddings
from featx.heads.stored_arrays import check_stored
from featx.heads.units import count_even, count_units

DEFAULT_RATE = 0.01
"""Share of images of the known kind that are called unknown."""

MAX_ROWS = 10_000
"""Rows that a detector is fitted on at most: a rate of 0.01 is then known to 0.001."""

LACKING = (
    "unknown images cannot be told: no class has rows of two units, or the embeddings of length 1 "
    "do not differ within a class"
)
"""What a person should know of a head without a detector."""


@dataclass(frozen=True, kw_only=True, eq=False)
class UnknownDetector:
    """Tells images that are like nothing a head has seen, by their embeddings.

    The distance of an image is the squared Mahalanobis distance of its embedding, scaled to length
    1, from the nearest class mean. All classes share one covariance, shrunk as by Ledoit and Wolf.
    If several embeddings lie side by side, each is scaled to length 1.
    The distances of the rows that it was fitted on, each measured as if its unit had not been
    there, say how far images of the known kind lie. A class of one unit has no mean without it: its
    rows have distances of the other rows, enlarged as if their means were those of one unit.

    Attributes
    ----------
    means : ndarray of float32
        ``(n_classes, dim)``, means of the embeddings of length 1.
    metric : CovarianceMetric
        Their shared covariance.
    distances : ndarray of float32
        ``(n_rows,)``, ascending: distances of the rows, each without its unit. The middle one of
        those that were measured is 1.
    n_units : int
        Number of units of these rows: of units of one size that would say as much, so that one with
        most of the rows does not count as one of many.
    dims : tuple of int
        Length of each embedding of a row; several lie side by side.
    n_fresh : float
        Number of rows that a fresh row counts as beside them, which stands for what they do not
        show: 1 if units have one size, and more if few units have most of the rows.

    See Also
    --------
    featx.predict : Predict classes, and say which images are unknown.

    Notes
    -----
    The p-value of a row is that of a conformal test: among rows of the known kind, it is at most
    `r` in a share `r` of cases. The rate holds for all classes together: rows of classes of one
    unit, whose mean is known worst, are found more often.

    Examples
    --------
    >>> import numpy as np
    >>> from featx import UnknownDetector
    >>> rng = np.random.default_rng(0)
    >>> codes = np.arange(400) % 2
    >>> X = rng.normal(size=(400, 8)) + 10 * np.eye(8)[codes]
    >>> detector = UnknownDetector.fit(X, codes)
    >>> stranger = 10 * np.eye(8)[5:6]
    >>> detector.find_unknown(np.concatenate([X[:1], stranger]), rate=0.01)
    array([False,  True])
    """

    means: Float32Array
    metric: CovarianceMetric
    distances: Float32Array
    n_units: int
    dims: tuple[int, ...]
    n_fresh: float = 1.0

    @classmethod
    def fit(
        cls,
        X: Array,
        codes: IntArray,
        units: IntArray | None = None,
        *,
        dims: Sequence[int] | None = None,
    ) -> Self | None:
        """Fit a detector, in closed form.

        Parameters
        ----------
        X : ndarray
            ``(n_rows, dim)``, embeddings.
        codes : ndarray of int64
            ``(n_rows,)``, class of each row, from 0; each class has a row.
        units : ndarray of int64, optional
            ``(n_rows,)``, unit of each row. Default: each row is a unit of its own.
        dims : sequence of int, optional
            Length of each embedding, if several lie side by side. Default: a row is one embedding.

        Returns
        -------
        UnknownDetector or None
            None if too few rows can be measured: no class has rows of two units, or none of its
            rows differ.
        """
        codes = np.asarray(codes)
        units = np.arange(len(codes)) if units is None else np.asarray(units)
        chosen = _choose_rows(units)
        codes, units = np.unique(codes[chosen], return_inverse=True)[1], units[chosen]
        dims = (np.shape(X)[1],) if dims is None else tuple(dims)
        # Of other lengths, light and contrast would count more than what is shown.
        Z = scale_embeddings(np.asarray(X)[chosen], dims)
        covariance = fit_covariance(Z, codes)
        if covariance is None:
            return None
        left_out = measure_left_out(covariance, Z, codes, units)
        is_measured = np.isfinite(left_out)
        if not is_measured.any():
            return None
        middle = float(np.median(left_out[is_measured])) or 1.0
        left_out[~is_measured] = _enlarge(left_out, codes, units, n_drawn=int((~is_measured).sum()))
        measured = units[is_measured]
        n_units = count_even(measured)
        return cls(
            means=covariance.means,
            metric=covariance.metric.compress(middle),
            distances=(np.sort(left_out) / middle).astype(np.float32),
            n_units=n_units,
            dims=dims,
            n_fresh=count_units(measured) / n_units * len(units) / len(measured),
        )

    @property
    def smallest_rate(self) -> float:
        """Smallest rate of false alarms that the rows bear out: 1 in ``n_units + 1``."""
        return 1 / (self.n_units + 1)

    def measure_distances(self, X: Array) -> Float64Array:
        """Measure how far rows lie from what the head was fitted on.

        Parameters
        ----------
        X : ndarray
            ``(n_rows, dim)``, embeddings.

        Returns
        -------
        ndarray of float64
            ``(n_rows,)``, squared distances; 1 is that of a usual row.
        """
        centre = self.means.mean(axis=0)
        rows = self.metric.whiten(scale_embeddings(X, self.dims) - centre)
        means = self.metric.whiten(self.means - centre)
        nearest: Float64Array = measure_squares(rows, means).min(axis=1)
        return nearest

    def score(self, X: Array) -> Float64Array:
        """Return the p-value of each row: how usual its distance is among rows of the known kind.

        Parameters
        ----------
        X : ndarray
            ``(n_rows, dim)``, embeddings.

        Returns
        -------
        ndarray of float64
            ``(n_rows,)``, above 0 and at most 1: the share of rows that lie as far away, the row
            itself counted as `n_fresh`.
        """
        distances = self.measure_distances(X).astype(np.float32)
        n_farther = len(self.distances) - np.searchsorted(self.distances, distances, side="left")
        p = (n_farther + self.n_fresh) / (len(self.distances) + self.n_fresh)
        return np.asarray(p, np.float64)

    def find_unknown(self, X: Array, rate: float = DEFAULT_RATE) -> BoolArray:
        """Find the rows that are like nothing the head was fitted on.

        Parameters
        ----------
        X : ndarray
            ``(n_rows, dim)``, embeddings.
        rate : float
            Rate of false alarms: the share of rows of the known kind that are found as well, above
            0 and below 1. If it is smaller than ``n_fresh / (n_rows + n_fresh)``, only rows that
            lie farther away than all those fitted on are found.

        Returns
        -------
        ndarray of bool
            ``(n_rows,)``.

        Raises
        ------
        HeadError
            If the rate is not between 0 and 1.
        """
        if not 0 < rate < 1:
            raise HeadError(
                subject="rate",
                expected="a rate of false alarms between 0 and 1",
                got=str(rate),
                remedy=f"Pass rate={DEFAULT_RATE}.",
            )
        least = self.n_fresh / (len(self.distances) + self.n_fresh)
        found: BoolArray = self.score(X) <= max(rate, least)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and numeric arrays, as small as they can be."""
        return {
            "means": self.means,
            "metric": self.metric.to_dict(),
            "distances": self.distances,
            "n_units": self.n_units,
            "dims": self.dims,
            "n_fresh": self.n_fresh,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Build a detector from what `to_dict` returned.

        Parameters
        ----------
        content : mapping
            Fields as `to_dict` returned them; without ``n_fresh`` in files of an older featx.

        Raises
        ------
        KeyError, TypeError, ValueError
            If a field is missing, unknown, of another type or of another shape.
        """
        metric = CovarianceMetric.from_dict(content["metric"])
        detector = cls(**{**content, "metric": metric})
        check_stored(detector.means, np.float32, (None, metric.axes.shape[1]))
        distances = check_stored(detector.distances, np.float32, (None,))
        if type(detector.n_units) is not int or not 0 < detector.n_units <= len(distances):
            raise ValueError(f"{detector.n_units} units")
        if type(detector.n_fresh) is not float or not 0 < detector.n_fresh < math.inf:
            raise ValueError(f"a fresh row that counts as {detector.n_fresh}")
        dims = detector.dims
        if type(dims) is not tuple or not all(type(dim) is int and dim > 0 for dim in dims):
            raise TypeError("lengths of another type")
        if sum(dims) != detector.means.shape[1]:
            raise ValueError("lengths that do not fit the means")
        if not len(detector.means) or (np.diff(distances) < 0).any():
            raise ValueError("no class, or distances that are not ascending")
        return detector


def _enlarge(
    left_out: Float64Array, codes: IntArray, units: IntArray, *, n_drawn: int
) -> Float64Array:
    """Enlarge distances that were measured, as if each class had one unit, and draw some of them.

    The mean of ``n`` units adds one part in ``n`` to the squared distance of a fresh row from the
    centre of its class, and that of one unit adds as much again.

    Parameters
    ----------
    left_out : ndarray of float64
        ``(n_rows,)``, squared distances without the unit of each row; NaN if its class has no
        other.
    codes, units : ndarray of int64
        ``(n_rows,)``, class and unit of each row.
    n_drawn : int
        Number of distances to draw: at even ranks, the largest among them.
    """
    classes = np.unique(np.stack([codes, units]), axis=1)[0]
    n_others = np.bincount(classes)[codes] - 1
    is_measured = np.isfinite(left_out) & (n_others > 0)
    enlarged = 2 * left_out[is_measured] / (1 + 1 / n_others[is_measured])
    return np.quantile(enlarged, np.arange(1, n_drawn + 1) / max(n_drawn, 1))


def _choose_rows(units: IntArray) -> IntArray:
    """Choose the rows to fit on: all or, of many, those of units that are drawn by chance."""
    if len(units) <= MAX_ROWS:
        return np.arange(len(units))
    _, numbers = np.unique(units, return_inverse=True)
    sizes = np.bincount(numbers)
    order = np.random.default_rng(0).permutation(len(sizes))
    n_units = max(int(np.searchsorted(np.cumsum(sizes[order]), MAX_ROWS, side="right")), 1)
    return np.flatnonzero(np.isin(numbers, order[:n_units]))
