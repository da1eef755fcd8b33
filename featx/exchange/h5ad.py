"""AnnData files: vectors as ``X``, the rows as ``obs``, the metadata in ``uns``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from featx.core.columns import Texts
from featx.core.errors import ExchangeError, require
from featx.core.text import shorten
from featx.core.typing import Array
from featx.exchange.cells import read_cell
from featx.exchange.incoming import (
    Incoming,
    check_shape,
    choose_column,
    name_stored,
    refuse_damaged,
)
from featx.exchange.metadata import KEY
from featx.exchange.table import SIZES, ExportTable

EXTRA = "h5ad"
"""Extra of featx that installs anndata."""

READ_ROWS = 4096
"""Number of vectors that are read at a time."""

CHUNK_BYTES = 1 << 20
"""Size of a chunk of vectors, each with a checksum."""

WHOLE_COLUMNS = ("path", "digest")
"""Columns that are texts of their own in each row; the others are categories."""


def write_h5ad(draft: Path, table: ExportTable) -> None:
    """Write an AnnData object; its vectors are written in blocks.

    Parameters
    ----------
    draft : Path
        File to write.
    table : ExportTable
        The table.
    """
    anndata, pandas = require("anndata", EXTRA), require("pandas", EXTRA)
    columns = {}
    for name in table.names:
        values: list[Any] = []
        for block in table.iter_blocks():
            if name in SIZES:
                values += table.read_columns(block, [name])[name].tolist()
            else:
                values += table.read_texts(block, name)
        if name in SIZES:
            columns[name] = np.array(values, np.int32)
        elif name in (*WHOLE_COLUMNS, "id"):
            columns[name] = np.array(values, object)
        else:
            columns[name] = pandas.Categorical([text or None for text in values])
    index = pandas.Index(columns.pop("id"), dtype=object, name="id")
    obs = pandas.DataFrame(columns, index=index)
    var = pandas.DataFrame(index=pandas.Index(list(map(str, range(table.dim))), dtype=object))
    data = anndata.AnnData(obs=obs, var=var, uns={KEY: table.metadata})
    data.write_h5ad(draft, convert_strings_to_categoricals=False)
    with h5py.File(draft, "r+") as file:  # AnnData would take all vectors at once
        file.pop("X", None)
        row_bytes = table.dim * np.dtype(table.dtype).itemsize
        n_rows = min(len(table), max(1, CHUNK_BYTES // row_bytes))
        vectors = file.create_dataset(
            "X",
            (len(table), table.dim),
            table.dtype,
            chunks=(n_rows, table.dim),
            fletcher32=True,  # a checksum of each chunk, which every reader of HDF5 compares
        )
        vectors.attrs["encoding-type"], vectors.attrs["encoding-version"] = "array", "0.2.0"
        for block in table.iter_blocks():
            vectors[block] = table.read_vectors(block)


def read_h5ad(path: Path, column: str | None) -> Incoming:
    """Read vectors and columns of text.

    Parameters
    ----------
    path : Path
        The file.
    column : str or None
        Name of a matrix in ``obsm``, such as ``X_pca``. None: ``X``.

    Raises
    ------
    ExchangeError
        If the file is no AnnData object, or has no such matrix.
    """
    data = _open(path)
    try:
        vectors = _find_matrix(path, data, column)
        stored = name_stored(path, column or "X", vectors.dtype)
        check_shape(path, column or "X", vectors.shape)
        columns = {"id": Texts.from_list(map(str, data.obs_names))}
        passed_over = []
        for name in data.obs.columns:
            cells = data.obs[name].tolist()
            if all(cell is None or isinstance(cell, str | int | float) for cell in cells):
                columns[str(name)] = Texts.from_list(map(read_cell, cells))
            else:
                passed_over.append(str(name))
        metadata = data.uns.get(KEY)
        n_rows, dim = vectors.shape
    finally:
        data.file.close()

    def iter_vectors() -> Iterator[Array]:
        data = _open(path)
        try:
            vectors = _find_matrix(path, data, column)
            for start in range(0, n_rows, READ_ROWS):
                try:
                    block = np.asarray(vectors[start : start + READ_ROWS])
                except OSError as error:
                    raise refuse_damaged(path, "vectors", error) from error
                yield block
        finally:
            data.file.close()

    return Incoming(
        path=path,
        n_rows=n_rows,
        dim=dim,
        dtype=stored,
        columns=columns,
        iter_vectors=iter_vectors,
        metadata=metadata if isinstance(metadata, str) else None,
        passed_over=tuple(passed_over),
    )


def _open(path: Path) -> Any:
    anndata = require("anndata", EXTRA)
    try:
        return anndata.read_h5ad(path, backed="r")
    except Exception as error:  # anndata and HDF5 raise errors of many classes
        raise ExchangeError(
            subject=str(path),
            expected="an AnnData object",
            got=f"{type(error).__name__}: {shorten(str(error), 100)}",
            remedy="Write the file with AnnData.write_h5ad.",
        ) from error


def _find_matrix(path: Path, data: Any, column: str | None) -> Any:
    """Find the vectors: ``X``, or a matrix of ``obsm``."""
    if column is None:
        found = data.X
    else:
        found = data.obsm[choose_column(path, column, [*data.obsm], [*data.obsm])]
    if not isinstance(found, h5py.Dataset | np.ndarray):
        raise ExchangeError(
            subject=f"{path}, {column or 'X'}",
            expected="a dense matrix of vectors",
            got="none" if found is None else type(found).__name__,
            remedy=f"Pass column=NAME with a matrix of obsm: {', '.join(data.obsm) or 'none'}.",
        )
    return found
