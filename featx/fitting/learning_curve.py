"""A learning curve: the accuracy of heads by the number of rows that they are fitted on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from featx.core.errors import HeadError
from featx.core.notes import note
from featx.core.progress import open_bar
from featx.core.text import join_some
from featx.core.typing import Array, BoolArray, IntArray, SplitChoice
from featx.fitting.curve_rows import read_curve_rows
from featx.fitting.inputs import (
    N_SHOWN,
    CacheLike,
    check_several_units,
    list_single_classes,
    opened_cache,
)
from featx.heads.classifier import HeadClassifier
from featx.heads.intervals import (
    estimate_balanced_interval,
    estimate_gain_interval,
    estimate_interval,
)
from featx.heads.splits import Fold, build_folds

SHARES = (0.125, 0.25, 0.5, 1.0)
"""Shares of the rows that the heads of the curve are fitted on."""

CLEARANCE = 2.0
"""Half widths of its interval by which an accuracy must lie above chance for a promise."""

N_FOLDS = 5
"""Number of folds: each row is scored once by heads that have not seen it."""


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One point of a learning curve.

    Attributes
    ----------
    rows_per_class : float
        Mean number of rows per class that the heads were fitted on.
    accuracy : float
        Accuracy of the heads on all rows, each held out once.
    accuracy_ci95 : (float, float)
        Interval that contains the true accuracy with 95 % confidence.
    step : float or None
        Difference from the accuracy of the point before; None for the first point.
    step_ci95 : (float, float) or None
        Interval of that difference, which is paired: both points score the same rows.
    """

    rows_per_class: float
    accuracy: float
    accuracy_ci95: tuple[float, float]
    step: float | None = None
    step_ci95: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """A learning curve, and what its last point stands beside.

    Attributes
    ----------
    points : tuple of CurvePoint
        Points by their number of rows, ascending; at least one.
    majority_accuracy : float
        Share of the rows that are of the most frequent class: the accuracy of a head that always
        says this class.
    balanced_ci95 : (float, float)
        Interval of the balanced accuracy of the last point.
    n_classes : int
        Number of classes. One over it is the balanced accuracy of chance.
    n_rows : int
        Number of rows that each point scores.
    n_single_classes, n_single_rows : int
        Number of classes that cannot be held out, because all of their rows are one unit, and of
        these rows: they count as wrong, whatever the head has learnt.

    See Also
    --------
    featx.measure_learning_curve : Measures such a curve.
    featx.plot_learning_curve : Draws one.
    """

    points: tuple[CurvePoint, ...]
    majority_accuracy: float
    balanced_ci95: tuple[float, float]
    n_classes: int
    n_rows: int
    n_single_classes: int = 0
    n_single_rows: int = 0

    @property
    def is_chance(self) -> bool:
        """Whether the head has learnt nothing: it is not above chance, and nowhere near the best.

        Neither accuracy nor balanced accuracy can be told from chance, and the interval of one of
        them ends below half of the way from chance to what a perfect head would reach. Of too few
        rows that can be held out, the interval holds a good head, too.
        """
        plain = self.points[-1].accuracy_ci95
        best = 1 - self.n_single_rows / self.n_rows, 1 - self.n_single_classes / self.n_classes
        chance = self.majority_accuracy, 1 / self.n_classes
        measured = [*zip((plain, self.balanced_ci95), chance, best, strict=True)]
        return all(low <= guess for (low, _), guess, _ in measured) and any(
            high < (guess + most) / 2 and guess < most for (_, high), guess, most in measured
        )

    @property
    def is_sure(self) -> bool:
        """Whether the accuracy is above the majority's share by twice what its interval reaches.

        A promise needs more than an interval of 95 %: of 40 curves of random labels, one lies
        wholly above chance.
        """
        last = self.points[-1]
        return last.accuracy - CLEARANCE * (last.accuracy - last.accuracy_ci95[0]) > (
            self.majority_accuracy
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, `is_chance` and `is_sure` as plain values, for JSON."""
        return asdict(self) | {"is_chance": self.is_chance, "is_sure": self.is_sure}


def measure_learning_curve(
    cache: CacheLike,
    *,
    embedding: str | None = None,
    split: SplitChoice | None = None,
    seed: int = 0,
) -> LearningCurve:
    """Measure the held-out accuracy of heads by the number of rows that they are fitted on.

    The rows are dealt to five folds. For each fold, heads are fitted on an eighth, a quarter, half
    and all of the other folds, and score its rows. Rows of one unit (a group, or copies of one
    image) stay together.

    Parameters
    ----------
    cache : path, sequence of paths or Cache
        Cache with labels, or several caches as `featx.open_cache` takes them.
    embedding : str, optional
        Name of the embedding, if the cache has several.
    split : {"train", "val", "test", "all"}, optional
        Split of the rows. Default: ``"train"``, or all rows if the cache has no splits.
    seed : int
        Seed of the folds, of the order of the rows, and of the random part of more than 10,000
        rows.

    Returns
    -------
    LearningCurve
        The curve; at least one point.

    Warns
    -----
    FeatxWarning
        If rows are left out, or if classes cannot be held out.

    Raises
    ------
    CacheError
        If the cache cannot be read, or has no such split or embedding.
    HeadError
        If there are too few labelled rows, or too few that the network has not learnt from; or if
        the seed is out of its range.

    See Also
    --------
    featx.plot_learning_curve : Draw the curve.
    featx.advise : Whether fine-tuning will pay, from this curve.

    Examples
    --------
    >>> curve = featx.measure_learning_curve("photos.h5")
    >>> [(point.rows_per_class, point.accuracy) for point in curve.points], curve.n_rows
    ([(1.0, 0.875), (1.5, 1.0), (3.0, 1.0)], 8)
    """
    with opened_cache(cache) as opened:
        rows = read_curve_rows(opened, embedding=embedding, split=split, seed=seed)
    if rows.are_learnt:
        raise HeadError(
            subject=rows.subject,
            expected="labelled rows that the network has not learnt from",
            got=f"{rows.n_learnt:,} of {rows.n_labelled:,} that it has learnt from, and too few "
            "others",
            remedy="Measure the curve on the embeddings of a network that was not tuned on them.",
        )
    told = [f"{rows.n_learnt:,} that the network has learnt from"] * bool(rows.n_learnt)
    told += [f"{rows.n_fresh - len(rows.y):,} at random"] * (rows.n_fresh > len(rows.y))
    if told:
        note(f"{rows.subject}: of {rows.n_labelled:,} rows, {' and '.join(told)} were left out")
    if rows.single:
        note(
            f"{rows.subject}: {len(rows.single)} of {len(rows.classes)} classes cannot be held "
            f"out, and count as wrong: all rows of {join_some(rows.single, N_SHOWN)} are one unit"
        )
    return draw_curve(rows.X, rows.y, rows.units, seed=seed, subject=rows.subject)


def draw_curve(
    X: Array, y: Array, units: IntArray | None, *, seed: int, subject: str
) -> LearningCurve:
    """Fit heads on a growing part of the rows of each fold, and score them on the rest.

    Parameters
    ----------
    X : ndarray
        Embeddings ``(n_rows, dim)``.
    y : ndarray of str
        Labels ``(n_rows,)``.
    units : ndarray of int64 or None
        Units ``(n_rows,)``: rows of one unit stay together; None if each row is alone.
    seed : int
        Seed of the folds and of the order of the rows.
    subject : str
        Name of the cache and the split, for the error.

    Returns
    -------
    LearningCurve
        At least one point.

    Raises
    ------
    HeadError
        If there are fewer than two classes, or too few rows or groups of them.
    """
    check_several_units(y, units, subject=subject)
    codes = np.unique(y, return_inverse=True)[1]
    single = list_single_classes(y, units)
    counts = np.bincount(codes)
    folds = build_folds(codes, units, n_folds=N_FOLDS, seed=seed) if len(counts) > 1 else []
    # A row whose class lies in its fold alone counts as wrong; but some must be learnable.
    if not any(np.isin(codes[test], codes[train]).any() for train, test in folds):
        raise HeadError(
            subject=subject,
            expected="labelled rows of at least 2 classes for a learning curve, some of each class "
            "to learn from and others to score",
            got=f"{len(counts)} classes of at least {min(counts)} rows"
            if len(counts)
            else "no labelled row with a vector",
            remedy="Label more rows.",
        )
    orders = [
        order_rows(codes[train], None if units is None else units[train], seed=seed)
        for train, _ in folds
    ]
    n_fitted: list[list[int]] = []
    right: list[BoolArray] = []  # by share, descending
    heads = [HeadClassifier(cv=N_FOLDS, random_state=seed, progress=False) for _ in folds]
    with open_bar("drawing the learning curve", len(SHARES) * len(folds), unit="fits") as bar:
        for share in sorted(SHARES, reverse=True):
            parts = [
                train[order[: count_part(share, order, None if units is None else units[train])]]
                for (train, _), order in zip(folds, orders, strict=True)
            ]
            if right and any(
                len(np.unique(codes[part])) < len(np.unique(codes[train]))
                for part, (train, _) in zip(parts, folds, strict=True)
            ):
                break  # a smaller part lacks a class and would say nothing
            if n_fitted and [len(part) for part in parts] == n_fitted[-1]:
                break  # so few rows have no smaller part
            scored = np.zeros(len(y), bool)
            for head, part, (_, test) in zip(heads, parts, folds, strict=True):
                scored[test] = (
                    _predict(head, X, codes, fold=(part, test), units=units) == codes[test]
                )
                bar.update()
            n_fitted.append([len(part) for part in parts])
            right.append(scored)
    sizes = [sum(n) / len(n) / len(counts) for n in n_fitted]
    return LearningCurve(
        points=tuple(
            _build_point(size, now, before, units=units, n_folds=len(folds), n_dims=X.shape[1])
            for size, now, before in zip(
                sizes[::-1], right[::-1], [None, *right[:0:-1]], strict=True
            )
        ),
        majority_accuracy=float(counts.max() / len(y)),
        balanced_ci95=estimate_balanced_interval(
            right[0], codes, units, n_folds=len(folds), n_dims=X.shape[1]
        ),
        n_classes=len(counts),
        n_rows=len(y),
        n_single_classes=len(single),
        n_single_rows=int(np.isin(y, single).sum()),
    )


def order_rows(codes: IntArray, units: IntArray | None, *, seed: int) -> IntArray:
    """Put rows into an order of which each beginning is stratified and holds whole units.

    Half of the rows of units that hold two copies of a file would be most of the files.

    Parameters
    ----------
    codes : ndarray of int64
        ``(n_rows,)``, class codes.
    units : ndarray of int64 or None
        ``(n_rows,)``, the unit of each row; None if each row is alone.
    seed : int
        Seed of the order.

    Returns
    -------
    ndarray of int64
        ``(n_rows,)``, indices of the rows.

    Examples
    --------
    >>> codes, units = np.array([0, 0, 1, 1, 1, 1]), np.array([0, 1, 2, 2, 3, 3])
    >>> order = order_rows(codes, units, seed=0)
    >>> sorted(codes[order[:3]].tolist())
    [0, 1, 1]
    """
    numbers = np.arange(len(codes)) if units is None else np.unique(units, return_inverse=True)[1]
    rank = np.random.default_rng(seed).permutation(numbers.max() + 1)[numbers]
    share = np.empty(len(codes))  # of its class that lies before and with each row
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        rows = rows[np.argsort(rank[rows], kind="stable")]
        share[rows] = np.arange(1, len(rows) + 1) / len(rows)
    first = np.full(numbers.max() + 1, 2.0)
    np.minimum.at(first, numbers, share)
    return np.lexsort((rank, first[numbers]))


def count_part(share: float, order: IntArray, units: IntArray | None) -> int:
    """Count the rows of a part that holds at least a share of the rows, and whole units.

    Parameters
    ----------
    share : float
        Share of the rows, above 0 and up to 1.
    order : ndarray of int64
        ``(n_rows,)``, as `order_rows` returns it.
    units : ndarray of int64 or None
        ``(n_rows,)``, the unit of each row.
    """
    n_rows = min(len(order), max(2, round(share * len(order))))
    if units is None:
        return n_rows
    ordered = units[order]
    return n_rows + int(np.argmin(np.append(ordered[n_rows:] == ordered[n_rows - 1], False)))


def _predict(
    head: HeadClassifier, X: Array, codes: IntArray, *, fold: Fold, units: IntArray | None
) -> IntArray:
    """Predict the test rows of a fold; of one class, there is nothing to fit."""
    part, test = fold
    classes = np.unique(codes[part])
    if len(classes) == 1:
        return np.full(len(test), classes[0])
    head.fit(X[part], codes[part], None if units is None else units[part])
    # All smaller parts use the C of all rows, because the search takes most of the time.
    head.set_params(C=head.C_)
    return np.asarray(head.predict(X[test]))


def _build_point(
    per_class: float,
    right: BoolArray,
    before: BoolArray | None,
    *,
    units: IntArray | None,
    n_folds: int,
    n_dims: int,
) -> CurvePoint:
    """Build a point of the rows that are predicted correctly there, and at the point before."""
    interval = estimate_interval(right, units, n_folds=n_folds, n_dims=n_dims)
    accuracy = float(right.mean())
    if before is None:
        return CurvePoint(rows_per_class=per_class, accuracy=accuracy, accuracy_ci95=interval)
    gains = right.astype(np.int64) - before
    return CurvePoint(
        rows_per_class=per_class,
        accuracy=accuracy,
        accuracy_ci95=interval,
        step=float(gains.mean()),
        step_ci95=estimate_gain_interval(gains, units, n_folds=n_folds, n_dims=n_dims),
    )
