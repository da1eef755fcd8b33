"""Weights of classes: check them before anything runs, and write them as solvers take them."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any, Literal, get_args

from featx.core.errors import HeadError, suggest
from featx.core.text import join_some
from featx.core.typing import Array, Float64Array, IntArray

ClassWeighting = Literal["balanced"]
"""Names of the rules that compute the weights of the classes from the rows."""

ClassWeight = ClassWeighting | dict[Any, float] | None
"""Weights of the classes as scikit-learn takes them; None weighs all rows alike."""

MIN_WEIGHT, MAX_WEIGHT = 1e-6, 1e6
"""Range of a weight. Heads are fitted in float32, which has no more digits."""

N_SHOWN = 10
"""Number of classes that an error names."""


def check_class_weight(class_weight: object, classes: Array | None = None) -> None:
    """Refuse class weights that no head can be fitted with.

    Parameters
    ----------
    class_weight : object
        Value to check; see `ClassWeight`.
    classes : ndarray, optional
        ``(n_classes,)``, labels that are fitted on. Default: the labels are not known yet, and
        only the weights themselves are checked.

    Raises
    ------
    HeadError
        If the value is not None, ``"balanced"`` or a dict, if a weight is not a number from
        `MIN_WEIGHT` to `MAX_WEIGHT`, or if a weight is of a label that is none of the classes.

    Examples
    --------
    >>> import numpy as np
    >>> check_class_weight({"ant": 1, "bee": 2.5}, np.array(["ant", "bee", "cat"]))
    >>> check_class_weight({"Ant": 5}, np.array(["ant", "bee"]))
    Traceback (most recent call last):
    featx.core.errors.HeadError: class_weight: expected classes among ant, bee and numbers above 0,
    got Ant. Nearest: ant.
    """
    if isinstance(class_weight, Mapping):
        for label, weight in class_weight.items():
            _check_weight(label, weight)
        if classes is not None:
            _check_labels(list(class_weight), classes.tolist())
    elif not (class_weight is None or _is_rule(class_weight)):
        raise HeadError(
            subject="class_weight",
            expected="None, 'balanced' or a dict of weights",
            got=repr(class_weight),
            remedy="Pass class_weight='balanced' to give all classes equal weight.",
        )


def _is_rule(class_weight: object) -> bool:
    return isinstance(class_weight, str) and class_weight in get_args(ClassWeighting)


def _check_weight(label: object, weight: object) -> None:
    """Refuse a weight that is no number of the range; NaN is none."""
    is_number = isinstance(weight, Real) and not isinstance(weight, bool)
    if not (is_number and MIN_WEIGHT <= weight <= MAX_WEIGHT):  # type: ignore[operator]
        shown = f"{weight:g}" if is_number else repr(weight)
        raise HeadError(
            subject="class_weight",
            expected=f"numbers above 0, from {MIN_WEIGHT:g} to {MAX_WEIGHT:g}",
            got=f"{shown} for {label}",
            remedy=f"Pass class_weight={{{label!r}: 2.0}} to weigh a row of the class twice.",
        )


def _check_labels(labels: list[Any], classes: list[Any]) -> None:
    """Refuse weights of labels that are no classes: such a weight would have no effect."""
    strange = [label for label in labels if label not in classes]
    if not strange:
        return
    if all(isinstance(label, str) for label in classes) and not isinstance(strange[0], str):
        got = f"{strange[0]!r}, which is no text"
    else:
        got = join_some([*map(str, strange)], N_SHOWN)
    known = [str(label) for label in classes]
    shown = [*known[:N_SHOWN], *([f"{len(known) - N_SHOWN} more"] * (len(known) > N_SHOWN))]
    raise HeadError(
        subject="class_weight",
        expected=f"classes among {', '.join(shown)} and numbers above 0",
        got=got,
        remedy=suggest(str(strange[0]), known),
    )


def weigh_codes(class_weight: ClassWeight, classes: Array) -> ClassWeight:
    """Turn weights of labels into weights of class codes.

    Parameters
    ----------
    class_weight : None, "balanced" or dict
        Weights by label; a label without a weight has the weight 1.
    classes : ndarray
        ``(n_classes,)``, labels in the order of their codes.

    Returns
    -------
    None, "balanced" or dict
        Weights by class code.

    Examples
    --------
    >>> import numpy as np
    >>> weigh_codes({"bees": 2.0}, np.array(["ants", "bees"]))
    {0: 1.0, 1: 2.0}
    """
    if isinstance(class_weight, dict):
        return {code: class_weight.get(label, 1.0) for code, label in enumerate(classes.tolist())}
    return class_weight


def weigh_classes(class_weight: ClassWeight, classes: Array, codes: IntArray) -> Float64Array:
    """Compute the weight of each class in a loss; over the rows, the mean weight is 1.

    Parameters
    ----------
    class_weight : None, "balanced" or dict
        Weights by label, as a head has them.
    classes : ndarray
        ``(n_classes,)``, labels in the order of their codes.
    codes : ndarray of int64
        ``(n_rows,)``, class codes of the rows that the loss is summed over.

    Returns
    -------
    ndarray of float64
        ``(n_classes,)``.

    Examples
    --------
    >>> import numpy as np
    >>> classes, codes = np.array(["ants", "bees"]), np.array([0, 0, 0, 1])
    >>> weigh_classes("balanced", classes, codes).round(3).tolist()
    [0.667, 2.0]
    >>> weigh_classes({"bees": 3.0}, classes, codes).round(3).tolist()
    [0.667, 2.0]
    """
    import numpy as np  # the command line reads the names of rules without numpy

    counts = np.bincount(codes, minlength=len(classes))
    if class_weight == "balanced":
        weights = 1 / np.maximum(counts, 1)
    else:
        by_label = class_weight if isinstance(class_weight, dict) else {}
        weights = np.array([float(by_label.get(label, 1.0)) for label in classes.tolist()])
    return np.asarray(weights * len(codes) / (weights @ counts))
