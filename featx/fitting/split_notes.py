"""What a split promises, checked on the split itself: classes on both sides, and its size."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from featx.cache.reader import Cache
from featx.core.errors import CacheError, HeadError
from featx.core.same_files import (
    count_copied,
    describe_conflicts,
    describe_copied,
    find_conflicts,
)
from featx.core.text import count_noun, join_some, show_text
from featx.core.typing import BoolArray, IntArray, StrArray
from featx.heads.dealing import Units

N_SHOWN = 3
"""Number of classes that are named."""

MAX_NAME = 40
"""Length in characters of a name among several."""

TOLERANCE = 0.25
"""Share of the rows asked for that a split may have more or fewer, without a word."""

OTHER_GROUPS = (
    "Extract images of other groups, or correct the groups with featx.label_cache(cache, table, "
    "field='group')."
)


def refuse_other_splits(cache: Cache) -> CacheError:
    """Refuse to replace the splits that a cache has.

    Parameters
    ----------
    cache : Cache
        Open cache.
    """
    n_open = int(((cache.labels != "") & (cache.splits == "")).sum())
    only_new = f", or new=True to split only the {count_noun(n_open, 'row')} without one"
    return CacheError(
        subject=str(cache.path),
        expected="a cache without splits, or with the same ones",
        got=", ".join(cache.list_splits()),
        remedy=f"Pass overwrite=True to replace them{only_new if n_open else ''}.",
    )


def check_several_groups(cache: Cache, rows: IntArray, units: IntArray | None) -> None:
    """Refuse labels each of whose classes is a single unit: nothing of it could be set aside.

    Parameters
    ----------
    cache : Cache
        Open cache.
    rows : ndarray of int64
        ``(n,)``, rows of the cache with a label.
    units : ndarray of int64 or None
        ``(n,)``, the unit of each of these rows; None if each is alone.

    Raises
    ------
    HeadError
        If no class has two units. The message names the groups.
    """
    if units is None:
        return
    labels = cache.labels[rows]
    table = Units(np.unique(labels, return_inverse=True)[1], units)
    if table.count_by_class().max() > 1:
        return
    raise HeadError(
        subject=str(cache.path),
        expected="classes of several groups, some to fit on and others to score on",
        got=_describe_classes(np.unique(labels).tolist(), cache, rows, labels=labels, units=units),
        remedy=OTHER_GROUPS,
    )


def check_train(cache: Cache, splits: StrArray, units: IntArray | None) -> None:
    """Refuse splits whose train lacks a class.

    Parameters
    ----------
    cache : Cache
        Open cache.
    splits : ndarray of str
        ``(n_rows,)``, the split of each row.
    units : ndarray of int64 or None
        ``(n_rows,)``, the unit of each row; None if each is alone.

    Raises
    ------
    HeadError
        If a class with rows in a split has none in train. The message names its groups.
    """
    rows = np.flatnonzero((splits != "") & (cache.labels != ""))
    labels = cache.labels[rows]
    lacking = np.setdiff1d(labels, labels[splits[rows] == "train"]).tolist()
    if lacking:
        of_rows = None if units is None else units[rows]
        raise HeadError(
            subject=str(cache.path),
            expected="rows of every class in train",
            got=f"none of {_describe_classes(lacking, cache, rows, labels=labels, units=of_rows)}",
            remedy=f"{OTHER_GROUPS} Or pass overwrite=True to deal all rows anew.",
        )


def _describe_classes(
    names: list[str], cache: Cache, rows: IntArray, *, labels: StrArray, units: IntArray | None
) -> str:
    """Name classes with their rows; and what joins them, where all rows of a class are one unit."""
    told = []
    for name in names[:N_SHOWN]:
        of_class = np.flatnonzero(labels == name)
        is_one = units is not None and len(of_class) > 1 and len(np.unique(units[of_class])) == 1
        joined = _describe_unit(cache, rows[of_class]) if is_one else ""
        told.append(f"{show_text(name, MAX_NAME)} ({count_noun(len(of_class), 'row')}{joined})")
    return join_some([*told, *names[N_SHOWN:]], N_SHOWN)


def _describe_unit(cache: Cache, rows: IntArray) -> str:
    """Say what joins rows to one unit: their group, their bytes, or that they look alike."""
    named = np.unique(cache.groups[rows].astype(str)).tolist()
    if any(named):
        return f" of group {show_text(next(filter(None, named)), MAX_NAME)}"
    n_files = len(np.unique(cache.read_column("digest")[rows], axis=0))
    return " of one file" if n_files == 1 else " that are joined as near-duplicates"


def list_notes(
    cache: Cache,
    splits: StrArray,
    units: IntArray | None,
    learnt: BoolArray,
    *,
    strata: StrArray,
    fractions: Mapping[str, float],
    similar: bool = False,
) -> list[str]:
    """List what a person should know of the splits of a cache.

    Parameters
    ----------
    cache : Cache
        Open cache.
    splits : ndarray of str
        ``(n_rows,)``, the new split of each row.
    units : ndarray of int64 or None
        ``(n_rows,)``, the unit of each row; None if each is alone.
    learnt : ndarray of bool
        ``(n_rows,)``, rows that the network of any embedding has learnt from.
    strata : ndarray of str
        ``(n_rows,)``, the class of each row, or the run of its number.
    fractions : mapping of str to float
        Fractions of the rows that were asked for, by the name of the split; empty if only some rows
        were dealt.
    similar : bool
        Whether near-duplicates stay together, too.
    """
    rows = np.flatnonzero(splits != "")
    labels, of_rows, sides = (
        strata[rows],
        None if units is None else units[rows],
        splits[rows],
    )
    notes = _list_learnt_notes(sides, learnt[rows])
    for name in ("val", "test"):
        held, n_wanted = sides == name, round(fractions.get(name, 0) * len(rows))
        if not held.any() and not n_wanted:
            continue
        n_held = int(held.sum())
        because = f"groups{', near-duplicates' * similar} and copies stay whole"
        n_left = int((~learnt[rows] & (sides == "train")).sum())
        if learnt[rows].any() and n_wanted - n_held > n_left:
            notes.append(f"{name} has {n_held:,} rows, not {n_wanted:,}: there are no others")
        elif n_wanted and units is not None and abs(n_held - n_wanted) > TOLERANCE * n_wanted:
            notes.append(f"{name} has {n_held:,} rows, not {n_wanted:,}: {because}")
        lacking = np.setdiff1d(labels, labels[held]).tolist()
        if lacking:
            told = _describe_classes(lacking, cache, rows, labels=labels, units=of_rows)
            notes.append(f"{name} has no {told}")
    n_plain = int((cache.labels == "").sum())
    if n_plain:
        notes.append(f"{n_plain} of {len(splits)} rows have no label, and get no split")
    digests = cache.read_column("digest")[rows]
    n_copied = count_copied(digests)
    if n_copied:
        notes.append(describe_copied(n_copied))
    pairs = rows[find_conflicts(digests, cache.labels[rows])]
    if len(pairs):
        notes.append(describe_conflicts(cache.ids, pairs))
    return notes


def _list_learnt_notes(sides: StrArray, learnt: BoolArray) -> list[str]:
    if not learnt.any():
        return []
    told = f"{learnt.sum():,} of {len(sides):,} rows were learnt from by the network"
    return [f"{told}: they become train"]
