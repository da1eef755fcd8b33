"""Arrow tables: what Parquet, Arrow and Lance files have in common."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from featx.cache.frames import build_arrow
from featx.core.columns import Texts, TextsBuilder
from featx.core.errors import ExchangeError, require
from featx.core.text import shorten
from featx.core.typing import Array
from featx.exchange.ahead import read_ahead
from featx.exchange.cells import read_cell
from featx.exchange.incoming import Incoming, check_names, choose_column, name_stored
from featx.exchange.metadata import KEY
from featx.exchange.table import SIZES, VECTORS, ExportTable

EXTRA = "parquet"
"""Extra of featx that installs pyarrow."""

KNOWN = ("id", "path")
"""Columns that have a value in each row, beside the vectors."""

BATCH_ROWS = 4096
"""Number of rows that are read at a time."""


def build_schema(table: ExportTable) -> Any:
    """Build the schema of an exported table.

    Parameters
    ----------
    table : ExportTable
        The table.

    Returns
    -------
    pyarrow.Schema
        Texts, sizes as int32, and the vectors as lists of fixed size; the metadata of the export.
    """
    pa = require("pyarrow", EXTRA)
    fields = [
        pa.field(name, pa.int32() if name in SIZES else pa.string(), nullable=name not in KNOWN)
        for name in table.names
    ]
    # Without nulls, Parquet is written a quarter faster.
    value = pa.field("item", pa.from_numpy_dtype(table.dtype), nullable=False)
    fields.append(pa.field(VECTORS, pa.list_(value, table.dim), nullable=False))
    return pa.schema(fields, metadata={KEY: table.metadata})


def iter_batches(table: ExportTable) -> Iterator[Any]:
    """Yield the rows of an exported table, each block read while the one before is written.

    What is not known is null.

    Parameters
    ----------
    table : ExportTable
        The table.

    Yields
    ------
    pyarrow.RecordBatch
        One block of rows.
    """
    pa, schema = require("pyarrow", EXTRA), build_schema(table)
    plain = schema.remove(len(schema) - 1)

    def read(block: slice) -> Any:
        rows = build_arrow(table.read_columns(block, table.names), None).cast(plain)
        values = pa.array(table.read_vectors(block).reshape(-1))
        vectors = pa.FixedSizeListArray.from_arrays(values, type=schema.field(VECTORS).type)
        columns = [column.chunk(0) for column in rows.columns]
        return pa.record_batch([*columns, vectors], schema=schema)

    yield from read_ahead(read, table.iter_blocks())


def read_batches(
    path: Path,
    schema: Any,
    open_batches: Callable[[list[str]], Iterable[Any]],
    *,
    n_rows: int,
    column: str | None,
) -> Incoming:
    """Read the columns of text of a table, and prepare to read its vectors.

    Parameters
    ----------
    path : Path
        The file, for errors.
    schema : pyarrow.Schema
        Schema of the table.
    open_batches : callable
        Function that takes names of columns and iterates over record batches of these columns.
    n_rows : int
        Number of rows.
    column : str or None
        Name of the column of vectors. None: the only one, or the one that an export of featx has.
    """
    pa = require("pyarrow", EXTRA)
    check_names(path, schema.names)
    lists = [name for name in schema.names if _holds_vectors(pa, schema.field(name).type)]
    name = choose_column(path, column, lists, schema.names)
    columns, passed_over = read_texts(schema, open_batches, skip={*lists, name})
    dim, dtype = _find_shape(path, name, schema.field(name).type, open_batches)

    def iter_vectors() -> Iterator[Array]:
        n_read = 0
        for batch in open_batches([name]):
            yield _read_lists(path, batch.column(name), dim, n_read)
            n_read += len(batch)

    metadata = (schema.metadata or {}).get(KEY.encode())
    return Incoming(
        path=path,
        n_rows=n_rows,
        dim=dim,
        dtype=dtype,
        columns=columns,
        iter_vectors=iter_vectors,
        metadata=None if metadata is None else metadata.decode("utf-8", "replace"),
        passed_over=passed_over,
    )


def read_texts(
    schema: Any, open_batches: Callable[[list[str]], Iterable[Any]], skip: Collection[str] = ()
) -> tuple[dict[str, Texts], tuple[str, ...]]:
    """Read the columns of a table that hold text, or what becomes text.

    Parameters
    ----------
    schema : pyarrow.Schema
        Schema of the table.
    open_batches : callable
        Function that takes names of columns and iterates over record batches of these columns.
    skip : collection of str
        Names of columns that are neither read nor passed over.

    Returns
    -------
    columns : dict of str to Texts
        The columns by name, ``""`` for null.
    passed_over : tuple of str
        Names of columns of other types.
    """
    pa = require("pyarrow", EXTRA)
    names = [name for name in schema.names if name not in skip]
    builders = {name: TextsBuilder() for name in names if _is_simple(pa, schema.field(name).type)}
    if builders:
        for batch in open_batches([*builders]):
            for name, builder in builders.items():
                for cell in batch.column(name).to_pylist():
                    builder.append(read_cell(cell))
    columns = {name: builder.build() for name, builder in builders.items()}
    return columns, tuple(name for name in names if name not in columns)


def _is_simple(pa: Any, type_: Any) -> bool:
    """Tell whether the cells of a column are text, or what becomes text."""
    types = pa.types
    if types.is_dictionary(type_):
        type_ = type_.value_type
    return bool(
        str(type_) in ("string", "large_string", "string_view", "null")
        or types.is_integer(type_)
        or types.is_floating(type_)
        or types.is_boolean(type_)
    )


def _holds_vectors(pa: Any, type_: Any) -> bool:
    """Tell whether the cells of a column are lists of floats."""
    types = pa.types
    is_list = types.is_list(type_) or types.is_large_list(type_) or types.is_fixed_size_list(type_)
    return bool(is_list and types.is_floating(type_.value_type))


def _find_shape(
    path: Path, name: str, type_: Any, open_batches: Callable[[list[str]], Iterable[Any]]
) -> tuple[int, Any]:
    """Find the length of the vectors, and the dtype that they are stored in."""
    pa = require("pyarrow", EXTRA)
    dtype = name_stored(path, name, np.dtype(type_.value_type.to_pandas_dtype()))
    if pa.types.is_fixed_size_list(type_):
        return type_.list_size, dtype
    for batch in open_batches([name]):
        for cell in batch.column(name):
            if cell.is_valid:
                return len(cell), dtype
    return 0, dtype


def _read_lists(path: Path, column: Any, dim: int, n_read: int) -> Array:
    """Read a column of lists as an array; refuse null, and lists of other lengths."""
    pa, compute = require("pyarrow", EXTRA), require("pyarrow.compute", EXTRA)
    if column.null_count:
        row = n_read + column.is_null().to_pylist().index(True)
        raise _refuse_list(path, row, dim, "null")
    values = column.flatten()
    if not pa.types.is_fixed_size_list(column.type):
        lengths = np.asarray(compute.list_value_length(column))
        wrong = np.flatnonzero(lengths != dim)
        if len(wrong):
            raise _refuse_list(path, n_read + int(wrong[0]), dim, f"{lengths[wrong[0]]} numbers")
    if values.null_count:
        row = n_read + values.is_null().to_pylist().index(True) // dim
        raise _refuse_list(path, row, dim, "a list with null")
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(-1, dim)


def _refuse_list(path: Path, row: int, dim: int, got: str) -> ExchangeError:
    return ExchangeError(
        subject=f"{path}, row {row + 1}",
        expected=f"a vector of {dim} numbers",
        got=shorten(got),
        remedy="Leave rows without a vector out of the file.",
    )
