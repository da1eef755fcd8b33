"""Heads for a number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from featx.heads.number import (
    STRENGTHS,
    NumberScores,
    fit_number,
    score_number_folds,
    score_numbers,
)


def build_rows(n_rows: int, dim: int, noise: float = 1.0) -> tuple[Any, Any]:
    random = np.random.default_rng(n_rows + dim)
    X = random.normal(size=(n_rows, dim)).astype(np.float32)
    return X, X[:, :4].sum(axis=1) + noise * random.normal(size=n_rows) + 100


@pytest.mark.parametrize(("n_rows", "dim"), [(90, 6), (30, 60)], ids=["tall", "wide"])
def test_paths_are_those_of_scikit_learn(n_rows: int, dim: int) -> None:
    X, y = build_rows(n_rows, dim)
    for C in (1e-3, 1.0):
        fit = fit_number(X, y, C=C)
        assert fit.crossing is not None
        scaled = StandardScaler().fit_transform(X.astype(np.float64))
        for train, test in fit.crossing.folds:
            model = Ridge(alpha=1 / C).fit(scaled[train], y[train])
            np.testing.assert_allclose(
                fit.crossing.predicted[test], model.predict(scaled[test]), rtol=1e-5
            )
        plain = make_pipeline(StandardScaler(), Ridge(alpha=1 / C)).fit(X.astype(np.float64), y)
        np.testing.assert_allclose(fit.pipeline.predict(X), plain.predict(X), rtol=1e-5)


def test_the_strength_is_chosen_where_it_predicts_best() -> None:
    X, y = build_rows(200, 50, noise=0.5)
    fit = fit_number(X, y)
    assert fit.crossing is not None
    assert STRENGTHS[fit.crossing.best] == fit.C
    assert fit.crossing.losses[fit.crossing.best] == fit.crossing.losses.min()
    fresh, truth = build_rows(400, 50, noise=0.5)
    assert r2_score(truth, fit.pipeline.predict(fresh)) > 0.85


def test_samples_without_the_few_other_numbers_have_no_share_of_variance() -> None:
    y = np.concatenate([np.zeros(55), np.arange(1.0, 4.0)])
    scores = score_numbers(y, np.full(58, y.mean() + 0.01), mean=float(y.mean()), median=0.0)
    assert scores.r2_ci95 is not None
    assert -1 < scores.r2_ci95[0] < 0 < scores.r2_ci95[1] < 1


def test_scores_are_those_of_scikit_learn() -> None:
    _, y = build_rows(80, 5)
    predicted = y + np.random.default_rng(1).normal(size=80)
    scores = score_numbers(y, predicted, mean=float(y.mean()), median=float(np.median(y)))
    assert scores.r2 == pytest.approx(r2_score(y, predicted))
    assert scores.mae == pytest.approx(mean_absolute_error(y, predicted))
    assert scores.control_r2 == pytest.approx(0)
    assert NumberScores.from_dict(scores.to_dict()) == scores


def test_random_numbers_and_their_copies_score_at_chance() -> None:
    random = np.random.default_rng(0)
    X = np.tile(random.normal(size=(60, 20)).astype(np.float32), (2, 1))
    y = np.tile(random.normal(size=60), 2)
    units = np.tile(np.arange(60), 2)
    fit = fit_number(X, y, units)
    assert fit.crossing is not None
    scores = score_number_folds(y, fit.crossing, units=units, scored=np.arange(120))
    assert (scores.n_rows, scores.n_units) == (120, 60)
    assert scores.r2 is not None
    assert scores.r2 < 0.1
    assert scores.r2_ci95 is not None
    assert scores.r2_ci95[0] < 0


@pytest.mark.parametrize("value", [2.0, 0.1, 1.7e9 + 0.1])
def test_numbers_that_are_all_the_same_have_no_r2(value: float) -> None:
    y = np.full(50, value)
    scores = score_numbers(y, y + 1, mean=value, median=value)
    assert (scores.r2, scores.r2_ci95) == (None, None)
    assert scores.mae == pytest.approx(1)


def test_r2_does_not_depend_on_where_numbers_begin() -> None:
    X, y = build_rows(80, 5)
    y = np.round(600 * y)
    near, far = (
        score_number_folds(numbers, fit.crossing, units=None, scored=np.arange(80))
        for numbers in (y, y + 1.7e9)
        if (fit := fit_number(X, numbers)).crossing is not None
    )
    assert near.r2 is not None
    assert near.r2 > 0.5
    assert far.r2 == pytest.approx(near.r2, rel=1e-6)
    assert far.r2_ci95 == pytest.approx(near.r2_ci95, rel=1e-6)
    assert far.mae == pytest.approx(near.mae, rel=1e-6)


def test_few_rows_have_no_folds() -> None:
    X, y = build_rows(9, 4)
    fit = fit_number(X, y)
    assert fit.crossing is None
    assert fit.C == 1e-3


def test_interval_of_the_error_covers_where_few_rows_have_large_errors() -> None:
    random = np.random.default_rng(0)
    held, y = [], np.zeros(20)
    for _ in range(600):
        scores = score_numbers(y, np.exp(random.normal(size=20)), mean=0.0, median=0.0)
        assert scores.mae_ci95 is not None
        held.append(scores.mae_ci95[0] < np.exp(0.5) < scores.mae_ci95[1])
    assert np.mean(held) > 0.88  # of an interval as long above as below: 0.86


def test_no_error_at_all_has_no_interval() -> None:
    y = np.arange(6.0)
    scores = score_numbers(y, y, mean=2.5, median=2.5)
    assert (scores.mae, scores.mae_ci95) == (0.0, None)
