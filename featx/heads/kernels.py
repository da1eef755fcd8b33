"""Support vector machines with a radial kernel: exact up to 10,000 rows, approximate beyond."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from featx.core.typing import Array, Float64Array, IntArray
from featx.heads.blocks import count_threads
from featx.heads.calibration import score_classes
from featx.heads.class_weights import ClassWeight
from featx.heads.coordinates import Coordinates
from featx.heads.learners import Learner, LinearLearner, Task

MAX_EXACT = 10_000
"""Largest number of rows whose kernel is computed for all pairs: 800 MB."""

N_LANDMARKS = 2000
"""Number of rows that stand for all rows beyond (Williams and Seeger 2001)."""

CACHE_MB = 500

MAX_ITER = 200_000
"""Largest number of iterations of libsvm, so that it always returns."""


def find_gamma(task: Task) -> float:
    """Return the width of the kernel, 1 / (dim × variance): scikit-learn's ``"scale"``."""
    dim = task.X.shape[1]
    variance = task.coordinates.spread[1:].sum() / dim
    return float(1 / (dim * max(variance, 1e-12)))


def build_rbf_svm(strength: float, class_weight: ClassWeight, task: Task) -> Any:
    """Build an unfitted classifier: `SVC`, or `Nystroem` and `LinearSVC` beyond `MAX_EXACT` rows.

    Parameters
    ----------
    strength : float
        C.
    class_weight : None, "balanced" or dict
        Weights of the classes by label.
    task : Task
        Rows to fit on.
    """
    from sklearn.pipeline import Pipeline
    from sklearn.svm import SVC, LinearSVC

    if len(task.codes) > MAX_EXACT:
        classifier = LinearSVC(C=strength, class_weight=class_weight, dual=False)
        return Pipeline([("map", build_map(task)), ("classify", classifier)])
    return SVC(
        C=strength,
        gamma=find_gamma(task),
        class_weight=class_weight,
        cache_size=CACHE_MB,
        max_iter=MAX_ITER,
        decision_function_shape="ovo",  # of "ovr", scores are votes, whose softmax means little
    )


def build_map(task: Task) -> Any:
    """Build an unfitted `Nystroem`, whose features stand for the kernel of many rows."""
    from sklearn.kernel_approximation import Nystroem

    return Nystroem(gamma=find_gamma(task), n_components=N_LANDMARKS, random_state=0)


def map_task(task: Task, scaled: Array) -> tuple[Any, Task]:
    """Fit a map on scaled rows, and make a task of its features.

    Parameters
    ----------
    task : Task
        Rows to fit on.
    scaled : ndarray
        ``(n_rows, dim)``, the same rows, scaled; or rotated as well, which no distance shows.

    Returns
    -------
    map : Nystroem
        The fitted map.
    task : Task
        The task whose rows are ``(n_rows, N_LANDMARKS)``.
    """
    fitted = build_map(task).fit(scaled)
    features = np.asarray(fitted.transform(scaled), np.float32)
    mean = features.mean(axis=0, dtype=np.float64)
    coordinates = Coordinates.find(features, mean, np.ones_like(mean))
    return fitted, replace(task, X=features, coordinates=coordinates)


def learn_rbf_svm(task: Task) -> Learner:
    """Return the learner of a search, exact or approximate by the number of rows."""
    if len(task.codes) <= MAX_EXACT:
        return KernelLearner(task)
    return LinearLearner(map_task(task, task.coordinates.rows[:, 1:])[1], "squared-hinge")


class KernelLearner(Learner):
    """Support vector machines on one kernel matrix of all rows; see `Learner`."""

    def __init__(self, task: Task) -> None:
        from sklearn.metrics.pairwise import rbf_kernel

        self.task = task
        rows = task.coordinates.rows.astype(np.float64)  # its first column is the same for all rows
        self.kernel = rbf_kernel(rows, gamma=find_gamma(task))

    def score(self, parts: IntArray, strengths: Float64Array) -> list[Array]:
        """Score parts; see `Learner.score`."""
        pool = ThreadPoolExecutor(min(count_threads(), len(parts)))
        try:
            return list(pool.map(self._score_part, parts.tolist(), strengths.tolist()))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _score_part(self, part: int, strength: float) -> Array:
        from sklearn.svm import SVC

        train, test = self.task.parts[part]
        machine = SVC(
            C=strength,
            kernel="precomputed",
            class_weight=self.task.restrict_weights(train),
            cache_size=CACHE_MB,
            max_iter=MAX_ITER,
            decision_function_shape="ovo",
        ).fit(self.kernel[np.ix_(train, train)], self.task.codes[train])
        scores = np.full((len(test), self.task.n_classes), -1e3, np.float32)
        scores[:, machine.classes_] = score_classes(machine, self.kernel[np.ix_(test, train)])
        lacking = np.setdiff1d(np.arange(self.task.n_classes), machine.classes_)
        scores[:, lacking] = scores[:, machine.classes_].min(axis=1, keepdims=True) - 1
        return scores
