"""The learner of a kind of head that scikit-learn fits, one part after the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from featx.core.typing import Array, Float64Array, IntArray
from featx.heads.calibration import score_classes
from featx.heads.kinds import HeadKind
from featx.heads.learners import Learner, Task


class PlainLearner(Learner):
    """Fits the classifier of a kind on the scaled rows of each part; see `Learner`.

    Parameters
    ----------
    task : Task
        Rows to learn.
    kind : HeadKind
        Kind of the heads.
    """

    def __init__(self, task: Task, kind: HeadKind) -> None:
        self.task, self.kind = task, kind

    def score(self, parts: IntArray, strengths: Float64Array) -> list[Array]:
        """Score parts; see `Learner.score`."""
        return [
            self._score_part(part, self.kind.round_strength(strength))
            for part, strength in zip(parts.tolist(), strengths.tolist(), strict=True)
        ]

    def _score_part(self, part: int, strength: float) -> Array:
        train, test = self.task.parts[part]
        weights = self.task.restrict_weights(train)
        of_part = replace(self.task, X=self.task.X[train], codes=self.task.codes[train])
        classifier = self.kind.build(strength, weights, of_part)
        classifier.fit(self._scale(train), self.task.codes[train])
        found = score_classes(classifier, self._scale(test))
        scores = np.repeat(found.min(axis=1, keepdims=True) - 1, self.task.n_classes, axis=1)
        scores[:, classifier.classes_] = found
        return scores

    def _scale(self, rows: IntArray) -> Array:
        coordinates = self.task.coordinates
        return np.asarray((self.task.X[rows] - coordinates.mean) / coordinates.scale)
