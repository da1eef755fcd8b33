"""Probable label errors, by probabilities of heads that have not seen the row."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from featx.analytics.alike import bound_alike
from featx.analytics.noise import fit_noise
from featx.analytics.tails import bound_tail
from featx.core.typing import Array, BoolArray, Float64Array, IntArray, Scaling, StrArray
from featx.heads.classifier import HeadClassifier
from featx.heads.kinds import MAX_COMPARED_KERNEL
from featx.heads.units import count_units, renumber_units

MIN_UNITS = 5
"""Smallest number of units of a class: of fewer, each row is unlike the rest of its class."""

MIN_ROWS = 100
"""Smallest number of rows that can be judged: of 60, hard images alone gave alarms."""

LEAST_SHARE = 0.6
"""Expected share of wrong labels among those listed: the list is as long as it can be with it."""

LEAST_SCORE = 0.05
"""Smallest probability of a label in the ranking, which goes on behind the list."""

MAX_KERNEL_CLASSES = 100
"""Largest number of classes with which a kernel is one of the heads: it compares each two of them,
and 300 classes of 1,800 rows take 80 s."""

LEAST_PROBABILITY = 1e-6
"""A head's probability is taken to be at least this: no head is as sure as its tails say."""

Z95 = 1.96


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelErrors:
    """Labels that are probably wrong, most certain first.

    Attributes
    ----------
    rows : ndarray of int64
        ``(n,)``, rows of the cache. The first `n_listed` are worth a look; the ranking goes on down
        to a probability of 5 %.
    labels, suggested : ndarray of str
        ``(n,)``, label of each row, and the class that the image looks like.
    scores : ndarray of float64
        ``(n,)``, probability that the label is wrong.
    n_listed : int
        Number of rows to look at: as many as there can be if 3 of 5 are wrong, by expectation.
    n_wrong : float
        Expected number of wrong labels among them.
    n_wrong_ci95 : (int, int)
        95 % interval of that number.
    rate, rate_ci95 : float, (float, float)
        Share of wrong labels among all rows that were judged, if they are any class alike, and its
        95 % interval, whose upper end holds if they are classes that look alike, too.
    judged : ndarray of int64
        ``(n_judged,)``, these rows.
    classes : ndarray of str
        ``(n_classes,)``, labels, sorted.
    probabilities : ndarray of float64
        ``(n_judged, n_classes)``, held-out probabilities of these rows, as cleanlab takes them.
    """

    rows: IntArray
    labels: StrArray
    suggested: StrArray
    scores: Float64Array
    n_listed: int
    n_wrong: float
    n_wrong_ci95: tuple[int, int]
    rate: float
    rate_ci95: tuple[float, float]
    judged: IntArray
    classes: StrArray
    probabilities: Float64Array

    @property
    def n_judged(self) -> int:
        """Number of rows that were judged."""
        return len(self.judged)

    @property
    def is_evident(self) -> bool:
        """Whether there are wrong labels beyond doubt. If not, none is listed."""
        return self.n_listed > 0

    @property
    def n_likely(self) -> int:
        """Number of labels that are more likely wrong than right."""
        return int((self.scores > 0.5).sum())

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers, without the rows, as what JSON can hold."""
        return {
            "n_judged": self.n_judged,
            "n_listed": self.n_listed,
            "n_likely": self.n_likely,
            "n_wrong": round(self.n_wrong, 1),
            "n_wrong_ci95": list(self.n_wrong_ci95),
            "rate": self.rate,
            "rate_ci95": list(self.rate_ci95),
            "is_evident": self.is_evident,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledRows:
    """Rows whose labels are judged.

    Attributes
    ----------
    numbers : ndarray of int64
        ``(n_rows,)``, rows of the cache.
    X : ndarray
        ``(n_rows, dim)``, embeddings.
    labels : ndarray of str
        ``(n_rows,)``.
    units : ndarray of int64 or None
        ``(n_rows,)``, the unit of each row; None if each is alone.
    learnt : ndarray of bool
        ``(n_rows,)``, True for rows that the network has learnt from, with their labels.
    """

    numbers: IntArray
    X: Array
    labels: StrArray
    units: IntArray | None
    learnt: BoolArray

    def take(self, chosen: BoolArray) -> LabelledRows:
        """Return some of the rows."""
        units = None if self.units is None else renumber_units(self.units[chosen])
        return LabelledRows(
            numbers=self.numbers[chosen],
            X=self.X[chosen],
            labels=self.labels[chosen],
            units=units,
            learnt=self.learnt[chosen],
        )


def find_label_errors(rows: LabelledRows, *, progress: bool | None = False) -> LabelErrors | str:
    """Find labels that are probably wrong.

    Two heads of different kinds are fitted without each fold, their strengths chosen without it,
    and their probabilities averaged by their logarithms. How many labels are wrong follows from the
    rows of which the heads are most sure (see `featx.analytics.noise`) and, where classes are far
    apart, from the tails of their margins (see `featx.analytics.tails`). How many there can be at
    most takes into account that errors may go to classes that look alike (see
    `featx.analytics.alike`). Rows of one unit are never parted.

    Parameters
    ----------
    rows : LabelledRows
        Rows to judge.
    progress : bool or None
        Whether to show progress on standard error; None shows bars on a terminal and in a
        notebook, and elsewhere a line now and then.

    Returns
    -------
    LabelErrors or str
        The findings; or a text that says why nothing can be told.
    """
    rows = rows.take(_find_frequent(rows))
    classes, codes = np.unique(rows.labels.astype(str), return_inverse=True)
    if len(classes) < 2:
        return f"fewer than 2 classes have images of {MIN_UNITS} units"
    if len(codes) < MIN_ROWS:
        return f"{len(codes)} labelled rows are too few; {MIN_ROWS} can be judged"
    found = _predict_held_out(rows, codes, progress=progress)
    if found is None:
        return "too few rows are new to the network"
    is_judged = np.isfinite(found).all(axis=1)
    if is_judged.sum() < MIN_ROWS:
        return f"{int(is_judged.sum())} rows are too few; {MIN_ROWS} can be judged"
    codes, found = codes[is_judged], found[is_judged]
    units = None if rows.units is None else rows.units[is_judged]
    weights = _weigh(units, len(codes))
    noise, tail = fit_noise(found, codes, weights), bound_tail(found, codes, weights)
    scores, low, high = np.zeros((3, len(codes)))
    if noise.is_evident:
        scores, low, high = noise.scores, noise.low, noise.high
    elif tail.is_evident:  # a bound: beside the probabilities of the noise, it would promise more
        scores = low = high = tail.scores
    ranked = np.argsort(-scores, kind="stable")
    ranked = ranked[scores[ranked] >= LEAST_SCORE]
    n_listed = count_listed(scores[ranked])
    listed = ranked[:n_listed]
    others = found[ranked].copy()
    others[np.arange(len(ranked)), codes[ranked]] = -1
    numbers, labels = rows.numbers[is_judged], classes.astype(object)
    n_wrong, bounds = float(scores[listed].sum()), _bound_sum(low[listed], high[listed])
    return LabelErrors(
        rows=numbers[ranked],
        labels=labels[codes[ranked]],
        suggested=labels[others.argmax(axis=1)],
        scores=scores[ranked],
        n_listed=n_listed,
        n_wrong=n_wrong,
        n_wrong_ci95=bounds,
        rate=max(noise.rate, n_wrong / len(codes)),
        rate_ci95=(
            max(noise.rate_ci95[0], bounds[0] / len(codes)),
            max(noise.rate_ci95[1], bounds[1] / len(codes), bound_alike(found, codes, weights)),
        ),
        judged=numbers,
        classes=labels,
        probabilities=found,
    )


def count_listed(scores: Float64Array) -> int:
    """Count the labels to list: as many as there can be if 3 of 5 are wrong, by expectation.

    Parameters
    ----------
    scores : ndarray of float64
        ``(n_rows,)``, descending: probabilities that the labels are wrong.

    Examples
    --------
    >>> count_listed(np.array([0.9, 0.3, 0.1]))
    2
    """
    shares = np.cumsum(scores) / np.arange(1, len(scores) + 1)
    return int((shares >= LEAST_SHARE).sum())


def _weigh(units: IntArray | None, n_rows: int) -> Float64Array:
    """Return the weight of each row: those of a unit have 1 together."""
    if units is None:
        return np.ones(n_rows)
    _, numbers, counts = np.unique(units, return_inverse=True, return_counts=True)
    return np.asarray(1 / counts[numbers], np.float64)


def _find_frequent(rows: LabelledRows) -> BoolArray:
    """Mark the rows of classes that have enough units."""
    units = np.arange(len(rows.labels)) if rows.units is None else rows.units
    codes = np.unique(rows.labels.astype(str), return_inverse=True)[1]
    counts = [count_units(units[codes == code]) for code in range(int(codes.max(initial=-1)) + 1)]
    return np.asarray(np.array(counts, np.int64)[codes] >= MIN_UNITS)


def _predict_held_out(
    rows: LabelledRows, codes: IntArray, *, progress: bool | None
) -> Float64Array | None:
    """Predict probabilities by two kinds of heads; None if they cannot be held out."""
    n_classes = int(codes.max()) + 1
    is_small = len(codes) <= MAX_COMPARED_KERNEL and n_classes <= MAX_KERNEL_CLASSES
    kinds: list[tuple[str, Scaling]] = [("logreg", "standard")]
    kinds.append(("rbf-svm", "l2") if is_small else ("lda", "l2"))
    logs = np.zeros((len(codes), n_classes))
    for kind, scaling in kinds:
        head = HeadClassifier(kind, scaling=scaling, progress=progress)
        head.fit(rows.X, codes, rows.units, learnt=rows.learnt)
        if head.search_ is None or not head.is_held_out_:
            return None
        logs += np.log(np.maximum(head.search_.held_out_probabilities, LEAST_PROBABILITY))
    shares = np.exp(logs / len(kinds))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def _bound_sum(low: Float64Array, high: Float64Array) -> tuple[int, int]:
    """Bound the number of wrong labels: by both ends of the rate, and by chance."""
    least = low.sum() - Z95 * math.sqrt((low * (1 - low)).sum())
    most = high.sum() + Z95 * math.sqrt((high * (1 - high)).sum())
    return max(0, math.floor(least)), min(len(low), math.ceil(most))
