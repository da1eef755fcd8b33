"""Builders of the classifiers of each kind of head, and of the learners of their searches.

A builder takes a strength, the weights of the classes by label and the `Task`; a learner takes the
`Task` and the strengths of the grid. scikit-learn is imported by them, so that listing the kinds
takes no time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from featx.core.errors import HeadError
from featx.heads.class_weights import ClassWeight

if TYPE_CHECKING:
    from featx.heads.learners import Learner, Task


def build_logreg(strength: float, class_weight: ClassWeight, _: Task) -> Any:
    """Build a multinomial logistic regression."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, class_weight=class_weight, max_iter=1000)


def build_linear_svm(strength: float, class_weight: ClassWeight, _: Task) -> Any:
    """Build one linear support vector machine per class, with squared hinge loss."""
    from sklearn.svm import LinearSVC

    return LinearSVC(C=strength, class_weight=class_weight, max_iter=1000, dual=False)


def build_ridge(strength: float, class_weight: ClassWeight, _: Task) -> Any:
    """Build a ridge classifier: its alpha is 1 / (2 C) of the sum of squared errors."""
    from sklearn.linear_model import RidgeClassifier

    return RidgeClassifier(alpha=1 / (2 * strength), class_weight=class_weight)


def _build_discriminant(strength: float, task: Task, *, has_priors: bool) -> Any:
    import numpy as np
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    from featx.heads.closed_forms import weigh_priors

    if len(task.codes) <= task.n_classes:
        raise HeadError(
            subject=f"kind {'lda' if has_priors else 'nearest-mean'}",
            expected="more rows than classes",
            got=f"{len(task.codes)} rows of {task.n_classes} classes",
            remedy="Label more rows, or pass kind='logreg'.",
        )
    priors = weigh_priors(task, np.arange(len(task.codes)), has_priors=has_priors)
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage=strength, priors=priors)


def build_lda(strength: float, _: ClassWeight, task: Task) -> Any:
    """Build a discriminant analysis with a shrunk covariance."""
    return _build_discriminant(strength, task, has_priors=True)


def build_nearest_mean(_: float, __: ClassWeight, task: Task) -> Any:
    """Build a discriminant analysis whose covariance is shrunk to a multiple of the identity."""
    return _build_discriminant(1.0, task, has_priors=False)


def build_knn(strength: float, _: ClassWeight, task: Task) -> Any:
    """Build nearest neighbours by cosine."""
    from sklearn.neighbors import KNeighborsClassifier

    n_neighbors = min(round(strength), len(task.codes))
    return KNeighborsClassifier(n_neighbors, metric="cosine", algorithm="brute")


def build_rbf_svm(strength: float, class_weight: ClassWeight, task: Task) -> Any:
    """Build a support vector machine with a radial kernel."""
    from featx.heads import kernels

    return kernels.build_rbf_svm(strength, class_weight, task)


def learn_lda(task: Task, strengths: list[float]) -> Learner:
    """Return the learner of discriminant analyses."""
    from featx.heads.closed_forms import DiscriminantLearner

    return DiscriminantLearner(task, strengths, has_priors=True)


def learn_nearest_mean(task: Task, _: list[float]) -> Learner:
    """Return the learner of nearest means."""
    from featx.heads.closed_forms import DiscriminantLearner

    return DiscriminantLearner(task, [1.0], has_priors=False)


def learn_knn(task: Task, strengths: list[float]) -> Learner:
    """Return the learner of nearest neighbours."""
    from featx.heads.neighbours import NeighbourLearner

    return NeighbourLearner(task, [round(strength) for strength in strengths])


def learn_rbf_svm(task: Task, _: list[float]) -> Learner:
    """Return the learner of support vector machines with a radial kernel."""
    from featx.heads import kernels

    return kernels.learn_rbf_svm(task)
