"""Heads for several classes, as scikit-learn fits them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from featx.heads.one_vs_rest import STRENGTHS, fit_several, score_several_folds
from featx.heads.targets import Target


def build_rows(n_rows: int, dim: int) -> tuple[Any, Any]:
    random = np.random.default_rng(n_rows + dim)
    X = random.normal(size=(n_rows, dim)).astype(np.float32)
    return X, X[:, :3] + 0.5 * random.normal(size=(n_rows, 3)) > [0, 0.5, 1]


@pytest.mark.parametrize(("n_rows", "dim"), [(120, 6), (40, 80)], ids=["tall", "wide"])
def test_heads_are_those_of_scikit_learn(n_rows: int, dim: int) -> None:
    X, flags = build_rows(n_rows, dim)
    fit = fit_several(X, flags, C=0.3)
    plain = make_pipeline(
        StandardScaler(), OneVsRestClassifier(LogisticRegression(C=0.3, tol=1e-9, max_iter=9999))
    ).fit(X.astype(np.float64), flags.astype(int))
    np.testing.assert_allclose(fit.pipeline.predict_proba(X), plain.predict_proba(X), atol=1e-4)
    assert (fit.pipeline.predict(X) == plain.predict(X)).mean() > 0.999


def test_folds_are_predicted_by_heads_that_have_not_seen_them() -> None:
    X, flags = build_rows(120, 6)
    fit = fit_several(X, flags, C=0.3)
    assert fit.crossing is not None
    scaled = StandardScaler().fit_transform(X.astype(np.float64))
    train, test = fit.crossing.folds[0]
    for column in range(3):
        model = LogisticRegression(C=0.3, tol=1e-9).fit(scaled[train], flags[train, column])
        np.testing.assert_allclose(
            fit.crossing.predicted[test, column], model.predict_proba(scaled[test])[:, 1], atol=0.03
        )


def test_random_classes_and_their_copies_score_at_chance() -> None:
    random = np.random.default_rng(0)
    X = np.tile(random.normal(size=(80, 20)).astype(np.float32), (2, 1))
    flags = np.tile(random.random((80, 3)) < 0.4, (2, 1))
    units = np.tile(np.arange(80), 2)
    fit = fit_several(X, flags, units)
    assert fit.crossing is not None
    assert fit.C in STRENGTHS
    target = Target(
        kind="several", columns=("label",), classes=("a", "b", "c"), thresholds=(0.5, 0.5, 0.5)
    )
    scores = score_several_folds(
        flags, fit.crossing, target, units=units, scored=np.arange(len(flags))
    )
    assert scores.macro_average_precision is not None
    assert scores.control_average_precision is not None
    assert scores.macro_average_precision < scores.control_average_precision + 0.15
    assert scores.n_units == 80
