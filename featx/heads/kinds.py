"""The kinds of heads, as values: what each kind can do, and how to learn and build it.

scikit-learn is imported when a head is built, so that listing the kinds takes no time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

from featx.core.errors import HeadError, suggest
from featx.core.typing import Measure
from featx.heads.builders import (
    build_knn,
    build_lda,
    build_linear_svm,
    build_logreg,
    build_nearest_mean,
    build_rbf_svm,
    build_ridge,
    learn_knn,
    learn_lda,
    learn_nearest_mean,
    learn_rbf_svm,
)
from featx.heads.class_weights import ClassWeight

if TYPE_CHECKING:
    from featx.heads.learners import Learner, Task
    from featx.heads.losses import LossName

AUTO = "auto"
"""Name that stands for the best kind on the rows at hand."""

MAX_COMPARED_KERNEL = 2000
"""Largest number of rows for which ``auto`` compares a kernel, whose fits take seconds beyond."""


@dataclass(frozen=True, kw_only=True)
class HeadKind:
    """One kind of head: its name, its capabilities, and its learner and builder.

    Attributes
    ----------
    name : str
        Name on the command line and in head files.
    title : str
        Name in prose.
    strength_name : str or None
        Name of the classifier's parameter that a search chooses; None if there is none.
    grid : tuple of float
        Powers of ten of the strength that a search tries first, from strong regularisation to weak.
    is_open : bool
        Whether the search goes on beyond the grid and between its values.
    default_strength : float
        Strength that is used if there are too few rows to choose one.
    largest : float
        Largest strength that there is.
    build : callable
        Function that takes the strength, the weights of the classes by label and the `Task`, and
        returns an unfitted scikit-learn classifier for scaled embeddings.
    loss : {"logistic", "squared-hinge", "squared"} or None
        Loss by which featx's own solver fits the head; None if scikit-learn fits it.
    is_linear : bool
        Whether a fitted head can be written as one matrix; see `featx.heads.linear.fold_linear`.
    takes_weights : bool
        Whether the head can weigh classes.
    learn : callable or None
        Function that takes a `Task` and the strengths of the grid and returns the `Learner` of a
        search; None for featx's own solver or, without a loss, for one fit after the other.
    """

    name: str
    title: str
    strength_name: str | None
    grid: tuple[float, ...]
    is_open: bool = False
    default_strength: float
    largest: float = math.inf
    build: Callable[[float, ClassWeight, Task], Any]
    loss: LossName | None = None
    is_linear: bool = True
    takes_weights: bool = True
    learn: Callable[[Task, list[float]], Learner] | None = None

    def list_params(self, strength: float) -> dict[str, float]:
        """Return the parameter that was chosen by its name; empty if the kind has none.

        Parameters
        ----------
        strength : float
            Value of the parameter.
        """
        if self.strength_name is None:
            return {}
        return {self.strength_name: self.round_strength(strength)}

    def round_strength(self, strength: float) -> float:
        """Return a strength as the classifier takes it: a number of neighbours is whole."""
        return round(strength) if self.strength_name == "n_neighbors" else float(strength)


# The grids: on standardised features of 500 to 4,000 dimensions the best value mostly lies within
# them. The last values of C are for classes that differ by little along an axis of its own.
KINDS = (
    HeadKind(
        name="logreg",
        title="logistic regression",
        strength_name="C",
        grid=(-6.0, -5.0, -4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0),
        is_open=True,
        default_strength=1e-2,
        build=build_logreg,
        loss="logistic",
    ),
    HeadKind(
        name="linear-svm",
        title="linear support vector machine",
        strength_name="C",
        grid=(-7.0, -6.0, -5.0, -4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 3.0),
        is_open=True,
        default_strength=1e-2,
        build=build_linear_svm,
        loss="squared-hinge",
    ),
    HeadKind(
        name="rbf-svm",
        title="support vector machine with a radial kernel",
        strength_name="C",
        grid=(-1.0, 0.0, 1.0, 2.0),
        default_strength=1.0,
        build=build_rbf_svm,
        is_linear=False,
        learn=learn_rbf_svm,
    ),
    HeadKind(
        name="ridge",
        title="ridge regression of the classes",
        strength_name="C",
        grid=(-7.0, -6.0, -5.0, -4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 3.0),
        is_open=True,
        default_strength=1e-3,
        build=build_ridge,
        loss="squared",
    ),
    HeadKind(
        name="lda",
        title="linear discriminant analysis",
        strength_name="shrinkage",
        grid=(0.0, -0.5, -1.0, -1.5, -2.0, -3.0),
        default_strength=0.1,
        largest=1.0,
        build=build_lda,
        learn=learn_lda,
    ),
    HeadKind(
        name="knn",
        title="nearest neighbours by cosine",
        strength_name="n_neighbors",
        grid=(2.0, 1.5, 1.0, 0.5, 0.0),
        default_strength=1.0,
        build=build_knn,
        is_linear=False,
        takes_weights=False,
        learn=learn_knn,
    ),
    HeadKind(
        name="nearest-mean",
        title="nearest class mean",
        strength_name=None,
        grid=(0.0,),
        default_strength=1.0,
        build=build_nearest_mean,
        learn=learn_nearest_mean,
    ),
)
"""All kinds of heads; the first one is the default."""


def list_kinds() -> list[str]:
    """List the names of all kinds of heads, sorted.

    Examples
    --------
    >>> list_kinds()
    ['knn', 'lda', 'linear-svm', 'logreg', 'nearest-mean', 'rbf-svm', 'ridge']
    """
    return sorted(kind.name for kind in KINDS)


def list_compared(n_rows: int, class_weight: ClassWeight) -> list[HeadKind]:
    """List the kinds that ``auto`` compares, the default first.

    Parameters
    ----------
    n_rows : int
        Number of rows to fit on.
    class_weight : None, "balanced" or dict
        Weights of the classes.

    Examples
    --------
    >>> [kind.name for kind in list_compared(50_000, None)]
    ['logreg', 'linear-svm', 'ridge', 'lda', 'knn', 'nearest-mean']
    """
    return [
        kind
        for kind in KINDS
        if (kind.name != "rbf-svm" or n_rows <= MAX_COMPARED_KERNEL)
        and (class_weight is None or kind.takes_weights)
    ]


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
        expected=f"one of {', '.join([AUTO, *names])}",
        got=repr(name),
        remedy=suggest(str(name), [AUTO, *names]),
    )


def check_kind(name: str, class_weight: ClassWeight, strength: object) -> None:
    """Refuse, before anything runs, a kind that there is not, or options that it cannot take.

    Parameters
    ----------
    name : str
        Name of a kind, or ``"auto"``.
    class_weight : None, "balanced" or dict
        Weights of the classes, checked by `check_class_weight`.
    strength : float or "auto"
        Strength of the regularisation.

    Raises
    ------
    HeadError
        If no kind has the name, the kind cannot weigh classes, or the strength is none of the kind.
    """
    if name == AUTO:
        if strength != "auto":
            raise HeadError(
                subject="C",
                expected="no value with kind='auto', which chooses one for each kind",
                got=str(strength),
                remedy="Leave C out, or pass one kind, such as kind='logreg'.",
            )
        return
    kind = get_kind(name)
    if class_weight is not None and not kind.takes_weights:
        raise HeadError(
            subject="class_weight",
            expected=f"None for kind={name!r}, which cannot weigh classes",
            got=str(class_weight),
            remedy="Leave class_weight out, or pass kind='logreg'.",
        )
    if strength != "auto":
        check_strength(kind, strength)


def check_strength(kind: HeadKind, strength: Any) -> None:
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
        If the strength is not a finite number above 0, or the kind has none.
    """
    is_number = isinstance(strength, Real) and not isinstance(strength, bool)
    name = kind.strength_name or "C"
    if kind.strength_name is None:
        expected = f"no value for kind={kind.name!r}, which has no strength"
    elif kind.strength_name == "n_neighbors":
        if is_number and strength >= 1 and strength % 1 == 0 and strength < math.inf:
            return
        expected = "a whole number, 1 at least"
    elif is_number and 0 < strength <= kind.largest and strength < math.inf:
        return
    else:
        most = "" if kind.largest == math.inf else f", {kind.largest:g} at the most"
        expected = f"a finite number above 0{most}"
    raise HeadError(
        subject=name,
        expected=expected,
        got=f"{strength:g}" if is_number else repr(strength),
        remedy="Leave the option out."
        if kind.strength_name is None
        else "Leave the option out, and cross-validation chooses the value.",
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
