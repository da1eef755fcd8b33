"""Record a split of the labelled rows in a cache."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from featx.cache.joined import open_cache
from featx.cache.label_writer import write_splits
from featx.cache.lock import remove_dead_lock
from featx.cache.reader import Cache
from featx.cache.remote_output import has_address, open_outputs
from featx.core.errors import CacheError, HeadError
from featx.core.notes import note
from featx.core.text import join_some
from featx.core.typing import BoolArray, CachePaths, Split, StrArray, list_choices
from featx.fitting.inputs import check_labels
from featx.fitting.label import choose_author
from featx.heads.splits import assign_splits
from featx.heads.units import find_units, spread_over_units


def split_cache(
    cache: CachePaths,
    *,
    val: float = 0.2,
    test: float = 0.0,
    seed: int = 0,
    overwrite: bool = False,
    author: str | None = None,
) -> dict[str, int]:
    """Record a stratified split in a cache, with groups kept together.

    The split holds for all rows from then on, whatever the source says in a later extraction. The
    history keeps the splits that it replaces.

    If the weights of an embedding were tuned by `featx.fine_tune`, the rows that they have learnt
    from become train, because a score of them would be too high: val and test are drawn from the
    other rows, and have fewer rows than asked for if there are not enough others.

    Parameters
    ----------
    cache : path or sequence of paths
        Cache to change, or several as `featx.open_cache` takes them. Rows without a label get no
        split.
    val, test : float
        Fractions of the labelled rows for val and for test; the other rows become train.
    seed : int
        Seed of the shuffle.
    overwrite : bool
        Whether to replace splits that the cache has. Splits that would not change are left as they
        are in any case, so that a cell of a notebook can be run twice.
    author : str, optional
        Name of the person, for the history. Default: the user of the system.

    Returns
    -------
    dict of str to int
        Number of rows of each split.

    Raises
    ------
    CacheError
        If the cache cannot be read or written, or has other splits already.
    HeadError
        If the labels are of fewer than two classes, or rows or groups are too few for the
        fractions.

    See Also
    --------
    featx.fit_head : Fit a head on the rows of the split train.
    featx.evaluate : Score a head on the rows of the split val.

    Examples
    --------
    >>> import featx
    >>> featx.split_cache("photos.h5", val=0.25, overwrite=True)
    {'train': 9, 'val': 3}
    """
    if has_address(cache):
        with open_outputs(cache) as paths:
            return split_cache(
                paths, val=val, test=test, seed=seed, overwrite=overwrite, author=author
            )
    with open_cache(cache) as opened:
        members = opened.members
        have = opened.list_splits()
        refusal = CacheError(
            subject=str(opened.path),
            expected="a cache without splits, or with the same ones",
            got=", ".join(have),
            remedy="Pass overwrite=True to replace them.",
        )
        learnt = read_learnt_by_any(opened)
        try:
            splits = build_splits(opened, learnt, val=val, test=test, seed=seed)
        except HeadError as error:
            if have and not overwrite:
                raise refusal from error
            raise
        parts, held = (np.split(one, opened.starts[1:-1]) for one in (splits, opened.splits))
        is_same = [np.array_equal(part, own) for part, own in zip(parts, held, strict=True)]
        # Several caches are written one by one: an interrupted run may have written some of them.
        is_other = [
            not same and bool((own != "").any()) for same, own in zip(is_same, held, strict=True)
        ]
        if any(is_other) and not overwrite:
            raise refusal
        notes = list_learnt_notes(opened.labels, splits, learnt, val=val, test=test)
    told: dict[str, Any] = {
        "author": choose_author(author),
        "note": f"val={val:g}, test={test:g}, seed={seed}",
        "time": time.time_ns() // 1_000_000,
    }
    for member, part, same in zip(members, parts, is_same, strict=True):
        if same:
            remove_dead_lock(member.path.resolve())
        else:
            write_splits(member.path, part, digest=member.digest, **told)
    for text in notes:
        note(text)
    n_plain = int((splits == "").sum())
    if n_plain:
        note(f"{n_plain} of {len(splits)} rows have no label, and get no split")
    return {name: int((splits == name).sum()) for name in list_choices(Split) if name in splits}


def build_splits(
    cache: Cache, learnt: BoolArray, *, val: float, test: float, seed: int
) -> StrArray:
    """Divide the labelled rows of a cache into splits; nothing is written.

    Parameters
    ----------
    cache : Cache
        Open cache.
    learnt : ndarray of bool
        ``(n_rows,)``, rows that the network of any embedding has learnt from.
    val, test : float
        Fractions of the labelled rows.
    seed : int
        Seed of the shuffle.

    Returns
    -------
    ndarray of str
        ``(n_rows,)``: the split of each row, ``""`` for a row without a label.

    Raises
    ------
    HeadError
        If the labels are of fewer than two classes, or rows or groups are too few.
    """
    rows = cache.select_rows(labelled=True)
    check_labels(cache.labels[rows], subject=str(cache.path))
    units = find_units(cache.groups, cache.read_column("digest"))
    splits = np.full(len(cache), "", dtype=object)
    splits[rows] = assign_splits(
        cache.labels[rows],
        None if units is None else units[rows],
        val=val,
        test=test,
        seed=seed,
        learnt=spread_over_units(learnt, units)[rows],
    )
    return splits


def read_learnt_by_any(cache: Cache) -> BoolArray:
    """Read which rows the network of any embedding has learnt from, bool ``(n_rows,)``.

    A cache has one split for all of its embeddings, which are compared on the same rows.

    Parameters
    ----------
    cache : Cache
        Open cache.
    """
    learnt = np.zeros(len(cache), bool)
    for name in cache.embeddings:
        learnt |= cache.read_learnt(name)
    return learnt


def list_learnt_notes(
    labels: StrArray, splits: StrArray, learnt: BoolArray, *, val: float, test: float
) -> list[str]:
    """List what a person should know of splits where a network has learnt from rows.

    Parameters
    ----------
    labels : ndarray of str
        ``(n_rows,)``, label of each row.
    splits : ndarray of str
        ``(n_rows,)``, the new split of each row.
    learnt : ndarray of bool
        ``(n_rows,)``, rows that the network of any embedding has learnt from.
    val, test : float
        Fractions of the labelled rows that were asked for.
    """
    labelled = splits != ""
    learnt = learnt & labelled
    if not learnt.any():
        return []
    n_rows, n_left = int(labelled.sum()), int((~learnt & (splits == "train")).sum())
    notes = [
        f"{learnt.sum():,} of {n_rows:,} rows were learnt from by the network: they become train"
    ]
    for name, fraction in (("val", val), ("test", test)):
        held, n_wanted = splits == name, round(fraction * n_rows)
        if n_wanted - held.sum() > n_left:
            notes.append(f"{name} has {held.sum():,} rows, not {n_wanted:,}: there are no others")
        lacking = np.setdiff1d(labels[labelled], labels[held])
        if fraction and len(lacking):
            notes.append(f"{name} has no row of {join_some(lacking.tolist(), 3)}")
    return notes
