"""What is done to embeddings before a head reads them: steps of a scikit-learn pipeline."""

from __future__ import annotations

from typing import Any

import numpy as np

from featx.core.errors import HeadError
from featx.core.typing import Array, Float64Array, Scaling


def check_pca(pca: int | None) -> None:
    """Refuse a number of principal components that there cannot be.

    Parameters
    ----------
    pca : int or None
        Number of components; None for no such step.

    Raises
    ------
    HeadError
        If the number is no whole number of at least 1.
    """
    is_whole = isinstance(pca, int | np.integer) and not isinstance(pca, bool)
    if pca is not None and not (is_whole and pca >= 1):
        raise HeadError(
            subject="pca",
            expected="a whole number of components, 1 at least",
            got=repr(pca),
            remedy="Pass pca=64, or leave it out.",
        )


def build_steps(scaling: Scaling, pca: int | None) -> list[tuple[str, Any]]:
    """Build the unfitted steps before a classifier.

    Parameters
    ----------
    scaling : {"standard", "l2", "none"}
        How embeddings are scaled.
    pca : int or None
        Number of principal components that are kept after scaling; None for all channels.

    Returns
    -------
    list of (str, transformer)
        Steps of a `Pipeline`.
    """
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import Normalizer, StandardScaler

    if scaling == "l2":
        steps: list[tuple[str, Any]] = [("scale", Normalizer())]
    else:
        is_on = scaling == "standard"
        steps = [("scale", StandardScaler(with_mean=is_on, with_std=is_on))]
    if pca is not None:
        steps.append(("reduce", PCA(pca, svd_solver="full", random_state=0)))
    return steps


def apply_steps(
    steps: list[tuple[str, Any]], X: Array
) -> tuple[Array, Float64Array, Float64Array, Float64Array]:
    """Fit the steps, and return the rows with what remains to be done to centre and scale them.

    A `StandardScaler` alone is not applied: its result would be one more copy of all rows.

    Parameters
    ----------
    steps : list of (str, transformer)
        Steps that `build_steps` returned; fitted in place.
    X : ndarray
        ``(n_rows, dim)``.

    Returns
    -------
    rows : ndarray
        ``(n_rows, n_channels)``.
    mean, scale : ndarray of float64
        ``(n_channels,)``: the solver sees ``(rows - mean) / scale``.
    shift : ndarray of float64
        ``(n_channels,)``, the part of the mean, in scaled channels, that the steps do not subtract.
    """
    scaler = steps[0][1].fit(X)
    if len(steps) == 1 and hasattr(scaler, "with_mean"):
        mean = X.mean(axis=0, dtype=np.float64) if scaler.mean_ is None else scaler.mean_
        scale = np.ones(X.shape[1]) if scaler.scale_ is None else scaler.scale_
        return X, mean, scale, np.zeros(X.shape[1]) if scaler.with_mean else mean
    rows = scaler.transform(X)
    for _, step in steps[1:]:
        n_most = min(rows.shape)
        if step.n_components > n_most:
            raise HeadError(
                subject="pca",
                expected=f"{n_most} at the most, of {len(X)} rows of {X.shape[1]} numbers",
                got=str(step.n_components),
                remedy=f"Pass pca={n_most} or less, or leave it out.",
            )
        rows = step.fit_transform(rows)
    mean = rows.mean(axis=0, dtype=np.float64)
    return rows, mean, np.ones(rows.shape[1]), mean
