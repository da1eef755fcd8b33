"""HeadClassifier as a scikit-learn estimator."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_info, threadpool_limits

from featx.core.errors import HeadError
from featx.core.typing import Array, Float32Array
from featx.heads.class_weights import ClassWeight
from featx.heads.classifier import HeadClassifier
from featx.heads.kinds import get_kind, list_kinds
from featx.heads.search import search_strength
from featx.heads.splits import build_folds


def build_blobs(
    labels: Sequence[str] = ("ants", "bees", "cats"), n_rows: int = 90, dim: int = 6
) -> tuple[Float32Array, Array]:
    """Rows about one centre per class, and the labels."""
    rng = np.random.default_rng(0)
    codes = np.arange(n_rows) % len(labels)
    centres = rng.normal(size=(len(labels), dim)) * 2
    X = (centres[codes] + rng.normal(size=(n_rows, dim))).astype(np.float32)
    return X, np.array(labels)[codes]


@parametrize_with_checks([HeadClassifier(kind, cv=2) for kind in list_kinds()])  # type: ignore[untyped-decorator]
def test_classifier_keeps_scikit_learn_contract(
    estimator: HeadClassifier, check: Callable[[HeadClassifier], None]
) -> None:
    check(estimator)


def test_classifier_defaults_are_stated() -> None:
    assert HeadClassifier().get_params() == {
        "kind": "logreg",
        "C": "auto",
        "cv": 5,
        "class_weight": None,
        "random_state": 0,
        "progress": False,
    }


@pytest.mark.parametrize("C", [0.001, 0.1, 10.0])
def test_classifier_logreg_predicts_as_plain_pipeline(C: float) -> None:
    X, y = build_blobs()
    plain = Pipeline([("s", StandardScaler()), ("c", LogisticRegression(C=C, max_iter=1000))])
    plain.fit(X, y)
    head = HeadClassifier("logreg", C=C).fit(X, y)
    np.testing.assert_array_equal(head.predict(X), plain.predict(X))
    np.testing.assert_allclose(head.predict_proba(X), plain.predict_proba(X), atol=1e-3)


@pytest.mark.parametrize("kind", list_kinds())
def test_classifier_several_classes_are_learnt(kind: str) -> None:
    X, y = build_blobs(n_rows=150)
    head = HeadClassifier(kind).fit(X[:90], y[:90])
    assert np.mean(head.predict(X[90:]) == y[90:]) > 0.9
    assert head.decision_function(X).shape == (150, 3)


@pytest.mark.parametrize("kind", list_kinds())
def test_classifier_classes_are_sorted_as_text(kind: str) -> None:
    X, y = build_blobs(labels=("2", "10", "1"))
    head = HeadClassifier(kind, C=1.0).fit(X, y)
    assert head.classes_.tolist() == ["1", "10", "2"]
    best = head.classes_[head.decision_function(X).argmax(axis=1)]
    np.testing.assert_array_equal(best, head.predict(X))
    assert np.mean(head.predict(X) == y) > 0.9


def test_classifier_linear_svm_has_no_probabilities() -> None:
    X, y = build_blobs()
    assert not hasattr(HeadClassifier("linear-svm").fit(X, y), "predict_proba")


@pytest.mark.parametrize("kind", list_kinds())
@pytest.mark.parametrize("class_weight", ["balanced", {"rare": 20.0, "usual": 1.0}, {"rare": 20.0}])
def test_classifier_class_weight_finds_more_of_the_rare_class(
    kind: str, class_weight: ClassWeight
) -> None:
    rng = np.random.default_rng(0)
    y = np.array(["usual"] * 190 + ["rare"] * 10)
    X = rng.normal(size=(200, 3)) + (y == "rare")[:, None]
    plain = HeadClassifier(kind, cv=2).fit(X, y)
    weighted = HeadClassifier(kind, cv=2, class_weight=class_weight).fit(X, y)
    found = [(head.predict(X[y == "rare"]) == "rare").sum() for head in (plain, weighted)]
    assert found[1] > found[0]


@pytest.mark.parametrize("kind", list_kinds())
def test_classifier_one_class_is_refused_naming_it(kind: str) -> None:
    with pytest.raises(
        ValueError, match=r"^y: expected labels of at least 2 classes, got one class: .*ants"
    ):
        HeadClassifier(kind).fit(np.zeros((5, 2)), np.array(["ants"] * 5))


def test_classifier_fits_in_one_thread_of_each_library(monkeypatch: pytest.MonkeyPatch) -> None:
    n_threads: set[int] = set()
    logreg = get_kind("logreg")

    def build(strength: float, class_weight: ClassWeight) -> Any:
        n_threads.update(library["num_threads"] for library in threadpool_info())
        return logreg.build(strength, class_weight)

    monkeypatch.setattr("featx.heads.kinds.KINDS", (replace(logreg, build=build),))
    HeadClassifier(C=1.0).fit(*build_blobs())
    assert n_threads == {1}


def test_classifier_with_C_skips_the_search() -> None:
    X, y = build_blobs()
    head = HeadClassifier(C=0.5).fit(X, y)
    assert head.search_ is None
    assert head.C_ == 0.5


def test_classifier_auto_uses_what_the_search_found() -> None:
    X, y = build_blobs()
    head = HeadClassifier().fit(X, y)
    assert head.search_ is not None
    assert head.search_.best == head.C_
    assert head.pipeline_["classify"].C == head.C_


def test_classifier_searches_with_the_weights_of_class_codes() -> None:
    rng = np.random.default_rng(0)
    y = np.array(["usual"] * 50 + ["rare"] * 10)
    X = (rng.normal(size=(60, 3)) + (y == "rare")[:, None]).astype(np.float32)
    found = HeadClassifier(cv=2, class_weight={"rare": 20.0}).fit(X, y).search_
    codes = (y == "usual").astype(np.int64)
    folds = build_folds(codes, None, n_folds=2, seed=0)
    kind = get_kind("logreg")
    with threadpool_limits(1):
        by_code = search_strength(X, codes, folds, kind=kind, class_weight={0: 20.0, 1: 1.0})
    assert found is not None
    np.testing.assert_array_equal(found.scores, by_code.scores)
    np.testing.assert_array_equal(found.held_out, by_code.held_out)


def test_classifier_too_few_rows_to_search_takes_the_default() -> None:
    head = HeadClassifier().fit(np.array([[0.0, 1], [1, 0]]), np.array(["a", "b"]))
    assert head.search_ is None
    assert get_kind("logreg").default_strength == head.C_


@pytest.mark.parametrize("kind", list_kinds())
def test_classifier_fitted_twice_is_the_same(kind: str) -> None:
    X, y = build_blobs(dim=40)
    first, second = HeadClassifier(kind).fit(X, y), HeadClassifier(kind).fit(X, y)
    assert first.C_ == second.C_
    np.testing.assert_array_equal(first.decision_function(X), second.decision_function(X))


def test_classifier_groups_share_folds() -> None:
    # Each group is one point many times over: only a search that parts them is right always.
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 5)
    X = rng.normal(size=(20, 50))[groups] + 0.01 * rng.normal(size=(100, 50))
    y = rng.permutation(np.arange(20) % 2)[groups]
    grouped = HeadClassifier().fit(X, y, groups)
    parted = HeadClassifier().fit(X, y)
    codes = np.searchsorted(grouped.classes_, y)
    assert parted.search_ is not None
    assert grouped.search_ is not None
    assert np.mean(parted.search_.held_out == codes) > 0.95
    assert np.mean(grouped.search_.held_out == codes) < 0.8


def test_classifier_in_scikit_learn_cross_validation_works() -> None:
    X, y = build_blobs()
    scores = cross_val_score(clone(HeadClassifier(C=0.1)), X, y, cv=3)
    assert scores.mean() > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "logreg2"}, r"^kind: expected .* got 'logreg2'\. Nearest: logreg"),
        ({"C": 0.0}, r"^C: expected a finite number above 0, got 0"),
        ({"class_weight": "heavy"}, r"^class_weight: expected "),
    ],
    ids=["kind", "C", "class_weight"],
)
def test_classifier_option_out_of_range_is_refused(options: dict[str, Any], message: str) -> None:
    X, y = build_blobs()
    with pytest.raises(HeadError, match=message):
        HeadClassifier(**options).fit(X, y)
