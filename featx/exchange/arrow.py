"""Arrow files, which Arrow calls IPC files and pandas calls Feather."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from featx.core.errors import ExchangeError, require
from featx.exchange.arrow_tables import EXTRA, build_schema, iter_batches, read_batches
from featx.exchange.incoming import Incoming, refuse_damaged
from featx.exchange.table import ExportTable

CHECKSUMS = "featx-crc32"
"""Key in the metadata of a batch: the CRC-32 of each column by its name, as one JSON object."""


def compute_checksum(column: Any) -> int:
    """Compute the CRC-32 of the values of a column, whatever their layout in memory.

    Parameters
    ----------
    column : pyarrow.Array
        Vectors as lists of fixed size without null; or texts or numbers, which become JSON.
    """
    if str(column.type).startswith("fixed_size_list"):
        values = np.ascontiguousarray(column.flatten().to_numpy(zero_copy_only=False))
        return zlib.crc32(values.view(np.uint8).data)
    return zlib.crc32(json.dumps(column.to_pylist()).encode())


def write_arrow(draft: Path, table: ExportTable) -> None:
    """Write a table, with a checksum of each column in the metadata of each batch.

    Parameters
    ----------
    draft : Path
        File to write.
    table : ExportTable
        The table.
    """
    ipc = require("pyarrow.ipc", EXTRA)
    with ipc.new_file(str(draft), build_schema(table)) as writer:
        for batch in iter_batches(table):
            checksums = {name: compute_checksum(batch.column(name)) for name in batch.schema.names}
            writer.write_batch(batch, custom_metadata={CHECKSUMS: json.dumps(checksums)})


def read_arrow(path: Path, column: str | None) -> Incoming:
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
        If the file is no Arrow file, or has no such column.
    """
    pa, ipc = require("pyarrow", EXTRA), require("pyarrow.ipc", EXTRA)

    def open_batches(names: list[str]) -> Iterator[Any]:
        with pa.OSFile(str(path)) as stream, ipc.open_file(stream) as file:
            for number in range(file.num_record_batches):
                try:
                    batch, told = file.get_batch_with_custom_metadata(number)
                    checked = batch.select(names)
                    _check_batch(path, number, checked, told)
                except (pa.lib.ArrowException, UnicodeError) as error:
                    raise refuse_damaged(path, f"batch {number}", error) from error
                yield checked

    try:
        with pa.OSFile(str(path)) as stream, ipc.open_file(stream) as file:
            n_rows = sum(file.get_batch(i).num_rows for i in range(file.num_record_batches))
            schema = file.schema
    except pa.lib.ArrowException as error:
        raise ExchangeError(
            subject=str(path),
            expected="an Arrow file",
            got=type(error).__name__,
            remedy="Write the file again, for example with pandas: table.to_feather(path).",
        ) from error
    return read_batches(path, schema, open_batches, n_rows=n_rows, column=column)


def _check_batch(path: Path, number: int, batch: Any, told: Any) -> None:
    """Compare the columns of a batch with their checksums, if featx wrote the file."""
    checksums = json.loads((told or {}).get(CHECKSUMS, "{}"))
    wrong = [
        name
        for name in batch.schema.names
        if name in checksums and compute_checksum(batch.column(name)) != checksums[name]
    ]
    if wrong:
        raise refuse_damaged(path, f"batch {number}", f"another checksum of {', '.join(wrong)}")
