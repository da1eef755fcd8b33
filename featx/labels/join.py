"""Join the labels of several caches, whose rows lie one behind the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from featx.core.columns import Table
from featx.core.typing import IntArray
from featx.labels.element import FIELDS, NOTHING_SAID, Labels, Recorded
from featx.labels.hold import hold

Moment: TypeAlias = tuple[int, int]
"""Time of an occasion, and its rank among those of one cache at this time."""


def join_labels(members: Sequence[Labels], keys: Table) -> Labels:
    """Join the labels of several caches, in order of time.

    What was said of several caches in one run has the same time in all of them, and becomes one
    occasion again.

    Parameters
    ----------
    members : sequence of Labels
        Labels of each cache, at least one.
    keys : Table
        Columns `id` and `digest` of all rows.
    """
    moments = [_list_moments(member) for member in members]
    order = sorted({moment for found in moments for moment in found.values()})
    ranks = {moment: rank for rank, moment in enumerate(order)}
    renumbered = [
        _renumber(member, {old: ranks[moment] for old, moment in found.items()})
        for member, found in zip(members, moments, strict=True)
    ]
    said = Table.concat([member.said for member in renumbered])
    said = said[np.argsort(said["occasion"], kind="stable")]
    source = Table.concat([member.source.select(FIELDS) for member in members])
    recorded = _join_recorded([member.recorded for member in renumbered])
    return hold(Labels(held=source, source=source, said=said, recorded=recorded), keys)


def _list_moments(labels: Labels) -> dict[int, Moment]:
    """List the time of each occasion; none is earlier than the one before, whatever the clock."""
    tables = labels.said, labels.recorded.records
    occasions: IntArray = np.concatenate([table["occasion"] for table in tables])
    times: IntArray = np.concatenate([table["time"] for table in tables])
    numbers, first = np.unique(occasions, return_index=True)
    moments: dict[int, Moment] = {}
    last: Moment = (-1, 0)
    for number, time in zip(numbers.tolist(), times[first].tolist(), strict=True):
        last = (time, 0) if time > last[0] else (last[0], last[1] + 1)
        moments[number] = last
    return moments


def _renumber(labels: Labels, numbers: dict[int, int]) -> Labels:
    """Give the occasions other numbers."""

    def convert(table: Table) -> Table:
        found = [numbers[old] for old in table["occasion"].tolist()]
        return table.replace(occasion=np.array(found, np.int32))

    recorded = Recorded(convert(labels.recorded.records), labels.recorded.split)
    return replace(labels, said=convert(labels.said), recorded=recorded)


def _join_recorded(members: Sequence[Recorded]) -> Recorded:
    """Join recorded splits: one that a cache lacks says nothing of its rows."""
    records = Table.concat([member.records for member in members])
    occasions, first = np.unique(records["occasion"], return_index=True)
    n_rows = [member.split.shape[1] for member in members]
    split = np.full((len(occasions), sum(n_rows)), NOTHING_SAID, np.uint8)
    start = 0
    for member, n_own in zip(members, n_rows, strict=True):
        places = np.searchsorted(occasions, member.records["occasion"])
        split[places, start : start + n_own] = member.split
        start += n_own
    return Recorded(records[first], split)
