"""The shared covariance is that of Ledoit and Wolf, in both of its forms."""

from typing import Any

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf

from featx.heads.covariance import CovarianceMetric, fit_covariance, measure_squares


def draw(n_rows: int, dim: int) -> Any:
    random = np.random.default_rng(0)
    codes = np.arange(n_rows) % 3
    scales = (1 + np.arange(dim)) ** -0.5
    return (random.normal(size=(n_rows, dim)) * scales + np.eye(dim)[codes]).astype("f4"), codes


@pytest.mark.parametrize("n_rows", [20, 60, 300])
def test_distances_are_those_of_ledoit_and_wolf(n_rows: int) -> None:
    X, codes = draw(n_rows, 50)
    covariance = fit_covariance(X, codes)
    assert covariance is not None
    means = np.stack([X[codes == code].mean(axis=0) for code in range(3)])
    expected, shrinkage = ledoit_wolf((X - means[codes]).astype("f8"), assume_centered=True)
    assert covariance.shrinkage == pytest.approx(shrinkage, rel=1e-4)
    differences = X - means[0]
    squares = (differences * np.linalg.solve(expected, differences.T).T).sum(axis=1)
    for metric in (covariance.metric, covariance.metric.compress(2.0)):
        whitened = metric.whiten(differences)
        found = (whitened**2).sum(axis=1) * (1 if metric is covariance.metric else 2)
        np.testing.assert_allclose(found, squares, rtol=3e-3)
    slopes: Any = (np.linalg.solve(expected, differences.T) ** 2).sum(axis=0)
    precise: Any = covariance.metric.whiten(differences).astype("f8")
    np.testing.assert_allclose(covariance.metric.measure_slopes(precise), slopes, rtol=1e-3)


def test_rows_that_do_not_differ_have_no_covariance() -> None:
    assert fit_covariance(np.ones((6, 4), np.float32), np.arange(6) % 2) is None


def test_squares_are_those_of_all_pairs() -> None:
    a, b = np.eye(3, dtype="f4"), np.array([[1, 0, 0], [0, 0, 2]], dtype="f4")
    assert measure_squares(a, b).tolist() == [[0, 5], [2, 5], [2, 1]]


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("axes", np.zeros((2, 3), np.float32), TypeError),
        ("axes", np.zeros(5, np.float16), ValueError),
        ("variances", np.array([1, -1], np.float32), ValueError),
        ("rest", -1.0, ValueError),
        ("rest", float("inf"), ValueError),
        ("rest", 1, ValueError),
    ],
    ids=["dtype", "shape", "variance", "below 0", "infinite", "whole"],
)
def test_metric_from_a_file_is_checked(name: str, value: Any, error: type[Exception]) -> None:
    content = {
        "axes": np.eye(2, 3, dtype=np.float16),
        "variances": np.ones(2, np.float32),
        "rest": 0.5,
    }
    assert CovarianceMetric.from_dict(content).to_dict().keys() == content.keys()
    with pytest.raises(error):
        CovarianceMetric.from_dict({**content, name: value})
