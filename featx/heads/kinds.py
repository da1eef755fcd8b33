"""The kinds of heads, as values: what each kind can do, and how to build its classifier.

scikit-learn is imported when a classifier is built, so that listing the kinds takes no time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from featx.core.errors import HeadError, suggest
from featx.core.typing import Measure
from featx.heads.class_weights import ClassWeight

MAX_ITER = 1000
"""Largest number of iterations of a solver. With separable classes and weak regularisation, a
solver never converges, which does no harm."""

SVM_TOLERANCE = 1e-3
"""Tolerance of liblinear. Its fits take most of the time of a search for a ``linear-svm``."""


@dataclass(frozen=True, kw_only=True)
class HeadKind:
    """One kind of head: its name, its capabilities, and the builder of its classifier.

    Attributes
    ----------
    name : str
        Name on the command line and in head files.
    title : str
        Name in prose.
    has_probabilities : bool
        Whether the classifier has ``predict_proba``.
    is_linear : bool
        Whether a fitted head can be written as one matrix; see `featx.heads.linear.fold_linear`.
    warm_starts : bool
        Whether the classifier can start a fit from the result of its last fit, by the parameter
        ``warm_start``.
    strength_name : str
        Name of the classifier's parameter that a search chooses.
    grid : tuple of float
        Powers of ten of the strength that a search tries first, ascending.
    default_strength : float
        Strength that is used if there are too few rows to choose one.
    build : callable
        Function that takes the strength and the `ClassWeight`, and returns an unfitted
        scikit-learn classifier for standardised features.
    """

    name: str
    title: str
    has_probabilities: bool
    is_linear: bool
    warm_starts: bool
    strength_name: str
    grid: tuple[float, ...]
    default_strength: float
    build: Callable[[float, ClassWeight], Any]


def _build_logreg(strength: float, class_weight: ClassWeight) -> Any:
    """Build a multinomial logistic regression.

    L-BFGS computes float32 data in float32, three to four times faster than in float64.
    """
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, class_weight=class_weight, max_iter=MAX_ITER)


def _build_linear_svm(strength: float, class_weight: ClassWeight) -> Any:
    """Build one linear support vector machine per class, with squared hinge loss, by liblinear."""
    from sklearn.svm import LinearSVC

    # The random generator of the dual solver is shared by all threads of the process: a search in
    # threads would differ from run to run. The primal solver draws no random numbers.
    return LinearSVC(
        C=strength, class_weight=class_weight, max_iter=MAX_ITER, dual=False, tol=SVM_TOLERANCE
    )


# The grids: on standardised features of 500 to 4,000 dimensions the best C lies within them. If it
# lies at an end, the search goes on beyond that end.
KINDS = (
    HeadKind(
        name="logreg",
        title="logistic regression",
        has_probabilities=True,
        is_linear=True,
        warm_starts=True,
        strength_name="C",
        grid=(-6.0, -5.0, -4.0, -3.0, -2.0, -1.0, 0.0),
        default_strength=1e-2,
        build=_build_logreg,
    ),
    HeadKind(
        name="linear-svm",
        title="linear support vector machine",
        has_probabilities=False,
        is_linear=True,
        warm_starts=False,
        strength_name="C",
        grid=(-7.0, -6.0, -5.0, -4.0, -3.0, -2.0, -1.0),
        default_strength=1e-2,
        build=_build_linear_svm,
    ),
)
"""All kinds of heads; the first one is the default."""


def list_kinds() -> list[str]:
    """List the names of all kinds of heads, sorted.

    Examples
    --------
    >>> list_kinds()
    ['linear-svm', 'logreg']
    """
    return sorted(kind.name for kind in KINDS)


def get_kind(name: str) -> HeadKind:
    """Return the kind of head that has the given name.

    Parameters
    ----------
    name : str
        One of the names that `list_kinds` lists.

    Returns
    -------
    HeadKind
        The kind, with its capabilities.

    Raises
    ------
    HeadError
        If no kind has the name. The message shows the nearest names.

    Examples
    --------
    >>> get_kind("logreg").title
    'logistic regression'
    """
    for kind in KINDS:
        if kind.name == name:
            return kind
    names = list_kinds()
    raise HeadError(
        subject="kind",
        expected=f"one of {', '.join(names)}",
        got=repr(name),
        remedy=suggest(str(name), names),
    )


def check_strength(kind: HeadKind, strength: float) -> None:
    """Refuse a strength of the regularisation that no classifier accepts.

    Parameters
    ----------
    kind : HeadKind
        Kind of the head, which names the strength.
    strength : float
        Value to check.

    Raises
    ------
    HeadError
        If the strength is not a finite number above 0.
    """
    if not 0 < strength < math.inf:
        raise HeadError(
            subject=kind.strength_name,
            expected="a finite number above 0",
            got=f"{strength:g}",
            remedy="Leave the option out, and cross-validation chooses the value.",
        )


def choose_measure(class_weight: ClassWeight) -> Measure:
    """Choose the score by which heads with such class weights, and all that follows, are chosen.

    Parameters
    ----------
    class_weight : None, "balanced" or dict
        Weights of the classes.

    Returns
    -------
    {"accuracy", "balanced_accuracy"}
        Accuracy only if all rows weigh alike: who weighs classes does not want the frequent ones to
        decide.

    Examples
    --------
    >>> choose_measure("balanced")
    'balanced_accuracy'
    """
    return "accuracy" if class_weight is None else "balanced_accuracy"
