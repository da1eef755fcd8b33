"""Decide what holds: for each row, the latest that a person said of it, or else the source's."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from featx.core.columns import Categories, Table, Texts
from featx.core.digests import is_known
from featx.core.lookup import DigestIndex, TextIndex
from featx.core.typing import BoolArray, IntArray, UInt8Array
from featx.labels.element import FIELDS, NOTHING_SAID, SPLIT_CODES, Labels, Recorded, rename

BY_SOURCE = -1
"""Number that stands for the source, in place of the number of a statement."""


@dataclass(frozen=True)
class Held:
    """What holds in one column.

    Attributes
    ----------
    values : Categories
        Value of each row.
    by : ndarray of int64
        ``(n_rows,)``: number of the statement that counts, even if it withdraws what was said;
        `BY_SOURCE` if nobody said anything; or ``-2 - k`` for the recorded split `k`.
    """

    values: Categories
    by: IntArray


def hold(labels: Labels, keys: Table) -> Labels:
    """Lay what people said over what the source said.

    Parameters
    ----------
    labels : Labels
        What the source and people said. What held before gives the codes of its texts, so that few
        codes change; it may be of other rows.
    keys : Table
        Columns `id` and `digest` of the rows.

    Returns
    -------
    Labels
        The same, with what holds now.
    """
    held = {
        field: labels.source[field] if labels.is_plain else hold_field(field, labels, keys).values
        for field in FIELDS
    }
    return replace(
        labels,
        held=Table({field: rename(held[field], labels.held[field].names) for field in FIELDS}),
    )


def hold_field(field: str, labels: Labels, keys: Table) -> Held:
    """Decide what holds in one column, and who said it.

    Parameters
    ----------
    field : str
        Name of the column: ``label``, ``split``, ``group``, or a further one that people spoke of.
    labels : Labels
        What the source and people said.
    keys : Table
        Columns `id` and `digest` of the rows.
    """
    source, said = labels.get_source(field), labels.said
    by, since = _find_recorded(field, labels.recorded, len(source))
    entries = np.flatnonzero(said["field"].mask(field))
    if len(entries):
        occasions = said["occasion"].astype(np.int64)
        entries = entries[np.argsort(occasions[entries], kind="stable")]
        found = find_latest(said[entries], keys)
        rows = np.flatnonzero(found >= 0)
        chosen = entries[found[rows]]
        is_later = occasions[chosen] > since[rows]
        by[rows[is_later]] = chosen[is_later]
    codes, names = source.codes.copy(), source.names
    for rows, values in (_take_said(said, by), _take_recorded(labels.recorded, by)):
        renamed = rename(values, names)
        codes[rows], names = renamed.codes, renamed.names
    return Held(Categories(codes, names), by)


def find_withdrawn(said: Table, by: IntArray) -> BoolArray:
    """Find the rows of which the statement that counts withdraws what was said.

    Parameters
    ----------
    said : Table
        Statements of people.
    by : ndarray of int64
        ``(n_rows,)``, as `Held` has it.
    """
    is_withdrawn = by >= 0
    is_withdrawn[is_withdrawn] = said["kind"].mask("withdrawn")[by[is_withdrawn]]
    return is_withdrawn


def _find_recorded(field: str, recorded: Recorded, n_rows: int) -> tuple[IntArray, IntArray]:
    """Find the last recorded split that says something of each row, and its occasion."""
    by, since = np.full(n_rows, BY_SOURCE, np.int64), np.full(n_rows, -1, np.int64)
    if field == "split":
        for number, occasion in enumerate(recorded.records["occasion"].tolist()):
            is_said = recorded.split[number] != NOTHING_SAID
            by[is_said], since[is_said] = -2 - number, occasion
    return by, since


def _take_said(said: Table, by: IntArray) -> tuple[IntArray, Categories]:
    rows = np.flatnonzero((by >= 0) & ~find_withdrawn(said, by))
    return rows, said["value"][by[rows]]


def _take_recorded(recorded: Recorded, by: IntArray) -> tuple[IntArray, Categories]:
    rows = np.flatnonzero(by < BY_SOURCE)
    codes = recorded.split[-2 - by[rows], rows].astype(np.int32)
    return rows, Categories(codes, Texts.from_list(SPLIT_CODES))


def find_latest(entries: Table, keys: Table) -> IntArray:
    """Find the statement that counts for each row: the latest of those that are nearest to it.

    Nearest are the statements of the row's digest and id. Else, those of its digest count: the
    image was moved, or is a copy. Else, those of its id, if no row has their digest any more: the
    image was edited.

    Parameters
    ----------
    entries : Table
        Statements about one column, in the order of time, with `id` and `digest`.
    keys : Table
        Columns `id` and `digest` of the rows.

    Returns
    -------
    ndarray of int64
        ``(n_rows,)``, number of the statement; -1 for none.
    """
    n_entries = len(entries)
    numbers = np.arange(n_entries)
    by_id, by_digest = TextIndex(entries["id"]), DigestIndex(entries["digest"])
    # An id or a digest goes by the number of the first statement that has it.
    said_id, said_digest = by_id.find(entries["id"]), _find_known(by_digest, entries["digest"])
    row_digest = _find_known(by_digest, keys["digest"])
    is_there = np.zeros(n_entries + 1, bool)
    is_there[row_digest] = True
    is_there[-1] = False  # of the statements about an image whose digest is not known
    orphans = numbers[~is_there[said_digest]]
    known = numbers[said_digest >= 0]
    found = np.full(len(keys), -1, np.int64)
    if len(orphans):  # else, no row needs to be found by its id alone
        found = _keep_last(said_id[orphans], orphans, n_entries)[by_id.find(keys["id"])]
    rows = np.flatnonzero(row_digest >= 0)
    found[rows] = _keep_last(said_digest[known], known, n_entries)[row_digest[rows]]
    # Pairs of an id and a digest, as one number each.
    pairs, inverse = np.unique(said_id[known] * n_entries + said_digest[known], return_inverse=True)
    same_both = _keep_last(inverse, known, len(pairs))
    row_id = by_id.find(keys["id"][rows])
    sought = np.where(row_id >= 0, row_id * n_entries + row_digest[rows], -1)
    places = np.searchsorted(pairs, sought)
    is_pair = np.concatenate([pairs, [-2]])[places] == sought
    found[rows[is_pair]] = same_both[places[is_pair]]
    return found


def _find_known(index: DigestIndex, digests: UInt8Array) -> IntArray:
    """Find digests, but none that is not known."""
    return np.where(is_known(digests), index.find(digests), -1)


def _keep_last(keys: IntArray, numbers: IntArray, n_keys: int) -> IntArray:
    """Keep the largest number of each key, int64 ``(n_keys + 1,)``; -1 for none, and at the end."""
    last = np.full(n_keys + 1, -1, np.int64)
    np.maximum.at(last, keys, numbers)
    return last
