"""What a split is stratified by: classes or, of labels that are measured numbers, runs of them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from featx.core.text import count_noun
from featx.core.typing import Split, StrArray, list_choices
from featx.fitting.inputs import are_measured, check_labels, check_several
from featx.heads.runs import count_runs, find_runs


@dataclass(frozen=True, kw_only=True, eq=False)
class Strata:
    """The stratum of each row, of which each split takes its share.

    Attributes
    ----------
    of_row : ndarray of str
        ``(n_rows,)``, the label of each row or, of numbers, the ends of its run: ``"2.5 to 7"``;
        ``""`` for a row without a label.
    names : tuple of str
        Names of the strata: of classes sorted as text, of runs by their numbers.
    are_runs : bool
        Whether the strata are runs of numbers.
    """

    of_row: StrArray
    names: tuple[str, ...]
    are_runs: bool

    @classmethod
    def find(cls, labels: StrArray, *fractions: float) -> Strata:
        """Find the strata of rows.

        Parameters
        ----------
        labels : ndarray of str
            ``(n_rows,)``, labels, ``""`` for rows without one.
        *fractions : float
            Fractions of the rows that will be set aside, 0 for none: there are no more runs than
            rows in the smallest of them, so that each run has one there.

        Examples
        --------
        >>> Strata.find(np.array(["ant", "bee", "", "ant"], object)).names
        ('ant', 'bee')
        >>> labels = np.array([f"{number / 2}" for number in range(20)], object)
        >>> Strata.find(labels).names
        ('0.0 to 2.0', '2.5 to 4.5', '5.0 to 7.0', '7.5 to 9.5')
        """
        rows = np.flatnonzero(labels != "")
        n_wanted = [round(fraction * len(rows)) for fraction in fractions if fraction]
        if not are_measured(labels[rows]) or _have_room(labels[rows], n_wanted):
            names = tuple(np.unique(labels[rows]).tolist())
            return cls(of_row=labels, names=names, are_runs=False)
        numbers = labels[rows].astype(np.float64)
        codes = find_runs(numbers, max(1, min([count_runs(len(rows)), *n_wanted])))
        order = np.argsort(numbers, kind="stable")
        ends = np.searchsorted(codes[order], np.arange(codes.max() + 2))
        texts = labels[rows[order]].tolist()
        runs = [
            " to ".join(dict.fromkeys((texts[start], texts[end - 1])))
            for start, end in itertools.pairwise(ends)
        ]
        of_row = np.full(len(labels), "", object)
        of_row[rows] = np.array(runs, object)[codes]
        return cls(of_row=of_row, names=tuple(runs), are_runs=True)

    def check(self, labels: StrArray, *, subject: str) -> None:
        """Refuse labels that cannot be split.

        Parameters
        ----------
        labels : ndarray of str
            ``(n_labelled,)``, the labels, none of them empty.
        subject : str
            Name of the cache, for the error.

        Raises
        ------
        HeadError
            If the labels are all the same, or names that no two rows share.
        """
        (check_several if self.are_runs else check_labels)(labels, subject=subject)

    def count(self, splits: StrArray) -> dict[str, dict[str, int]]:
        """Count the rows of each stratum in each split.

        Parameters
        ----------
        splits : ndarray of str
            ``(n_rows,)``, the split of each row; rows without one are passed over.

        Examples
        --------
        >>> strata = Strata.find(np.array(["ant", "bee", "ant"], object))
        >>> strata.count(np.array(["train", "val", "val"]))
        {'ant': {'train': 1, 'val': 1}, 'bee': {'train': 0, 'val': 1}}
        """
        sides = [name for name in list_choices(Split) if (splits == name).any()]
        counts: dict[str, dict[str, int]] = {}
        for side in sides:
            found, numbers = np.unique(self.of_row[splits == side].astype(str), return_counts=True)
            for name, number in zip(found.tolist(), numbers.tolist(), strict=True):
                counts.setdefault(name, dict.fromkeys(sides, 0))[side] = number
        return {name: counts[name] for name in self.names if name in counts}

    def list_notes(self) -> list[str]:
        """List what a person should know of the strata."""
        if not self.are_runs:
            return []
        return [
            "the labels look like numbers: each split takes its share of "
            f"{count_noun(len(self.names), 'run')} of like ones, not of each label"
        ]


def _have_room(labels: StrArray, n_wanted: list[int]) -> bool:
    """Return whether each label can be in each split: numbers may be names of classes after all."""
    counts = np.unique(labels, return_counts=True)[1]
    return bool(counts.min() > 1) and len(counts) <= min(n_wanted, default=len(labels))
