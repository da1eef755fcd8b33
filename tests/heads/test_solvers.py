"""The solvers of linear heads, beside scikit-learn's at tight tolerance."""

from __future__ import annotations

import joblib
import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.preprocessing import StandardScaler

from featx.core.typing import Array, Float32Array, IntArray
from featx.heads import solvers
from featx.heads.coordinates import Coordinates
from featx.heads.lbfgs import Minimiser
from featx.heads.learners import Task, fit_linear
from featx.heads.losses import LossName, build_loss
from featx.heads.solvers import LinearSolver
from tests.heads.problems import SORTS, Problem, compute_objective, draw_problem

EACH_SORT = pytest.mark.parametrize("sort", SORTS)


def build_task(problem: Problem, class_weight: object = None) -> Task:
    """Build the task of all rows of a problem."""
    scaler = StandardScaler().fit(problem.X)
    return Task(
        X=problem.X,
        coordinates=Coordinates.find(problem.X, scaler.mean_, scaler.scale_),
        codes=problem.codes,
        n_classes=problem.n_classes,
        class_weight=class_weight,  # type: ignore[arg-type]
        parts=[],
    )


def scale(problem: Problem) -> Array:
    """Scale the rows of a problem in float64."""
    return np.asarray(StandardScaler().fit_transform(problem.X.astype(np.float64)))


@EACH_SORT
@pytest.mark.parametrize("seed", range(10))
def test_logistic_optimum_is_that_of_scikit_learn(sort: str, seed: int) -> None:
    problem = draw_problem(sort, seed)
    scaled = scale(problem)
    coef, intercept = fit_linear(build_task(problem), "logistic", problem.C)
    reference = LogisticRegression(C=problem.C, tol=1e-8, max_iter=100_000)
    reference.fit(scaled, problem.codes)
    scores = scaled @ coef.T + intercept
    found = compute_objective(scores, coef, problem, "logistic")
    best = compute_objective(
        reference.decision_function(scaled), reference.coef_, problem, "logistic"
    )
    assert found == pytest.approx(best, rel=1e-5)
    predicted = (scores[:, 0] > 0).astype(int) if scores.shape[1] == 1 else scores.argmax(axis=1)
    assert np.mean(predicted == reference.predict(scaled)) >= 0.999


def minimise_hinge(scaled: Array, problem: Problem, column: int) -> float:
    """Return the least objective of one class against the others, intercept not penalised."""
    positive = 1 if problem.n_classes == 2 else column
    signs = np.where(problem.codes == positive, 1.0, -1.0)
    rows = np.concatenate([scaled, np.ones((len(scaled), 1))], axis=1)

    def compute(weights: Array) -> tuple[float, Array]:
        short = np.maximum(1 - signs * (rows @ weights), 0)
        penalty = np.append(weights[:-1], 0)
        value = problem.C * (short**2).sum() + (penalty**2).sum() / 2
        return value, penalty - 2 * problem.C * rows.T @ (signs * short)

    found = minimize(
        compute,
        np.zeros(rows.shape[1]),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 50_000, "maxfun": 100_000, "ftol": 1e-15, "gtol": 1e-9, "maxcor": 50},
    )
    return float(found.fun)


@EACH_SORT
@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))])
def test_squared_hinge_optimum_is_that_of_a_float64_reference(sort: str, seed: int) -> None:
    problem = draw_problem(sort, seed)
    scaled = scale(problem)
    coef, intercept = fit_linear(build_task(problem), "squared-hinge", problem.C)
    found = compute_objective(scaled @ coef.T + intercept, coef, problem, "squared-hinge")
    best = sum(minimise_hinge(scaled, problem, column) for column in range(len(coef)))
    assert found <= best * (1 + 1e-5)


@EACH_SORT
@pytest.mark.parametrize("seed", range(3))
def test_squared_optimum_is_that_of_ridge_regression(sort: str, seed: int) -> None:
    problem = draw_problem(sort, seed)
    scaled = scale(problem)
    coef, intercept = fit_linear(build_task(problem), "squared", problem.C)
    reference = RidgeClassifier(alpha=1 / (2 * problem.C)).fit(scaled, problem.codes)
    found = compute_objective(scaled @ coef.T + intercept, coef, problem, "squared")
    best = compute_objective(
        reference.decision_function(scaled), reference.coef_, problem, "squared"
    )
    assert found == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize("class_weight", ["balanced", {0: 3.0, 1: 0.5}], ids=["balanced", "dict"])
def test_class_weights_are_those_of_scikit_learn(class_weight: object) -> None:
    problem = draw_problem("imbalanced", 3)
    scaled = scale(problem)
    coef, intercept = fit_linear(build_task(problem, class_weight), "logistic", 0.1)
    reference = LogisticRegression(C=0.1, class_weight=class_weight, tol=1e-8, max_iter=10_000)
    reference.fit(scaled, problem.codes)
    np.testing.assert_allclose(
        scaled @ (coef - coef.mean(axis=0)).T + (intercept - intercept.mean()),
        scaled @ (reference.coef_ - reference.coef_.mean(axis=0)).T
        + (reference.intercept_ - reference.intercept_.mean()),
        atol=2e-3,
    )


def build_solver(loss: LossName = "logistic", n_parts: int = 4) -> tuple[LinearSolver, Problem]:
    """Build a solver of parts that each leave out some rows."""
    problem = draw_problem("plain", 5)
    task = build_task(problem)
    weights = np.ones((n_parts, len(problem.codes)), np.float32)
    for part in range(n_parts):
        weights[part, part::n_parts] = 0
    return LinearSolver(
        task.coordinates, build_loss(loss, problem.codes, problem.n_classes), weights
    ), problem


def score_rows(solver: LinearSolver, part: int, rows: IntArray) -> Float32Array:
    """Return the outputs of one part for rows."""
    return solver.score(np.array([part]), [rows])[0]


@pytest.mark.parametrize("loss", ["logistic", "squared-hinge", "squared"])
def test_parts_in_lockstep_end_where_each_ends_alone(loss: LossName) -> None:
    together, _ = build_solver(loss)
    together.fit(np.arange(4), np.array([0.1, 1.0, 0.01, 0.1]))
    for part, strength in enumerate([0.1, 1.0, 0.01, 0.1]):
        alone, problem = build_solver(loss)
        alone.fit(np.array([part]), np.array([strength]))
        rows = np.arange(len(problem.codes))
        np.testing.assert_allclose(
            score_rows(together, part, rows), score_rows(alone, part, rows), rtol=0, atol=2e-2
        )


def test_rows_without_weight_change_nothing() -> None:
    solver, problem = build_solver()
    solver.fit(np.array([0]), np.array([0.1]))
    other, _ = build_solver()
    other.coordinates.rows[::4, 1:] *= 100  # the rows that part 0 leaves out
    other.fit(np.array([0]), np.array([0.1]))
    rows = np.flatnonzero(np.arange(len(problem.codes)) % 4)
    np.testing.assert_allclose(score_rows(solver, 0, rows), score_rows(other, 0, rows), atol=2e-2)


def test_groups_of_parts_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    one, problem = build_solver()
    one.fit(np.arange(4), np.full(4, 0.1))
    monkeypatch.setattr(solvers, "MIN_COLUMNS", 1)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 4)
    several, _ = build_solver()
    assert len(several._group(4)) == 4
    several.fit(np.arange(4), np.full(4, 0.1))
    rows = np.arange(len(problem.codes))
    for part in range(4):
        np.testing.assert_allclose(
            score_rows(one, part, rows), score_rows(several, part, rows), atol=1e-3
        )


def test_groups_hold_each_part_once_whatever_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solvers, "MAX_NUMBERS", 500)
    solver, _ = build_solver()
    found = np.concatenate(solver._group(4))
    assert sorted(found.tolist()) == [0, 1, 2, 3]


def test_fit_begins_at_the_result_of_the_nearest_strength(monkeypatch: pytest.MonkeyPatch) -> None:
    solver, _ = build_solver()
    steps: list[int] = []
    run = Minimiser.run

    def count(self: object, *options: object) -> int:
        n_steps = run(self, *options)  # type: ignore[arg-type]
        steps.append(n_steps)
        return n_steps

    monkeypatch.setattr(Minimiser, "run", count)
    for strength in (0.01, 1.0, 0.01, 1.0):
        solver.fit(np.array([0]), np.array([strength]))
    assert steps[2:] == [0, 0]
    assert min(steps[:2]) > 0


def test_interrupt_ends_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solvers, "MIN_COLUMNS", 1)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 4)
    solver, _ = build_solver()
    checked: list[bool] = []

    def fail(self: LinearSolver) -> None:
        checked.append(True)
        raise KeyboardInterrupt

    monkeypatch.setattr(LinearSolver, "_check", fail)
    with pytest.raises(KeyboardInterrupt):
        solver.fit(np.arange(4), np.full(4, 0.1))
    assert checked
