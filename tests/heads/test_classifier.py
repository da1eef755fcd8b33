"""HeadClassifier as a scikit-learn estimator."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from featx.core.errors import HeadError
from featx.heads.classifier import HeadClassifier
from featx.heads.kinds import KINDS, build_classifier
from featx.heads.search import DEFAULT_C


def build_blobs(labels=("ants", "bees", "cats"), n_rows=90, dim=6, seed=0):
    """Rows about one centre per class, and the labels."""
    rng = np.random.default_rng(seed)
    codes = np.arange(n_rows) % len(labels)
    centres = rng.normal(size=(len(labels), dim)) * 2
    X = (centres[codes] + rng.normal(size=(n_rows, dim))).astype(np.float32)
    return X, np.array(labels)[codes]


@parametrize_with_checks([HeadClassifier(kind, cv=2) for kind in KINDS])
def test_classifier_keeps_scikit_learn_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("C", [0.001, 0.1, 10.0])
def test_classifier_logreg_predicts_as_plain_pipeline(C):
    X, y = build_blobs()
    plain = Pipeline([("s", StandardScaler()), ("c", LogisticRegression(C=C, max_iter=1000))])
    plain.fit(X, y)
    head = HeadClassifier("logreg", C=C).fit(X, y)
    np.testing.assert_array_equal(head.predict(X), plain.predict(X))
    np.testing.assert_allclose(head.predict_proba(X), plain.predict_proba(X), atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_classifier_several_classes_are_learnt(kind):
    X, y = build_blobs(n_rows=150)
    head = HeadClassifier(kind).fit(X[:90], y[:90])
    assert np.mean(head.predict(X[90:]) == y[90:]) > 0.9
    assert head.decision_function(X).shape == (150, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_classifier_classes_are_sorted_as_text(kind):
    X, y = build_blobs(labels=("2", "10", "1"))
    head = HeadClassifier(kind, C=1.0).fit(X, y)
    assert head.classes_.tolist() == ["1", "10", "2"]
    best = head.classes_[head.decision_function(X).argmax(axis=1)]
    np.testing.assert_array_equal(best, head.predict(X))
    assert np.mean(head.predict(X) == y) > 0.9


def test_classifier_linear_svm_has_no_probabilities():
    X, y = build_blobs()
    assert not hasattr(HeadClassifier("linear-svm").fit(X, y), "predict_proba")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("class_weight", ["balanced", {"rare": 20.0, "usual": 1.0}, {"rare": 20.0}])
def test_classifier_class_weight_finds_more_of_the_rare_class(kind, class_weight):
    rng = np.random.default_rng(0)
    y = np.array(["usual"] * 190 + ["rare"] * 10)
    X = rng.normal(size=(200, 3)) + (y == "rare")[:, None]
    plain = HeadClassifier(kind, cv=2).fit(X, y)
    weighted = HeadClassifier(kind, cv=2, class_weight=class_weight).fit(X, y)
    found = [(head.predict(X[y == "rare"]) == "rare").sum() for head in (plain, weighted)]
    assert found[1] > found[0]


@pytest.mark.parametrize("kind", KINDS)
def test_classifier_one_class_is_refused_naming_it(kind):
    with pytest.raises(ValueError, match=r"at least 2 classes, got one class: .*ants"):
        HeadClassifier(kind).fit(np.zeros((5, 2)), np.array(["ants"] * 5))


def test_classifier_with_C_skips_the_search():
    X, y = build_blobs()
    head = HeadClassifier(C=0.5).fit(X, y)
    assert head.search_ is None
    assert head.C_ == 0.5


def test_classifier_auto_uses_what_the_search_found():
    X, y = build_blobs()
    head = HeadClassifier().fit(X, y)
    assert head.C_ == head.search_.C
    assert head.pipeline_["classify"].C == head.C_


def test_classifier_too_few_rows_to_search_takes_the_default():
    head = HeadClassifier().fit(np.array([[0.0, 1], [1, 0]]), np.array(["a", "b"]))
    assert head.search_ is None
    assert head.C_ == DEFAULT_C


@pytest.mark.parametrize("kind", KINDS)
def test_classifier_fitted_twice_is_the_same(kind):
    X, y = build_blobs(dim=40)
    first, second = HeadClassifier(kind).fit(X, y), HeadClassifier(kind).fit(X, y)
    assert first.C_ == second.C_
    np.testing.assert_array_equal(first.decision_function(X), second.decision_function(X))


def test_classifier_groups_share_folds():
    # Each group is one point many times over: only a search that parts them is right always.
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 5)
    X = rng.normal(size=(20, 50))[groups] + 0.01 * rng.normal(size=(100, 50))
    y = rng.permutation(np.arange(20) % 2)[groups]
    grouped = HeadClassifier().fit(X, y, groups)
    parted = HeadClassifier().fit(X, y)
    codes = np.searchsorted(grouped.classes_, y)
    assert np.mean(parted.search_.held_out == codes) > 0.95
    assert np.mean(grouped.search_.held_out == codes) < 0.8


def test_classifier_in_scikit_learn_cross_validation_works():
    X, y = build_blobs()
    scores = cross_val_score(clone(HeadClassifier(C=0.1)), X, y, cv=3)
    assert scores.mean() > 0.9


def test_build_classifier_unknown_kind_shows_nearest():
    with pytest.raises(HeadError, match=r"got 'logreg2'.*Nearest: logreg"):
        build_classifier("logreg2", C=1.0, class_weight=None)
