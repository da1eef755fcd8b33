"""A head as a scikit-learn estimator that chooses its own kind and strength."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.pipeline import Pipeline
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from featx.core.errors import HeadError
from featx.core.process import ignore_warnings, single_threaded
from featx.core.progress import show_progress, stage
from featx.core.typing import (
    Array,
    BoolArray,
    Float32Array,
    Float64Array,
    IntArray,
    Scaling,
    check_choice,
)
from featx.heads.calibration import compute_probabilities, score_classes
from featx.heads.class_weights import ClassWeight, check_class_weight, weigh_codes
from featx.heads.coordinates import Coordinates
from featx.heads.finish import fit_classifier
from featx.heads.kinds import AUTO, check_kind, get_kind, list_compared
from featx.heads.learners import Task
from featx.heads.repeats import check_repeats, derive_seed
from featx.heads.scaling import apply_steps, build_steps, check_pca
from featx.heads.search import Search, search_kinds
from featx.heads.splits import Folds, build_folds, build_fresh_folds, check_seed, choose_n_folds

MIN_NESTED = 3
"""Smallest number of folds: of two, none is left to choose a strength for the other's head on."""

MANY_CLASSES = "The number of unique classes is greater than 50%"
"""Warning of scikit-learn, whose measured numbers may be taken for classes. featx tells them."""

FEW_ROWS = 6
"""Rows of a class, on average, below which a part of the rows may bring this warning."""


class HeadClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Scale embeddings and classify them, with the strength chosen by nested cross-validation.

    The estimator that `featx.fit_head` fits, for pipelines and searches of your own.

    Parameters
    ----------
    kind : str
        Kind of the head: ``"logreg"``, ``"linear-svm"``, ``"rbf-svm"``, ``"ridge"``, ``"lda"``,
        ``"knn"`` or ``"nearest-mean"``; or ``"auto"`` to compare them on the same folds. Logistic
        regression is kept unless another kind is better by more than chance explains.
    C : float or "auto"
        Strength of the kind: inverse strength of the L2 regularisation, for ``"ridge"`` 1 / (2
        alpha), for ``"lda"`` the shrinkage, for ``"knn"`` the number of neighbours. ``"auto"``
        chooses it by cross-validation.
    cv : int or "auto"
        Number of stratified folds, at least 3. ``"auto"`` makes 5, and more for 250 rows at
        most, so that the heads of the folds know nearly as many rows as the head that is kept.
    class_weight : None, "balanced" or dict
        Weights of the classes, as scikit-learn takes them. If weights are given, the search
        compares balanced accuracies.
    scaling : {"standard", "l2", "none"}
        Scaling of the embeddings: each channel to mean 0 and variance 1, each row to length 1, or
        none.
    pca : int, optional
        Number of principal components that the head reads. Heads of the folds find theirs without
        the fold. Default: it reads all channels.
    near : float, optional
        Strength that was good on rows of the same kind: the search tries values around it first,
        and goes on from there. Default: the search begins with the grid of the kind.
    repeats : int
        Number of different dealings of the rows to folds that are scored. The head depends on the
        first one alone; the others say how much its held-out score depends on the folds.
    random_state : int
        Seed of the folds.
    progress : bool or None
        Whether to show progress on standard error; None shows bars on a terminal and in a
        notebook, and elsewhere a line now and then.

    Attributes
    ----------
    classes_ : ndarray
        ``(n_classes,)``, class labels, sorted.
    kind_ : str
        Kind of the fitted head.
    C_ : float
        Strength that the classifier was fitted with.
    temperature_ : float
        Number that class scores are divided by to make probabilities, fitted on held-out scores; 1
        if rows were too few for folds, and for a logistic regression whose C was given, so that its
        probabilities are those of scikit-learn.
    search_ : Search or None
        All values tried with their scores, and held-out predictions; None if rows were too few for
        folds.
    held_out_ : ndarray of int64 or None
        ``(repeats, n_rows)``, class code of each row as predicted by heads that have not seen its
        fold, in each dealing; -1 for rows that are in no fold. None if rows were too few for folds,
        or the scores are not held out.
    pipeline_ : Pipeline
        Scaler and classifier of scikit-learn, fitted on all rows.
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

    def __init__(  # noqa: PLR0913
        self,
        kind: str = "logreg",
        *,
        C: float | Literal["auto"] = "auto",
        cv: int | Literal["auto"] = "auto",
        class_weight: ClassWeight = None,
        scaling: Scaling = "standard",
        pca: int | None = None,
        near: float | None = None,
        repeats: int = 1,
        random_state: int = 0,
        progress: bool | None = False,
    ) -> None:
        self.kind = kind
        self.C = C
        self.cv = cv
        self.class_weight = class_weight
        self.scaling = scaling
        self.pca = pca
        self.near = near
        self.repeats = repeats
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
            If all rows are of one class, or an option is out of its range.
        ValueError
            If shapes do not agree, or values are not finite.
        """
        check_options(self)
        X, y = validate_data(self, X, y, dtype=np.float32)
        with _ignore_many_classes(y):
            check_classification_targets(y)
        check_consistent_length(X, groups, learnt)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise HeadError(
                subject="y",
                expected="labels of at least 2 classes",
                got=f"one class: {self.classes_[0]!r}",
                remedy="Pass rows of another class as well.",
            )
        check_class_weight(self.class_weight, self.classes_)
        # Parts run in threads of their own. Threads within a matrix product wait for each other at
        # every step: with another program busy, a fit of 4000 x 1280 took 8 times longer on two
        # threads.
        with (
            single_threaded(),
            show_progress(self.progress),
            _ignore_many_classes(y),
        ):
            self._fit(X, codes.astype(np.int64), groups, learnt)
        return self

    def _build_folds(
        self, codes: IntArray, groups: Array | None, learnt: BoolArray | None, seed: int
    ) -> Folds:
        """Build the folds of a search: of rows new to the network, if there are enough."""
        self.is_held_out_ = True
        n_folds = self.cv
        if n_folds == "auto":
            n_folds = choose_n_folds(codes, groups)
        folds: Folds = []
        if learnt is not None and learnt.any():
            folds = build_fresh_folds(codes, groups, learnt, n_folds=n_folds, seed=seed)
            self.is_held_out_ = bool(folds)
        if not folds:
            folds = build_folds(codes, groups, n_folds=n_folds, seed=seed)
        return folds if len(folds) >= MIN_NESTED else []

    def _fit(
        self, X: Float32Array, codes: IntArray, groups: Array | None, learnt: BoolArray | None
    ) -> None:
        """Choose kind and strength on class codes, then fit on the labels themselves."""
        units = None if groups is None else np.unique(groups, return_inverse=True)[1]
        folds = self._build_folds(codes, units, learnt, self.random_state)
        steps = build_steps(self.scaling, self.pca)
        with stage("scaling"):
            task = self._build_task(steps, X, codes)
            # Components of all rows would know the rows of the folds.
            is_reduced = self.pca is not None and bool(folds)
            searched = self._build_task(steps[:1], X, codes) if is_reduced else task
        kinds = (
            list_compared(len(codes), self.class_weight)
            if self.kind == AUTO
            else [get_kind(self.kind)]
        )
        self.search_: Search | None = None
        self.held_out_: IntArray | None = None
        kind, self.temperature_ = kinds[0], 1.0
        self.C_ = kind.default_strength if self.C == "auto" else float(self.C)
        if folds:
            search = functools.partial(
                search_kinds,
                searched,
                kinds=kinds,
                units=units,
                strength=None if self.C == "auto" else self.C_,
                near=self.near,
                n_components=self.pca,
                progress=self.progress,
            )
            self.search_ = search(folds)
            self._repeat(search, lambda seed: self._build_folds(codes, units, learnt, seed))
            kind = get_kind(self.search_.kind)
            self.C_, self.temperature_ = self.search_.best, self.search_.temperature
        if kind.strength_name == "n_neighbors":
            self.C_ = min(self.C_, len(codes))
        self.kind_ = kind.name
        with stage(f"fitting on {len(codes):,} rows"):
            classifier = fit_classifier(
                kind,
                task,
                self.C_,
                classes=self.classes_,
                class_weight=self.class_weight,
                scaled=task.X[:0] if kind.loss is not None else _transform(steps, task.X, X),
                shift=np.asarray(task.shift),
            )
        last = classifier.steps if isinstance(classifier, Pipeline) else [("classify", classifier)]
        self.pipeline_ = Pipeline([*steps, *last])

    def _build_task(self, steps: list[tuple[str, Any]], X: Float32Array, codes: IntArray) -> Task:
        """Fit steps on the rows, and build what a search and the last fit learn from."""
        rows, mean, scale, shift = apply_steps(steps, X)
        return Task(
            X=rows,
            coordinates=Coordinates.find(rows, mean, scale),
            codes=codes,
            n_classes=len(self.classes_),
            class_weight=weigh_codes(self.class_weight, self.classes_),
            parts=[],
            shift=shift,
        )

    def _repeat(self, search: Callable[..., Search], deal: Callable[[int], Folds]) -> None:
        """Keep the held-out predictions, and make those of further dealings of the folds."""
        if self.search_ is None or not self.is_held_out_:
            return
        held_out = [self.search_.held_out]
        for number in range(1, self.repeats):
            folds = deal(derive_seed(self.random_state, number))
            title = f"dealing {number + 1} of {self.repeats}: "
            held_out.append(search(folds, title=title).held_out)
        self.held_out_ = np.stack(held_out)

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
        return np.asarray(self.classes_[score_classes(self.pipeline_, X).argmax(axis=1)])

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
        scores = score_classes(self.pipeline_, X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict_proba(self, X: Array) -> Float64Array:
        """Return the probability of each class for each row.

        Parameters
        ----------
        X : ndarray
            ``(n_rows, dim)``, embeddings.

        Returns
        -------
        ndarray of float64
            ``(n_rows, n_classes)``: the softmax of the class scores divided by `temperature_`.
        """
        X = self._check(X)
        return compute_probabilities(score_classes(self.pipeline_, X), self.temperature_)

    def _check(self, X: Array) -> Float32Array:
        check_is_fitted(self)
        return np.asarray(validate_data(self, X, dtype=np.float32, reset=False))


def _ignore_many_classes(y: Array) -> AbstractContextManager[None]:
    """Ignore the warning of many classes, where there may be one.

    Filters belong to the process, and scikit-learn saves and restores them in each thread: a block
    that is not needed would restore what another thread has set.
    """
    if FEW_ROWS * len(set(y.tolist())) <= len(y):
        return nullcontext()
    return ignore_warnings(UserWarning, MANY_CLASSES)


def check_options(classifier: HeadClassifier) -> None:
    """Refuse options of a classifier that are out of their ranges, before any row is read.

    Parameters
    ----------
    classifier : HeadClassifier
        Classifier with its options.

    Raises
    ------
    HeadError
        If an option is out of its range.
    """
    check_class_weight(classifier.class_weight)
    check_kind(classifier.kind, classifier.class_weight, classifier.C)
    check_choice("scaling", classifier.scaling, Scaling, error=HeadError)
    check_pca(classifier.pca)
    if classifier.near is not None:
        check_kind(classifier.kind, classifier.class_weight, classifier.near)
    check_seed(classifier.random_state)
    check_repeats(classifier.repeats)
    cv = classifier.cv
    is_whole = isinstance(cv, int | np.integer) and not isinstance(cv, bool)
    if cv != "auto" and not (is_whole and cv >= MIN_NESTED):
        raise HeadError(
            subject="cv",
            expected=f"'auto' or a whole number of folds, {MIN_NESTED} at least",
            got=repr(cv),
            remedy="Leave cv out, or pass cv=5.",
        )


def _transform(steps: list[tuple[str, Any]], rows: Array, X: Float32Array) -> Array:
    """Return the rows as the classifier will read them."""
    return np.asarray(steps[0][1].transform(X)) if rows is X else rows
