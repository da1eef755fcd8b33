"""Versions of the packages that fitted a head."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping

PACKAGES = ("featx", "numpy", "scikit-learn")
"""Packages whose versions stand in the file of a head."""

SKLEARN = "scikit-learn"


def find_versions() -> dict[str, str]:
    """Return the version of each package that fits heads, and of Python."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {**versions, "python": platform.python_version()}


def name_series(versions: Mapping[str, str]) -> str:
    """Name the minor version of scikit-learn, which any of its patch releases can stand for.

    Examples
    --------
    >>> name_series({"scikit-learn": "1.5.2"})
    'scikit-learn 1.5'
    """
    return f"{SKLEARN} {'.'.join(versions.get(SKLEARN, '?').split('.')[:2])}"
