"""Rows of embeddings in the coordinates of their principal axes, in which linear heads are fitted.

A rotation changes neither the rows' inner products nor the length of a weight vector, so that a
head that is penalised by its length is the same one in either space. In the principal axes the
curvature of a loss is nearly diagonal, which a solver is told beforehand; and rows that are fewer
than their channels span a space of fewer coordinates than channels.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from featx.core.typing import Array, Float32Array, Float64Array
from featx.heads.blocks import map_blocks

BLOCK_ROWS = 1024
"""Rows that a thread converts to float64 at a time."""

MAX_RANK = 3000
"""Largest number of axes: a decomposition takes 0.8 s for 1,280 axes, and 10 s for 3,000."""

MIN_SPREAD = 1e-14
"""Axes along which the mean square is less than this share of the largest one are left out."""


@dataclass(frozen=True, kw_only=True)
class Coordinates:
    """Scaled rows, in the coordinates of their principal axes.

    Attributes
    ----------
    rows : ndarray of float32
        ``(n_rows, 1 + n_axes)``: ones, for the intercept, then the coordinates of each row.
    spread : ndarray of float64
        ``(1 + n_axes,)``, mean square of each column of `rows`.
    axes : ndarray of float64 or None
        ``(dim, n_axes)``, orthonormal columns; None if the coordinates are the scaled channels.
    mean, scale : ndarray of float64
        ``(dim,)``: a row is ``((x - mean) / scale) @ axes``.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    >>> found = Coordinates.find(X, X.mean(axis=0), X.std(axis=0))
    >>> found.rows.shape  # five rows about their mean span four dimensions
    (5, 5)
    """

    rows: Float32Array
    spread: Float64Array
    axes: Float64Array | None
    mean: Float64Array
    scale: Float64Array

    @classmethod
    def find(cls, X: Array, mean: Array, scale: Array) -> Coordinates:
        """Find the coordinates of rows.

        Parameters
        ----------
        X : ndarray
            ``(n_rows, dim)``.
        mean, scale : ndarray
            ``(dim,)``, mean of each channel, and the number by which it is divided.
        """
        mean, scale = np.asarray(mean, np.float64), np.asarray(scale, np.float64)
        n_rows, dim = X.shape
        if min(n_rows, dim) > MAX_RANK:
            axes = None
        elif n_rows <= dim:
            axes = _find_axes_of_few(_scale(X, mean, scale))
        else:
            axes = _find_axes_of_many(X, mean, scale)
        rows = np.ones((n_rows, 1 + (dim if axes is None else axes.shape[1])), np.float32)

        def fill(block: slice) -> None:
            scaled = _scale(X[block], mean, scale)
            rows[block, 1:] = scaled if axes is None else scaled @ axes

        list(map_blocks(fill, n_rows, BLOCK_ROWS))
        spread = np.einsum("ij,ij->j", rows, rows, dtype=np.float64) / n_rows
        return cls(rows=rows, spread=spread, axes=axes, mean=mean, scale=scale)

    def restore(self, weight: Array) -> tuple[Float64Array, Float64Array]:
        """Turn weights of coordinates into weights of scaled channels.

        Parameters
        ----------
        weight : ndarray
            ``(n_outputs, 1 + n_axes)``, intercepts first.

        Returns
        -------
        coef : ndarray of float64
            ``(n_outputs, dim)``.
        intercept : ndarray of float64
            ``(n_outputs,)``.
        """
        weight = np.asarray(weight, np.float64)
        coef = weight[:, 1:] if self.axes is None else weight[:, 1:] @ self.axes.T
        return coef, weight[:, 0]


def _scale(X: Array, mean: Float64Array, scale: Float64Array) -> Float64Array:
    return np.asarray((X - mean) / scale)


def _find_axes_of_few(scaled: Float64Array) -> Float64Array:
    """Find the axes of rows that are fewer than their channels, by their inner products."""
    squares, vectors = _decompose(scaled @ scaled.T)
    return np.asarray(scaled.T @ (vectors / np.sqrt(squares)))


def _find_axes_of_many(X: Array, mean: Float64Array, scale: Float64Array) -> Float64Array:
    """Find the axes of rows that are more than their channels, by the inner products of those."""

    def multiply(block: slice) -> Float64Array:
        scaled = _scale(X[block], mean, scale)
        return np.asarray(scaled.T @ scaled)

    return _decompose(functools.reduce(np.add, map_blocks(multiply, len(X), BLOCK_ROWS)))[1]


def _decompose(products: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return eigenvalues that are not zero, descending, and their eigenvectors as columns."""
    values, vectors = np.linalg.eigh(products)
    kept = np.flatnonzero(values > max(MIN_SPREAD * values[-1], 1e-30))[::-1]
    return values[kept], vectors[:, kept]
