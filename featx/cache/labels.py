"""The element ``labels`` of a cache on disk."""

from __future__ import annotations

import h5py
import numpy as np

from featx.cache.datasets import store
from featx.cache.format import require_element
from featx.cache.tables import read_table, write_column
from featx.core.row_tables import ENTRY_KINDS, RECORD_KINDS
from featx.core.typing import UInt8Array
from featx.labels.element import FIELDS, Labels, Recorded

GROUP = "labels"


def write_labels(file: h5py.File, labels: Labels) -> None:
    """Write the labels of a cache. If they are there, only what differs is written.

    Parameters
    ----------
    file : h5py.File
        The cache, open for writing.
    labels : Labels
        The labels of all rows.
    """
    group = require_element(file, GROUP, "labels")
    tables = {
        "source": labels.source,
        "said": labels.said,
        "recorded": labels.recorded.records,
    }
    for field in FIELDS:
        write_column(group, field, labels.held[field])
    for name, table in tables.items():
        inner = group.require_group(name)
        for column in table.names:
            write_column(inner, column, table[column])
    splits = group.require_group("splits")
    occasions = labels.recorded.records["occasion"].tolist()
    for occasion, codes in zip(occasions, labels.recorded.split, strict=True):
        store(splits, str(occasion), codes)


def has_statements(file: h5py.File) -> bool:
    """Tell whether people said anything of the rows; only lengths are read.

    Parameters
    ----------
    file : h5py.File
        The cache.
    """
    return any(len(file[f"{GROUP}/{name}/time"]) for name in ("said", "recorded"))


def read_label_group(file: h5py.File) -> Labels:
    """Read the labels that `write_labels` wrote.

    Parameters
    ----------
    file : h5py.File
        The cache.

    Raises
    ------
    ValueError
        If a column breaks the format.
    """
    group = file[GROUP]
    held = read_table(group, FIELDS)
    records = read_table(group["recorded"], RECORD_KINDS)
    splits: list[UInt8Array] = [
        group["splits"][str(occasion)][:] for occasion in records["occasion"].tolist()
    ]
    empty = np.empty((0, len(held)), np.uint8)
    return Labels(
        held=held,
        source=read_table(group["source"], FIELDS),
        said=read_table(group["said"], ENTRY_KINDS),
        recorded=Recorded(records, np.stack(splits) if splits else empty),
    )
