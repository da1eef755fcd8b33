"""Principal components within folds: what a part says is what a pipeline fitted on it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from featx.core.typing import Float32Array, IntArray
from featx.heads import kernels
from featx.heads.calibration import score_classes
from featx.heads.classifier import HeadClassifier
from featx.heads.coordinates import Coordinates
from featx.heads.kinds import KINDS, HeadKind, get_kind
from featx.heads.learners import LinearLearner, Task
from featx.heads.reduced import Components, ReducedLearner
from featx.heads.search import build_learner
from featx.heads.solvers import CLOSE, TIGHT_STEPS

N_COMPONENTS = 4


def draw(n_rows: int, dim: int) -> tuple[Float32Array, IntArray]:
    """Draw rows about one centre per class, and their class codes."""
    rng = np.random.default_rng(0)
    codes = np.arange(n_rows) % 3
    X = rng.normal(size=(n_rows, dim)) * np.linspace(2, 0.5, dim)
    return (X + rng.normal(size=(3, dim))[codes]).astype(np.float32), codes


def build_task(X: Float32Array, codes: IntArray) -> Task:
    """Build a task of two parts, which are scored on the third and on the first half."""
    scaler, rows = StandardScaler().fit(X), np.arange(len(codes))
    n_test = len(rows) // 3
    return Task(
        X=X,
        coordinates=Coordinates.find(X, scaler.mean_, scaler.scale_),
        codes=codes,
        n_classes=3,
        class_weight=None,
        parts=[(rows[n_test:], rows[:n_test]), (rows[len(rows) // 2 :], rows[: len(rows) // 2])],
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize(("n_rows", "dim"), [(90, 6), (45, 80)], ids=str)
def test_part_is_scored_as_by_a_pipeline_that_was_fitted_on_its_rows(
    kind: HeadKind, n_rows: int, dim: int
) -> None:
    X, codes = draw(n_rows, dim)
    task, scaled = build_task(X, codes), StandardScaler().fit_transform(X)
    strength = kind.round_strength(10.0 ** kind.grid[len(kind.grid) // 2])
    strengths = [10.0**one for one in kind.grid]
    learner = build_learner(kind, task, strengths, Components(task.coordinates, N_COMPONENTS))
    assert isinstance(learner, ReducedLearner)
    for number, (train, test) in enumerate(task.parts):
        own = learner._get_learner(number)
        if isinstance(own, LinearLearner):
            own.solver.tolerance, own.solver.max_steps = CLOSE, TIGHT_STEPS
        found = learner.score(np.array([number]), np.array([float(strength)]))[0]
        reduced = PCA(N_COMPONENTS, svd_solver="full").fit(scaled[train])
        rows = reduced.transform(scaled)
        of_all = Coordinates.find(rows, rows.mean(axis=0) * 0, np.ones(N_COMPONENTS))
        part = replace(task, X=rows[train], codes=codes[train], coordinates=of_all)
        classifier = kind.build(strength, None, part)
        if kind.name == "linear-svm":  # liblinear penalises the intercept
            classifier.set_params(intercept_scaling=100, tol=1e-10, max_iter=1_000_000)
        if kind.name == "rbf-svm":
            classifier.set_params(gamma=kernels.find_gamma(part))
        expected = score_classes(classifier.fit(rows[train], codes[train]), rows[test])
        np.testing.assert_allclose(
            found - found.mean(axis=1, keepdims=True),
            expected - expected.mean(axis=1, keepdims=True),
            atol=0.03 * max(1.0, float(np.abs(expected).max())),
        )


def test_components_know_nothing_of_the_held_out_rows() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 7)).astype(np.float32)
    changed = X.copy()
    changed[30:] = 100 * rng.normal(size=(10, 7))
    found = []
    for rows in (X, changed):
        ones = np.concatenate([np.ones((40, 1), np.float32), rows], axis=1)
        plain = Coordinates(
            rows=ones, spread=np.ones(8), axes=None, mean=np.zeros(7), scale=np.ones(7)
        )
        found.append(Components(plain, 3).reduce(0, np.arange(30)).rows[:30])
    np.testing.assert_allclose(np.abs(found[0]), np.abs(found[1]), atol=1e-3)


def test_components_that_the_training_rows_lack_are_zero() -> None:
    X, _ = draw(30, 50)
    task = build_task(X, np.arange(30) % 3)
    reduced = Components(task.coordinates, 20).reduce(0, np.arange(6))
    assert reduced.rows.shape == (30, 21)
    assert (np.abs(reduced.rows[:6, 1:]).max(axis=0) > 1e-3).sum() == 5  # about their mean
    assert not reduced.rows[:, 6:].any()


@pytest.mark.parametrize("kind", ["logreg", "lda", "knn", "rbf-svm"])
def test_embeddings_that_are_all_the_same_have_no_components(kind: str) -> None:
    X, y = np.zeros((40, 4)), np.arange(40) % 2
    components = Components(Coordinates.find(X, np.zeros(4), np.ones(4)), 2)
    assert not components.reduce(0, np.arange(20)).rows[:, 1:].any()
    head = HeadClassifier(kind, cv=3, pca=2).fit(X + np.eye(40, 4), y)
    assert head.search_ is not None


def test_head_that_is_kept_reads_the_components_of_all_rows() -> None:
    X, codes = draw(90, 8)
    head = HeadClassifier("ridge", cv=3, pca=3).fit(X, codes)
    reduced = PCA(3, svd_solver="full").fit(StandardScaler().fit_transform(X))
    np.testing.assert_allclose(head.pipeline_["reduce"].components_, reduced.components_, atol=1e-5)


def test_learner_of_all_pairs_of_rows_is_not_kept() -> None:
    X, codes = draw(60, 8)
    task = build_task(X, codes)
    components = Components(task.coordinates, 3)
    for name, is_kept in (("rbf-svm", False), ("logreg", True)):
        learner = build_learner(get_kind(name), task, [1.0], components)
        assert isinstance(learner, ReducedLearner)
        assert (learner._get_learner(0) is learner._get_learner(0)) == is_kept


def test_learners_are_not_kept_if_their_rows_would_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    X, codes = draw(60, 8)
    task = build_task(X, codes)
    parts, strengths = np.array([0, 1, 0]), np.array([1e-2, 1.0, 10.0])
    scores = []
    for n_bytes in (2 * 60 * 4 * 4, 2 * 60 * 4 * 4 - 1):
        monkeypatch.setattr("featx.heads.reduced.MAX_KEPT_BYTES", n_bytes)
        learner = build_learner(get_kind("lda"), task, [1.0], Components(task.coordinates, 3))
        scores.append(np.concatenate(learner.score(parts, strengths)))
        assert isinstance(learner, ReducedLearner)
        assert (learner._get_learner(0) is learner._get_learner(0)) == (len(scores) == 1)
    np.testing.assert_array_equal(scores[0], scores[1])
