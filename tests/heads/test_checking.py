"""Estimators that are checked before they are used."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.kernel_approximation import Nystroem
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from featx.heads.checking import check_estimator
from featx.heads.kinds import list_kinds

from .heads import DIM, build_head, draw_rows

X, Y = draw_rows()
CLASSES = ["10", "2", "ants"]


def fit_map(**options: Any) -> Pipeline:
    return make_pipeline(StandardScaler(), Nystroem(n_components=9, **options), LinearSVC())


@pytest.mark.parametrize("kind", list_kinds())
def test_check_estimator_takes_each_kind(kind: str) -> None:
    check_estimator(build_head(kind=kind)[0].estimator, dim=DIM, classes=CLASSES)


def test_check_estimator_takes_a_map_of_the_radial_kernel_only() -> None:
    check_estimator(fit_map().fit(X, Y), dim=DIM, classes=CLASSES)
    for options in ({"kernel": "linear"}, {"kernel_params": {"gamma": 1}}):
        pipeline = fit_map(**options)
        with pytest.raises(ValueError, match=r"a map of another kernel"):
            check_estimator(pipeline.set_params(nystroem__n_components=2), dim=DIM, classes=CLASSES)


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (None, "a NoneType in place of a Pipeline"),
        (LinearSVC(), "a LinearSVC in place of a Pipeline"),
        (make_pipeline(LinearSVC(), memory="/tmp"), "a Pipeline with a memory"),
        (make_pipeline(LinearSVC(), transform_input=["X"]), "a Pipeline with a memory"),
    ],
)
def test_check_estimator_refuses_what_is_no_plain_pipeline(estimator: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_estimator(estimator, dim=DIM, classes=CLASSES)


def test_check_estimator_compares_classes_and_dimensions() -> None:
    estimator = build_head()[0].estimator
    with pytest.raises(ValueError, match=r"an estimator of other classes"):
        check_estimator(estimator, dim=DIM, classes=["10", "2"])
    with pytest.raises(ValueError, match=r"features"):
        check_estimator(estimator, dim=DIM + 1, classes=CLASSES)
