"""What a split was recorded as."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from featx.core.typing import Split, StrArray, list_choices
from featx.fitting.similar import SimilarRows


@dataclass(frozen=True, kw_only=True)
class SplitReport:
    """What a split was recorded as.

    Attributes
    ----------
    splits : dict of str to int
        Number of rows of each split.
    counts : dict of str to dict of str to int
        Number of rows of each class, by its name, in each split.
    n_dealt : int
        Number of rows that got a split, or another one.
    similar : SimilarRows or None
        Near-duplicates that were kept together; None if none were looked for.
    """

    splits: dict[str, int]
    counts: dict[str, dict[str, int]]
    n_dealt: int
    similar: SimilarRows | None = None


def count_by_class(labels: StrArray, splits: StrArray) -> dict[str, dict[str, int]]:
    """Count the rows of each class in each split.

    Parameters
    ----------
    labels, splits : ndarray of str
        ``(n_rows,)``, label and split of each row; rows without a split are passed over.

    Examples
    --------
    >>> count_by_class(np.array(["ant", "bee", "ant"]), np.array(["train", "val", "val"]))
    {'ant': {'train': 1, 'val': 1}, 'bee': {'train': 0, 'val': 1}}
    """
    names = [name for name in list_choices(Split) if (splits == name).any()]
    counts: dict[str, dict[str, int]] = {}
    for name in names:
        found, numbers = np.unique(labels[splits == name].astype(str), return_counts=True)
        for label, number in zip(found.tolist(), numbers.tolist(), strict=True):
            counts.setdefault(label, dict.fromkeys(names, 0))[name] = number
    return dict(sorted(counts.items()))
