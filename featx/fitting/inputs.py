"""Inputs of fitting: caches and heads by path or as objects, and the parts that are used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from featx.cache.joined import open_cache
from featx.cache.reader import Cache
from featx.core.errors import HeadError, find_nearest
from featx.core.notes import note
from featx.core.text import count_noun, is_number, join_some
from featx.core.typing import Array, CachePaths, IntArray, PathLike
from featx.fitting.split_notes import OTHER_GROUPS
from featx.heads.head import Head
from featx.heads.load import load_head
from featx.heads.target_head import TargetHead
from featx.heads.targets import SEPARATOR

CacheLike = CachePaths | Cache
"""A cache: what `featx.open_cache` takes, or the open cache."""

N_SHOWN = 10
"""Number of classes that one message names."""

FEW_ROWS = 10
"""Number of rows up to which each may be the only one of its class: more of them look like labels
that are no classes."""

MANY_NUMBERS, MIN_ROWS = 20, 5
"""Number of classes above which numbers that have fewer than so many rows each look measured."""

HeadLike = PathLike | Head
"""A head: the path of its file, or the head."""


@contextmanager
def opened_cache(cache: CacheLike) -> Iterator[Cache]:
    """Open a cache that is given by its path; an open cache stays open at the end of the block.

    Parameters
    ----------
    cache : path, sequence of paths or Cache
        Cache to open.
    """
    if isinstance(cache, Cache):
        yield cache
    else:
        with open_cache(cache) as opened:
            yield opened


def read_head(head: HeadLike) -> Head:
    """Return a head that is given by its path or as an object.

    Parameters
    ----------
    head : path or Head
        Head to return.

    Raises
    ------
    HeadError
        If the file cannot be read as a head.
    """
    return head if isinstance(head, Head) else load_head(head)


def read_class_head(head: HeadLike) -> Head:
    """Return a head for one class per image, which is given by its path or as an object.

    Parameters
    ----------
    head : path or Head
        Head to return.

    Raises
    ------
    HeadError
        If the file cannot be read as a head, or the head is one for several classes or a number.
    """
    loaded = read_head(head)
    if isinstance(loaded, TargetHead):
        raise loaded.refuse("one class per image")
    return loaded


def check_known(labels: Array, classes: Array, *, subject: str) -> None:
    """Refuse rows none of which has a class that a head knows: all of them would count as wrong.

    Parameters
    ----------
    labels : ndarray of str
        ``(n_rows,)``, labels of the rows that are scored.
    classes : ndarray of str
        ``(n_classes,)``, classes of the head.
    subject : str
        Name of the cache and the split, for the error.

    Raises
    ------
    HeadError
        If there are rows, and no label is one of the classes. The message names the nearest ones.
    """
    unknown = _list_unknown(labels, classes)
    if unknown and not np.isin(labels, classes).any():
        known = [str(label) for label in classes]
        raise HeadError(
            subject=subject,
            expected=f"classes among {_list_some(known)}",
            got=_list_some(unknown),
            remedy=f"{_name_nearest(unknown, known) or 'No known name is similar'}. Correct the "
            "labels with featx.label_cache(cache, table), or fit a head on this cache with "
            "featx.fit_head(cache).",
        )


def describe_unknown(labels: Array, classes: Array) -> str:
    """Say how many rows have a class that a head does not know, and which; empty if none has.

    Parameters
    ----------
    labels : ndarray of str
        ``(n_rows,)``, labels of the rows that are scored.
    classes : ndarray of str
        ``(n_classes,)``, classes of the head.
    """
    unknown = _list_unknown(labels, classes)
    if not unknown:
        return ""
    n_rows = int((~np.isin(labels, classes)).sum())
    has, counts = ("has", "counts") if n_rows == 1 else ("have", "count")
    what = "a class" if len(unknown) == 1 else f"{len(unknown)} classes"
    nearest = _name_nearest(unknown, [str(label) for label in classes])
    return (
        f"{count_noun(n_rows, 'row')} {has} {what} that the head does not know "
        f"({_list_some(unknown)}), and {counts} as wrong"
    ) + (f". {nearest}" if nearest else "")


def _list_unknown(labels: Array, classes: Array) -> list[str]:
    return [str(label) for label in np.unique(labels[~np.isin(labels, classes)])]


def _name_nearest(unknown: Sequence[str], known: Sequence[str]) -> str:
    """Name the nearest class of each of the first unknown ones: by value for numbers."""
    pairs = []
    for label in unknown[:N_SHOWN]:
        nearest = [one for one in known if is_number(one) and _is_same_number(label, one)]
        nearest += find_nearest(label, known)
        pairs += [f"{nearest[0]} for {label}"] if nearest else []
    return f"Nearest: {', '.join(pairs)}" if pairs else ""


def _is_same_number(first: str, second: str) -> bool:
    return is_number(first) and float(first) == float(second)


def _list_some(names: Sequence[str]) -> str:
    """List the first names, and count the others."""
    more = [f"{len(names) - N_SHOWN} more"] if len(names) > N_SHOWN else []
    return ", ".join([*names[:N_SHOWN], *more])


def check_labels(y: Array, *, subject: str) -> None:
    """Refuse labels that a classifier cannot be fitted on.

    Parameters
    ----------
    y : ndarray of str
        ``(n_rows,)``, labels of the rows that have one.
    subject : str
        Name of the cache and the split, for the error.

    Raises
    ------
    HeadError
        If the labels are of fewer than two classes; or if no class has two rows, unless they are at
        most `FEW_ROWS` rows with names, from which somebody wants to learn.
    """
    check_several(y, subject=subject)
    classes, counts = np.unique(y, return_counts=True)
    if counts.max() == 1 and (_are_decimals(classes) or len(y) > FEW_ROWS):
        raise HeadError(
            subject=subject,
            expected="classes of several rows",
            got=f"{len(classes)} of 1 row ({classes[0]}, …)",
            remedy=f"The labels look like {_guess_content(classes)}.",
        )


def check_several(y: Array, *, subject: str) -> None:
    """Refuse labels that are all the same, or none.

    Parameters
    ----------
    y : ndarray of str
        ``(n_rows,)``, labels of the rows that have one.
    subject : str
        Name of the cache and the split, for the error.

    Raises
    ------
    HeadError
        If the labels are of fewer than two classes.
    """
    classes = np.unique(y)
    if len(classes) < 2:
        raise HeadError(
            subject=subject,
            expected="rows of at least 2 classes",
            got=f"only {classes[0]!r}" if len(classes) else "no labelled rows",
            remedy="Extract from class folders, or from a table with a column named label.",
        )


def are_measured(y: Array) -> bool:
    """Tell whether labels look like measurements: numbers that few rows share.

    Parameters
    ----------
    y : ndarray of str
        ``(n_rows,)``, labels of the rows that have one.

    Examples
    --------
    >>> digits = np.arange(1000) % 10
    >>> are_measured(digits.astype(str)), are_measured((digits / 7).astype(str))
    (False, False)
    >>> are_measured(np.array(["1.5", "2.25", "3.125"]))
    True
    """
    classes, counts = np.unique(y, return_counts=True)
    if not len(classes) or not are_numbers(classes):
        return False
    if len(classes) > MANY_NUMBERS and len(y) < MIN_ROWS * len(classes):
        return True
    return bool(counts.max() == 1) and (_are_decimals(classes) or len(y) > FEW_ROWS)


def _are_decimals(classes: Array) -> bool:
    return are_numbers(classes) and any(float(label) % 1 for label in classes)


def _guess_content(classes: Array) -> str:
    """Say what labels look like of which no two are equal, and what to do."""
    if are_numbers(classes):
        return 'numbers: fit on a number with target="label"'
    if all(";" in str(label) for label in classes):
        return "several classes in each row: fit on them with several=True"
    return "names of images: give images of one class the same label"


def note_labels(y: Array, *, subject: str, units: IntArray | None = None) -> None:
    """Tell the user of labels that may be no classes, and of classes that cannot be held out.

    Parameters
    ----------
    y : ndarray of str
        ``(n_rows,)``, labels of the rows that a head is fitted on.
    subject : str
        Name of the cache and the split.
    units : ndarray of int64, optional
        ``(n_rows,)``, the unit of each row. Default: each row is a unit of its own.
    """
    classes = np.unique(y)
    joined = [str(label) for label in classes if SEPARATOR in label]
    if joined:
        note(
            f"{subject}: labels with {SEPARATOR!r}, such as {joined[0]}, are classes of their own. "
            "If an image can have several classes, pass several=True"
        )
    if are_measured(y):
        note(
            f"{subject}: the labels look like numbers ({classes[0]}, {classes[1]}, …), "
            f"{len(classes)} classes of {len(y)} rows. If they are measurements, fit on a number "
            'with target="label"'
        )
        return
    single = list_single_classes(y, units)
    if 0 < len(single) < len(classes):  # of all classes, the fit itself says that nothing is scored
        one = "row" if units is None else "row or group"
        which = f"{len(single)} of {len(classes)} classes"
        verb = "has" if len(single) == 1 else "have"
        note(
            f"{subject}: {which} {verb} a single {one} ({join_some(single, N_SHOWN)}): it is "
            "learnt from, but no held-out prediction of it can be right"
        )


def list_single_classes(y: Array, units: IntArray | None) -> list[str]:
    """List the classes all of whose rows are one unit: whatever parts rows cannot part them.

    Parameters
    ----------
    y : ndarray of str
        ``(n_rows,)``, labels.
    units : ndarray of int64 or None
        ``(n_rows,)``, the unit of each row; None if each row is alone.

    Returns
    -------
    list of str
        Names of classes, sorted.

    Examples
    --------
    >>> list_single_classes(np.array(["ant", "ant", "bee", "bee"]), np.array([0, 1, 2, 2]))
    ['bee']
    """
    classes, codes = np.unique(y, return_inverse=True)
    rows = np.arange(len(y)) if units is None else units
    pairs = np.unique(np.stack([codes, rows]), axis=1)
    n_units = np.bincount(pairs[0], minlength=len(classes))
    return [str(label) for label in classes[n_units == 1]]


def are_all_single(y: Array, units: IntArray | None) -> bool:
    """Tell whether each of several classes is one unit, of which some have several rows.

    Parameters
    ----------
    y : ndarray of str
        ``(n_rows,)``, labels.
    units : ndarray of int64 or None
        ``(n_rows,)``, the unit of each row; None if each row is alone.
    """
    n_classes = len(np.unique(y))
    return (
        units is not None
        and 1 < n_classes < len(y)
        and (len(list_single_classes(y, units)) == n_classes)
    )


def check_several_units(y: Array, units: IntArray | None, *, subject: str) -> None:
    """Refuse labels each of whose classes lies in one group: no class could be held out.

    Parameters
    ----------
    y, units : ndarray
        As for `are_all_single`.
    subject : str
        Name of the cache and the split, for the error.

    Raises
    ------
    HeadError
        If no class has two units.
    """
    if are_all_single(y, units):
        raise HeadError(
            subject=subject,
            expected="classes of several groups, some to fit on and others to score on",
            got=f"{len(np.unique(y))} classes, each in one group",
            remedy=OTHER_GROUPS,
        )


def are_numbers(classes: Array) -> bool:
    """Tell whether all classes are numbers, as a table of measurements has them.

    Parameters
    ----------
    classes : ndarray of str
        ``(n_classes,)``, names of classes.

    Examples
    --------
    >>> are_numbers(np.array(["0.5", "-3e2"])), are_numbers(np.array(["0.5", "v1.0"]))
    (True, False)
    """
    return all(is_number(str(label)) for label in classes)
