"""A head as a scikit-learn estimator: it chooses its own C."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from threadpoolctl import threadpool_limits

from featx.heads.kinds import build_classifier
from featx.heads.search import DEFAULT_C, search_C
from featx.heads.splits import build_folds

Array = np.ndarray[Any, Any]


def _has_probabilities(head: HeadClassifier) -> bool:
    return head.kind == "logreg"


class HeadClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Standardise, then classify linearly, with C chosen by cross-validation.

    Parameters
    ----------
    kind : {"logreg", "linear-svm"}
        Logistic regression (with probabilities) or a linear support vector machine (without).
    C : float or "auto"
        Inverse strength of the regularisation; ``"auto"`` searches it, see
        `featx.heads.search.search_C`.
    cv : int
        Folds of the search, stratified; fewer where rows are few.
    class_weight : None, "balanced" or dict
        As in scikit-learn. The search then goes by balanced accuracy.
    random_state : int
        Seed of the folds.
    progress : bool or None
        Show a progress bar on standard error; None: where that is a terminal.

    Attributes
    ----------
    classes_ : ndarray
        Class labels, sorted.
    C_ : float
        The one in use.
    search_ : Search or None
        What the search found; None where C was given, or rows were too few.
    pipeline_ : Pipeline
        ``StandardScaler`` and the classifier, fitted on all rows.
    n_features_in_ : int
        Dimension of the embeddings.
    """

    def __init__(
        self,
        kind: str = "logreg",
        *,
        C: float | str = "auto",
        cv: int = 5,
        class_weight: Any = None,
        random_state: int = 0,
        progress: bool | None = False,
    ) -> None:
        self.kind = kind
        self.C = C
        self.cv = cv
        self.class_weight = class_weight
        self.random_state = random_state
        self.progress = progress

    def fit(self, X: Array, y: Array, groups: Array | None = None) -> HeadClassifier:
        """Fit on embeddings.

        Parameters
        ----------
        X : ndarray
            ``(n_rows, dim)``; worked on in float32.
        y : ndarray
            ``(n_rows,)``, class labels.
        groups : ndarray, optional
            ``(n_rows,)``; rows of one group share a fold of the search.

        Returns
        -------
        HeadClassifier
            Itself.

        Raises
        ------
        ValueError
            If there are fewer than two classes, or values are not finite.
        """
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y must hold at least 2 classes, got one class: {self.classes_[0]!r}."
            )
        # Folds run in threads of their own. Threads within a matrix product wait for each other at
        # every step: with another program busy, a fit of 4000 x 1280 took 8 times longer on two.
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._fit(X, y, codes, groups)
        return self

    def _fit(self, X: Array, y: Array, codes: Array, groups: Array | None) -> None:
        """Choose C on class codes, then fit on the labels themselves."""
        self.search_ = None
        self.C_ = DEFAULT_C
        if self.C != "auto":
            self.C_ = float(self.C)
        elif folds := build_folds(codes, groups, n_folds=self.cv, seed=self.random_state):
            weight = self.class_weight
            if isinstance(weight, dict):
                weight = {code: weight.get(c, 1.0) for code, c in enumerate(self.classes_)}
            self.search_ = search_C(
                X,
                codes,
                folds,
                kind=self.kind,
                class_weight=weight,
                progress=self.progress,
            )
            self.C_ = self.search_.C
        classifier = build_classifier(self.kind, C=self.C_, class_weight=self.class_weight)
        self.pipeline_ = Pipeline([("scale", StandardScaler()), ("classify", classifier)])
        self.pipeline_.fit(X, y)

    def predict(self, X: Array) -> Array:
        """Predict a class label for each row: ``(n_rows,)``."""
        X = self._check(X)
        return np.asarray(self.pipeline_.predict(X))

    def decision_function(self, X: Array) -> Array:
        """Return each class's score: ``(n_rows, n_classes)``, or ``(n_rows,)`` for two classes."""
        X = self._check(X)
        return np.asarray(self.pipeline_.decision_function(X))

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Array) -> Array:
        """Return each class's probability: ``(n_rows, n_classes)``; logreg only."""
        X = self._check(X)
        return np.asarray(self.pipeline_.predict_proba(X))

    def _check(self, X: Array) -> Array:
        check_is_fitted(self)
        return np.asarray(validate_data(self, X, dtype=np.float32, reset=False))
