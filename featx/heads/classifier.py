"""A head as a scikit-learn estimator that chooses its own strength of regularisation."""

from __future__ import annotations

from typing import Literal

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from featx.core.errors import HeadError
from featx.core.process import ignore_warnings, single_threaded
from featx.core.progress import show_progress, stage
from featx.core.typing import Array, BoolArray, Float32Array, IntArray
from featx.heads.class_weights import ClassWeight, check_class_weight, weigh_codes
from featx.heads.kinds import check_strength, get_kind
from featx.heads.search import search_strength
from featx.heads.splits import Folds, build_folds, build_fresh_folds


def _has_probabilities(classifier: HeadClassifier) -> bool:
    return get_kind(classifier.kind).has_probabilities


class HeadClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Standardise embeddings and classify them, with C chosen by cross-validation.

    The estimator that `featx.fit_head` fits, for pipelines and searches of your own.

    Parameters
    ----------
    kind : str
        Kind of the head: ``"logreg"`` for logistic regression, with probabilities, or
        ``"linear-svm"`` for a linear support vector machine, which has no probabilities.
    C : float or "auto"
        Inverse strength of the L2 regularisation. ``"auto"`` chooses it by cross-validation: seven
        powers of ten first, then values near the best one.
    cv : int
        Number of stratified folds of the search. Fewer folds are made if there are few rows.
    class_weight : None, "balanced" or dict
        Weights of the classes, as scikit-learn takes them. If weights are given, the search
        compares balanced accuracies.
    random_state : int
        Seed of the folds.
    progress : bool or None
        Whether to show progress on standard error; None shows bars on a terminal and in a
        notebook, and elsewhere a line now and then.

    Attributes
    ----------
    classes_ : ndarray
        ``(n_classes,)``, class labels, sorted.
    C_ : float
        The C that the classifier was fitted with.
    search_ : Search or None
        All values tried with their scores; None if C was given, or rows were too few for folds.
    pipeline_ : Pipeline
        ``StandardScaler`` and the classifier, fitted on all rows.
    is_held_out_ : bool
        Whether the scores of `search_` are of rows that the network of the embeddings has not
        learnt from.
    n_features_in_ : int
        Length of one embedding.

    See Also
    --------
    featx.fit_head : Fit a head on the embeddings of a cache.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y = np.array(["ants", "bees"] * 20)
    >>> X = rng.normal(size=(40, 8)) + 3 * (y == "ants")[:, None]
    >>> classifier = HeadClassifier().fit(X, y)
    >>> classifier.predict(X[:2]).tolist()
    ['ants', 'bees']
    """

    def __init__(
        self,
        kind: str = "logreg",
        *,
        C: float | Literal["auto"] = "auto",
        cv: int = 5,
        class_weight: ClassWeight = None,
        random_state: int = 0,
        progress: bool | None = False,
    ) -> None:
        self.kind = kind
        self.C = C
        self.cv = cv
        self.class_weight = class_weight
        self.random_state = random_state
        self.progress = progress

    def fit(
        self, X: Array, y: Array, groups: Array | None = None, *, learnt: BoolArray | None = None
    ) -> HeadClassifier:
        """Fit the classifier on labelled embeddings.

        Parameters
        ----------
        X : ndarray
            ``(n_rows, dim)``, embeddings; converted to float32.
        y : ndarray
            ``(n_rows,)``, class labels.
        groups : ndarray, optional
            ``(n_rows,)``, the group of each row. Rows of one group share a fold of the search.
        learnt : ndarray of bool, optional
            ``(n_rows,)``, True for rows that the network of the embeddings was tuned on, or whose
            group it was tuned on. The folds test the other rows, if there are enough.

        Returns
        -------
        HeadClassifier
            The estimator itself.

        Raises
        ------
        HeadError
            If all rows are of one class, the kind is unknown, or C is not above 0.
        ValueError
            If shapes do not agree, or values are not finite.
        """
        X, y = validate_data(self, X, y, dtype=np.float32)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise HeadError(
                subject="y",
                expected="labels of at least 2 classes",
                got=f"one class: {self.classes_[0]!r}",
                remedy="Pass rows of another class as well.",
            )
        # Folds run in threads of their own. Threads within a matrix product wait for each other at
        # every step: with another program busy, a fit of 4000 x 1280 took 8 times longer on two
        # threads.
        with single_threaded(), ignore_warnings(ConvergenceWarning):
            self._fit(X, y, codes, self._build_folds(codes, groups, learnt))
        return self

    def _build_folds(
        self, codes: IntArray, groups: Array | None, learnt: BoolArray | None
    ) -> Folds:
        """Build the folds of the search: of rows new to the network, if there are enough."""
        self.is_held_out_ = True
        if self.C != "auto":
            return []
        if learnt is not None and learnt.any():
            folds = build_fresh_folds(
                codes, groups, learnt, n_folds=self.cv, seed=self.random_state
            )
            if folds:
                return folds
            self.is_held_out_ = False
        return build_folds(codes, groups, n_folds=self.cv, seed=self.random_state)

    def _fit(self, X: Float32Array, y: Array, codes: IntArray, folds: Folds) -> None:
        """Choose C on class codes, then fit on the labels themselves."""
        kind = get_kind(self.kind)
        check_class_weight(self.class_weight, self.classes_)
        self.search_ = None
        self.C_ = kind.default_strength
        if self.C != "auto":
            self.C_ = float(self.C)
        elif folds:
            self.search_ = search_strength(
                X,
                codes,
                folds,
                kind=kind,
                class_weight=weigh_codes(self.class_weight, self.classes_),
                progress=self.progress,
            )
            self.C_ = self.search_.best
        check_strength(kind, self.C_)
        classifier = kind.build(self.C_, self.class_weight)
        self.pipeline_ = Pipeline([("scale", StandardScaler()), ("classify", classifier)])
        with show_progress(self.progress), stage(f"fitting on {len(y):,} rows"):
            self.pipeline_.fit(X, y)

    def predict(self, X: Array) -> Array:
        """Predict a class label for each row.

        Parameters
        ----------
        X : ndarray
            ``(n_rows, dim)``, embeddings.

        Returns
        -------
        ndarray
            ``(n_rows,)``, class labels.
        """
        X = self._check(X)
        return np.asarray(self.pipeline_.predict(X))

    def decision_function(self, X: Array) -> Array:
        """Return the score of each class for each row.

        Parameters
        ----------
        X : ndarray
            ``(n_rows, dim)``, embeddings.

        Returns
        -------
        ndarray
            ``(n_rows, n_classes)``; ``(n_rows,)`` for two classes, positive for the second one.
        """
        X = self._check(X)
        return np.asarray(self.pipeline_.decision_function(X))

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Array) -> Array:
        """Return the probability of each class for each row; only for kinds with probabilities.

        Parameters
        ----------
        X : ndarray
            ``(n_rows, dim)``, embeddings.

        Returns
        -------
        ndarray
            ``(n_rows, n_classes)``.
        """
        X = self._check(X)
        return np.asarray(self.pipeline_.predict_proba(X))

    def _check(self, X: Array) -> Float32Array:
        check_is_fitted(self)
        return np.asarray(validate_data(self, X, dtype=np.float32, reset=False))
