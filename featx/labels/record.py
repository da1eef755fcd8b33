"""Record a split of all rows of a cache at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from featx.core.columns import Categories, Column, Table
from featx.core.typing import UInt8Array
from featx.labels.element import Labels, Recorded
from featx.labels.hold import hold


def record_split(
    labels: Labels, keys: Table, split: UInt8Array, *, author: str, note: str, time: int
) -> Labels:
    """Record a split of all rows: it holds until something else is said of a row.

    Parameters
    ----------
    labels : Labels
        Labels of the cache.
    keys : Table
        Columns `id` and `digest` of the rows.
    split : ndarray of uint8
        ``(n_rows,)``, index into `featx.labels.element.SPLIT_CODES`.
    author : str
        Name of the person.
    note : str
        Options of the split, for a person to read.
    time : int
        Time of the split, in milliseconds since 1970.
    """
    record: dict[str, Column] = {
        "author": Categories.fill(author, 1),
        "note": Categories.fill(note, 1),
        "time": np.array([time], np.int64),
        "occasion": np.array([labels.next_occasion], np.int32),
    }
    recorded = Recorded(
        Table.concat([labels.recorded.records, Table(record)]),
        np.concatenate([labels.recorded.split, split[None]]),
    )
    return hold(replace(labels, recorded=recorded), keys)
