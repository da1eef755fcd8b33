"""Caches to export, and what is compared of two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from featx.cache.joined import open_cache
from featx.cache.writer import Column, write_cache
from featx.core.columns import Categories, Table
from featx.core.row_tables import ROW_KINDS, build_table
from featx.core.rows import Row
from featx.core.typing import Array, VectorDtype
from featx.labels.element import Labels, Recorded, build_entries
from tests.builders import build_info, build_rows

SUFFIXES = ("parquet", "arrow", "npz", "csv", "h5ad", "lance")
"""Kinds of files that featx exports."""

COLUMNS = ["id", "path", "label", "split", "group", "digest", "width", "height"]


def write_odd_cache(
    path: Path,
    vectors: Array,
    labels: Sequence[str],
    *,
    further: Mapping[str, Sequence[str]] | None = None,
) -> Path:
    """Write a cache with such labels, every third row without size and digest, and a group."""
    rows = [
        replace(row, width=0, height=0, digest="") if number % 3 == 2 else row
        for number, row in enumerate(
            build_rows(
                [*labels],
                [("train", "val", None)[i % 3] for i in range(len(labels))],
                [("g", None)[i % 2] for i in range(len(labels))],
            )
        )
    ]
    rows = [
        replace(row, id=f'{number:03}, "ü".jpg', label=row.label or None)
        for number, row in enumerate(rows)
    ]
    return write_rows_with(path, rows, vectors, further or {})


def write_rows_with(
    path: Path, rows: Sequence[Row], vectors: Array, further: Mapping[str, Sequence[str]]
) -> Path:
    """Write a cache of rows and vectors, NaN for a row without one, with further columns."""
    dtype: VectorDtype = "float16" if vectors.dtype == np.float16 else "float32"
    info = build_info(dim=vectors.shape[1])
    table = build_table(rows, ROW_KINDS)
    labels = Labels.of_source(table)
    said = [labels.said]
    for name, values in further.items():
        some = np.flatnonzero([bool(value) for value in values])
        said.append(
            build_entries(
                table["id"][some],
                table["digest"][some],
                fields=[name] * len(some),
                values=[value for value in values if value],
                kinds=["sure"] * len(some),
                authors=["ada"] * len(some),
            )
        )
    labels = replace(labels, said=Table.concat(said), recorded=Recorded.empty(len(rows)))
    column = Column(
        info=info,
        dtype=dtype,
        read=lambda some: vectors[some],
        learnt=np.array([3, 5], np.uint64),
    )
    write_cache(path, table, [column], source="photos", labels=labels)
    return path


def check_same_content(first: Path, second: Path) -> None:
    """Compare everything that an export carries, to the last bit."""
    with open_cache(first) as one, open_cache(second) as other:
        assert one.source == other.source
        assert one.embeddings == other.embeddings
        assert one.columns == other.columns
        for name in (*ROW_KINDS, *one.columns):
            mine, theirs = one.read_column(name), other.read_column(name)
            if name in ("n_bytes", "mtime_ns"):
                continue
            if isinstance(mine, Categories):
                assert mine.to_list() == theirs.to_list(), name
            else:
                assert np.array_equal(mine, theirs), name
        for name in one.embeddings:
            assert one.get_info(name) == other.get_info(name)
            assert np.array_equal(one.read_learnt_digests(name), other.read_learnt_digests(name))
            mine, theirs = (
                cache.take_vectors(name, np.arange(len(cache))) for cache in (one, other)
            )
            assert mine.dtype == theirs.dtype
            assert mine.tobytes() == theirs.tobytes()


def read_bytes(path: Path) -> bytes:
    """Read a file, or what the text of its columns and its vectors are in a dataset of Lance."""
    if path.is_file():
        return path.read_bytes()
    import lance

    table = lance.dataset(str(path)).to_table()
    return repr((table.schema.metadata, table.to_pylist())).encode()
