"""What changes when somebody says something: numbers of rows, by the value before and after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from featx.core.columns import Categories, Table
from featx.labels.element import FIELDS, Labels, rename
from featx.labels.hold import hold_field


@dataclass(frozen=True, kw_only=True)
class LabelChange:
    """Rows whose value changes in the same way.

    Attributes
    ----------
    field : str
        Column that changes.
    before, after : str
        Value before and after; ``""`` for none.
    n_rows : int
        Number of rows.
    """

    field: str
    before: str
    after: str
    n_rows: int


def iter_changes(before: Labels, after: Labels, keys: Table) -> Iterator[LabelChange]:
    """Yield the changes of each column, the most frequent ones first.

    Parameters
    ----------
    before, after : Labels
        Labels of the same rows.
    keys : Table
        Columns `id` and `digest` of the rows.
    """
    for field in (*FIELDS, *after.list_columns()):
        old, new = (_hold(field, labels, keys) for labels in (before, after))
        new = rename(new, old.names)
        rows = np.flatnonzero(old.codes != new.codes)
        pairs = np.stack([old.codes[rows], new.codes[rows]], axis=1)
        found, counts = np.unique(pairs, axis=0, return_counts=True)
        for place in np.argsort(-counts, kind="stable").tolist():
            yield LabelChange(
                field=field,
                before=old.names[int(found[place, 0])],
                after=new.names[int(found[place, 1])],
                n_rows=int(counts[place]),
            )


def _hold(field: str, labels: Labels, keys: Table) -> Categories:
    """Return what holds in a column; of label, split and group, it is kept."""
    if field in FIELDS:
        column: Categories = labels.held[field]
        return column
    return hold_field(field, labels, keys).values
