"""Random problems of classification, of the sorts that make solvers fail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from featx.core.typing import Array, Float32Array, Float64Array, IntArray
from featx.heads.losses import LossName

SORTS = ("plain", "ill-conditioned", "separable", "imbalanced", "duplicated", "wide")


@dataclass(frozen=True)
class Problem:
    """Rows, their class codes, and a strength of the regularisation."""

    X: Float32Array
    codes: IntArray
    n_classes: int
    C: float


def draw_problem(sort: str, seed: int) -> Problem:
    """Draw a problem of a sort."""
    rng = np.random.default_rng(seed)
    n_rows, dim = int(rng.integers(40, 200)), int(rng.integers(3, 40))
    n_classes = int(rng.integers(2, 6))
    codes = np.arange(n_rows) % n_classes
    if sort == "wide":
        dim = 4 * n_rows
    X = rng.normal(size=(n_rows, dim))
    if sort == "ill-conditioned":
        turned = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
        X = X @ np.diag(10.0 ** rng.uniform(-4, 4, dim)) @ turned
    if sort == "imbalanced":
        codes = np.where(rng.random(n_rows) < 0.93, 0, codes)
        codes[:n_classes] = np.arange(n_classes)
    distance = {"separable": 5.0, "wide": 0.1}.get(sort, 0.5)
    X = X + distance * X.std() * rng.normal(size=(n_classes, dim))[codes]
    if sort == "duplicated":
        X = np.concatenate([X, X, X[:, :1]], axis=1)
    return Problem(X.astype(np.float32), codes, n_classes, 10.0 ** rng.uniform(-3, 2))


def compute_objective(scores: Array, coef: Array, problem: Problem, loss: LossName) -> float:
    """Return C times the sum of the losses plus half the square of the weights, in float64."""
    scores = np.asarray(scores, np.float64).reshape(len(problem.codes), -1)
    if loss == "logistic" and problem.n_classes > 2:
        right = scores[np.arange(len(scores)), problem.codes]
        losses: Float64Array = logsumexp(scores, axis=1) - right
    else:
        positive = np.array([1]) if problem.n_classes == 2 else np.arange(problem.n_classes)
        signs = np.where(problem.codes[:, None] == positive, 1, -1)
        margins = signs * scores
        losses = {
            "logistic": np.logaddexp(0, -margins),
            "squared-hinge": np.maximum(1 - margins, 0) ** 2,
            "squared": (1 - margins) ** 2,
        }[loss]
    return float(problem.C * losses.sum() + (np.asarray(coef, np.float64) ** 2).sum() / 2)
