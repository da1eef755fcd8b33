"""What a split was recorded as."""

from __future__ import annotations

from dataclasses import dataclass

from featx.fitting.similar import SimilarRows


@dataclass(frozen=True, kw_only=True)
class SplitReport:
    """What a split was recorded as.

    Attributes
    ----------
    splits : dict of str to int
        Number of rows of each split.
    counts : dict of str to dict of str to int
        Number of rows of each class, by its name, in each split; of labels that are numbers, of
        each run of like ones, such as ``"2.5 to 7"``.
    are_numbers : bool
        Whether the labels are numbers.
    n_dealt : int
        Number of rows that got a split, or another one.
    similar : SimilarRows or None
        Near-duplicates that were kept together; None if none were looked for.
    """

    splits: dict[str, int]
    counts: dict[str, dict[str, int]]
    are_numbers: bool
    n_dealt: int
    similar: SimilarRows | None = None
