"""A head is one matrix, and one matrix is a head."""

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from numpy.typing import DTypeLike
from scipy.special import softmax
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler
from sklearn.svm import SVC, LinearSVC

from featx.core.errors import HeadError
from featx.core.typing import Array
from featx.heads.classifier import HeadClassifier
from featx.heads.kinds import KINDS, get_kind
from featx.heads.linear import build_linear, fold_linear

DIM = 6
CLASSES = {2: ["ants", "bees"], 5: ["1", "10", "2", "ants", "bees"]}

EACH_KIND = pytest.mark.parametrize("kind", [kind.name for kind in KINDS if kind.is_linear])
EACH_NUMBER = pytest.mark.parametrize("n_classes", [2, 5])


def draw(n_classes: int, n_rows: int = 100) -> tuple[Array, Array]:
    """Draw rows whose dimensions differ in place and scale, and their labels."""
    rng = np.random.default_rng(0)
    codes = np.arange(n_rows) % n_classes
    X = rng.normal(size=(n_rows, DIM)) + rng.normal(size=(n_classes, DIM))[codes]
    return X * np.geomspace(0.1, 10, DIM) + np.linspace(-5, 5, DIM), np.array(CLASSES[n_classes])[
        codes
    ]


def fit(kind: str, n_classes: int, dtype: DTypeLike = np.float64) -> tuple[Pipeline, Array]:
    """Fit a head's pipeline; return it with the rows."""
    X, y = draw(n_classes)
    C = "auto" if get_kind(kind).strength_name is None else 1.0
    pipeline = HeadClassifier(kind, C=C).fit(X, y).pipeline_  # type: ignore[arg-type]
    return pipeline.fit(X.astype(dtype), y), X.astype(dtype)


def decide(pipeline: Pipeline, X: Array) -> Array:
    """Return the decision function, with a first logit of 0 where there are two classes."""
    found = pipeline.decision_function(X)
    return np.stack([0 * found, found], axis=1) if found.ndim == 1 else found


# --- fold_linear


@EACH_KIND
@EACH_NUMBER
def test_fold_linear_logits_are_the_decision_function(kind: str, n_classes: int) -> None:
    pipeline, X = fit(kind, n_classes)
    weight, bias = fold_linear(pipeline)
    assert weight.dtype == np.float64
    assert weight.shape == (n_classes, DIM)
    assert bias.dtype == np.float64
    assert bias.shape == (n_classes,)
    expected = decide(pipeline, X)
    np.testing.assert_allclose(
        X @ weight.T + bias, expected, rtol=0, atol=1e-6 * np.abs(expected).max()
    )


@EACH_KIND
@EACH_NUMBER
def test_fold_linear_predicts_what_a_head_of_float32_predicts(kind: str, n_classes: int) -> None:
    pipeline, X = fit(kind, n_classes, np.float32)
    weight, bias = fold_linear(pipeline)
    assert weight.dtype == bias.dtype == np.float64
    logits = X @ weight.T + bias
    np.testing.assert_allclose(logits, decide(pipeline, X), atol=1e-4 * np.abs(logits).max())
    np.testing.assert_array_equal(pipeline.classes_[logits.argmax(axis=1)], pipeline.predict(X))


@EACH_KIND
def test_fold_linear_first_of_two_classes_has_logit_0(kind: str) -> None:
    weight, bias = fold_linear(fit(kind, 2)[0])
    assert not weight[0].any()
    assert bias[0] == 0
    assert weight[1].all()


def test_fold_linear_softmax_is_the_probability_of_two_classes() -> None:
    pipeline, X = fit("logreg", 2)
    weight, bias = fold_linear(pipeline)
    np.testing.assert_allclose(
        softmax(X @ weight.T + bias, axis=1), pipeline.predict_proba(X), atol=1e-9
    )


@pytest.mark.parametrize("options", [{"with_mean": False}, {"with_std": False}], ids=str)
def test_fold_linear_scaler_of_one_part_is_folded(options: dict[str, bool]) -> None:
    X, y = draw(5)
    classifier = LogisticRegression(max_iter=20_000)
    pipeline = make_pipeline(StandardScaler(**options), classifier).fit(X, y)
    weight, bias = fold_linear(pipeline)
    expected = pipeline.decision_function(X)
    np.testing.assert_allclose(
        X @ weight.T + bias, expected, rtol=0, atol=1e-6 * np.abs(expected).max()
    )


@pytest.mark.parametrize(
    "steps",
    [
        [StandardScaler(), PCA(3)],
        [StandardScaler(), PCA(3, whiten=True)],
        [PCA(4, whiten=True), StandardScaler()],
    ],
    ids=["pca", "whitened", "pca first"],
)
@EACH_NUMBER
def test_fold_linear_pca_is_folded(steps: list[Any], n_classes: int) -> None:
    X, y = draw(n_classes)
    pipeline = make_pipeline(*steps, RidgeClassifier()).fit(X, y)
    weight, bias = fold_linear(pipeline)
    assert weight.shape == (n_classes, DIM)
    expected = decide(pipeline, X)
    np.testing.assert_allclose(
        X @ weight.T + bias, expected, rtol=0, atol=1e-6 * np.abs(expected).max()
    )


@EACH_NUMBER
@pytest.mark.parametrize("classifier", [LogisticRegression, LinearSVC, RidgeClassifier])
def test_fold_linear_classifier_without_intercept_is_folded(
    classifier: Any, n_classes: int
) -> None:
    X, y = draw(n_classes)
    pipeline = make_pipeline(StandardScaler(), classifier(fit_intercept=False)).fit(X, y)
    weight, bias = fold_linear(pipeline)
    expected = decide(pipeline, X)
    np.testing.assert_allclose(
        X @ weight.T + bias, expected, rtol=0, atol=1e-6 * np.abs(expected).max()
    )


def test_fold_linear_of_two_classes_gives_the_first_one_the_logit_0() -> None:
    X, y = draw(2)
    X[:, 0] = 3  # a feature that never changes has the coefficient 0
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(fit_intercept=False)).fit(X, y)
    weight, bias = fold_linear(pipeline)
    assert weight[1, 0] == 0
    assert weight[0].tolist() == [0] * X.shape[1]
    assert bias[0] == 0


def test_fold_linear_leaves_the_head_as_it_is() -> None:
    pipeline, X = fit("logreg", 5)
    before = pipeline.decision_function(X)
    weight, bias = fold_linear(pipeline)
    weight += 1
    bias += 1
    np.testing.assert_array_equal(pipeline.decision_function(X), before)


@pytest.mark.parametrize(
    ("estimator", "names"),
    [
        (make_pipeline(Normalizer(), LogisticRegression()), "Normalizer, LogisticRegression"),
        (
            make_pipeline(StandardScaler(), MinMaxScaler(), LogisticRegression()),
            "StandardScaler, MinMaxScaler, LogisticRegression",
        ),
        (make_pipeline(StandardScaler(), SVC()), "StandardScaler, SVC"),
        (LogisticRegression(max_iter=1000), "LogisticRegression"),
        (SVC(), "SVC"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_fold_linear_other_steps_are_refused_by_name(estimator: Any, names: str) -> None:
    fitted = estimator.fit(*draw(5))
    with pytest.raises(
        HeadError,
        match=rf"^head: expected a StandardScaler and a linear classifier, .*, got {names}\. Fit ",
    ):
        fold_linear(fitted)


# --- build_linear


def draw_matrix(n_classes: int, dtype: DTypeLike = np.float64) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(1)
    return (
        rng.normal(size=(n_classes, DIM)).astype(dtype),
        rng.normal(size=n_classes).astype(dtype),
        np.array(CLASSES[n_classes]),
    )


@EACH_NUMBER
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_build_linear_head_has_the_softmax_of_the_logits(n_classes: int, dtype: DTypeLike) -> None:
    weight, bias, classes = draw_matrix(n_classes, dtype)
    X = np.random.default_rng(2).normal(size=(50, DIM)).astype(dtype)
    head = build_linear(weight, bias, classes)
    logits = X @ weight.T + bias
    assert head.classes_.tolist() == classes.tolist()
    # The shape that scikit-learn documents for the solver lbfgs.
    assert head[-1].n_iter_.tolist() == [0]
    np.testing.assert_array_equal(head.predict(X), classes[logits.argmax(axis=1)])
    np.testing.assert_allclose(head.predict_proba(X), softmax(logits, axis=1), atol=1e-6)


@EACH_NUMBER
def test_fold_linear_undoes_build_linear(n_classes: int) -> None:
    weight, bias, classes = draw_matrix(n_classes)
    again, shift = fold_linear(build_linear(weight, bias, classes))
    if n_classes == 2:  # logits are told but for what both have in common
        weight, bias = weight - weight[0], bias - bias[0]
    np.testing.assert_allclose(again, weight, atol=1e-12)
    np.testing.assert_allclose(shift, bias, atol=1e-12)


@EACH_NUMBER
def test_build_linear_of_a_folded_head_equals_it(n_classes: int) -> None:
    pipeline, X = fit("logreg", n_classes)
    again = build_linear(*fold_linear(pipeline), pipeline.classes_)
    np.testing.assert_array_equal(again.predict(X), pipeline.predict(X))
    np.testing.assert_allclose(again.predict_proba(X), pipeline.predict_proba(X), atol=1e-9)


@EACH_NUMBER
def test_build_linear_of_a_folded_svm_predicts_what_it_predicts(n_classes: int) -> None:
    pipeline, X = fit("linear-svm", n_classes)
    again = build_linear(*fold_linear(pipeline), pipeline.classes_)
    np.testing.assert_array_equal(again.predict(X), pipeline.predict(X))


def test_build_linear_names_the_steps_as_a_fitted_head_does() -> None:
    fitted, _ = fit("logreg", 5)
    assert list(build_linear(*draw_matrix(5)).named_steps) == list(fitted.named_steps)


def test_build_linear_head_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    head = build_linear(*draw_matrix(5))
    joblib.dump(head, tmp_path / "head.joblib")
    loaded = joblib.load(tmp_path / "head.joblib")
    X = draw(5)[0]
    assert isinstance(loaded, Pipeline)
    np.testing.assert_array_equal(loaded.predict_proba(X), head.predict_proba(X))


def test_build_linear_head_refuses_rows_of_another_length() -> None:
    head = build_linear(*draw_matrix(5))
    with pytest.raises(ValueError, match=rf"expecting {DIM} features"):
        head.predict(np.zeros((3, DIM + 1)))
