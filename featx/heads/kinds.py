"""The kinds of heads, as scikit-learn classifiers for standardised features."""

from __future__ import annotations

import math
from typing import Any

from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from featx.core.errors import HeadError, suggest

KINDS = ("logreg", "linear-svm")
"""Names of heads: logistic regression, and a linear support vector machine."""

MAX_ITER = 1000
"""Of the solver. Separable classes under weak regularisation never converge, and need not."""

SVM_TOLERANCE = 1e-3
"""Of liblinear, whose time is most of a search for a linear-svm."""


def build_classifier(kind: str, *, C: float, class_weight: Any) -> Any:
    """Build an unfitted classifier.

    Parameters
    ----------
    kind : {"logreg", "linear-svm"}
        ``logreg`` is multinomial, by L-BFGS, which keeps float32 and so is three to four times
        faster than in float64. ``linear-svm`` is one-vs-rest
        with squared hinge loss, by liblinear.
    C : float
        Inverse strength of the L2 regularisation.
    class_weight : None, "balanced" or dict
        As scikit-learn takes it.

    Raises
    ------
    HeadError
        If the kind is unknown, or an option out of its range.
    """
    if not 0 < C < math.inf:
        raise HeadError(f"C: expected a number above 0, got {C:g}. Leave it out to have it chosen.")
    if not (class_weight in (None, "balanced") or isinstance(class_weight, dict)):
        raise HeadError(
            f"class_weight: expected None, 'balanced' or a dict, got {class_weight!r}. Fix it."
        )
    if kind == "logreg":
        return LogisticRegression(C=C, class_weight=class_weight, max_iter=MAX_ITER)
    if kind == "linear-svm":
        # The dual solver's random generator is one for all threads of the process: a search in
        # threads would differ from run to run. The primal one draws nothing.
        return LinearSVC(
            C=C, class_weight=class_weight, max_iter=MAX_ITER, dual=False, tol=SVM_TOLERANCE
        )
    raise HeadError(
        f"head: expected a kind among {', '.join(KINDS)}, got {kind!r}. {suggest(kind, KINDS)}"
    )
