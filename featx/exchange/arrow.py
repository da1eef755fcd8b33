"""Arrow files, which Arrow calls IPC files and pandas calls Feather."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from featx.core.errors import ExchangeError, require
from featx.exchange.arrow_tables import EXTRA, build_schema, iter_batches, read_batches
from featx.exchange.incoming import Incoming
from featx.exchange.table import ExportTable


def write_arrow(draft: Path, table: ExportTable) -> None:
    """Write a table.

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
            writer.write_batch(batch)


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
                yield file.get_batch(number).select(names)

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
