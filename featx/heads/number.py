"""Heads for a number: ridge regression, its strength chosen by nested cross-validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from featx.core.typing import Array, Float64Array, IntArray
from featx.heads.coordinates import Coordinates
from featx.heads.crossing import Crossing, build_fair_folds, cross
from featx.heads.repeats import average_fields, derive_seed
from featx.heads.resampling import estimate_by_resampling
from featx.heads.runs import count_runs, find_runs
from featx.heads.splits import Fold
from featx.heads.units import count_units

STRENGTHS = tuple(10.0 ** (power / 2) for power in range(-16, 9))
"""Values of C that the search tries, ascending; they cost one decomposition together."""

DEFAULT = STRENGTHS.index(1e-3)
"""Position of the strength that is used if there are too few rows to choose one."""

Sums = tuple[int, Float64Array, float, Float64Array, Float64Array]
"""Sums over rows: how many, coordinates, numbers, squares, and products with the numbers."""


@dataclass(frozen=True, kw_only=True)
class NumberScores:
    """Scores of predicted numbers.

    Attributes
    ----------
    n_rows, n_units : int
        Number of rows that were scored, and of units that they form.
    r2 : float or None
        Share of the variance that is explained, at most 1; None if all numbers are the same.
    r2_ci95 : tuple of float or None
        Ends of its 95 % interval, by resampling units.
    mae : float
        Mean absolute error, in the unit of the number.
    mae_ci95 : tuple of float or None
        Ends of its 95 % interval.
    control_r2 : float or None
        Share of the variance that the mean of the fitted rows explains: about 0.
    control_mae : float
        Mean absolute error of always the median of the fitted rows.
    n_seen : int
        Number of other rows that were learnt from and are left out of the scores; the number of
        scored rows, if there are no rows that were not learnt from.
    n_related : int or None
        Number of scored rows of a group of which other rows were learnt from. None if it was not
        measured.
    repeats : tuple of float
        R2 of each dealing of the rows to folds, if there are several: all other scores are then
        means over the dealings, and intervals are as wide as that of one. Else empty.

    See Also
    --------
    featx.evaluate_target : Score a head on a cache.
    """

    n_rows: int
    n_units: int
    r2: float | None
    r2_ci95: tuple[float, float] | None
    mae: float
    mae_ci95: tuple[float, float] | None
    control_r2: float | None
    control_mae: float
    n_seen: int = 0
    n_related: int | None = None
    repeats: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> NumberScores:
        """Build the scores again from the fields that `to_dict` returned.

        Parameters
        ----------
        fields : mapping
            Fields as `to_dict` returned them.
        """
        ends = {name: fields[name] and tuple(fields[name]) for name in ("r2_ci95", "mae_ci95")}
        return cls(**{**fields, **ends, "repeats": tuple(fields.get("repeats", ()))})

    @classmethod
    def average(cls, scores: Sequence[NumberScores]) -> NumberScores:
        """Average the scores of several dealings of the same rows to folds.

        Parameters
        ----------
        scores : sequence of NumberScores
            Scores of each dealing, at least one.
        """
        if len(scores) == 1:
            return scores[0]
        names = ("r2", "r2_ci95", "mae", "mae_ci95", "control_r2", "control_mae")
        repeats = tuple(one.r2 for one in scores if one.r2 is not None)
        return replace(scores[0], **average_fields(scores, names), repeats=repeats)


def score_numbers(
    y: Array,
    predicted: Array,
    *,
    mean: Array | float,
    median: Array | float,
    units: IntArray | None = None,
    n_folds: int | None = None,
    n_seen: int = 0,
) -> NumberScores:
    """Compare predicted numbers with true ones.

    Parameters
    ----------
    y, predicted : ndarray of float64
        ``(n_rows,)``, true and predicted numbers of at least one row.
    mean, median : float or ndarray of float64
        Mean and median of the numbers that were fitted on; of each row, if they differ.
    units : ndarray of int64, optional
        ``(n_rows,)``, the unit of each row. Default: each row is a unit of its own.
    n_folds : int, optional
        Number of folds, if the numbers were predicted by cross-validation.
    n_seen : int
        Number of rows that were learnt from; see `NumberScores`.

    Examples
    --------
    >>> y = np.array([1.0, 2.0, 3.0, 4.0])
    >>> scores = score_numbers(y, y + [0.5, -0.5, 0.5, -0.5], mean=2.5, median=2.5)
    >>> scores.r2, scores.mae, scores.control_r2, scores.control_mae
    (0.8, 0.5, 0.0, 1.0)
    """
    y = np.asarray(y, np.float64)
    # Centred, weighted sums of squares do not cancel; from the first one on, equal numbers are 0.
    middle = y - y[0]
    middle -= middle.mean()
    errors = predicted - y

    def explain(squares: Array, weights: Float64Array) -> Float64Array:
        n_rows = weights.sum(axis=1)
        total = weights @ middle**2
        varied = total - (weights @ middle) ** 2 / n_rows
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(varied > 1e-12 * total, 1 - (weights @ squares) / varied, np.nan)

    def log_average(weights: Float64Array) -> Float64Array:
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(weights @ np.abs(errors) / weights.sum(axis=1)))

    once = np.ones((1, len(y)))
    r2, control = (_or_none(explain(one**2, once)[0]) for one in (errors, mean - y))
    return NumberScores(
        n_rows=len(y),
        n_units=len(y) if units is None else count_units(units),
        r2=r2,
        r2_ci95=estimate_by_resampling(
            lambda weights: explain(errors**2, weights), len(y), units, n_folds=n_folds
        ),
        mae=float(np.abs(errors).mean()),
        mae_ci95=_exp(estimate_by_resampling(log_average, len(y), units, n_folds=n_folds)),
        control_r2=control,
        control_mae=float(np.abs(median - y).mean()),
        n_seen=n_seen,
    )


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _exp(ends: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return the interval of an error from that of its logarithm: it is longer above than below."""
    return ends and (float(np.exp(ends[0])), float(np.exp(ends[1])))


@dataclass(frozen=True, kw_only=True, eq=False)
class NumberFit:
    """A fitted head for a number.

    Attributes
    ----------
    pipeline : Pipeline
        ``StandardScaler`` and ``Ridge``, fitted on all rows.
    C : float
        Inverse strength of the L2 regularisation: ``Ridge`` has ``alpha = 1 / C``.
    tried : tuple of float
        Values of C that the search tried, ascending; none if it was given or rows were too few.
    crossing : Crossing or None
        Held-out predictions; None if rows were too few.
    more : tuple of Crossing
        Held-out predictions of further dealings of the rows to folds.
    """

    pipeline: Pipeline
    C: float
    tried: tuple[float, ...]
    crossing: Crossing | None
    more: tuple[Crossing, ...] = ()


def fit_number(
    X: Array,
    y: Float64Array,
    units: IntArray | None = None,
    *,
    C: float | None = None,
    n_folds: int = 5,
    repeats: int = 1,
    seed: int = 0,
) -> NumberFit:
    """Fit ridge regression of a number on embeddings.

    Parameters
    ----------
    X : ndarray
        ``(n_rows, dim)``, embeddings.
    y : ndarray of float64
        ``(n_rows,)``, the numbers.
    units : ndarray of int64, optional
        ``(n_rows,)``, the unit of each row. Default: each row is a unit of its own.
    C : float, optional
        Inverse strength of the L2 regularisation. Default: nested cross-validation chooses it among
        `STRENGTHS` by the squared error.
    n_folds : int
        Number of folds.
    repeats : int
        Number of dealings of the rows to folds; the head depends on the first one alone.
    seed : int
        Seed of the folds.
    """
    strengths = np.array(STRENGTHS if C is None else [C])
    default = DEFAULT if C is None else 0
    strata = find_runs(y, count_runs(len(y)))
    scaler = StandardScaler().fit(X)
    coordinates = Coordinates.find(X, scaler.mean_, scaler.scale_)
    Z, everyone = coordinates.rows[:, 1:], np.arange(len(y))

    def deal(number: int) -> tuple[list[Sums], Crossing | None]:
        seed_of = derive_seed(seed, number)
        folds = build_fair_folds(strata, units, n_folds=n_folds, seed=seed_of)
        parts = [_add_up(Z, y, rows) for rows in ([test for _, test in folds] or [everyone])]
        if not folds:
            return parts, None
        return parts, _cross(Z, y, folds, parts, strengths=strengths, default=default)

    parts, crossing = deal(0)
    others = [] if crossing is None else [deal(number)[1] for number in range(1, repeats)]
    chosen = float(strengths[default if crossing is None else crossing.best])
    weights, intercept = _solve(parts, np.array([chosen]))
    coef, _ = coordinates.restore(np.concatenate([[0.0], weights[:, 0]])[None])
    ridge = Ridge(alpha=1 / chosen)
    ridge.coef_, ridge.intercept_ = coef[0], float(intercept[0])
    ridge.n_features_in_, ridge.n_iter_, ridge.solver_ = X.shape[1], None, "svd"
    tried = STRENGTHS if C is None and crossing is not None else ()
    return NumberFit(
        pipeline=make_pipeline(scaler, ridge),
        C=chosen,
        tried=tried,
        crossing=crossing,
        more=tuple(one for one in others if one is not None),
    )


def score_number_folds(
    y: Float64Array, crossing: Crossing, *, units: IntArray | None, scored: IntArray
) -> NumberScores:
    """Score held-out predictions.

    Parameters
    ----------
    y : ndarray of float64
        ``(n_rows,)``, the numbers.
    crossing : Crossing
        Held-out predictions.
    units : ndarray of int64 or None
        ``(n_rows,)``, the unit of each row; None if each row is alone.
    scored : ndarray of int64
        Rows to score.
    """
    mean, median = np.empty((2, len(y)))
    for train, test in crossing.folds:
        mean[test], median[test] = y[train].mean(), np.median(y[train])
    return score_numbers(
        y[scored],
        crossing.predicted[scored],
        mean=mean[scored],
        median=median[scored],
        units=None if units is None else units[scored],
        n_folds=len(crossing.folds),
    )


def _cross(
    Z: Array,
    y: Float64Array,
    folds: list[Fold],
    parts: list[Sums],
    *,
    strengths: Float64Array,
    default: int,
) -> Crossing:
    """Predict each row by nested cross-validation, from sums over the rows of each fold.

    The coordinates are those of all rows, as their scales are: they do not see the numbers.
    """
    fold_of = np.empty(len(y), np.int64)
    for number, (_, test) in enumerate(folds):
        fold_of[test] = number

    def predict(fold: Fold) -> Array:
        train, test = fold
        kept = [parts[number] for number in np.unique(fold_of[train])]
        weights, intercept = _solve(kept, strengths)
        return np.asarray((Z[test] @ weights + intercept).T)

    def measure(path: Array, rows: IntArray) -> Float64Array:
        return np.asarray(((path - y[rows]) ** 2).sum(axis=1))

    return cross(folds, lambda some: [*map(predict, some)], measure, default=default)


def _add_up(Z: Array, y: Float64Array, rows: IntArray) -> Sums:
    of_rows, numbers = Z[rows].astype(np.float64), y[rows]
    total, products = of_rows.sum(axis=0), of_rows.T @ numbers
    return len(rows), total, float(numbers.sum()), of_rows.T @ of_rows, products


def _solve(parts: list[Sums], strengths: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Solve ridge regression at all strengths from one decomposition of added sums.

    Returns weights ``(n_axes, n_strengths)`` and intercepts ``(n_strengths,)``.
    """
    n_rows, total, moment, squares, products = map(sum, zip(*parts, strict=True))
    mean, middle = total / n_rows, moment / n_rows
    values, vectors = np.linalg.eigh(squares - n_rows * np.outer(mean, mean))
    turned = vectors.T @ (products - n_rows * mean * middle)
    weights = vectors @ (turned[:, None] / (np.maximum(values, 0)[:, None] + 1 / strengths))
    return weights, middle - mean @ weights
