"""Choose the strength of the regularisation by cross-validation.

The search tries powers of ten of the strength: a coarse grid first, then values beyond the grid if
its end is best, then values between. `search_exponents` decides which values to try; `FoldFitter`
fits and scores them; `Trials` keeps the results and says which value is best.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import joblib
import numpy as np
from sklearn.metrics import recall_score
from sklearn.preprocessing import StandardScaler

from featx.core.bar import Bar
from featx.core.progress import open_bar
from featx.core.typing import Array, Float32Array, Float64Array, IntArray, Measure
from featx.heads.class_weights import ClassWeight
from featx.heads.kinds import HeadKind, choose_measure
from featx.heads.splits import Fold, Folds

Exponents = tuple[float, ...]
"""Powers of ten of the strength."""

MAX_BEYOND = 2
"""Largest number of values that the search tries beyond the ends of the grid."""

FINE_STEPS = (0.5, 0.25)
"""Steps in powers of ten, each tried on both sides of the best value so far."""

NO_FOLD = -1
"""Class code of a row that no fold tested."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """The result of a search for the strength of the regularisation.

    Attributes
    ----------
    best : float
        The best value; the middle one, if several score the same.
    values : ndarray of float64
        ``(n_values,)``, all values tried, ascending.
    scores : ndarray of float64
        ``(n_values, n_folds)``, the score of each value on each fold.
    held_out : ndarray of int64
        ``(n_rows,)``, the class code of each row as predicted by a head that has not seen the row,
        and whose strength was chosen without the row's fold; -1 for rows that are in no fold.
    """

    best: float
    values: Float64Array
    scores: Float64Array
    held_out: IntArray


def find_best(scores: Array) -> int:
    """Find the value with the best mean score.

    If several values score the same, which is frequent on few rows, the middle one is taken: it is
    the furthest from the values that underfit and from the values that overfit.

    Parameters
    ----------
    scores : ndarray
        ``(n_values, n_folds)``, in the order of the values.

    Returns
    -------
    int
        Index of the value.

    Examples
    --------
    >>> find_best(np.array([[0.5, 0.5], [1.0, 0.8], [0.9, 0.9], [0.8, 1.0]]))
    2
    """
    means = scores.mean(axis=1)
    best = np.flatnonzero(np.isclose(means, means.max(), rtol=0, atol=1e-9))
    return int(best[(len(best) - 1) // 2])


def find_beyond(tried: Iterable[float], best: float) -> Exponents:
    """Find the exponent to try beyond the end of the grid, if the best exponent is at an end.

    Parameters
    ----------
    tried : iterable of float
        Exponents tried so far.
    best : float
        The best one of them.

    Returns
    -------
    tuple of float
        One exponent, a decade beyond the best one; empty if the best one is not at an end.

    Examples
    --------
    >>> find_beyond((-2.0, -1.0, 0.0), best=0.0)
    (1.0,)
    >>> find_beyond((-2.0, -1.0, 0.0), best=-1.0)
    ()
    """
    tried = tuple(tried)
    if best == min(tried):
        return (best - 1,)
    return (best + 1,) if best == max(tried) else ()


def search_exponents(grid: Exponents, evaluate: Callable[[Exponents], float]) -> None:
    """Try a grid of exponents, then others near the best: at most ``len(grid) + 6``.

    Parameters
    ----------
    grid : tuple of float
        Exponents to try first, ascending, a decade apart.
    evaluate : callable
        Function that tries the exponents that it is given, and returns the best one of all so far.
    """
    tried = list(grid)
    best = evaluate(grid)
    for _ in range(MAX_BEYOND):
        if beyond := find_beyond(tried, best):
            tried.extend(beyond)
            best = evaluate(beyond)
    for step in FINE_STEPS:
        best = evaluate((best - step, best + step))


@dataclass(kw_only=True)
class Trials:
    """The exponents tried so far, with their scores and predictions on each fold.

    Attributes
    ----------
    folds : list of (ndarray, ndarray)
        Rows of the training part and of the test part of each fold.
    n_rows : int
        Number of rows of the data.
    scores : dict of float to list of float
        Scores of each exponent, one per fold.
    predicted : dict of float to ndarray
        Class codes ``(n_rows,)`` that each exponent predicted.
    """

    folds: Folds
    n_rows: int
    scores: dict[float, list[float]] = field(default_factory=dict)
    predicted: dict[float, IntArray] = field(default_factory=dict)

    def add(
        self, exponent: float, scores: Sequence[float], predictions: Sequence[IntArray]
    ) -> None:
        """Keep the scores and predictions of one exponent.

        Parameters
        ----------
        exponent : float
            The exponent tried.
        scores : sequence of float
            One score per fold.
        predictions : sequence of ndarray
            Class codes of the test rows of each fold.
        """
        self.scores[exponent] = list(scores)
        self.predicted[exponent] = np.full(self.n_rows, NO_FOLD)
        for (_, test), codes in zip(self.folds, predictions, strict=True):
            self.predicted[exponent][test] = codes

    @property
    def best(self) -> float:
        """The best exponent so far."""
        exponents, scores = self._list_scores()
        return float(exponents[find_best(scores)])

    def conclude(self) -> Search:
        """Choose the best value on all folds, and for each fold the best one on the others."""
        exponents, scores = self._list_scores()
        held_out = np.full(self.n_rows, NO_FOLD)
        for number, (_, test) in enumerate(self.folds):
            # With a single fold, there are no other folds.
            others = np.delete(scores, number, axis=1) if len(self.folds) > 1 else scores
            held_out[test] = self.predicted[exponents[find_best(others)]][test]
        values = np.array([10**exponent for exponent in exponents])
        return Search(
            best=float(values[find_best(scores)]), values=values, scores=scores, held_out=held_out
        )

    def _list_scores(self) -> tuple[list[float], Float64Array]:
        """Return exponents, ascending, and scores ``(n_values, n_folds)``."""
        exponents = sorted(self.scores)
        return exponents, np.array([self.scores[exponent] for exponent in exponents])


def score_codes(y: IntArray, predicted: IntArray, *, measure: Measure) -> float:
    """Score predicted class codes by accuracy, or by mean recall of the classes in `y`.

    Parameters
    ----------
    y, predicted : ndarray of int64
        ``(n_rows,)``, true and predicted class codes.
    measure : {"accuracy", "balanced_accuracy"}
        The score.
    """
    if measure == "balanced_accuracy":
        return float(recall_score(y, predicted, labels=np.unique(y), average="macro"))
    return float(np.mean(y == predicted))


class FoldFitter:
    """Fits heads on the training part of each fold, and scores them on the test part.

    Parameters
    ----------
    X : ndarray of float32 or float64
        ``(n_rows, dim)``.
    y : ndarray of int64
        ``(n_rows,)``, class codes.
    folds : list of (ndarray, ndarray)
        Rows of the training part and of the test part of each fold.
    kind : HeadKind
        Kind of the heads.
    class_weight : None, "balanced" or dict
        Weights of the class codes; if given, scores are balanced accuracies.
    """

    def __init__(
        self,
        X: Float32Array | Float64Array,
        y: IntArray,
        folds: Folds,
        *,
        kind: HeadKind,
        class_weight: ClassWeight,
    ) -> None:
        self.X, self.y, self.kind = X, y, kind
        self.measure = choose_measure(class_weight)
        self.trials = Trials(folds=folds, n_rows=len(y))
        # One classifier per fold: a warm start goes on from the last fit of the same fold.
        self.classifiers = [kind.build(kind.default_strength, class_weight) for _ in folds]
        if kind.warm_starts:
            for classifier in self.classifiers:
                classifier.set_params(warm_start=True)
        self._is_ended = Event()

    def evaluate(self, exponents: Exponents, *, bar: Bar) -> float:
        """Try exponents on each fold, and return the best one of all so far.

        Parameters
        ----------
        exponents : tuple of float
            Exponents to try, in this order.
        bar : Bar
            Progress bar, which counts fits.
        """
        folds = self.trials.folds
        fit = functools.partial(self._fit_fold, exponents, bar)
        pool = ThreadPoolExecutor(min(joblib.cpu_count(), len(folds)))
        try:
            by_fold = list(pool.map(fit, folds, self.classifiers))
        finally:  # a caller who is interrupted does not wait for the fits that are going on
            self._is_ended.set()
            pool.shutdown(wait=False, cancel_futures=True)
        self._is_ended.clear()
        for exponent, predictions in zip(exponents, zip(*by_fold, strict=True), strict=True):
            scores = [
                score_codes(self.y[test], codes, measure=self.measure)
                for (_, test), codes in zip(folds, predictions, strict=True)
            ]
            self.trials.add(exponent, scores, predictions)
        return self.trials.best

    def _fit_fold(
        self, exponents: Exponents, bar: Bar, fold: Fold, classifier: Any
    ) -> list[IntArray]:
        """Return the class codes of a fold's test rows as predicted with each exponent."""
        train, test = fold
        if len(np.unique(self.y[train])) == 1:  # the only class there is
            bar.update(len(exponents))
            return [np.full(len(test), self.y[train][0])] * len(exponents)
        scaler = StandardScaler().fit(self.X[train])
        X_train, X_test = scaler.transform(self.X[train]), scaler.transform(self.X[test])
        predictions = []
        for exponent in exponents:
            if self._is_ended.is_set():
                break
            classifier.set_params(**{self.kind.strength_name: 10**exponent})
            classifier.fit(X_train, self.y[train])
            predictions.append(classifier.predict(X_test))
            bar.update()
        return predictions


def search_strength(
    X: Float32Array | Float64Array,
    y: IntArray,
    folds: Folds,
    *,
    kind: HeadKind,
    class_weight: ClassWeight,
    progress: bool | None = False,
) -> Search:
    """Choose the strength of the regularisation.

    The values of the kind's grid are tried in ascending order, so that a kind with warm starts
    begins each fit at the result of the fit before. If an end of the grid is best, up to two more
    values follow beyond it; then half and quarter decades around the best value. At most thirteen
    values are tried. A grid of the same resolution would have forty-five.

    Parameters
    ----------
    X : ndarray of float32 or float64
        ``(n_rows, dim)``.
    y : ndarray of int64
        ``(n_rows,)``, class codes.
    folds : list of (ndarray, ndarray)
        Rows of the training part and of the test part of each fold.
    kind : HeadKind
        Kind of the head.
    class_weight : None, "balanced" or dict
        Weights of the class codes. If weights are given, scores are balanced accuracies; otherwise,
        scores are accuracies.
    progress : bool or None
        Whether to show progress on standard error; None shows bars on a terminal and in a
        notebook, and elsewhere a line now and then.

    Returns
    -------
    Search
        The best value, and all values tried with their scores.
    """
    fitter = FoldFitter(X, y, folds, kind=kind, class_weight=class_weight)
    n_fits = (len(kind.grid) + MAX_BEYOND + 2 * len(FINE_STEPS)) * len(folds)  # at most
    with open_bar(f"choosing {kind.strength_name}", n_fits, unit="fits", show=progress) as bar:
        search_exponents(kind.grid, functools.partial(fitter.evaluate, bar=bar))
    return fitter.trials.conclude()
