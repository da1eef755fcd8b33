"""Carry what people said over to the rows of an updated cache."""

from __future__ import annotations

import numpy as np

from featx.core.columns import Table
from featx.core.digests import is_known
from featx.core.lookup import DigestIndex
from featx.core.typing import IntArray, UInt8Array
from featx.labels.element import (
    FIELDS,
    NOTHING_SAID,
    SPLIT_CODES,
    Labels,
    Recorded,
    build_entries,
    rename,
)
from featx.labels.hold import hold


def carry_over(
    base: Labels | None, source: Table, *, origin: IntArray, base_keys: Table, keys: Table
) -> Labels:
    """Build the labels of an updated cache: nothing that a person said is lost.

    Parameters
    ----------
    base : Labels or None
        Labels of the existing cache; None for a new one.
    source : Table
        What the source says of all rows of the updated cache: `label`, `split` and `group`.
    origin : ndarray of int64
        ``(n_rows,)``, number of each row in the existing cache; -1 for a new row.
    base_keys, keys : Table
        Columns `id` and `digest` of the rows of the existing and of the updated cache.

    Returns
    -------
    Labels
        What the source says, what people said, and what holds now. A recorded split goes with the
        image: a new row takes the split of a row with the same digest. What it said of rows that
        are dropped becomes a statement.
    """
    if base is None:
        return Labels.of_source(source)
    # With the codes that are there, a commit writes only what has changed.
    source = Table({field: rename(source[field], base.source[field].names) for field in FIELDS})
    said, recorded = base.said, base.recorded
    if len(recorded):
        recorded, dropped = _carry_recorded(recorded, origin, base_keys, keys)
        said = Table.concat([said, *dropped]) if dropped else said
    return hold(Labels(held=base.held, source=source, said=said, recorded=recorded), keys)


def _carry_recorded(
    recorded: Recorded, origin: IntArray, base_keys: Table, keys: Table
) -> tuple[Recorded, list[Table]]:
    """Carry recorded splits over, and write statements about the rows that are dropped."""
    old, new = base_keys["digest"], keys["digest"]
    split = np.where(origin >= 0, recorded.split[:, origin], np.uint8(NOTHING_SAID))
    # An image that is new, or other than its row had, goes by the row that had its content.
    is_other = origin < 0
    is_other[~is_other] = (new[~is_other] != old[origin[~is_other]]).any(axis=1)
    others = np.flatnonzero(is_other & is_known(new))
    is_gone = np.ones(len(base_keys), bool)
    is_gone[origin[origin >= 0]] = False
    gone = np.flatnonzero(is_gone)
    gone = gone[DigestIndex(new[others]).find(old[gone]) < 0]
    statements = []
    for number, codes in enumerate(recorded.split):
        rows = np.flatnonzero(codes != NOTHING_SAID)
        if len(others):
            found = DigestIndex(old[rows]).find(new[others])
            split[number, others[found >= 0]] = codes[rows[found[found >= 0]]]
        lost = gone[codes[gone] != NOTHING_SAID]
        if len(lost):
            statements.append(
                _state_split(recorded.records[number : number + 1], base_keys[lost], codes[lost])
            )
    return Recorded(recorded.records, split), statements


def _state_split(record: Table, keys: Table, codes: UInt8Array) -> Table:
    """Write what a recorded split says of some rows as statements."""
    n_rows = len(keys)
    return build_entries(
        keys["id"],
        keys["digest"],
        fields=["split"] * n_rows,
        values=[SPLIT_CODES[code] for code in codes.tolist()],
        kinds=["sure"] * n_rows,
        authors=record["author"].to_list() * n_rows,
        time=int(record["time"][0]),
        occasion=int(record["occasion"][0]),
    )
