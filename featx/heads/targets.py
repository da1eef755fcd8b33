"""Targets: what a head predicts. One class per image, several classes per image, or a number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from featx.core.errors import HeadError
from featx.core.text import count_noun, join_some
from featx.core.typing import Array, BoolArray, Float64Array, StrArray

TargetKind = Literal["several", "number"]
"""Kinds of targets beside one class per image: several classes per image, or a number."""

SEPARATOR = ";"
"""Sign between the classes of one image, as in ``ant;bee``; alone, it says that there are none."""

YES = frozenset(["1", "true", "yes"])
NO = frozenset(["0", "false", "no"])
"""Words of a column that says of one class whether an image has it, in lower case."""

MIN_ROWS = 2
"""Smallest number of rows that have a class, and that lack it, for the class to be learnt."""

N_NAMED = 3
"""Number of classes or cells that a message names."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a head predicts, if it is not one class per image.

    Attributes
    ----------
    kind : {"several", "number"}
        Kind of the target.
    columns : tuple of str
        Columns of the cache that hold it: ``("label",)`` or another one; or, of several classes, a
        column for each.
    classes : tuple of str
        Names of the classes, sorted as text or in the order of the columns; empty for a number.
    thresholds : tuple of float
        Probability of each class from which on the head says that an image has it.
    mean, median : float or None
        Mean and median of the numbers that the head was fitted on; None for classes.

    See Also
    --------
    featx.fit_head : Fit a head to a target.

    Examples
    --------
    >>> target = Target(
    ...     kind="several", columns=("label",), classes=("ant", "bee"), thresholds=(0.5, 0.2)
    ... )
    >>> target.name_classes(np.array([[0.4, 0.3], [0.1, 0.1]]))
    [('bee',), ()]
    """

    kind: TargetKind
    columns: tuple[str, ...]
    classes: tuple[str, ...] = ()
    thresholds: tuple[float, ...] = ()
    mean: float | None = None
    median: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Target:
        """Build the target again from the fields that `to_dict` returned.

        Parameters
        ----------
        fields : mapping
            Fields as `to_dict` returned them.
        """
        lists = {name: tuple(fields[name]) for name in ("columns", "classes", "thresholds")}
        return cls(**{**fields, **lists})

    def name_classes(self, probabilities: Array) -> list[tuple[str, ...]]:
        """Name the classes of each row whose probability reaches the threshold.

        Parameters
        ----------
        probabilities : ndarray
            ``(n_rows, n_classes)``.
        """
        flags = probabilities >= np.array(self.thresholds)
        return [
            tuple(name for name, flag in zip(self.classes, row, strict=True) if flag)
            for row in flags.tolist()
        ]


def split_classes(texts: Sequence[str] | StrArray) -> tuple[BoolArray, tuple[str, ...]]:
    """Read cells such as ``ant;bee``.

    Parameters
    ----------
    texts : sequence of str
        ``(n_rows,)``, cells that are not empty. ``;`` alone says that the image has no class.

    Returns
    -------
    flags : ndarray of bool
        ``(n_rows, n_classes)``, classes of each row.
    classes : tuple of str
        Names of the classes, sorted.

    Examples
    --------
    >>> split_classes(["bee; ant", "bee", ";"])
    (array([[ True,  True],
           [False,  True],
           [False, False]]), ('ant', 'bee'))
    """
    names = [[part.strip() for part in text.split(SEPARATOR) if part.strip()] for text in texts]
    classes = sorted({name for row in names for name in row})
    codes = {name: code for code, name in enumerate(classes)}
    flags = np.zeros((len(names), len(classes)), bool)
    for row, found in enumerate(names):
        flags[row, [codes[name] for name in found]] = True
    return flags, tuple(classes)


def read_flags(texts: Sequence[str] | StrArray, column: str) -> BoolArray:
    """Read cells that say of one class whether an image has it.

    Parameters
    ----------
    texts : sequence of str
        ``(n_rows,)``, cells that are not empty: 1 or 0, true or false, yes or no.
    column : str
        Name of the column, for the error.

    Raises
    ------
    HeadError
        If a cell has another word.
    """
    words = [text.casefold() for text in texts]
    wrong = [text for text, word in zip(texts, words, strict=True) if word not in YES | NO]
    if wrong:
        raise HeadError(
            subject=f"column {column}",
            expected="1 or 0, true or false, yes or no in each cell",
            got=_quote_some(wrong),
            remedy="Correct the cells, or pass one column whose cells name the classes: ant;bee.",
        )
    return np.array([word in YES for word in words], bool)


def read_numbers(texts: Sequence[str] | StrArray, column: str) -> Float64Array:
    """Read cells that hold numbers.

    Parameters
    ----------
    texts : sequence of str
        ``(n_rows,)``, cells that are not empty.
    column : str
        Name of the column, for the error.

    Raises
    ------
    HeadError
        If a cell holds no finite number.
    """
    numbers = np.full(len(texts), np.nan)
    for row, text in enumerate(texts):
        try:
            numbers[row] = float(text)
        except ValueError:
            continue
    wrong = [text for text, number in zip(texts, numbers, strict=True) if not math.isfinite(number)]
    if wrong:
        hint = "Pass several=True if the cells name classes." if len(wrong) == len(texts) else ""
        raise HeadError(
            subject=f"column {column}",
            expected="a finite number in each cell",
            got=_quote_some(wrong),
            remedy=f"Correct the cells with featx.label_cache. {hint}".rstrip(),
        )
    return numbers


def find_learnable(flags: BoolArray) -> BoolArray:
    """Find the classes that enough rows have and enough rows lack, bool ``(n_classes,)``.

    Parameters
    ----------
    flags : ndarray of bool
        ``(n_rows, n_classes)``, classes of each row.
    """
    counts = flags.sum(axis=0)
    learnable: BoolArray = np.minimum(counts, len(flags) - counts) >= MIN_ROWS
    return learnable


def _quote_some(texts: Sequence[str]) -> str:
    """Quote some distinct cells, and count the rows."""
    distinct = sorted(set(texts))
    return f"{join_some(list(map(repr, distinct)), N_NAMED)} in {count_noun(len(texts), 'row')}"
