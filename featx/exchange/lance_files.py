"""Lance datasets: folders that the packages lance and LanceDB read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from featx.core.columns import iter_blocks
from featx.core.errors import ExchangeError, require
from featx.core.text import shorten
from featx.exchange.arrow_tables import BATCH_ROWS, EXTRA, build_schema, iter_batches, read_batches
from featx.exchange.incoming import Incoming
from featx.exchange.table import ExportTable

LANCE = "lance"
"""Name of the package, and of the extra of featx that installs it."""


def write_lance(draft: Path, table: ExportTable) -> None:
    """Write a table.

    Parameters
    ----------
    draft : Path
        Folder to write to.
    table : ExportTable
        The table.
    """
    lance, pa = require(LANCE, LANCE, distribution="pylance"), require("pyarrow", EXTRA)
    schema = build_schema(table)
    # Lance would take the batches in threads of its own, in which HDF5 was seen to wait for ever.
    fragments = [
        fragment
        for batch in iter_batches(table)
        for fragment in lance.fragment.write_fragments(
            pa.Table.from_batches([batch], schema), str(draft), schema=schema, mode="create"
        )
    ]
    lance.LanceDataset.commit(str(draft), lance.LanceOperation.Overwrite(schema, fragments))


def read_lance(path: Path, column: str | None) -> Incoming:
    """Read vectors and columns of text.

    Parameters
    ----------
    path : Path
        Folder of the dataset.
    column : str or None
        Name of the column of vectors.

    Raises
    ------
    ExchangeError
        If the folder is no Lance dataset, or has no such column.
    """
    try:
        dataset = require(LANCE, LANCE, distribution="pylance").dataset(str(path))
    except (OSError, ValueError) as error:
        raise ExchangeError(
            subject=str(path),
            expected="a Lance dataset",
            got=shorten(str(error), 100),
            remedy="Pass the folder of the dataset.",
        ) from error

    def open_batches(names: list[str]) -> Iterator[Any]:
        # One scan of all rows holds whatever it has read ahead.
        for block in iter_blocks(dataset.count_rows(), BATCH_ROWS):
            n_rows = block.stop - block.start
            yield from dataset.to_batches(columns=names, limit=n_rows, offset=block.start)

    n_rows = dataset.count_rows()
    return read_batches(path, dataset.schema, open_batches, n_rows=n_rows, column=column)
