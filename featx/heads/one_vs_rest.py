"""Fit heads for several classes per image: logistic regressions of all classes at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import LabelBinarizer, StandardScaler

from featx.core.typing import Array, BoolArray, Float64Array, IntArray
from featx.heads.coordinates import Coordinates
from featx.heads.crossing import Crossing, build_fair_folds, cross
from featx.heads.finish import set_linear
from featx.heads.losses import Binomial
from featx.heads.repeats import derive_seed
from featx.heads.several import SeveralScores, choose_thresholds, score_several
from featx.heads.solvers import LinearSolver, fit_exactly
from featx.heads.splits import Fold
from featx.heads.targets import Target

STRENGTHS = tuple(10.0 ** (power / 2) for power in range(-12, 3))
"""Values of C that the search tries, ascending."""

DEFAULT = STRENGTHS.index(1e-2)
"""Position of the strength that is used if there are too few rows to choose one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SeveralFit:
    """A fitted head for several classes.

    Attributes
    ----------
    pipeline : Pipeline
        ``StandardScaler`` and ``OneVsRestClassifier``, fitted on all rows.
    C : float
        Inverse strength of the L2 regularisation, the same for all classes.
    tried : tuple of float
        Values of C that the search tried, ascending; none if it was given or rows were too few.
    thresholds : ndarray of float64
        ``(n_classes,)``, chosen by F1 on held-out probabilities; 0.5 if there are none.
    crossing : Crossing or None
        Held-out probabilities; None if rows were too few.
    more : tuple of Crossing
        Held-out probabilities of further dealings of the rows to folds.
    """

    pipeline: Pipeline
    C: float
    tried: tuple[float, ...]
    thresholds: Float64Array
    crossing: Crossing | None
    more: tuple[Crossing, ...] = ()


def fit_several(
    X: Array,
    flags: BoolArray,
    units: IntArray | None = None,
    *,
    C: float | None = None,
    n_folds: int = 5,
    repeats: int = 1,
    seed: int = 0,
) -> SeveralFit:
    """Fit one logistic regression for each class.

    Parameters
    ----------
    X : ndarray
        ``(n_rows, dim)``, embeddings.
    flags : ndarray of bool
        ``(n_rows, n_classes)``, classes of each row; some rows have a class, and some lack it.
    units : ndarray of int64, optional
        ``(n_rows,)``, the unit of each row. Default: each row is a unit of its own.
    C : float, optional
        Inverse strength of the L2 regularisation. Default: nested cross-validation chooses it among
        `STRENGTHS` by the log loss. The thresholds are chosen on held-out rows in any case.
    n_folds : int
        Number of folds.
    repeats : int
        Number of dealings of the rows to folds; the head depends on the first one alone.
    seed : int
        Seed of the folds.
    """
    strengths = np.array(STRENGTHS if C is None else [C])
    strata = _stratify(flags)
    scaler = StandardScaler().fit(X)
    coordinates = Coordinates.find(X, scaler.mean_, scaler.scale_)
    loss = Binomial(flags)

    def deal(number: int) -> Crossing | None:
        seed_of = derive_seed(seed, number)
        folds = build_fair_folds(strata, units, n_folds=n_folds, seed=seed_of)
        return _cross(coordinates, flags, folds, strengths) if folds else None

    crossing, thresholds = deal(0), np.full(flags.shape[1], 0.5)
    others = [] if crossing is None else [deal(number) for number in range(1, repeats)]
    if crossing is not None:
        thresholds = choose_thresholds(flags, crossing.predicted)
    at = 0 if C is not None else DEFAULT if crossing is None else crossing.best
    chosen = float(strengths[at])
    weights = np.ones(len(X))
    coef, intercept = fit_exactly(X, coordinates, loss, row_weights=weights, strength=chosen)
    return SeveralFit(
        pipeline=build_one_vs_rest(scaler, coef, intercept, chosen),
        C=chosen,
        tried=STRENGTHS if C is None and crossing is not None else (),
        thresholds=thresholds,
        crossing=crossing,
        more=tuple(one for one in others if one is not None),
    )


def score_several_folds(
    flags: BoolArray,
    crossing: Crossing,
    target: Target,
    *,
    units: IntArray | None,
    scored: IntArray,
) -> SeveralScores:
    """Score held-out probabilities; the thresholds of a fold are chosen on the other folds.

    Parameters
    ----------
    flags : ndarray of bool
        ``(n_rows, n_classes)``, classes of each row.
    crossing : Crossing
        Held-out probabilities.
    target : Target
        Classes and thresholds of the head.
    units : ndarray of int64 or None
        ``(n_rows,)``, the unit of each row; None if each row is alone.
    scored : ndarray of int64
        Rows to score.
    """
    probabilities, predicted = crossing.predicted, np.empty_like(flags)
    for train, test in crossing.folds:
        thresholds = choose_thresholds(flags[train], probabilities[train])
        predicted[test] = probabilities[test] >= thresholds
    return score_several(
        flags[scored],
        probabilities[scored],
        predicted[scored],
        classes=target.classes,
        thresholds=target.thresholds,
        units=None if units is None else units[scored],
        n_folds=len(crossing.folds),
    )


def _stratify(flags: BoolArray) -> IntArray:
    """Name each row by the rarest of its classes, so that each fold has its share of them."""
    order = np.argsort(flags.sum(axis=0), kind="stable")
    rarest = np.argmax(flags[:, order], axis=1)
    return np.asarray(np.where(flags.any(axis=1), rarest, flags.shape[1]), np.int64)


def _cross(
    coordinates: Coordinates, flags: BoolArray, folds: list[Fold], strengths: Float64Array
) -> Crossing:
    """Predict each row by nested cross-validation: all parts and classes are fitted in lockstep."""
    loss = Binomial(flags)

    def predict(parts: Any) -> list[Array]:
        weights = np.zeros((len(parts), len(flags)), np.float32)
        for number, (train, _) in enumerate(parts):
            weights[number, train] = 1
        solver = LinearSolver(coordinates, loss, weights)
        solver.tighten()
        everyone = np.arange(len(parts))
        paths = [
            np.empty((len(strengths), len(test), flags.shape[1]), np.float32) for _, test in parts
        ]
        for at, strength in enumerate(strengths):  # each fit begins where the last one ended
            solver.fit(everyone, np.full(len(parts), strength))
            scores = solver.score(everyone, [test for _, test in parts])
            for path, found in zip(paths, scores, strict=True):
                path[at] = expit(found)
        return paths

    def measure(path: Array, rows: IntArray) -> Float64Array:
        right = np.where(flags[rows], path, 1 - path)
        losses = -np.log(np.maximum(right, 1e-7))
        return np.asarray(losses.mean(axis=2).sum(axis=1), np.float64)

    return cross(folds, predict, measure, default=min(DEFAULT, len(strengths) - 1))


def build_one_vs_rest(
    scaler: StandardScaler, coef: Float64Array, intercept: Float64Array, C: float
) -> Pipeline:
    """Build plain scikit-learn estimators of the weights, as if they had been fitted.

    Parameters
    ----------
    scaler : StandardScaler
        Fitted scaler.
    coef : ndarray of float64
        ``(n_classes, dim)``.
    intercept : ndarray of float64
        ``(n_classes,)``.
    C : float
        Inverse strength of the L2 regularisation, for the record.
    """
    model = OneVsRestClassifier(LogisticRegression(C=C))
    model.label_binarizer_ = LabelBinarizer(sparse_output=True).fit(
        np.array([[1] * len(coef), [0] * len(coef)])
    )
    model.estimators_ = []
    for weights, shift in zip(coef, intercept, strict=True):
        one = LogisticRegression(C=C)
        model.estimators_.append(
            set_linear(one, weights[None], np.array([shift]), np.array([0, 1]))
        )
    model.n_features_in_ = coef.shape[1]
    return make_pipeline(scaler, model)
