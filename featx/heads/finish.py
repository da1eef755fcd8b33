"""Hand a head over as an ordinary scikit-learn classifier, fitted on all rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.linear_model import RidgeClassifier
from sklearn.preprocessing import LabelBinarizer

from featx.core.process import ignore_warnings
from featx.core.typing import Array, Float64Array
from featx.heads.class_weights import ClassWeight
from featx.heads.kernels import MAX_EXACT, map_task
from featx.heads.kinds import HeadKind
from featx.heads.learners import Task, fit_linear


def fit_classifier(
    kind: HeadKind,
    task: Task,
    strength: float,
    *,
    classes: Array,
    class_weight: ClassWeight,
    scaled: Array,
    shift: Float64Array,
) -> Any:
    """Fit the classifier that is kept.

    Parameters
    ----------
    kind : HeadKind
        Kind of the head.
    task : Task
        All rows to fit on.
    strength : float
        Strength of the regularisation.
    classes : ndarray
        ``(n_classes,)``, labels in the order of their codes.
    class_weight : None, "balanced" or dict
        Weights of the classes by label, for the record of the estimator.
    scaled : ndarray
        ``(n_rows, n_channels)``, rows as the classifier will read them; empty if featx's own solver
        fits the head, which reads the task.
    shift : ndarray of float64
        ``(n_channels,)``, mean of the rows as the classifier will read them.

    Returns
    -------
    scikit-learn classifier
        Fitted on the labels.
    """
    classifier = kind.build(strength, class_weight, task)
    if kind.loss is not None:
        coef, intercept = fit_linear(task, kind.loss, strength)
        return set_linear(classifier, coef, intercept - coef @ shift, classes)
    labels = classes[task.codes]
    if kind.name == "rbf-svm" and len(labels) > MAX_EXACT:
        fitted, mapped = map_task(task, scaled)
        coef, intercept = fit_linear(mapped, "squared-hinge", strength)
        intercept = intercept - coef @ mapped.coordinates.mean
        set_linear(classifier[-1], coef, intercept, classes)
        classifier.steps[0] = (classifier.steps[0][0], fitted)
        return classifier
    # A class of a single row has no spread; scikit-learn would advise to reshape the rows.
    with ignore_warnings(UserWarning, "Only one sample available"):
        return classifier.fit(scaled, labels)


def set_linear(classifier: Any, coef: Array, intercept: Array, classes: Array) -> Any:
    """Give a linear classifier of scikit-learn its weights, as if it had been fitted.

    Parameters
    ----------
    classifier : scikit-learn classifier
        Classifier with ``coef_`` and ``intercept_``.
    coef : ndarray
        ``(n_outputs, n_channels)``; one output for two classes, positive for the second one.
    intercept : ndarray
        ``(n_outputs,)``.
    classes : ndarray
        ``(n_classes,)``.
    """
    classifier.coef_ = np.ascontiguousarray(coef, np.float64)
    classifier.intercept_ = np.asarray(intercept, np.float64)
    classifier.n_features_in_ = coef.shape[1]
    classifier.n_iter_ = np.zeros(1, np.int32)
    if isinstance(classifier, RidgeClassifier):
        classifier._label_binarizer = LabelBinarizer(pos_label=1, neg_label=-1).fit(classes)
    if not hasattr(type(classifier), "classes_"):  # a property of the binarizer, or an attribute
        classifier.classes_ = np.asarray(classes)
    return classifier
