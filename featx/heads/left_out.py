"""The distance of each row from the nearest class mean, as if its unit had not been there."""

from __future__ import annotations

import numpy as np

from featx.core.typing import Float32Array, Float64Array, IntArray
from featx.heads.covariance import SharedCovariance, measure_squares

BLOCK_ROWS = 1024
"""Rows that are left out at a time: all at once, in float64, would take many times their memory."""


def measure_left_out(
    covariance: SharedCovariance, X: Float32Array, codes: IntArray, units: IntArray
) -> Float64Array:
    """Measure the distance of each row as if its unit had not been fitted on.

    Means and covariance without a unit follow from those with it in closed form (the matrix
    inversion lemma). Nothing is fitted again, and the distances are those that fresh rows of the
    same kind have. Only the shrinkage is kept.

    Parameters
    ----------
    covariance : SharedCovariance
        The fit of `fit_covariance` to the same rows.
    X : ndarray of float32
        ``(n_rows, dim)``.
    codes : ndarray of int64
        ``(n_rows,)``, class of each row.
    units : ndarray of int64
        ``(n_rows,)``, unit of each row.

    Returns
    -------
    ndarray of float64
        ``(n_rows,)``, squared distances from the nearest class mean; NaN for the rows of a class
        that no other unit has.
    """
    leaving = _Leaving(covariance, X, codes)
    distances = np.full(len(X), np.nan)
    order = np.argsort(units, kind="stable")
    starts = np.flatnonzero(np.diff(units[order])) + 1
    members = np.split(order, starts)
    single = np.array([unit[0] for unit in members if len(unit) == 1], dtype=np.int64)
    single = single[leaving.counts[codes[single]] > 1]
    for start in range(0, len(single), BLOCK_ROWS):
        block = single[start : start + BLOCK_ROWS]
        distances[block] = leaving.leave_rows(block)
    for unit in members:
        if len(unit) > 1:
            distances[unit] = leaving.leave_unit(unit)
    return distances


class _Leaving:
    """Rows that can be left out of a covariance, in coordinates in which it is the identity."""

    def __init__(self, covariance: SharedCovariance, X: Float32Array, codes: IntArray) -> None:
        centre = covariance.means.mean(axis=0)
        self.covariance, self.codes = covariance, codes
        self.residuals = X - covariance.means[codes]  # (n_rows, dim)
        self.means = covariance.metric.whiten(covariance.means - centre)
        self.rows = covariance.metric.whiten(X - centre)  # (n_rows, n_coordinates)
        self.counts = np.bincount(codes)
        self.weight = (1 - covariance.shrinkage) / len(X)  # of a row's square in the covariance

    def leave_rows(self, chosen: IntArray) -> Float64Array:
        """Leave out each of some rows alone: all at once."""
        rows, codes = self.rows[chosen], self.codes[chosen]
        factor = self.counts[codes] / (self.counts[codes] - 1)  # the mean moves away from the row
        own = (rows - self.means[codes]).astype(np.float64)  # (n, n_coordinates)
        gone = np.sqrt(factor)[:, None] * own  # its square leaves the scatter
        inner = self.weight / (1 - self.weight * (gone**2).sum(axis=1))  # (n,)
        squares = measure_squares(rows, self.means)  # (n, n_classes)
        products = np.einsum("ij,ij->i", rows, gone)[:, None] - gone @ self.means.T
        each = np.arange(len(rows))
        squares[each, codes] = factor**2 * (own**2).sum(axis=1)
        products[each, codes] = factor * (own * gone).sum(axis=1)
        squares += inner[:, None] * products**2
        nearest = squares.argmin(axis=1)
        differences = (rows - self.means[nearest]).astype(np.float64)
        is_own = nearest == codes
        differences[is_own] = (factor[:, None] * own)[is_own]
        differences += (inner * products[each, nearest])[:, None] * gone
        lost = factor * np.einsum("ij,ij->i", self.residuals[chosen], self.residuals[chosen])
        return self._scale(squares[each, nearest], differences, lost, n_gone=1)

    def leave_unit(self, unit: IntArray) -> Float64Array:
        """Leave out the rows of one unit together."""
        rows, codes, residuals = self.rows[unit], self.codes[unit], self.residuals[unit]
        own: Float64Array = (rows - self.means[codes]).astype(np.float64)
        gone, left = own.copy(), self.means.astype(np.float64)
        lost = float(np.vdot(residuals, residuals))
        lacking = []
        for code in np.unique(codes):
            inside = codes == code
            n_inside = int(inside.sum())
            n_left = int(self.counts[code]) - n_inside
            if not n_left:
                lacking.append(code)
                continue
            shift = own[inside].mean(axis=0)
            gone[inside] += (np.sqrt(self.counts[code] / n_left) - 1) * shift
            left[code] -= n_inside / n_left * shift
            lost += n_inside**2 / n_left * float((residuals[inside].mean(axis=0) ** 2).sum())
        has_own = ~np.isin(codes, lacking)
        distances = np.full(len(rows), np.nan)
        if not has_own.any():
            return distances
        differences = rows[has_own, None] - np.delete(left, lacking, axis=0)  # (n, n_left, …)
        products = differences @ gone.T  # (n, n_left, n_unit)
        inner = self.weight * np.linalg.inv(np.eye(len(rows)) - self.weight * gone @ gone.T)
        squares = (differences**2).sum(axis=-1) + ((products @ inner) * products).sum(axis=-1)
        nearest = squares.argmin(axis=1)
        each = np.arange(len(nearest))
        solved = differences[each, nearest] + products[each, nearest] @ inner @ gone
        distances[has_own] = self._scale(squares[each, nearest], solved, lost, n_gone=len(unit))
        return distances

    def _scale(
        self, squares: Float64Array, solved: Float64Array, lost: Float64Array | float, n_gone: int
    ) -> Float64Array:
        """Take into account that fewer rows, and less isotropic variance, are left.

        Parameters
        ----------
        squares : ndarray of float64
            ``(n,)``, squared distances with the whole isotropic variance.
        solved : ndarray of float64
            ``(n, n_coordinates)``, inverse of the covariance times the differences, whitened.
        lost : ndarray of float64 or float
            Scatter that leaves.
        n_gone : int
            Number of rows that leave.
        """
        slopes = self.covariance.metric.measure_slopes(solved)
        fallen = self.covariance.isotropic * lost / self.covariance.scatter
        scaled: Float64Array = (squares + slopes * fallen) * (1 - n_gone / len(self.codes))
        return scaled
