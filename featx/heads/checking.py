"""Check an estimator that came from a file before it is used.

Steps of plain NumPy raise errors if their arrays do not fit. libsvm and the neighbours of
scikit-learn read memory by the numbers that they find, so their arrays are compared first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.kernel_approximation import Nystroem
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC

from featx.core.typing import Array
from featx.heads.calibration import score_classes
from featx.heads.targets import Target


def check_estimator(estimator: Any, *, dim: int, classes: list[str]) -> None:
    """Refuse an estimator that cannot score the classes of a head.

    Parameters
    ----------
    estimator : object
        Estimator, as a file has it.
    dim : int
        Length of one embedding.
    classes : list of str
        Classes of the head, in order.

    Raises
    ------
    Exception
        If it cannot: of `ValueError`, what does not fit; of any other type, what scikit-learn
        raises while it scores one row of zeros.
    """
    _check_pipeline(estimator)
    if estimator.classes_.tolist() != classes:
        raise ValueError("an estimator of other classes")
    scores = score_classes(estimator, np.zeros((1, dim), np.float32))
    if scores.shape != (1, len(classes)):
        raise ValueError(f"scores of shape {scores.shape}")


def check_target_estimator(estimator: Any, *, dim: int, target: Target) -> None:
    """Refuse an estimator that cannot predict the target of a head.

    Parameters
    ----------
    estimator : object
        Estimator, as a file has it.
    dim : int
        Length of one embedding.
    target : Target
        Target that the head predicts.

    Raises
    ------
    Exception
        As `check_estimator`.
    """
    _check_pipeline(estimator)
    expected: tuple[int, ...] = (1, len(target.classes)) if target.kind == "several" else (1,)
    predict = estimator.predict_proba if target.kind == "several" else estimator.predict
    found = predict(np.zeros((1, dim), np.float32))
    if np.shape(found) != expected:
        raise ValueError(f"predictions of shape {np.shape(found)}")


def _check_pipeline(estimator: Any) -> None:
    if type(estimator) is not Pipeline:
        raise ValueError(f"a {type(estimator).__name__} in place of a Pipeline")
    # A memory would be a folder whose pickles scikit-learn reads when it fits.
    # Older versions of scikit-learn had no inputs to transform.
    if estimator.memory is not None or vars(estimator).get("transform_input"):
        raise ValueError("a Pipeline with a memory")
    for _, step in estimator.steps:
        if vars(step).get("n_jobs") is not None:
            raise ValueError("a step that starts processes")
        check = _CHECKS.get(type(step))
        if check is not None:
            check(step)


def _check_svc(svc: SVC) -> None:
    """Compare the arrays of an SVM with each other: libsvm does not."""
    n_classes, (n_vectors, dim) = len(svc.classes_), svc.support_vectors_.shape
    n_pairs = n_classes * (n_classes - 1) // 2
    shapes = {
        "support_": (n_vectors,),
        "_n_support": (n_classes,),
        "dual_coef_": (n_classes - 1, n_vectors),
        "_dual_coef_": (n_classes - 1, n_vectors),
        "intercept_": (n_pairs,),
        "_intercept_": (n_pairs,),
        "_probA": (0,),
        "_probB": (0,),
    }
    for name, shape in shapes.items():
        if getattr(svc, name).shape != shape:
            raise ValueError(f"{name} of another shape")
    counts: Array = svc._n_support
    if (
        svc._sparse
        or svc.kernel != "rbf"
        or dim != svc.n_features_in_
        or (counts < 0).any()
        or counts.sum() != n_vectors
    ):
        raise ValueError("an SVM of another form")


def _check_neighbors(neighbors: KNeighborsClassifier) -> None:
    """Compare codes and counts of a nearest-neighbour classifier: its loop in C does not."""
    (n_rows, dim), codes = neighbors._fit_X.shape, neighbors._y
    if (
        neighbors._fit_method != "brute"
        or neighbors.effective_metric_ != "cosine"
        or neighbors.effective_metric_params_
        or dim != neighbors.n_features_in_
        or codes.shape != (n_rows,)
        or not np.issubdtype(codes.dtype, np.integer)
        or not 0 <= codes.min() <= codes.max() < len(neighbors.classes_)
        or not 1 <= neighbors.n_neighbors <= n_rows
        or neighbors.n_samples_fit_ != n_rows
    ):
        raise ValueError("nearest neighbours of another form")


def _check_map(kernel_map: Nystroem) -> None:
    """Compare what a map of a kernel computes with what featx fits."""
    if kernel_map.kernel != "rbf" or kernel_map.kernel_params is not None:
        raise ValueError("a map of another kernel")


_CHECKS: dict[type[Any], Callable[[Any], None]] = {
    SVC: _check_svc,
    KNeighborsClassifier: _check_neighbors,
    Nystroem: _check_map,
}
