"""Rows that several heads or embeddings have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from featx.cache.reader import Cache
from featx.cache.side_by_side import read_learnt_by, select_labelled
from featx.core.errors import CacheError
from featx.core.notes import note
from featx.core.text import count_noun, join_some
from featx.core.typing import IntArray
from featx.fitting.left_out import LeftOut, choose_verb, describe_lacking
from featx.fitting.seen_rows import (
    count_related,
    describe_related,
    find_related_rows,
    find_seen_rows,
)
from featx.heads.head import Head


def choose_common(cache: Cache, embeddings: Sequence[str], split: str) -> tuple[IntArray, int]:
    """Choose the labelled rows that have a vector in all embeddings, and note the others.

    Parameters
    ----------
    cache : Cache
        Open cache.
    embeddings : sequence of str
        Names of the embeddings.
    split : str
        Name of the split, or ``"all"``.

    Returns
    -------
    rows : ndarray of int64
        ``(n_rows,)``, the rows.
    n_labelled : int
        Number of all labelled rows of the split.

    Raises
    ------
    CacheError
        If there are no such rows.
    """
    labelled = cache.select_rows(split, labelled=True)
    if not len(labelled):
        raise CacheError(
            subject=f"{cache.path}, split {split}",
            expected="labelled rows",
            got="none",
            remedy="Extract from class folders, or from a table with a column named label.",
        )
    rows = select_labelled(cache, split, embeddings)
    n_plain = len(cache.select_rows(split)) - len(labelled)
    lacking = {
        "a label": n_plain,
        "a vector in one of the embeddings": len(labelled) - len(rows),
    }
    subject, n_rows = f"{cache.path}, split {split}", n_plain + len(labelled)
    if text := describe_lacking(subject, n_rows, lacking, end=" for all"):
        note(text)
    if text := LeftOut.count(cache, split, embeddings).describe_unsplit():
        note(text)
    return rows, len(labelled)


def list_all_names(embeddings: Mapping[str, Sequence[str]]) -> list[str]:
    """List the names of all embeddings that several candidates read, each once.

    Parameters
    ----------
    embeddings : mapping of str to sequence of str
        Names of the embeddings that each candidate reads.
    """
    return list(dict.fromkeys(name for names in embeddings.values() for name in names))


def choose_unseen(
    cache: Cache, heads: Mapping[str, Head], embeddings: Mapping[str, Sequence[str]], split: str
) -> tuple[IntArray, int, int | None]:
    """Choose labelled rows that no head and no network has learnt from, and note the others.

    Parameters
    ----------
    cache : Cache
        Open cache.
    heads : mapping of str to Head
        Heads by their names.
    embeddings : mapping of str to sequence of str
        Names of the embeddings that each head takes.
    split : str
        Name of the split, or ``"all"``.

    Returns
    -------
    rows : ndarray of int64
        ``(n_rows,)``, the rows.
    n_left_out : int
        Number of the other labelled rows of the split.
    n_related : int or None
        Number of the rows of groups that were learnt from; None if it is not known.

    Raises
    ------
    CacheError
        If there are no such rows.
    """
    names = list_all_names(embeddings)
    rows, n_all = choose_common(cache, names, split)
    known = read_learnt_by(cache, names)
    by_head = {name: find_seen_rows(cache, head, embeddings[name]) for name, head in heads.items()}
    told = [name for name, flags in by_head.items() if flags[rows].any()]
    for flags in by_head.values():
        known = known | flags
    seen = known[rows]
    subject = f"{cache.path}, split {split}"
    if seen.all():
        raise CacheError(
            subject=subject,
            expected="rows that none of the heads has learnt from",
            got=f"{count_noun(len(rows), 'row')}, each learnt from by {join_some(told, 3)}",
            remedy="Compare on another split, or on a cache of other images.",
        )
    if seen.any():
        verb = choose_verb(n_seen := int(seen.sum()))
        note(
            f"{subject}: {n_seen:,} of {count_noun(len(rows), 'row')} {verb} learnt from by "
            f"{join_some(told, 3) or 'the network'}, and {verb} left out for all"
        )
    rows = rows[~seen]
    related = find_related_rows(cache, known)
    of_rows = None if related is None else related[rows]
    if text := describe_related(of_rows):
        note(f"{subject}: {text}")
    return rows, n_all - len(rows), count_related(of_rows)
