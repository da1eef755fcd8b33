"""Rows of a cache as tables of pandas and Arrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from featx.core.columns import Categories, Table, Texts
from featx.core.digests import unpack_digests
from featx.core.errors import require
from featx.core.row_tables import UNKNOWN
from featx.core.typing import Array, BoolArray, IntArray

if TYPE_CHECKING:
    import pandas
    import pyarrow

Present = tuple[BoolArray, Array]
"""Which rows have a vector ``(n,)``, and their vectors."""

VECTORS = "embedding"
"""Name of the column of vectors, also in the files of `featx.export_cache`."""


def build_pandas(rows: Table, numbers: IntArray, vectors: Present | None) -> pandas.DataFrame:
    """Build a data frame of rows.

    Parameters
    ----------
    rows : Table
        Columns of the rows.
    numbers : ndarray of int64
        Index of the frame ``(n,)``.
    vectors : (ndarray of bool, ndarray) or None
        Which rows have a vector ``(n,)``, and the vectors of these rows, float32 ``(m, dim)``; None
        for no vectors.

    Raises
    ------
    MissingExtraError
        If pandas is not installed.
    """
    library = require("pandas", "pandas")
    columns = {name: _build_series(library, name, rows[name]) for name in rows.names}
    if vectors is not None:
        present, found = vectors
        cells = np.full(len(present), None, object)
        for row, vector in zip(np.flatnonzero(present).tolist(), found, strict=True):
            cells[row] = vector
        columns[VECTORS] = cells
    frame: pandas.DataFrame = library.DataFrame(columns)
    frame.index = library.Index(numbers, name="row")
    return frame


def _build_series(pandas: Any, name: str, column: Any) -> Any:
    if isinstance(column, Categories):
        used = np.flatnonzero(np.bincount(column.codes, minlength=len(column.names)))
        used = used[used > 0]
        codes = np.full(len(column.names), -1, np.int32)
        codes[used] = np.arange(len(used))
        names = pandas.Index(column.names.to_array()[used], dtype=object)
        return pandas.Categorical.from_codes(codes[column.codes], names)
    if isinstance(column, Texts):
        return column.to_array()
    if name == "digest":
        return np.array([digest or None for digest in unpack_digests(column)], object)
    dtype = pandas.Int32Dtype() if column.dtype == np.int32 else pandas.Int64Dtype()
    values = pandas.array(column, dtype=dtype)
    values[column == UNKNOWN[name]] = pandas.NA
    return values


def build_arrow(rows: Table, vectors: Present | None) -> pyarrow.Table:
    """Build a table of Arrow.

    Parameters
    ----------
    rows : Table
        Columns of the rows.
    vectors : (ndarray of bool, ndarray) or None
        Which rows have a vector ``(n,)``, and the vectors of these rows, float32 ``(m, dim)``; None
        for no vectors.

    Raises
    ------
    MissingExtraError
        If pyarrow is not installed.
    """
    arrow = require("pyarrow", "parquet")
    columns = {name: _build_array(arrow, name, rows[name]) for name in rows.names}
    if vectors is not None:
        present, found = vectors
        if not present.all():
            spread = np.zeros((len(present), found.shape[1]), np.float32)
            spread[present] = found
            found = spread
        columns[VECTORS] = arrow.FixedSizeListArray.from_arrays(
            arrow.array(found.reshape(-1)),
            found.shape[1],
            mask=None if present.all() else arrow.array(~present),
        )
    table: pyarrow.Table = arrow.table(columns)
    return table


def _build_array(arrow: Any, name: str, column: Any) -> Any:
    if isinstance(column, Categories):
        names = _build_texts(arrow, column.names[1:])
        codes = arrow.array(column.codes - 1, mask=column.codes == 0)
        return arrow.DictionaryArray.from_arrays(codes, names)
    if isinstance(column, Texts):
        return _build_texts(arrow, column)
    if name == "digest":
        return arrow.array([digest or None for digest in unpack_digests(column)], arrow.string())
    return arrow.array(column, mask=column == UNKNOWN[name])


def _build_texts(arrow: Any, texts: Texts) -> Any:
    """Build a column of texts on the bytes themselves."""
    texts = texts.compact()
    offsets, data = (np.ascontiguousarray(part) for part in (texts.offsets, texts.data))
    return arrow.LargeStringArray.from_buffers(
        len(texts), arrow.py_buffer(offsets.astype(np.int64, copy=False)), arrow.py_buffer(data)
    )
