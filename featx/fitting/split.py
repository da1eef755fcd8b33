"""Record a split of the labelled rows in a cache."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from featx.analytics.duplicates import NearDuplicates
from featx.cache.joined import open_cache
from featx.cache.label_writer import write_splits
from featx.cache.lock import remove_dead_lock
from featx.cache.reader import Cache
from featx.cache.remote_output import has_address, open_outputs
from featx.cache.side_by_side import read_learnt_by
from featx.core.errors import HeadError
from featx.core.notes import note
from featx.core.text import count_noun
from featx.core.typing import (
    CachePaths,
    PathLike,
    Split,
    StrArray,
    Together,
    list_choices,
)
from featx.fitting.label import choose_author
from featx.fitting.similar import find_row_units, find_similar, report_similar
from featx.fitting.split_notes import (
    check_several_groups,
    check_train,
    list_notes,
    refuse_other_splits,
)
from featx.fitting.split_report import SplitReport
from featx.fitting.strata import Strata
from featx.heads.extend import extend_splits, spread_splits
from featx.heads.splits import assign_splits, check_fractions
from featx.heads.units import spread_over_units

VAL = 0.2
"""Fraction of the rows for val, where nothing says another."""


def split_cache(  # noqa: PLR0913
    cache: CachePaths,
    *,
    val: float | None = None,
    test: float | None = None,
    seed: int = 0,
    new: bool = False,
    overwrite: bool = False,
    together: Together | None = None,
    source: PathLike | Sequence[PathLike] | None = None,
    embedding: str | None = None,
    author: str | None = None,
) -> dict[str, int]:
    """Record a stratified split in a cache, with groups and copies of an image kept together.

    Labels that look like measured numbers are stratified by runs of like ones.

    The split holds for all rows from then on, whatever the source says in a later extraction. The
    history keeps the splits that it replaces.

    If the cache grew since it was split, ``new=True`` deals the rows that have no split. All others
    stay where they are, so that scores can be compared with earlier ones.

    If the weights of an embedding were tuned by `featx.fine_tune`, the rows that they have learnt
    from become train, because a score of them would be too high: val and test are drawn from the
    other rows, and have fewer rows than asked for if there are not enough others.

    Parameters
    ----------
    cache : path or sequence of paths
        Cache to change, or several as `featx.open_cache` takes them. Rows without a label get no
        split.
    val, test : float, optional
        Fractions of the labelled rows for val and for test; the other rows become train. Default:
        0.2 and 0; with `new`, the fractions that the cache has.
    seed : int
        Seed of the shuffle.
    new : bool
        Whether to deal only rows that have no split. Those of a group or an image that has one get
        the same.
    overwrite : bool
        Whether to replace splits that the cache has. Splits that would not change are left as they
        are in any case, so that a cell of a notebook can be run twice.
    together : "similar", optional
        Rows that stay together beside groups and copies: ``"similar"`` for images that look alike.
    source : path or sequence of paths, optional
        Images of the cache, which are compared for `together`. Default: the source that the cache
        names.
    embedding : str, optional
        Name of the embedding that finds images that look alike, for `together`; needed only if the
        cache has several.
    author : str, optional
        Name of the person, for the history. Default: the user of the system.

    Returns
    -------
    dict of str to int
        Number of rows of each split.

    Warns
    -----
    FeatxWarning
        If rows have no label, if val or test lacks a class, or has far more or fewer rows than
        asked for because groups stay whole; if files lie there twice, or in two classes.

    Raises
    ------
    CacheError
        If the cache cannot be read or written, or has other splits already.
    HeadError
        If the labels are of fewer than two classes, if rows or groups are too few for the
        fractions, or if train would lack a class.

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
    return record_split(
        cache,
        val=val,
        test=test,
        seed=seed,
        new=new,
        overwrite=overwrite,
        together=together,
        source=source,
        embedding=embedding,
        author=author,
    ).splits


def record_split(  # noqa: PLR0913
    cache: CachePaths,
    *,
    val: float | None,
    test: float | None,
    seed: int,
    new: bool,
    overwrite: bool,
    author: str | None,
    together: Together | None = None,
    source: PathLike | Sequence[PathLike] | None = None,
    embedding: str | None = None,
) -> SplitReport:
    """Record a split as `split_cache` does, and report it by class.

    Parameters
    ----------
    cache : path or sequence of paths
        Cache to change.
    val, test, seed, new, overwrite, author, together, source, embedding : object
        Arguments of `split_cache`.

    Returns
    -------
    SplitReport
        Numbers of rows by split and by class.
    """
    if new and overwrite:
        raise HeadError(
            subject="new, overwrite",
            expected="one of them",
            got="both",
            remedy="Pass new=True to keep the splits that are there, or overwrite=True.",
        )
    if has_address(cache):
        with open_outputs(cache) as paths:
            return record_split(
                paths,
                val=val,
                test=test,
                seed=seed,
                new=new,
                overwrite=overwrite,
                author=author,
                together=together,
                source=source,
                embedding=embedding,
            )
    with open_cache(cache) as opened:
        members, held = opened.members, opened.splits
        found = None if together is None else find_similar(opened, source, embedding)
        is_extended = new and bool((held != "").any())
        try:
            if is_extended:
                splits, strata, notes = build_new_splits(
                    opened, val=val, test=test, seed=seed, similar=found
                )
            else:
                val, test = VAL if val is None else val, 0.0 if test is None else test
                splits, strata, notes = build_splits(
                    opened, val=val, test=test, seed=seed, similar=found
                )
        except HeadError as error:
            if not new and not overwrite and (held != "").any():
                raise refuse_other_splits(opened) from error
            raise
        starts = opened.starts[1:-1]
        parts, own = (np.split(one, starts) for one in (splits, held))
        is_same = [np.array_equal(part, had) for part, had in zip(parts, own, strict=True)]
        # Several caches are written one by one: an interrupted run may have written some of them.
        is_other = [
            not same and bool((had != "").any()) for same, had in zip(is_same, own, strict=True)
        ]
        if any(is_other) and not overwrite and not new:
            raise refuse_other_splits(opened)
        similar = None
        if found is not None:
            before = held
            if not (held == "train").any():
                before = build_splits(opened, val=val or VAL, test=test or 0.0, seed=seed)[0]
            similar = report_similar(opened, found, before)
        report = SplitReport(
            splits={
                name: int((splits == name).sum()) for name in list_choices(Split) if name in splits
            },
            counts=strata.count(splits),
            are_numbers=strata.are_runs,
            n_dealt=int((splits != held).sum()),
            similar=similar,
        )
    options = "new rows" if is_extended else f"val={val:g}, test={test:g}"
    told = f"{options}, seed={seed}"
    author, now = choose_author(author), time.time_ns() // 1_000_000
    for member, part, had, same in zip(members, parts, own, is_same, strict=True):
        if same:
            remove_dead_lock(member.path.resolve())
            continue
        is_said = part != had if is_extended else None
        write_splits(
            member.path,
            part,
            is_said=is_said,
            digest=member.digest,
            author=author,
            note=told,
            time=now,
        )
    for text in notes:
        note(text)
    return report


def build_splits(
    cache: Cache, *, val: float, test: float, seed: int, similar: NearDuplicates | None = None
) -> tuple[StrArray, Strata, list[str]]:
    """Divide the labelled rows of a cache into splits; nothing is written.

    Parameters
    ----------
    cache : Cache
        Open cache.
    val, test : float
        Fractions of the labelled rows.
    seed : int
        Seed of the shuffle.
    similar : NearDuplicates, optional
        Rows to keep together. Default: those of one group or one file alone.

    Returns
    -------
    splits : ndarray of str
        ``(n_rows,)``: the split of each row, ``""`` for a row without a label.
    strata : Strata
        Strata of which each split has its share.
    notes : list of str
        What a person should know of them.

    Raises
    ------
    HeadError
        If the labels are of fewer than two classes, or rows or groups are too few.
    """
    check_fractions(val, test)
    rows, strata = cache.select_rows(labelled=True), Strata.find(cache.labels, val, test)
    strata.check(cache.labels[rows], subject=str(cache.path))
    units = find_row_units(cache, similar)
    learnt = read_learnt_by(cache, cache.embeddings)
    of_rows = None if units is None else units[rows]
    if not strata.are_runs:
        check_several_groups(cache, rows, of_rows)
    splits = np.full(len(cache), "", dtype=object)
    splits[rows] = assign_splits(
        strata.of_row[rows],
        of_rows,
        val=val,
        test=test,
        seed=seed,
        learnt=spread_over_units(learnt, units)[rows],
    )
    fractions = {"val": val, "test": test}
    told = list_notes(
        cache,
        splits,
        units,
        learnt,
        strata=strata.of_row,
        fractions=fractions,
        similar=similar is not None,
    )
    return splits, strata, strata.list_notes() + told


def build_new_splits(
    cache: Cache,
    *,
    val: float | None,
    test: float | None,
    seed: int,
    similar: NearDuplicates | None = None,
) -> tuple[StrArray, Strata, list[str]]:
    """Deal the labelled rows of a cache that have no split; nothing is written.

    Parameters
    ----------
    cache : Cache
        Open cache, some rows of which have a split.
    val, test : float or None
        Fractions of the labelled rows; None for those that the cache has.
    seed : int
        Seed of the shuffle.
    similar : NearDuplicates, optional
        Rows to keep together. Default: those of one group or one file alone.

    Returns
    -------
    splits : ndarray of str
        ``(n_rows,)``: the split of each row.
    strata : Strata
        Strata of which each split has its share.
    notes : list of str
        What a person should know of them.

    Raises
    ------
    HeadError
        If train would lack a class.
    """
    rows, strata = cache.select_rows(labelled=True), Strata.find(cache.labels)
    strata.check(cache.labels[rows], subject=str(cache.path))
    held, is_open = cache.splits, np.zeros(len(cache), bool)
    is_open[rows] = held[rows] == ""
    n_open = int(is_open.sum())
    if not n_open:
        return held, strata, ["all labelled rows have a split: nothing to deal"]
    units = find_row_units(cache, similar)
    filled, is_parted = spread_splits(held, units)
    learnt = read_learnt_by(cache, cache.embeddings)
    becomes_train = is_open & (filled == "") & spread_over_units(learnt, units)
    splits = held.copy()
    splits[is_open] = filled[is_open]
    splits[becomes_train] = "train"
    n_held = max(1, int((held[rows] != "").sum()))
    shares = {name: float((held[rows] == name).sum()) / n_held for name in ("val", "test")}
    splits[rows] = extend_splits(
        strata.of_row[rows],
        None if units is None else units[rows],
        splits[rows],
        val=shares["val"] if val is None else val,
        test=shares["test"] if test is None else test,
        seed=seed,
    )
    if not strata.are_runs:
        check_train(cache, splits, units)
    notes = [f"{count_noun(n_open, 'row')} got a split, and {len(rows) - n_open:,} kept theirs"]
    n_joined = int((is_open & (filled != "")).sum())
    if n_joined:
        unit = "group or file" if similar is None else "group or file, or their near-duplicates,"
        notes.append(f"{n_joined:,} of them went where other rows of their {unit} lie")
    n_parted = int((is_open & is_parted).sum())
    if n_parted:
        notes.append(
            f"{n_parted:,} of them belong to groups or files that lie in several splits before"
        )
    told = list_notes(cache, splits, units, learnt & is_open, strata=strata.of_row, fractions={})
    return splits, strata, notes + strata.list_notes() + told
