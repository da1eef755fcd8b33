"""The types that the file of a head may hold: a pickle with any other name is refused."""

from __future__ import annotations

import importlib
from _compat_pickle import IMPORT_MAPPING
from typing import Any

ESTIMATORS = {
    "KNeighborsClassifier": "sklearn.neighbors",
    "LabelBinarizer": "sklearn.preprocessing",
    "LinearDiscriminantAnalysis": "sklearn.discriminant_analysis",
    "LinearSVC": "sklearn.svm",
    "LogisticRegression": "sklearn.linear_model",
    "Normalizer": "sklearn.preprocessing",
    "Nystroem": "sklearn.kernel_approximation",
    "OneVsRestClassifier": "sklearn.multiclass",
    "PCA": "sklearn.decomposition",
    "Pipeline": "sklearn.pipeline",
    "Ridge": "sklearn.linear_model",
    "RidgeClassifier": "sklearn.linear_model",
    "SVC": "sklearn.svm",
    "StandardScaler": "sklearn.preprocessing",
}
"""Public module of each class of scikit-learn that a head is made of. None of them calls a function
that its attributes name, as ``FunctionTransformer`` does, and none needs a tree in C."""

ARRAY_NAMES = {
    "joblib.numpy_pickle.NumpyArrayWrapper": "wrapper",
    "numpy.dtype": "dtype",
    "numpy.ndarray": "ndarray",
    # numpy 1 has the same functions without the underscore.
    "numpy._core.multiarray._reconstruct": "reconstruct",
    "numpy.core.multiarray._reconstruct": "reconstruct",
    "numpy._core.multiarray.scalar": "scalar",
    "numpy.core.multiarray.scalar": "scalar",
    "_codecs.encode": "bytes",  # how joblib before 1.5 writes bytes within arrays of objects
}
"""What each name of numpy and joblib in a pickle stands for. featx builds arrays from their bytes
itself: none of these functions is called."""


class RefusedTypeError(ValueError):
    """A pickle names a type or function that no head of featx has.

    Parameters
    ----------
    name : str
        Dotted name of the type.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)


def find_role(module: str, name: str) -> str:
    """Find what a name in a pickle stands for; nothing is imported.

    Parameters
    ----------
    module, name : str
        Module and qualified name, as the pickle has them.

    Returns
    -------
    str
        Name of a class in `ESTIMATORS`, or value of `ARRAY_NAMES`.

    Raises
    ------
    RefusedTypeError
        If the name is not on the list.

    Examples
    --------
    >>> find_role("sklearn.linear_model._logistic", "LogisticRegression")
    'LogisticRegression'
    >>> find_role("posix", "system")
    Traceback (most recent call last):
        ...
    featx.heads.allowed.RefusedTypeError: posix.system
    """
    public = ESTIMATORS.get(name)
    # Private modules change between versions of scikit-learn; public ones and classes stay.
    if public is not None and f"{module}.".startswith(f"{public}."):
        return name
    role = ARRAY_NAMES.get(f"{module}.{name}")
    if role is None:  # protocol 2 writes the names that modules had in Python 2
        raise RefusedTypeError(f"{IMPORT_MAPPING.get(module, module)}.{name}")
    return role


def import_estimator(name: str) -> type[Any] | None:
    """Import a class of the list from its public module; None if scikit-learn lacks it."""
    found = getattr(importlib.import_module(ESTIMATORS[name]), name, None)
    return found if isinstance(found, type) else None
