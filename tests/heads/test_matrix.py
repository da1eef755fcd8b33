"""Matrices that stand for linear heads of all kinds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from featx.heads.calibration import score_classes
from featx.heads.kinds import KINDS
from featx.heads.matrix import Matrix, find_matrix
from featx.heads.target_head import build_target_estimator
from featx.heads.targets import Target

from .heads import build_head, draw_rows

X, Y = draw_rows()
FLAGS = np.eye(4, dtype=bool)[np.arange(60) % 4] | (X[:, :1] > 1)


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
@pytest.mark.parametrize("scaling", ["standard", "l2", "none"])
def test_find_matrix_has_the_scores_of_a_linear_head(kind: str, scaling: str) -> None:
    head, rows = build_head(kind=kind, scaling=scaling)
    matrix = find_matrix(head.estimator)
    is_linear = next(one.is_linear for one in KINDS if one.name == kind)
    assert (matrix is not None) == is_linear
    if matrix is None:
        return
    assert matrix.is_normalised == (scaling == "l2")
    again = matrix.build_estimator(head.classes)
    np.testing.assert_allclose(
        score_classes(again, rows), head.score_classes(rows), rtol=1e-4, atol=1e-5
    )


def test_find_matrix_of_a_number_has_its_predictions() -> None:
    pipeline = make_pipeline(StandardScaler(), Ridge()).fit(X, X[:, 0])
    matrix = find_matrix(pipeline)
    assert matrix is not None
    assert matrix.weight.shape == (1, 4)
    again = build_target_estimator(matrix, Target(kind="number", columns=("price",)))
    np.testing.assert_allclose(again.predict(X), pipeline.predict(X), atol=1e-5)


def test_find_matrix_of_several_classes_has_their_probabilities() -> None:
    pipeline = make_pipeline(StandardScaler(), OneVsRestClassifier(LogisticRegression()))
    pipeline.fit(X, FLAGS)
    matrix = find_matrix(pipeline)
    assert matrix is not None
    expected = pipeline.predict_proba(X)
    np.testing.assert_allclose(expit(X @ matrix.weight.T + matrix.bias), expected, atol=1e-5)
    target = Target(kind="several", columns=("label",), classes=tuple("abcd"))
    again = build_target_estimator(matrix, target)
    np.testing.assert_allclose(again.predict_proba(X), expected, atol=1e-5)


def test_find_matrix_of_rows_divided_by_another_norm_is_none() -> None:
    pipeline = make_pipeline(Normalizer("l1"), LogisticRegression()).fit(X, Y)
    assert find_matrix(pipeline) is None
    assert find_matrix(LogisticRegression().fit(X, Y)) is None


def test_matrix_is_built_again_from_its_fields() -> None:
    matrix = find_matrix(build_head()[0].estimator)
    assert matrix is not None
    again = Matrix.from_dict(matrix.to_dict())
    np.testing.assert_array_equal(again.weight, matrix.weight)
    np.testing.assert_array_equal(again.bias, matrix.bias)


@pytest.mark.parametrize(
    "change",
    [
        {"weight": [[1.0]]},
        {"weight": np.zeros((3, 4), np.float32)},
        {"weight": np.zeros(3)},
        {"weight": np.full((3, 4), np.inf)},
        {"bias": np.zeros(2)},
        {"surplus": 1},
    ],
    ids=str,
)
def test_matrix_of_other_fields_is_refused(change: dict[str, Any]) -> None:
    fields = {"weight": np.zeros((3, 4)), "bias": np.zeros(3), "is_normalised": False}
    with pytest.raises((TypeError, ValueError)):
        Matrix.from_dict(fields | change)
