"""Near-duplicates that folds part: what is held out in folds is then known from its copies."""

from __future__ import annotations

import numpy as np

from featx.analytics.duplicates import NearDuplicates
from featx.cache.reader import Cache
from featx.core.typing import BoolArray, IntArray
from featx.heads.units import join_units


def find_parted_copies(cache: Cache, found: NearDuplicates | None, rows: IntArray) -> BoolArray:
    """Find the rows that have a near-duplicate among the others which folds do not keep with them.

    Folds keep units together, groups and copies of one file, and know nothing of pixels.

    Parameters
    ----------
    cache : Cache
        Open cache.
    found : NearDuplicates or None
        Its near-duplicates; None if they were not looked for.
    rows : ndarray of int64
        ``(n_rows,)``, rows of the cache that are dealt to folds.

    Returns
    -------
    ndarray of bool
        ``(n_rows,)``.
    """
    flags = np.zeros(len(cache), bool)
    if found is None:
        return flags[rows]
    is_dealt = np.zeros(len(cache), bool)
    is_dealt[rows] = True
    units = join_units(cache.groups, cache.read_column("digest"))
    a, b = found.a, found.b
    parted = is_dealt[a] & is_dealt[b] & (units[a] != units[b])
    flags[a[parted]] = flags[b[parted]] = True
    return flags[rows]
