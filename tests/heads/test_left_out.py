"""Distances without a unit, against the fit without it."""

from typing import Any

import numpy as np
import pytest

from featx.heads.covariance import SharedCovariance, fit_covariance
from featx.heads.left_out import measure_left_out


def measure_refitted(covariance: SharedCovariance, X: Any, codes: Any, units: Any) -> Any:
    """Fit anew without each unit, with the same shrinkage."""
    distances = np.full(len(X), np.nan)
    for row, unit in enumerate(units):
        Z, others = X[units != unit].astype("f8"), codes[units != unit]
        means = {code: Z[others == code].mean(axis=0) for code in np.unique(others)}
        if codes[row] not in means:
            continue
        residuals = Z - np.stack([means[code] for code in others])
        product = residuals.T @ residuals / len(Z)
        isotropic = np.trace(product) / X.shape[1] * np.eye(X.shape[1])
        whole = (1 - covariance.shrinkage) * product + covariance.shrinkage * isotropic
        differences = X[row] - np.stack(list(means.values()))
        squares = (differences * np.linalg.solve(whole, differences.T).T).sum(axis=1)
        distances[row] = squares.min()
    return distances


@pytest.mark.parametrize("n_unit", [1, 4], ids=["rows", "units"])
@pytest.mark.parametrize("dim", [12, 60, 200])
def test_left_out_is_refitted_without(dim: int, n_unit: int) -> None:
    random = np.random.default_rng(dim)
    codes = random.integers(3, size=60)
    codes[:4] = 3  # one class of four rows, which may be one unit
    units = np.arange(60) // n_unit
    scales = (1 + np.arange(dim)) ** -0.5
    X = (random.normal(size=(60, dim)) * scales + 2 * np.eye(dim)[codes]).astype("f4")
    covariance = fit_covariance(X, codes)
    assert covariance is not None
    found = measure_left_out(covariance, X, codes, units)
    expected = measure_refitted(covariance, X, codes, units)
    assert np.isnan(found).sum() == (4 if n_unit == 4 else 0)
    np.testing.assert_allclose(found, expected, rtol=0.02)
