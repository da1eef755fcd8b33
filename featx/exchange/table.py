"""The table that an export writes: columns of the rows, and their vectors, in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from featx.cache.frames import VECTORS as VECTORS
from featx.cache.reader import Cache
from featx.core.columns import Table
from featx.core.digests import unpack_digests
from featx.core.typing import IntArray, VectorDtype, Vectors
from featx.exchange.metadata import KEY

SAID_COLUMNS = ("id", "path", "label", "split", "group")
"""Columns of text that begin every exported table; further columns follow."""

READ_COLUMNS = ("digest", "width", "height")
"""Columns that end every exported table, before the vectors."""

COLUMNS = (*SAID_COLUMNS, *READ_COLUMNS)

SIZES = ("width", "height")
"""Columns of whole numbers; 0 is not known."""

RESERVED = frozenset([*COLUMNS, VECTORS, KEY])
"""Names that a further column cannot have in an exported table."""

BLOCK_BYTES = 1 << 25
"""Bytes of vectors in one block, from above: an export holds a few blocks in memory."""

MAX_SPAN = 1 << 16
"""Largest number of rows of the cache from which one block takes its own."""


@dataclass(frozen=True, kw_only=True)
class ExportTable:
    """Rows of a cache and their vectors in one embedding, as a table for other programs.

    Attributes
    ----------
    cache : Cache
        The open cache.
    embedding : str
        Name of the embedding.
    rows : ndarray of int
        Numbers of the rows ``(n_rows,)``, ascending; each has a vector.
    further : tuple of str
        Names of the columns that people recorded.
    metadata : str
        Text that `ExchangeMetadata` writes.
    """

    cache: Cache
    embedding: str
    rows: IntArray
    further: tuple[str, ...]
    metadata: str

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def dim(self) -> int:
        """Length of one vector."""
        return self.cache.get_info(self.embedding).fingerprint.dim

    @property
    def dtype(self) -> VectorDtype:
        """Dtype of the stored vectors, which the export keeps."""
        return self.cache.get_dtype(self.embedding)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all columns but that of the vectors, in the order of the export."""
        return (*SAID_COLUMNS, *self.further, *READ_COLUMNS)

    def iter_blocks(self) -> Iterator[slice]:
        """Cut the exported rows into blocks that fit into memory."""
        size = max(1, BLOCK_BYTES // (self.dim * np.dtype(self.dtype).itemsize))
        start = 0
        while start < len(self):
            end = int(np.searchsorted(self.rows, self.rows[start] + MAX_SPAN))
            yield slice(start, min(start + size, end))
            start = min(start + size, end)

    def read_columns(self, block: slice, names: Sequence[str]) -> Table:
        """Read columns of a block of rows, as the cache stores them.

        Parameters
        ----------
        block : slice
            Block from `iter_blocks`.
        names : sequence of str
            Names of the columns, at least one.
        """
        rows = self.rows[block]
        first, last = int(rows[0]), int(rows[-1]) + 1
        return self.cache.read_rows(names, first, last)[rows - first]

    def read_texts(self, block: slice, name: str) -> list[str]:
        """Read one column of text of a block of rows, ``""`` for none.

        Parameters
        ----------
        block : slice
            Block from `iter_blocks`.
        name : str
            Name of the column.
        """
        column = self.read_columns(block, [name])[name]
        return unpack_digests(column) if name == "digest" else column.to_list()

    def read_vectors(self, block: slice) -> Vectors:
        """Read the vectors of a block of rows, ``(n, dim)`` in the stored dtype."""
        return self.cache.read_vectors(self.embedding, self.rows[block])
