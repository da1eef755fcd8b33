"""One covariance of all classes, shrunk, and the distances that it measures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.linalg import eigh
from scipy.linalg.lapack import dtrtri

from featx.core.typing import Float32Array, Float64Array, IntArray
from featx.heads.stored_arrays import check_stored

TINY = 1e-6
"""Smallest eigenvalue that float32 tells from rounding, as a share of the largest."""

MIN_SHRINKAGE = 1e-4
"""Smallest share of the isotropic part, so that the covariance has an inverse."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CovarianceMetric:
    """A covariance, in the smaller of two forms, by which distances are measured.

    Attributes
    ----------
    axes : ndarray of float32
        ``(n_axes, dim)``: orthonormal directions; or ``(dim, dim)``, lower triangular, a root of
        the inverse covariance.
    variances : ndarray of float32
        ``(n_axes,)``, variances along the directions. Rows of a root may stand divided by a number
        each, so that float16 holds them: their variances are 1 over its square, else ones.
    rest : float
        Variance in each direction that is orthogonal to all of these; 0.0 for a root.
    """

    axes: Float32Array
    variances: Float32Array
    rest: float

    def whiten(self, X: Float32Array) -> Float32Array:
        """Turn rows into coordinates whose Euclidean distances are Mahalanobis distances.

        Parameters
        ----------
        X : ndarray of float32
            ``(n_rows, dim)``, differences from one point, so that float32 is exact enough.

        Returns
        -------
        ndarray of float32
            ``(n_rows, dim)`` for a root, else ``(n_rows, n_axes + dim)``.
        """
        along = X @ self.axes.T
        scaled = (along / np.sqrt(self.variances)).astype(np.float32)
        if not self.rest:
            return scaled
        across = (X - along @ self.axes) / np.float32(np.sqrt(self.rest))
        return np.concatenate([scaled, across], axis=1)

    def measure_slopes(self, whitened: Float64Array) -> Float64Array:
        """Measure by how much squared distances fall when all variances rise by the same small bit.

        Parameters
        ----------
        whitened : ndarray of float64
            ``(n_rows, n_coordinates)``, from `whiten`.

        Returns
        -------
        ndarray of float64
            ``(n_rows,)``, squared lengths of the inverse covariance times the rows.
        """
        if not self.rest:
            back = (whitened / np.sqrt(self.variances)).astype(np.float32) @ self.axes
            squares: Float64Array = np.einsum("ij,ij->i", back, back, dtype=np.float64)
            return squares
        across = np.full(self.axes.shape[1], self.rest)
        slopes: Float64Array = whitened**2 @ (1 / np.concatenate([self.variances, across]))
        return slopes

    def compress(self, scale: float) -> CovarianceMetric:
        """Divide squared distances by a number, and round the axes to what float16 can hold.

        Parameters
        ----------
        scale : float
            The number, above 0.
        """
        if not self.rest:
            # The root of small variances is larger than float16 can hold.
            sizes = abs(self.axes).max(axis=1)
            axes, rest = self.axes / sizes[:, None], 0.0
            variances = self.variances * scale / sizes**2
        else:
            axes, variances, rest = self.axes, self.variances * scale, self.rest * scale
        axes, variances = axes.astype(np.float16), variances.astype(np.float32)
        return CovarianceMetric(axes=axes.astype(np.float32), variances=variances, rest=rest)

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and numeric arrays, as small as they can be."""
        axes = self.axes if self.rest else self.axes[np.tril_indices(len(self.axes))]
        return {
            "axes": axes.astype(np.float16),
            "variances": self.variances,
            "rest": float(self.rest),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Build a metric from what `to_dict` returned.

        Parameters
        ----------
        content : mapping
            Fields as `to_dict` returned them.

        Raises
        ------
        KeyError, TypeError, ValueError
            If a field is missing, unknown, of another type or of another shape.
        """
        variances, rest = content["variances"], content["rest"]
        check_stored(variances, np.float32, (None,))
        if type(rest) is not float or not 0 <= rest < math.inf or not (variances > 0).all():
            raise ValueError("variances below 0")
        n_axes = len(variances)
        if rest:
            axes = check_stored(content["axes"], np.float16, (n_axes, None)).astype(np.float32)
        else:
            inside = np.tril_indices(n_axes)
            axes = np.zeros((n_axes, n_axes), dtype=np.float32)
            axes[inside] = check_stored(content["axes"], np.float16, (len(inside[0]),))
        return cls(axes=axes, variances=variances, rest=rest)


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedCovariance:
    """Class means, and a covariance of the rows around them, shrunk as by Ledoit and Wolf.

    Attributes
    ----------
    means : ndarray of float32
        ``(n_classes, dim)``.
    metric : CovarianceMetric
        The covariance. Fewer rows than dimensions cost memory for rows, not for dimensions squared.
    shrinkage : float
        Weight of the isotropic part, from 0 to 1.
    isotropic : float
        Variance that the isotropic part adds in each direction.
    scatter : float
        Sum of the squared distances of the rows from the means of their classes.

    References
    ----------
    Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices",
    Journal of Multivariate Analysis 88 (2004).
    """

    means: Float32Array
    metric: CovarianceMetric
    shrinkage: float
    isotropic: float
    scatter: float


def fit_covariance(X: Float32Array, codes: IntArray) -> SharedCovariance | None:
    """Fit the means of the classes and the covariance around them, in closed form.

    Parameters
    ----------
    X : ndarray of float32
        ``(n_rows, dim)``.
    codes : ndarray of int64
        ``(n_rows,)``, class of each row, from 0; each class has a row.

    Returns
    -------
    SharedCovariance or None
        None if no row differs from the mean of its class.
    """
    n_rows, dim = X.shape
    means = np.stack(
        [X[codes == code].mean(axis=0, dtype=np.float64) for code in range(codes.max() + 1)]
    ).astype(np.float32)
    residuals = X - means[codes]
    squares = np.einsum("ij,ij->i", residuals, residuals, dtype=np.float64)
    scatter = float(squares.sum())
    if scatter <= n_rows * np.finfo(np.float32).eps ** 2:
        return None
    is_wide = 2 * n_rows <= dim
    # The smaller of the two products has the same eigenvalues.
    smaller = residuals @ residuals.T if is_wide else residuals.T @ residuals
    product: Float64Array = smaller.astype(np.float64) / n_rows
    mean = scatter / n_rows / dim  # mean variance of a dimension
    total = float(np.vdot(product, product))
    error = (float(squares @ squares) / n_rows - total) / n_rows
    spread = total - dim * mean**2
    shrinkage = float(np.clip(error / spread, MIN_SHRINKAGE, 1.0)) if spread > 0 else 1.0
    isotropic = shrinkage * mean
    if is_wide:
        values, vectors = eigh(product, overwrite_a=True)
        kept = values > TINY * values[-1]
        values = values[kept]
        axes = vectors[:, kept].T.astype(np.float32) @ residuals
        metric = CovarianceMetric(
            axes=axes / np.sqrt(n_rows * values).astype(np.float32)[:, None],
            variances=((1 - shrinkage) * values + isotropic).astype(np.float32),
            rest=isotropic,
        )
    else:
        root = find_root((1 - shrinkage) * product + isotropic * np.eye(dim))
        metric = CovarianceMetric(axes=root, variances=np.ones(dim, dtype=np.float32), rest=0.0)
    return SharedCovariance(
        means=means, metric=metric, shrinkage=shrinkage, isotropic=isotropic, scatter=scatter
    )


def find_root(covariance: Float64Array) -> Float32Array:
    """Find the lower triangular root of the inverse of a covariance.

    Parameters
    ----------
    covariance : ndarray of float64
        ``(dim, dim)``, positive definite.

    Returns
    -------
    ndarray of float32
        ``(dim, dim)``: the squared length of ``root @ x`` is the squared Mahalanobis length of x.
    """
    inverse, _ = dtrtri(np.linalg.cholesky(covariance), lower=1)
    root: Float32Array = np.tril(inverse).astype(np.float32)
    return root


def measure_squares(a: Float32Array, b: Float32Array) -> Float64Array:
    """Measure the squared Euclidean distance of each row of one array from each of another.

    Parameters
    ----------
    a, b : ndarray of float32
        ``(n_a, dim)`` and ``(n_b, dim)``, near their common centre.

    Returns
    -------
    ndarray of float64
        ``(n_a, n_b)``.
    """
    a_squares = np.einsum("ij,ij->i", a, a, dtype=np.float64)
    b_squares = np.einsum("ij,ij->i", b, b, dtype=np.float64)
    products = (a @ b.T).astype(np.float64)
    squares: Float64Array = np.maximum(a_squares[:, None] + b_squares - 2 * products, 0.0)
    return squares
