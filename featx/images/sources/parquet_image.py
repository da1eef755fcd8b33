"""Images that lie in a column of a Parquet table, read a few at a time."""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from featx.core.address import find_address
from featx.core.errors import require
from featx.core.texts import Texts
from featx.images.content import Content
from featx.images.remote import open_source
from featx.remote.objects import find_state

N_ROWS = 8
"""Number of images that are taken out of the file at a time."""

HELD_BYTES = 64 << 20
"""Bytes of images that are kept for threads that are behind: some 256 images of 250 kB."""

BUFFER_BYTES = 1 << 20
"""Bytes that are read from the file at a time: without a limit, Arrow reads a whole column of a row
group, which may be the whole table."""


class ParquetImages:
    """One column of images in a Parquet file.

    Images are read in the order of the file, by several threads at once; the last ones are kept. An
    image that is no longer kept is read again from the start of its row group.

    Parameters
    ----------
    file : str
        Path of the Parquet file, or its address in full.
    column : str
        Name of the column of bytes, ``image.bytes`` for a field of a struct.
    """

    def __init__(self, file: str, column: str) -> None:
        self.file, self.column = file, column
        self._address = find_address(file)
        self._asked: tuple[int, int] | None = None
        self._lock = threading.Lock()
        self._state: tuple[int, int] | None = None
        self._file: Any = None
        self._starts: list[int] = []
        self._damage: dict[int, tuple[int, str]] = {}
        self._batches: Iterator[Any] = iter(())
        self._position = 0
        self._held: deque[tuple[int, Any]] = deque()
        self._n_held = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ParquetImages) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[str, str]:
        return self.file, self.column

    def __reduce__(self) -> tuple[Callable[..., ParquetImages], tuple[str, str]]:
        """Pickle the name of the column alone; another process opens the file itself."""
        return ParquetImages, self._key

    def build_content(self, row: int, name: str) -> ParquetImage:
        """Build the content of one row.

        Parameters
        ----------
        row : int
            Number of the row, counted from 0.
        name : str
            Name of the image in the table; empty to name it by its number, counted from 1.
        """
        return ParquetImage(self.file, images=self, row=row, name=name or str(row + 1))

    def read(self, row: int) -> bytes:
        """Read the bytes of one image.

        Parameters
        ----------
        row : int
            Number of the row, counted from 0.

        Returns
        -------
        bytes
            The bytes of the image.

        Raises
        ------
        OSError
            If the file cannot be read, or if the row has no image.
        """
        state = self.find_state()
        with self._lock:
            if self._state != state:
                self._close()
                self._starts, self._damage = [], {}
                self._state = state
            try:
                value = self._find(row)
            except Exception as error:  # the errors of pyarrow have no common base but Exception
                self._close()
                if isinstance(error, OSError):
                    raise
                raise OSError(f"{type(error).__name__}: {error}") from error
        if value is None:
            raise OSError(f"no bytes of an image in the table, row {row + 1}")
        return value

    def find_state(self) -> tuple[int, int]:
        """Return size and time of the table; a store is asked once."""
        if self._address is None:
            status = os.stat(self.file)
            return status.st_size, status.st_mtime_ns
        self._asked = self._asked or find_state(self._address)
        return self._asked

    def _find(self, row: int) -> bytes | None:
        """Find one image among those that are kept, or read on until it is found."""
        damaged, reason = self._damage.get(self._find_group(row), (row + 1, ""))
        if row >= damaged:
            raise OSError(reason)
        first = self._held[0][0] if self._held else self._position
        is_ahead = self._find_group(row) > self._find_group(self._position)
        if self._file is None or row < first or is_ahead:
            self._open(row)
        while row >= self._position:
            column = self._read_batch()
            if column is None:
                raise OSError(f"the table ends before row {row + 1}")
            self._held.append((self._position, column))
            self._n_held += column.nbytes
            self._position += len(column)
            while len(self._held) > 2 and self._n_held > HELD_BYTES:
                self._n_held -= self._held.popleft()[1].nbytes
        start, column = next(held for held in reversed(self._held) if held[0] <= row)
        value: bytes | None = column[row - start].as_py()
        return value

    def _read_batch(self) -> Any:
        """Read the next images; None at the end of the table."""
        try:
            batch = next(self._batches, None)
        except Exception as error:
            # Each later row of the group would be looked for from the start of the group.
            group = self._find_group(self._position)
            self._damage[group] = self._position, f"{type(error).__name__}: {error}"
            raise
        return None if batch is None else _take_column(batch)

    def _find_group(self, row: int) -> int:
        """Find the row group of a row; -1 if no file has been opened."""
        return bisect_right(self._starts, row) - 1

    def _open(self, row: int) -> None:
        """Open the file at the start of the row group that holds a row."""
        self._close()
        parquet = require("pyarrow.parquet", "parquet")
        stream = self.file if self._address is None else open_source(self._address)
        self._file = parquet.ParquetFile(stream, buffer_size=BUFFER_BYTES, pre_buffer=False)
        groups = range(self._file.num_row_groups)
        sizes = (self._file.metadata.row_group(group).num_rows for group in groups)
        self._starts = list(accumulate(sizes, initial=0))[:-1]
        group = self._find_group(row)
        self._position = self._starts[group]
        self._batches = self._file.iter_batches(
            N_ROWS, row_groups=list(groups[group:]), columns=[self.column], use_threads=False
        )

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._batches, self._position = None, iter(()), 0
        self._held.clear()
        self._n_held = 0


def _take_column(batch: Any) -> Any:
    """Take the only column of a batch, or the only field of its struct."""
    column = batch.column(0)
    return column.flatten()[0] if hasattr(column, "flatten") and column.type.num_fields else column


@dataclass(frozen=True, slots=True, kw_only=True)
class ParquetImage(Content):
    """The bytes of one image in a Parquet table. Size and time are those of the table.

    Attributes
    ----------
    images : ParquetImages
        The column that holds the image.
    row : int
        Number of the row, counted from 0.
    name : str
        Name of the image within the table.
    """

    is_plain = False
    images: ParquetImages
    row: int
    name: str

    def stat(self) -> tuple[int, int]:
        """Return size and time of the table."""
        return self.images.find_state()

    def read(self, size: int | None = None) -> bytes:
        """Read the bytes, as `Content.read` does."""
        return self.images.read(self.row)[:size]


class ParquetContents(Mapping[int, Content]):
    """The images of a whole Parquet table by their numbers; each is made when it is asked for.

    Parameters
    ----------
    images : ParquetImages
        The column that holds the images.
    rows : sequence of int
        Number of each image's row in the table, counted from 0.
    names : Texts
        Name of each image within the table.
    """

    def __init__(self, images: ParquetImages, rows: Sequence[int], names: Texts) -> None:
        self._images, self._rows, self._names = images, rows, names

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self)))

    def __contains__(self, number: object) -> bool:
        return number in range(len(self))

    def __getitem__(self, number: int) -> Content:
        return self._images.build_content(self._rows[number], self._names[number])
