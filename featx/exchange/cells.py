"""Cells of foreign tables as text."""

from __future__ import annotations

import math
from typing import Any


def read_cell(value: Any) -> str:
    """Read a number, a text or a missing value as text.

    Parameters
    ----------
    value : str, int, float, bool or None
        The cell.

    Returns
    -------
    str
        The text as it is; a whole number without ``.0``; another number as the shortest text that
        stands for it; empty for None and NaN.

    Examples
    --------
    >>> [read_cell(cell) for cell in ("ant", 3.0, 0.1, None, True)]
    ['ant', '3', '0.1', '', 'True']
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
