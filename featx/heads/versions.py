"""Versions of the packages that fitted a head."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping

import numpy as np
import sklearn.base

SKLEARN = "scikit-learn"
"""Name of the package whose estimators differ between its versions."""


def find_versions() -> dict[str, str]:
    """Return the version of each package that fits heads, and of Python."""
    return {
        "featx": importlib.metadata.version("featx"),
        "numpy": np.__version__,
        SKLEARN: sklearn.base.__version__,  # as scikit-learn stamps it on its estimators
        "python": platform.python_version(),
    }


def name_series(versions: Mapping[str, str]) -> str:
    """Name the minor version of scikit-learn, which any of its patch releases can stand for.

    Examples
    --------
    >>> name_series({"scikit-learn": "1.5.2"})
    'scikit-learn 1.5'
    """
    return f"{SKLEARN} {'.'.join(versions.get(SKLEARN, '?').split('.')[:2])}"
