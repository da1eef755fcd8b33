"""Parquet files."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from featx.core.columns import Texts
from featx.core.errors import ExchangeError, require
from featx.core.text import shorten
from featx.exchange.arrow_tables import (
    BATCH_ROWS,
    EXTRA,
    build_schema,
    iter_batches,
    read_batches,
    read_texts,
)
from featx.exchange.incoming import Incoming, check_names
from featx.exchange.table import SIZES, VECTORS, ExportTable

BUFFER_BYTES = 1 << 20
"""Bytes that are read at a time."""


def write_parquet(draft: Path, table: ExportTable) -> None:
    """Write a table, with a checksum of each page.

    Vectors are not compressed: it would make them 2 to 11 % smaller.

    Parameters
    ----------
    draft : Path
        File to write.
    table : ExportTable
        The table.
    """
    parquet = require("pyarrow.parquet", EXTRA)
    compression = dict.fromkeys(table.names, "snappy") | {f"{VECTORS}.list.element": "none"}
    with parquet.ParquetWriter(
        draft,
        build_schema(table),
        compression=compression,
        use_dictionary=[name for name in table.names if name not in SIZES],
        write_statistics=list(table.names),
        write_page_checksum=True,
    ) as writer:
        for batch in iter_batches(table):
            writer.write_batch(batch)


def read_parquet(path: Path, column: str | None) -> Incoming:
    """Read vectors and columns of text.

    Parameters
    ----------
    path : Path
        The file.
    column : str or None
        Name of the column of vectors.

    Raises
    ------
    ExchangeError
        If the file is no Parquet table, or has no such column.
    """
    schema, n_rows = _read_schema(path)
    open_batches = functools.partial(_iter_batches, path)
    return read_batches(path, schema, open_batches, n_rows=n_rows, column=column)


def read_parquet_texts(path: Path) -> tuple[dict[str, Texts], tuple[str, ...]]:
    """Read the columns of text, as `featx.exchange.arrow_tables.read_texts` does."""
    schema, _ = _read_schema(path)
    check_names(path, schema.names)
    return read_texts(schema, functools.partial(_iter_batches, path), skip=[VECTORS])


def _read_schema(path: Path) -> tuple[Any, int]:
    with _open(path) as file:
        return file.schema_arrow, file.metadata.num_rows


def _iter_batches(path: Path, names: list[str]) -> Iterator[Any]:
    try:
        with _open(path) as file:
            yield from file.iter_batches(BATCH_ROWS, columns=names)
    except (OSError, require("pyarrow", EXTRA).lib.ArrowException) as error:
        raise ExchangeError(
            subject=str(path),
            expected="a whole Parquet table",
            got=shorten(str(error), 100),
            remedy="Write the file again, or copy it again.",
        ) from error


def _open(path: Path) -> Any:
    parquet = require("pyarrow.parquet", EXTRA)
    try:
        # By default, it holds as much in memory as it has read.
        return parquet.ParquetFile(
            path, pre_buffer=False, buffer_size=BUFFER_BYTES, page_checksum_verification=True
        )
    except require("pyarrow", EXTRA).lib.ArrowException as error:
        raise ExchangeError(
            subject=str(path),
            expected="a Parquet table",
            got=type(error).__name__,
            remedy="Write the file again.",
        ) from error
