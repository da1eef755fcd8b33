"""HeadClassifier as a scikit-learn estimator."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_info

from featx.core.errors import HeadError
from featx.core.typing import Array, Float32Array
from featx.heads.class_weights import ClassWeight
from featx.heads.classifier import HeadClassifier
from featx.heads.kinds import KINDS, get_kind, list_kinds
from featx.heads.scaling import build_steps
from featx.heads.search import search_kinds


def build_blobs(
    labels: Sequence[str] = ("ants", "bees", "cats"), n_rows: int = 90, dim: int = 6
) -> tuple[Float32Array, Array]:
    """Rows about one centre per class, and the labels."""
    rng = np.random.default_rng(0)
    codes = np.arange(n_rows) % len(labels)
    centres = rng.normal(size=(len(labels), dim)) * 2
    X = (centres[codes] + rng.normal(size=(n_rows, dim))).astype(np.float32)
    return X, np.array(labels)[codes]


# Logistic regression here, the other kinds in the long form.
@parametrize_with_checks([HeadClassifier(cv=3)])  # type: ignore[untyped-decorator]
def test_classifier_keeps_scikit_learn_contract(
    estimator: HeadClassifier, check: Callable[[HeadClassifier], None]
) -> None:
    check(estimator)


def list_failing(estimator: HeadClassifier) -> dict[str, str]:
    """List the checks that a classifier cannot pass, with the reason."""
    if get_kind(estimator.kind).takes_weights:
        return {}
    return {"check_class_weight_classifiers": "neighbours cannot be weighed: an error says so"}


@pytest.mark.slow
@parametrize_with_checks(  # type: ignore[untyped-decorator]
    [
        *(HeadClassifier(kind, cv=3) for kind in list_kinds() if kind != "logreg"),
        HeadClassifier(scaling="l2", cv=3),
        HeadClassifier(scaling="none", cv=3),
        HeadClassifier(C=0.1, cv=3),
    ],
    expected_failed_checks=list_failing,
)
def test_classifier_of_each_kind_keeps_scikit_learn_contract(
    estimator: HeadClassifier, check: Callable[[HeadClassifier], None]
) -> None:
    check(estimator)


def test_classifier_defaults_are_stated() -> None:
    assert HeadClassifier().get_params() == {
        "kind": "logreg",
        "C": "auto",
        "cv": "auto",
        "class_weight": None,
        "scaling": "standard",
        "pca": None,
        "near": None,
        "repeats": 1,
        "random_state": 0,
        "progress": False,
    }


@pytest.mark.parametrize("C", [0.001, 0.1, 10.0])
def test_classifier_logreg_predicts_as_plain_pipeline(C: float) -> None:
    X, y = build_blobs()
    plain = Pipeline(
        [("s", StandardScaler()), ("c", LogisticRegression(C=C, tol=1e-8, max_iter=5000))]
    )
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
    assert head.kind_ == kind


@pytest.mark.parametrize("kind", list_kinds())
def test_classifier_classes_are_sorted_as_text(kind: str) -> None:
    X, y = build_blobs(labels=("2", "10", "1"))
    head = HeadClassifier(kind, cv=3).fit(X, y)
    assert head.classes_.tolist() == ["1", "10", "2"]
    best = head.classes_[head.decision_function(X).argmax(axis=1)]
    np.testing.assert_array_equal(best, head.predict(X))
    assert np.mean(head.predict(X) == y) > 0.9


@pytest.mark.parametrize("kind", list_kinds())
def test_classifier_probabilities_are_of_the_classes_in_order(kind: str) -> None:
    X, y = build_blobs(n_rows=150)
    head = HeadClassifier(kind, cv=3).fit(X[:90], y[:90])
    probabilities = head.predict_proba(X[90:])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    best = head.classes_[probabilities.argmax(axis=1)]
    np.testing.assert_array_equal(best, head.predict(X[90:]))


@pytest.mark.parametrize("kind", ["logreg", "linear-svm", "ridge", "lda", "nearest-mean"])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_classifier_mean_score_is_near_the_accuracy(kind: str, class_weight: ClassWeight) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(1200) % 4
    X = rng.normal(size=(1200, 30)) + 0.5 * rng.normal(size=(4, 30))[y]
    head = HeadClassifier(kind, cv=3, class_weight=class_weight).fit(X[:400], y[:400])
    accuracy = np.mean(head.predict(X[400:]) == y[400:])
    assert 0.6 < accuracy < 0.98
    assert head.predict_proba(X[400:]).max(axis=1).mean() == pytest.approx(accuracy, abs=0.05)


@pytest.mark.parametrize("scaling", ["standard", "l2", "none"])
@pytest.mark.parametrize("pca", [None, 3])
@pytest.mark.parametrize("kind", ["logreg", "lda"])
def test_classifier_pipeline_has_the_steps_that_were_asked_for(
    scaling: Any, pca: int | None, kind: str
) -> None:
    X, y = build_blobs(n_rows=120)
    head = HeadClassifier(kind, cv=3, scaling=scaling, pca=pca).fit(X, y)
    names = [name for name, _ in head.pipeline_.steps]
    assert names == ["scale", *(["reduce"] * (pca is not None)), "classify"]
    assert np.mean(head.predict(X) == y) > 0.9
    np.testing.assert_array_equal(head.pipeline_.predict(X), head.predict(X))
    plain = Pipeline([*build_steps(scaling, pca), ("classify", clone(head.pipeline_[-1]))])
    if kind == "logreg":
        plain[-1].set_params(tol=1e-8, max_iter=10_000)
    np.testing.assert_allclose(
        plain.fit(X, y).decision_function(X), head.pipeline_.decision_function(X), atol=0.1
    )


@pytest.mark.parametrize(
    "kind",
    # The nearest mean weighs all classes alike in any case.
    [kind.name for kind in KINDS if kind.takes_weights and kind.strength_name is not None],
)
@pytest.mark.parametrize("class_weight", ["balanced", {"rare": 20.0, "usual": 1.0}, {"rare": 20.0}])
def test_classifier_class_weight_finds_more_of_the_rare_class(
    kind: str, class_weight: ClassWeight
) -> None:
    rng = np.random.default_rng(0)
    y = np.array(["usual"] * 190 + ["rare"] * 10)
    X = rng.normal(size=(200, 3)) + (y == "rare")[:, None]
    plain = HeadClassifier(kind, cv=3).fit(X, y)
    weighted = HeadClassifier(kind, cv=3, class_weight=class_weight).fit(X, y)
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
    search = search_kinds

    def watch(*args: Any, **options: Any) -> Any:
        n_threads.update(library["num_threads"] for library in threadpool_info())
        return search(*args, **options)

    monkeypatch.setattr("featx.heads.classifier.search_kinds", watch)
    HeadClassifier(C=1.0).fit(*build_blobs())
    assert n_threads == {1}


def test_classifier_with_C_scores_that_value_alone() -> None:
    X, y = build_blobs()
    head = HeadClassifier(C=0.5).fit(X, y)
    assert head.search_ is not None
    assert (head.C_, head.search_.values.tolist()) == (0.5, [0.5])


def test_classifier_auto_uses_what_the_search_found() -> None:
    X, y = build_blobs()
    head = HeadClassifier().fit(X, y)
    assert head.search_ is not None
    assert head.search_.best == head.C_
    assert head.pipeline_["classify"].C == head.C_


def test_classifier_with_class_weights_searches_by_the_balanced_accuracy() -> None:
    rng = np.random.default_rng(0)
    y = np.array(["usual"] * 50 + ["rare"] * 10)
    X = (rng.normal(size=(60, 3)) + (y == "rare")[:, None]).astype(np.float32)
    found = HeadClassifier(cv=5, class_weight={"rare": 20.0}).fit(X, y).search_
    assert found is not None
    at = found.values.tolist().index(found.best)
    assert 0 <= found.scores[at].min() <= found.scores[at].max() <= 1
    codes = (y == "usual").astype(int)
    recalls = [np.mean(found.held_out[codes == code] == code) for code in (0, 1)]
    assert min(recalls) > 0.4


def test_classifier_too_few_rows_to_search_takes_the_default() -> None:
    head = HeadClassifier().fit(np.array([[0.0, 1], [1, 0]]), np.array(["a", "b"]))
    assert head.search_ is None
    assert get_kind("logreg").default_strength == head.C_


@pytest.mark.parametrize("kind", list_kinds())
def test_classifier_fitted_twice_is_the_same(kind: str) -> None:
    X, y = build_blobs(dim=40)
    first, second = (HeadClassifier(kind, cv=5).fit(X, y) for _ in range(2))
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
    assert np.mean(parted.search_.held_out == codes) > 0.9
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
        ({"C": float("nan")}, r"^C: expected a finite number above 0, got nan"),
        ({"C": "strong"}, r"^C: expected a finite number above 0, got 'strong'"),
        ({"C": 2.0, "kind": "lda"}, r"^shrinkage: expected a finite number above 0, 1 at the most"),
        ({"C": 0.3, "kind": "knn"}, r"^n_neighbors: expected a whole number, 1 at least, got 0.3"),
        ({"C": 1.0, "kind": "nearest-mean"}, r"^C: expected no value for kind='nearest-mean'"),
        ({"C": 1.0, "kind": "auto"}, r"^C: expected no value with kind='auto'"),
        ({"near": -1.0}, r"^C: expected a finite number above 0, got -1"),
        ({"class_weight": "heavy"}, r"^class_weight: expected "),
        (
            {"class_weight": {"Ants": 2.0}},
            r"^class_weight: expected classes among ants, bees, cats",
        ),
        (
            {"class_weight": "balanced", "kind": "knn"},
            r"^class_weight: expected None for kind='knn'",
        ),
        ({"scaling": "max"}, r"^scaling: expected standard, l2 or none, got 'max'"),
        ({"pca": 0}, r"^pca: expected a whole number of components, 1 at least, got 0"),
        ({"pca": 2.5}, r"^pca: expected a whole number"),
        ({"pca": 7}, r"^pca: expected 6 at the most, of 90 rows of 6 numbers, got 7"),
        ({"cv": 2}, r"^cv: expected 'auto' or a whole number of folds, 3 at least, got 2"),
        ({"cv": 5.0}, r"^cv: expected 'auto'"),
        ({"random_state": -1}, r"^seed: expected a whole number from 0"),
    ],
    ids=str,
)
def test_classifier_option_out_of_range_is_refused(options: dict[str, Any], message: str) -> None:
    X, y = build_blobs()
    with pytest.raises(HeadError, match=message):
        HeadClassifier(**options).fit(X, y)


@pytest.mark.parametrize("kind", ["lda", "nearest-mean"])
def test_discriminants_of_classes_of_one_row(kind: str) -> None:
    X = np.random.default_rng(0).normal(size=(12, 4)) + 5 * np.eye(12, 4)
    message = rf"^kind {kind}: expected more rows than classes, got 3 rows of 3 classes\. "
    with pytest.raises(HeadError, match=message):
        HeadClassifier(kind).fit(X[:3], np.array(["ants", "bees", "cats"]))
    y = np.array(["ants"] * 11 + ["bees"])  # scikit-learn would warn of the only bee
    assert HeadClassifier(kind).fit(X, y).search_ is not None


@pytest.mark.parametrize("kind", ["auto", "rbf-svm", "ridge", "nearest-mean"])
def test_many_classes_of_one_row_are_fitted_without_a_word_of_scikit_learn(kind: str) -> None:
    codes = np.repeat(np.arange(14), [6, 6, *[1] * 12])
    X = np.random.default_rng(0).normal(size=(24, 5)) + codes[:, None]
    head = HeadClassifier(kind).fit(X, codes)
    assert len(head.classes_) == 14
