"""Turn what a person says into statements about rows, and decide what they change.

Nothing is read and nothing is written here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from featx.core.columns import Categories, Table, Texts
from featx.core.digests import pack_digests
from featx.core.errors import SourceError
from featx.core.lookup import DigestIndex, TextIndex
from featx.core.typing import BoolArray, IntArray
from featx.labels.changes import LabelChange, iter_changes
from featx.labels.element import Labels, build_entries, rename
from featx.labels.hold import BY_SOURCE, hold, hold_field

_DIGEST = re.compile(r"[0-9a-f]{64}")

GIVEN_COLUMNS = ("key", "line", "field", "value", "kind", "author")
"""Columns of what a person says: `key` (Texts) is the id, path or digest of a row; `line` (int64)
is the line of the table; the others are Categories, as in the statements of `Labels`."""


@dataclass(frozen=True, kw_only=True)
class LabelConflict:
    """A row of which another person had said something else.

    Attributes
    ----------
    id : str
        Id of the row.
    field : str
        Column that both persons spoke of.
    before, before_author : str
        Value that held before, and who had said it.
    after, after_author : str
        Value that holds now, and who says it. If what was said is withdrawn, the value is that of
        the source.
    """

    id: str
    field: str
    before: str
    before_author: str
    after: str
    after_author: str


@dataclass(frozen=True, kw_only=True)
class Saying:
    """What a person says of a cache, and what it changes.

    Attributes
    ----------
    labels : Labels
        Labels of the cache afterwards.
    n_new : int
        Number of statements that are added.
    n_known : int
        Number of statements that the same person had made before and that need not be added again.
    is_unmatched : ndarray of bool
        ``(n_given,)``, what names no row of the cache.
    changes : tuple of LabelChange
        Numbers of rows that change, the most frequent change of each column first.
    conflicts : tuple of LabelConflict
        Rows of which another person had said something else.
    """

    labels: Labels
    n_new: int
    n_known: int
    is_unmatched: BoolArray
    changes: tuple[LabelChange, ...]
    conflicts: tuple[LabelConflict, ...]


def say(
    labels: Labels,
    keys: Table,
    given: Table,
    *,
    rows: tuple[IntArray, IntArray],
    time: int,
    subject: str,
) -> Saying:
    """Decide what statements are added to the labels of a cache, and what they change.

    Parameters
    ----------
    labels : Labels
        Labels of the cache.
    keys : Table
        Columns `id` and `digest` of the rows.
    given : Table
        What the person says, in the columns `GIVEN_COLUMNS`.
    rows : (ndarray of int64, ndarray of int64)
        Pairs ``(n_pairs,)`` of a line of `given` and a row of the cache that the line names.
    time : int
        Time of the occasion, in milliseconds since 1970.
    subject : str
        Name of the table, for errors.

    Raises
    ------
    SourceError
        If one person says two things of the same row.
    """
    lines, numbers = _drop_repeats(given, rows, keys, subject)
    chosen = given[lines]
    is_known = np.zeros(len(lines), bool)
    conflicts: list[LabelConflict] = []
    for field in chosen["field"].count():
        mine = np.flatnonzero(chosen["field"].mask(field))
        if not len(mine):
            continue
        new, own_rows = chosen[mine], numbers[mine]
        by = hold_field(field, labels, keys).by[own_rows]
        is_known[mine] = _find_known(labels.said, by, new, keys[own_rows], rows=own_rows)
        by[is_known[mine]] = BY_SOURCE  # what was said before contradicts nothing
        values = _list_results(new, labels.get_source(field)[own_rows])
        ids = keys["id"][own_rows]
        conflicts += _iter_conflicts(labels.said, by, new, ids, values=values)
        conflicts += _iter_inner_conflicts(new, ids, own_rows, values)
    new, about = chosen[~is_known], keys[numbers[~is_known]]
    entries = build_entries(
        about["id"],
        about["digest"],
        fields=new["field"],
        values=new["value"],
        kinds=new["kind"],
        authors=new["author"],
        time=time,
        occasion=labels.next_occasion,
    )
    after = replace(labels, said=Table.concat([labels.said, entries]))
    after = hold(after, keys) if len(new) else labels
    is_unmatched = np.ones(len(given), bool)
    is_unmatched[rows[0]] = False
    return Saying(
        labels=after,
        n_new=len(new),
        n_known=int(is_known.sum()),
        is_unmatched=is_unmatched,
        changes=tuple(iter_changes(labels, after, keys)),
        conflicts=tuple(conflicts),
    )


def find_texts(given: Texts, column: Texts) -> IntArray:
    """Find the first row that has each text, int64 ``(n_given,)``; -1 for none.

    Parameters
    ----------
    given : Texts
        Texts to find. They are indexed, and not the rows, which may be many more.
    column : Texts
        Text of each row.
    """
    index = TextIndex(given)
    numbers = index.find(column)
    rows = np.flatnonzero(numbers >= 0)[::-1]  # of equal texts, the first row comes last
    first = np.full(len(given) + 1, -1, np.int64)
    first[numbers[rows]] = rows
    return first[index.find(given)]


def find_rows(given: Texts, keys: Table) -> tuple[IntArray, IntArray]:
    """Find the rows that a person names by id or by digest.

    Parameters
    ----------
    given : Texts
        ``(n_given,)``, ids and digests.
    keys : Table
        Columns `id` and `digest` of the rows.

    Returns
    -------
    (ndarray of int64, ndarray of int64)
        Pairs ``(n_pairs,)`` of a number in `given` and the number of a row. A digest names every
        row that has it; what names no row is in no pair.
    """
    found = find_texts(given, keys["id"])
    pairs = np.flatnonzero(found >= 0), found[found >= 0]
    left = np.flatnonzero(found < 0)
    is_digest = np.array([_DIGEST.fullmatch(text) is not None for text in given[left]], bool)
    named = left[is_digest]
    if not len(named):
        return pairs
    digests = pack_digests(given[named].to_list())
    index = DigestIndex(digests)
    numbers = index.find(keys["digest"])
    rows = np.flatnonzero(numbers >= 0)
    rows = rows[np.argsort(numbers[rows], kind="stable")]
    firsts = index.find(digests)
    starts, ends = (np.searchsorted(numbers[rows], firsts, side) for side in ("left", "right"))
    found_rows = [rows[start:end] for start, end in zip(starts, ends, strict=True)]
    return (
        np.concatenate([pairs[0], np.repeat(named, ends - starts)]),
        np.concatenate([pairs[1], *found_rows]),
    )


def _drop_repeats(
    given: Table, pairs: tuple[IntArray, IntArray], keys: Table, subject: str
) -> tuple[IntArray, IntArray]:
    """Drop what is said twice, and refuse what one person says in two ways."""
    order = np.argsort(pairs[0], kind="stable")
    lines, numbers = (part[order] for part in pairs)
    field, author = (given[name].codes[lines].astype(np.int64) for name in ("field", "author"))
    value, kind = (given[name].codes[lines].astype(np.int64) for name in ("value", "kind"))
    about = (numbers * len(given["field"].names) + field) * len(given["author"].names) + author
    what = value * len(given["kind"].names) + kind
    _, first, inverse = np.unique(about, return_index=True, return_inverse=True)
    differing = np.flatnonzero(what != what[first[inverse]])
    if len(differing):
        second = int(differing[0])
        first_line = int(lines[first[inverse[second]]])
        raise _refuse_two(
            given, (first_line, int(lines[second])), keys["id"][int(numbers[second])], subject
        )
    kept = np.sort(first)
    return lines[kept], numbers[kept]


def _refuse_two(given: Table, lines: tuple[int, int], row_id: str, subject: str) -> SourceError:
    said = [
        f"{given['value'][line]!r} ({given['kind'][line]}) in line {given['line'][line]}"
        for line in lines
    ]
    return SourceError(
        subject=f"{subject}, {row_id}",
        expected=f"one {given['field'][lines[0]]} for each row",
        got=" and ".join(said),
        remedy="Remove one of these lines, or name the persons in a column author.",
    )


def _find_known(
    said: Table, by: IntArray, new: Table, about: Table, *, rows: IntArray
) -> BoolArray:
    """Find the lines that need no new statement: they were said before, and hold as they would.

    Of the lines about one row, the last one holds. So a line is new if what its author said last of
    the image differs, if a line about the row before it is new, or if it is the last line and
    another statement counts.

    Parameters
    ----------
    said : Table
        Statements of people.
    by : ndarray of int64
        ``(n_lines,)``: statement that counts for the row of each line, as `Held` has it.
    new, about : Table
        The lines, all of one column and none twice; `id` and `digest` of their rows.
    rows : ndarray of int64
        ``(n_lines,)``, numbers of their rows.
    """
    own = _find_own(said, new, about)
    is_new = own < 0
    was_said = np.flatnonzero(~is_new)
    what = ("value", "kind")
    is_new[was_said] = ~said[own[was_said]].select(what).equal(new[was_said].select(what))
    order = np.argsort(rows, kind="stable")
    is_last = np.append(rows[order][1:] != rows[order][:-1], True)
    is_new[order] |= is_last & (own[order] != by[order])
    places = np.arange(len(rows))
    starts = np.flatnonzero(np.append(True, is_last[:-1]))
    first_new = np.minimum.reduceat(np.where(is_new[order], places, len(rows)), starts)
    is_known = np.empty(len(rows), bool)
    is_known[order] = places < np.repeat(first_new, np.diff(np.append(starts, len(rows))))
    return is_known


def _find_own(said: Table, new: Table, about: Table) -> IntArray:
    """Find the last statement of each line's author about its image and column; -1 for none."""
    authors = new["author"].names
    by_id, by_digest = TextIndex(about["id"]), DigestIndex(about["digest"])

    def number(keys: Table, author: Categories) -> tuple[IntArray, BoolArray]:
        """Write id, digest and author as one number, and tell which the lines have."""
        parts = by_id.find(keys["id"]), by_digest.find(keys["digest"])
        codes = rename(author, authors).codes.astype(np.int64)
        is_among = (parts[0] >= 0) & (parts[1] >= 0) & (codes < len(authors))
        return (parts[0] * len(about) + parts[1]) * len(authors) + codes, is_among

    wanted, inverse = np.unique(number(about, new["author"])[0], return_inverse=True)
    of_field = np.flatnonzero(said["field"].mask(new["field"][0]))
    of_field = of_field[np.argsort(said["occasion"][of_field], kind="stable")]
    found, is_among = number(said[of_field], said["author"][of_field])
    found, of_field = found[is_among], of_field[is_among]
    places = np.searchsorted(wanted, found)
    is_wanted = np.append(wanted, -1)[places] == found
    last = np.full(len(wanted), -1, np.int64)
    last[places[is_wanted]] = of_field[is_wanted]  # of equal places, the last one stays
    return last[inverse]


def _list_results(new: Table, source: Categories) -> list[str]:
    """List the value that holds after each line; if it withdraws, that of the source."""
    kinds = new["kind"].mask("withdrawn").tolist()
    values = zip(new["value"], source, kinds, strict=True)
    return [by_source if is_withdrawn else value for value, by_source, is_withdrawn in values]


def _iter_conflicts(
    said: Table, by: IntArray, new: Table, ids: Texts, *, values: Sequence[str]
) -> Iterator[LabelConflict]:
    """Yield the rows of which another person was sure of something else."""
    rows = np.flatnonzero(by >= 0)
    old = said[by[rows]]
    is_other = old["kind"].mask("sure") & ~old["author"].equal(new["author"][rows])
    for place in np.flatnonzero(is_other).tolist():
        row = int(rows[place])
        if old["value"][place] != values[row]:
            yield LabelConflict(
                id=ids[row],
                field=new["field"][row],
                before=old["value"][place],
                before_author=old["author"][place],
                after=values[row],
                after_author=new["author"][row],
            )


def _iter_inner_conflicts(
    new: Table, ids: Texts, rows: IntArray, values: Sequence[str]
) -> Iterator[LabelConflict]:
    """Yield the rows of which two persons of one table say different things."""
    if len(new["author"].count()) < 2:
        return
    last: dict[int, int] = {}
    for line, row in enumerate(rows.tolist()):
        before = last.get(row)
        last[row] = line
        if before is not None and values[before] != values[line]:
            yield LabelConflict(
                id=ids[line],
                field=new["field"][line],
                before=values[before],
                before_author=new["author"][before],
                after=values[line],
                after_author=new["author"][line],
            )
