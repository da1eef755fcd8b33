"""What each learner says of a part is what scikit-learn's classifier says, fitted on that part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from featx.core.typing import Float32Array, IntArray
from featx.heads import kernels
from featx.heads.calibration import score_classes
from featx.heads.coordinates import Coordinates
from featx.heads.finish import fit_classifier
from featx.heads.kinds import KINDS, HeadKind, get_kind
from featx.heads.learners import Learner, LinearLearner, Task
from featx.heads.search import build_learner
from featx.heads.solvers import CLOSE, TIGHT_STEPS

EACH_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
EACH_SHAPE = pytest.mark.parametrize(
    ("n_rows", "dim", "n_classes"), [(80, 6, 3), (80, 6, 2), (40, 90, 3)], ids=str
)


def draw(n_rows: int, dim: int, n_classes: int) -> tuple[Float32Array, IntArray]:
    """Draw rows about one centre per class, and their class codes."""
    rng = np.random.default_rng(0)
    codes = np.arange(n_rows) % n_classes
    X = rng.normal(size=(n_rows, dim)) + rng.normal(size=(n_classes, dim))[codes]
    return X.astype(np.float32), codes


def build_task(X: Float32Array, codes: IntArray, class_weight: object = None) -> Task:
    """Build a task that fits on half of the rows and scores the others."""
    # The scale of all rows, as a search has it; the reference below is given the same rows.
    scaler = StandardScaler().fit(X)
    rows = np.arange(len(codes))
    return Task(
        X=X,
        coordinates=Coordinates.find(X, scaler.mean_, scaler.scale_),
        codes=codes,
        n_classes=int(codes.max()) + 1,
        class_weight=class_weight,  # type: ignore[arg-type]
        parts=[(rows[: len(rows) // 2], rows[len(rows) // 2 :])],
    )


def tighten(learner: Learner) -> None:
    """Let a learner that fits loosely go on to the optimum."""
    if isinstance(learner, LinearLearner):
        learner.solver.tolerance, learner.solver.max_steps = CLOSE, TIGHT_STEPS


def list_weights(kind: HeadKind) -> list[object]:
    """List class weights that the kind can take."""
    return [None, "balanced", {0: 4.0}] if kind.takes_weights else [None]


@EACH_KIND
@EACH_SHAPE
def test_learner_scores_as_the_classifier_of_scikit_learn(
    kind: HeadKind, n_rows: int, dim: int, n_classes: int
) -> None:
    X, codes = draw(n_rows, dim, n_classes)
    scaled = StandardScaler().fit_transform(X)
    for class_weight in list_weights(kind):
        if class_weight and kind.name == "linear-svm" and n_classes > 2:
            continue  # liblinear weighs a class in its own column alone, featx its rows in each
        task = build_task(X, codes, class_weight)
        train, test = task.parts[0]
        strength = kind.round_strength(10.0 ** kind.grid[len(kind.grid) // 2])
        learner = build_learner(kind, task, [10.0**one for one in kind.grid])
        tighten(learner)
        found = learner.score(np.array([0]), np.array([float(strength)]))[0]
        part = replace(task, X=X[train], codes=codes[train])
        classifier = kind.build(strength, class_weight, part)  # type: ignore[arg-type]
        if kind.name == "linear-svm":  # liblinear penalises the intercept
            classifier.set_params(intercept_scaling=100, tol=1e-10, max_iter=1_000_000)
        if kind.name == "rbf-svm":
            classifier.set_params(gamma=kernels.find_gamma(task))
        expected = score_classes(classifier.fit(scaled[train], codes[train]), scaled[test])
        np.testing.assert_allclose(
            found - found.mean(axis=1, keepdims=True),
            expected - expected.mean(axis=1, keepdims=True),
            atol=0.03 * max(1.0, float(np.abs(expected).max())),
        )


@EACH_KIND
def test_classifier_that_is_kept_says_what_the_learner_says_of_all_rows(kind: HeadKind) -> None:
    X, codes = draw(60, 8, 3)
    rows = np.arange(60)
    task = replace(build_task(X, codes), parts=[(rows, rows)])
    strength = kind.round_strength(10.0 ** kind.grid[1 % len(kind.grid)])
    learner = build_learner(kind, task, [10.0**one for one in kind.grid])
    tighten(learner)
    found = learner.score(np.array([0]), np.array([float(strength)]))[0]
    scaled = StandardScaler().fit_transform(X)
    labels = np.array(["a", "b", "c"], object)
    classifier = fit_classifier(
        kind,
        task,
        strength,
        classes=labels,
        class_weight=None,
        scaled=scaled,
        shift=np.zeros(8),
    )
    assert classifier.classes_.tolist() == ["a", "b", "c"]
    expected = score_classes(make_pipeline(classifier), scaled)
    np.testing.assert_allclose(
        found - found.mean(axis=1, keepdims=True),
        expected - expected.mean(axis=1, keepdims=True),
        atol=0.02 * max(1.0, float(np.abs(expected).max())),
    )


def test_kernel_of_many_rows_is_approximated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "MAX_EXACT", 50)
    monkeypatch.setattr("featx.heads.finish.MAX_EXACT", 50)
    monkeypatch.setattr(kernels, "N_LANDMARKS", 60)
    X, codes = draw(200, 6, 3)
    rows = np.arange(200)
    task = replace(build_task(X, codes), parts=[(rows[:150], rows[150:])])
    kind = get_kind("rbf-svm")
    scores = build_learner(kind, task, [1.0]).score(np.array([0]), np.array([1.0]))[0]
    assert np.mean(scores.argmax(axis=1) == codes[150:]) > 0.8
    scaled = StandardScaler().fit_transform(X)
    classifier = fit_classifier(
        kind, task, 1.0, classes=np.arange(3), class_weight=None, scaled=scaled, shift=np.zeros(6)
    )
    assert [name for name, _ in classifier.steps] == ["map", "classify"]
    assert np.mean(classifier.predict(scaled) == codes) > 0.9


@EACH_KIND
def test_learner_of_a_class_without_rows_never_prefers_it(kind: HeadKind) -> None:
    X, codes = draw(90, 6, 3)
    rows = np.arange(90)
    task = replace(build_task(X, codes), parts=[(rows[codes != 2], rows[codes == 2])])
    strength = kind.round_strength(kind.default_strength)
    learner = build_learner(kind, task, [10.0**one for one in kind.grid])
    scores = learner.score(np.array([0]), np.array([float(strength)]))[0]
    assert np.isfinite(scores).all()
    assert (scores.argmax(axis=1) != 2).all()


@EACH_KIND
def test_plain_learner_says_what_the_own_learner_says(kind: HeadKind) -> None:
    X, codes = draw(80, 6, 3)
    task = build_task(X, codes)
    strength = kind.round_strength(10.0 ** kind.grid[len(kind.grid) // 2])
    both = []
    for of_kind in (kind, replace(kind, loss=None, learn=None)):
        learner = build_learner(of_kind, task, [10.0**one for one in kind.grid])
        tighten(learner)
        both.append(learner.score(np.array([0]), np.array([float(strength)]))[0].argmax(axis=1))
    assert np.mean(both[0] == both[1]) >= 0.95
