"""Choose C by cross-validation: a coarse path, then finer steps around the best."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import joblib
import numpy as np
from sklearn.metrics import recall_score
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from featx.heads.kinds import build_classifier
from featx.heads.splits import Folds

Array = np.ndarray[Any, Any]

COARSE_EXPONENTS = {
    "logreg": (-6.0, -5.0, -4.0, -3.0, -2.0, -1.0, 0.0),
    "linear-svm": (-7.0, -6.0, -5.0, -4.0, -3.0, -2.0, -1.0),
}
"""Powers of ten of C tried first. On standardised features of 500 to 4,000 dimensions the best C
lies within; where it lies at an end, the path is continued."""

MAX_LONGER = 2
"""Values by which the path is continued."""

FINE_STEPS = (0.5, 0.25)
"""Steps in powers of ten, each tried on both sides of the best so far."""

DEFAULT_C = 1e-2
"""Taken where rows are too few to cross-validate."""


@dataclass(frozen=True)
class Search:
    """What a search for C found.

    Attributes
    ----------
    C : float
        The best; of equals the middle one.
    values : ndarray
        ``(n_values,)``, every C tried, ascending.
    scores : ndarray
        ``(n_values, n_folds)``, of each C on each fold.
    held_out : ndarray of int
        ``(n_rows,)``, each row's class as predicted by a head that has seen neither the row nor,
        in the choice of its C, the row's fold; -1 for rows in no fold.
    """

    C: float
    values: Array
    scores: Array
    held_out: Array


def search_C(
    X: Array,
    y: Array,
    folds: Folds,
    *,
    kind: str,
    class_weight: Any,
    progress: bool | None = False,
) -> Search:
    """Choose C.

    Seven values a decade apart are tried in ascending order (logistic regression starts each fit
    from the one before); where an end of the path is best, it goes on by up to two; then half and
    quarter decades around the best. At most thirteen values, where a grid of the same resolution
    takes forty-five.

    Parameters
    ----------
    X : ndarray
        ``(n_rows, dim)``.
    y : ndarray of int
        ``(n_rows,)``, class codes.
    folds : list of (train, test)
        Indices.
    kind, class_weight
        As `build_classifier` takes them. Scores are accuracies, or balanced accuracies where
        `class_weight` is set.
    progress : bool or None
        Show a progress bar on standard error; None: where that is a terminal.

    Returns
    -------
    Search
    """
    classifiers = [build_classifier(kind, C=1.0, class_weight=class_weight) for _ in folds]
    if kind == "logreg":
        for classifier in classifiers:
            classifier.set_params(warm_start=True)
    disable = None if progress is None else not progress
    with tqdm(desc="choosing C", total=0, unit=" fits", disable=disable) as bar:
        path = _Path(X, y, folds, classifiers, bar, class_weight is not None)
        path.try_exponents(COARSE_EXPONENTS[kind])
        for _ in range(MAX_LONGER):
            best = path.best_exponent
            if best == min(path.scores):
                path.try_exponents((best - 1,))
            elif best == max(path.scores):
                path.try_exponents((best + 1,))
        for step in FINE_STEPS:
            best = path.best_exponent
            path.try_exponents((best - step, best + step))
    return path.conclude()


@dataclass
class _Path:
    """Values of C tried so far, with their scores and predictions on each fold."""

    X: Array
    y: Array
    folds: Folds
    classifiers: list[Any]
    bar: Any
    balanced: bool
    scores: dict[float, list[float]] = field(default_factory=dict)
    predicted: dict[float, Array] = field(default_factory=dict)

    @property
    def best_exponent(self) -> float:
        """The best value; of equals the middle one."""
        exponents = sorted(self.scores)
        return exponents[_find_best(np.array([self.scores[e] for e in exponents]))]

    def try_exponents(self, exponents: tuple[float, ...]) -> None:
        """Fit and score each value on each fold."""
        for exponent in exponents:
            self.scores[exponent] = []
            self.predicted[exponent] = np.full(len(self.y), -1)
        self.bar.total += len(exponents) * len(self.folds)
        fit = functools.partial(self._fit_fold, exponents)
        with ThreadPoolExecutor(min(joblib.cpu_count(), len(self.folds))) as pool:
            predictions = list(pool.map(fit, self.folds, self.classifiers))
        for (_, test), by_exponent in zip(self.folds, predictions, strict=True):
            for exponent, predicted in zip(exponents, by_exponent, strict=True):
                self.predicted[exponent][test] = predicted
                self.scores[exponent].append(self._score(self.y[test], predicted))

    def _fit_fold(
        self, exponents: tuple[float, ...], fold: tuple[Array, Array], classifier: Any
    ) -> list[Array]:
        """Return the predictions on a fold's test rows, for each value."""
        train, test = fold
        scaler = StandardScaler().fit(self.X[train])
        X_train, X_test = scaler.transform(self.X[train]), scaler.transform(self.X[test])
        predictions = []
        for exponent in exponents:
            classifier.set_params(C=10**exponent)
            classifier.fit(X_train, self.y[train])
            predictions.append(classifier.predict(X_test))
            self.bar.update()
        return predictions

    def _score(self, y: Array, predicted: Array) -> float:
        if self.balanced:
            return float(recall_score(y, predicted, labels=np.unique(y), average="macro"))
        return float(np.mean(y == predicted))

    def conclude(self) -> Search:
        """Choose the best, and for each fold the best by the others alone."""
        exponents = np.array(sorted(self.scores))
        scores = np.array([self.scores[exponent] for exponent in exponents])
        held_out = np.full(len(self.y), -1)
        for number, (_, test) in enumerate(self.folds):
            # With a single fold there are no others.
            others = np.delete(scores, number, axis=1) if len(self.folds) > 1 else scores
            chosen = exponents[_find_best(others)]
            held_out[test] = self.predicted[chosen][test]
        values = np.array([10**exponent for exponent in exponents.tolist()])
        return Search(float(values[_find_best(scores)]), values, scores, held_out)


def _find_best(scores: Array) -> int:
    """Return the best line of ``(n_values, n_folds)``; of equals the middle one.

    On few rows many values score the same: the middle of them is the furthest from both those
    that underfit and those that overfit.
    """
    means = scores.mean(axis=1)
    best = np.flatnonzero(np.isclose(means, means.max(), rtol=0, atol=1e-9))
    return int(best[(len(best) - 1) // 2])
