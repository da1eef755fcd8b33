"""Heads for several classes per image, or for a number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from featx.core.errors import HeadError
from featx.core.process import single_threaded
from featx.core.records import build_record
from featx.core.typing import Array, Float64Array
from featx.heads.head import Head
from featx.heads.head_file import list_values
from featx.heads.matrix import Matrix
from featx.heads.notebook import Facts, show_interval
from featx.heads.number import NumberScores
from featx.heads.one_vs_rest import build_one_vs_rest
from featx.heads.several import SeveralScores
from featx.heads.targets import Target

TargetScores = SeveralScores | NumberScores
"""Scores of a head for several classes, or for a number."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TargetHead(Head):
    """A head for several classes per image, or for a number.

    Attributes that are not listed here are as of `featx.Head`.

    Attributes
    ----------
    estimator : sklearn.pipeline.Pipeline
        ``StandardScaler``, and ``OneVsRestClassifier`` or ``Ridge``.
    cross_validation : None
        Always None: see `held_out`.
    options : mapping of str to object
        Number of folds, seed, and the ends of the values of C that were tried.
    unknown : UnknownDetector or None
        Detector of images that are like nothing the head was fitted on, by their distance from the
        mean of all rows; None if they do not differ.
    conformal : None
        Always None.
    target : Target
        Target that the head predicts.
    held_out : SeveralScores or NumberScores or None
        Held-out scores on the rows that the head was fitted on, by nested cross-validation; None if
        rows were too few.

    See Also
    --------
    featx.fit_head : Fit a head; its argument `target` makes one of this type.
    featx.evaluate_target : Score a head on a cache.
    """

    target: Target
    held_out: TargetScores | None = field(default=None, repr=False)

    def _list_facts(self) -> Facts:
        """List what the head is and what it was fitted on, for a notebook."""
        facts = [*super()._list_facts(), ("target", ", ".join(self.target.columns))]
        if self.held_out is None:
            return facts
        scores = self.held_out.to_dict()
        names = {"r2": "share of variance explained", "mae": "mean absolute error"}
        names |= {"macro_average_precision": "mean average precision"}
        shown = {name: word for name, word in names.items() if name in scores}
        return [
            *facts,
            ("rows scored", scores["n_rows"]),
            *((f"{word} in folds", show_interval(scores, name)) for name, word in shown.items()),
        ]

    @property
    def classes(self) -> Array:
        """Class names, str ``(n_classes,)``, in the order of probabilities; none of a number."""
        return np.array(self.target.classes, dtype=object)

    def predict(self, X: Array) -> Array:
        """Predict a number, or which classes an image has, for each row of embeddings.

        Parameters
        ----------
        X : ndarray
            ``(n_rows, dim)``, embeddings of the head's fingerprint; several side by side.

        Returns
        -------
        ndarray of float64 or of bool
            ``(n_rows,)``, numbers; or ``(n_rows, n_classes)``, True for each class whose
            probability reaches its threshold.

        Raises
        ------
        HeadError
            If the embeddings do not have the length that the head was fitted on, or the installed
            scikit-learn cannot use the head.
        """
        if self.target.kind == "several":
            return np.asarray(self.predict_proba(X) >= np.array(self.target.thresholds))
        X = self._check(X)
        with self._explain_use():
            return np.asarray(self.estimator.predict(X), np.float64)

    def predict_proba(self, X: Array) -> Float64Array:
        """Return the probability of each class for each row of embeddings.

        Parameters
        ----------
        X : ndarray
            ``(n_rows, dim)``, embeddings of the head's fingerprint; several side by side.

        Returns
        -------
        ndarray of float64
            ``(n_rows, n_classes)``; the classes are independent, so that a row has any sum.

        Raises
        ------
        HeadError
            If the head is one for a number, the embeddings do not have the length that the head was
            fitted on, or the installed scikit-learn cannot use the head.
        """
        if self.target.kind != "several":
            raise self.refuse("probabilities of classes")
        X = self._check(X)
        with self._explain_use():
            return np.asarray(self.estimator.predict_proba(X), np.float64)

    def score_classes(self, X: Array) -> Float64Array:  # noqa: ARG002
        """Refuse to score classes that exclude each other: the head has none.

        Parameters
        ----------
        X : ndarray
            ``(n_rows, dim)``, embeddings.

        Raises
        ------
        HeadError
            In any case.
        """
        raise self.refuse("one class per image")

    def refit(self, X: Array, y: Array) -> Pipeline:
        """Fit the same kind with the same parameters on other rows.

        Parameters
        ----------
        X : ndarray
            ``(n_rows, dim)``, embeddings of the head's fingerprint; several side by side.
        y : ndarray of bool or of float64
            ``(n_rows, n_classes)``, classes of each row; or ``(n_rows,)``, numbers.

        Returns
        -------
        Pipeline
            The new estimator; the head stays as it is.

        Raises
        ------
        HeadError
            If the embeddings do not have the length that the head was fitted on.
        """
        X = self._check(X)
        with single_threaded():
            return clone(self.estimator).fit(X, np.asarray(y, np.float64))

    def refuse(self, expected: str) -> HeadError:
        """Build the error for a head that a function cannot take.

        Parameters
        ----------
        expected : str
            Kind of target that the function takes heads for, such as ``"one class per image"``.
        """
        what = "several classes" if self.target.kind == "several" else "a number"
        return HeadError(
            subject="head",
            expected=f"a head for {expected}",
            got=f"one for {what} ({', '.join(self.target.columns)})",
            remedy="Score it with featx.evaluate_target, or fit another head with featx.fit_head.",
        )

    def _pack(self) -> dict[str, Any]:
        scores = self.held_out
        return {
            "target": self.target.to_dict(),
            "held_out": scores and scores.to_dict(),
            **super()._pack(),
        }


def unpack_target(content: Mapping[str, Any]) -> dict[str, Any]:
    """Build target and held-out scores again from the fields of a file.

    Parameters
    ----------
    content : mapping
        Fields as `TargetHead.save` wrote them.

    Returns
    -------
    dict of str to object
        Fields of a `TargetHead`.

    Raises
    ------
    ValueError, TypeError
        If a field is missing, unknown or of another type, or if fields do not fit each other.
    """
    target: Target = build_record(Target, list_values(content["target"]))
    n_thresholds = len(target.classes) if target.kind == "several" else 0
    if list(target.classes) != content["classes"] or len(target.thresholds) != n_thresholds:
        raise ValueError("a target of other classes")
    if target.kind == "number" and (target.mean is None or target.median is None):
        raise ValueError("a target without its mean")
    kind = SeveralScores if target.kind == "several" else NumberScores
    scores = content["held_out"]
    held_out = None if scores is None else build_record(kind, list_values(scores))
    return {"target": target, "held_out": held_out}


def build_target_estimator(matrix: Matrix, target: Target) -> Pipeline:
    """Build a fitted estimator that predicts what the matrix of a head says.

    Parameters
    ----------
    matrix : Matrix
        Matrix of the head.
    target : Target
        What the head predicts.

    Returns
    -------
    Pipeline
        Steps of the installed scikit-learn.
    """
    dim = matrix.weight.shape[1]
    scaler = StandardScaler(with_mean=False, with_std=False).fit(np.zeros((1, dim)))
    if target.kind == "several":
        return build_one_vs_rest(scaler, matrix.weight, matrix.bias, C=1.0)
    ridge = Ridge()
    ridge.coef_, ridge.intercept_ = matrix.weight[0], float(matrix.bias[0])
    ridge.n_features_in_ = dim
    return make_pipeline(scaler, ridge)
