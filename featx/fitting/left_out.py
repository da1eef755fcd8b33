"""The account of all rows of a cache: which a command uses, and why it passes over the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from featx.cache.reader import Cache
from featx.cache.side_by_side import Names, list_names, read_present_in
from featx.core.notes import note
from featx.core.text import count_noun, join_some, show_text
from featx.core.typing import Array, StrArray

N_SHOWN = 3
"""Number of classes that are named."""

MAX_NAME = 40
"""Length in characters of a name among several."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Numbers of rows that a command passes over. No row is counted twice.

    Attributes
    ----------
    cache : str
        Path of the cache.
    split : str
        Name of the split that the command reads, or ``"all"``.
    embeddings : tuple of str
        Names of the embeddings that it reads.
    n_rows : int
        Number of rows of the split.
    n_unlabelled : int
        Number of rows of the split without a label.
    n_without_vector : int
        Number of labelled rows of the split that lack one of the embeddings.
    n_without_split : int
        Number of labelled rows of the cache without a split; 0 if all rows are read.
    n_plain : int
        Number of rows of the cache with neither a label nor a split; 0 if all rows are read.
    """

    cache: str
    split: str
    embeddings: tuple[str, ...]
    n_rows: int
    n_unlabelled: int
    n_without_vector: int
    n_without_split: int
    n_plain: int

    @classmethod
    def count(cls, cache: Cache, split: str, embeddings: Names) -> LeftOut:
        """Count the rows of a cache that a command passes over.

        Parameters
        ----------
        cache : Cache
            Open cache.
        split : str
            Name of the split, or ``"all"``.
        embeddings : str or sequence of str
            Name of the embedding, or names of several.
        """
        rows = cache.select_rows(split)
        is_labelled = cache.labels != ""
        has_label = is_labelled[rows]
        lacks_split = np.zeros(len(cache), bool) if split == "all" else cache.splits == ""
        return cls(
            cache=str(cache.path),
            split=split,
            embeddings=list_names(embeddings),
            n_rows=len(rows),
            n_unlabelled=int((~has_label).sum()),
            n_without_vector=int((has_label & ~read_present_in(cache, embeddings)[rows]).sum()),
            n_without_split=int((is_labelled & lacks_split).sum()),
            n_plain=int((~is_labelled & lacks_split).sum()),
        )

    def describe_split(self) -> str:
        """Say which rows of the split are left out; empty if none is.

        Examples
        --------
        >>> left_out = LeftOut(
        ...     cache="a.h5",
        ...     split="val",
        ...     embeddings=("mini",),
        ...     n_rows=9,
        ...     n_unlabelled=2,
        ...     n_without_vector=0,
        ...     n_without_split=0,
        ...     n_plain=0,
        ... )
        >>> left_out.describe_split()
        'a.h5, split val: of 9 rows, 2 without a label were left out'
        """
        lacking = {
            "a label": self.n_unlabelled,
            describe_vector(self.embeddings): self.n_without_vector,
        }
        return describe_lacking(f"{self.cache}, split {self.split}", self.n_rows, lacking)

    def describe_unsplit(self) -> str:
        """Say which rows of the cache have no split; empty if no labelled row lacks one."""
        if not self.n_without_split:
            return ""
        has = "has" if self.n_without_split == 1 else "have"
        told = (
            f"{self.cache}: {count_noun(self.n_without_split, 'labelled row')} {has} no split, "
            f"and {choose_verb(self.n_without_split)} left out"
        )
        if self.n_plain:
            told += f"; {count_noun(self.n_plain, 'row')} more without a label"
        return f"{told}. Split them with featx.split_cache(cache, new=True)"

    def list_notes(self, *, unsplit: bool = True) -> list[str]:
        """List what a person should know of the rows that are left out.

        Parameters
        ----------
        unsplit : bool
            Whether rows without a split are told, too.
        """
        texts = [self.describe_split(), self.describe_unsplit() if unsplit else ""]
        return [text for text in texts if text]


def describe_lacking(
    subject: str, n_rows: int, lacking: Mapping[str, int], *, end: str = ""
) -> str:
    """Say how many rows are left out, and what they lack; empty if none is.

    Parameters
    ----------
    subject : str
        Name of the cache and the split.
    n_rows : int
        Number of all rows.
    lacking : mapping of str to int
        Number of rows that are left out, by what they lack. No row is counted twice.
    end : str
        Last words of the sentence.

    Examples
    --------
    >>> describe_lacking("a.h5", 1_200, {"a label": 1, "a vector": 0}, end=" for all")
    'a.h5: of 1,200 rows, 1 without a label was left out for all'
    """
    told = [f"{n:,} without {what}" for what, n in lacking.items() if n]
    if not told:
        return ""
    verb = choose_verb(sum(lacking.values()))
    rows = count_noun(n_rows, "row")
    return f"{subject}: of {rows}, {' and '.join(told)} {verb} left out{end}"


def choose_verb(n_rows: int) -> str:
    """Return the verb that goes with a number of rows.

    Parameters
    ----------
    n_rows : int
        Number of rows.

    Examples
    --------
    >>> choose_verb(1), choose_verb(2)
    ('was', 'were')
    """
    return "was" if n_rows == 1 else "were"


def describe_vector(embeddings: Names) -> str:
    """Say what rows lack that are left out.

    Parameters
    ----------
    embeddings : str or sequence of str
        Name of the embedding, or names of several.

    Examples
    --------
    >>> describe_vector("mini")
    'a vector in embedding mini'
    >>> describe_vector(["mini", "lenet5"])
    'a vector in one of the embeddings mini and lenet5'
    """
    names = list_names(embeddings)
    if len(names) == 1:
        return f"a vector in embedding {names[0]}"
    return f"a vector in one of the embeddings {', '.join(names[:-1])} and {names[-1]}"


def note_left_out(cache: Cache, split: str, embeddings: Names, *, unsplit: bool = True) -> None:
    """Tell the user which rows of a cache are passed over.

    Parameters
    ----------
    cache : Cache
        Open cache.
    split : str
        Name of the split that is used, or ``"all"``.
    embeddings : str or sequence of str
        Name of the embedding that is used, or names of several.
    unsplit : bool
        Whether rows without a split are told, too.
    """
    for text in LeftOut.count(cache, split, embeddings).list_notes(unsplit=unsplit):
        note(text)


def describe_untested(labels: StrArray, classes: Array, *, subject: str) -> str:
    """Say which classes of a head have no row among those that it is scored on; empty if none.

    Parameters
    ----------
    labels : ndarray of str
        ``(n_rows,)``, labels of the rows that are scored.
    classes : ndarray of str
        ``(n_classes,)``, classes of the head.
    subject : str
        Name of the cache and the split.
    """
    lacking = [str(label) for label in np.setdiff1d(classes.astype(str), labels.astype(str))]
    if not lacking:
        return ""
    it = "it" if len(lacking) == 1 else "them"
    return f"{subject}: no row of {_join_names(lacking)}: the scores say nothing of {it}"


def describe_unlearnt(cache: Cache, labels: StrArray) -> str:
    """Say which classes of val and test the rows to fit on lack; empty if they lack none.

    Parameters
    ----------
    cache : Cache
        Open cache.
    labels : ndarray of str
        ``(n_rows,)``, labels of the rows to fit on.
    """
    learnt = set(labels.tolist())
    counts: dict[str, int] = {}
    for (label, split), n_rows in cache.count_labels().items():
        if label and split in ("val", "test") and label not in learnt:
            counts[label] = counts.get(label, 0) + n_rows
    if not counts:
        return ""
    names = _join_names(sorted(counts))
    return (
        f"{cache.path}: val and test have {count_noun(sum(counts.values()), 'row')} of {names}, "
        "which the head cannot learn: no row to fit on has it"
    )


def _join_names(names: Sequence[str]) -> str:
    return join_some([show_text(name, MAX_NAME) for name in names], N_SHOWN)
