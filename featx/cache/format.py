"""Names in the file, as FORMAT.md specifies them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np

from featx.cache.seal import SealedFile
from featx.core.errors import CacheError
from featx.core.fingerprint import Fingerprint
from featx.core.provenance import Provenance
from featx.core.rows import Failure, Row

Array = np.ndarray[Any, Any]
Record = TypeVar("Record", Row, Failure)

FORMAT_NAME = "featx-cache"
FORMAT_VERSION = 2

DTYPES = ("float32", "float16")

CHUNK_ROWS = 256
"""Rows per chunk of vectors: h5py's own choice reads random rows five times slower."""

TEXT = h5py.string_dtype()
NUMBERS = {"width": "i4", "height": "i4", "n_bytes": "i8", "mtime_ns": "i8"}
"""Columns that hold numbers, and as which; all others hold text."""


@dataclass(frozen=True)
class EmbeddingInfo:
    """What stands beside the vectors of one embedding.

    Attributes
    ----------
    name : str
        Its group below ``/embeddings``: ``backbone``, or ``backbone@layer``.
    fingerprint : Fingerprint
        What makes it comparable.
    provenance : Provenance
        Who computed it, how and when.
    """

    name: str
    fingerprint: Fingerprint
    provenance: Provenance

    def write_attributes(self, group: h5py.Group) -> None:
        """Stamp the embedding's group."""
        group.attrs["fingerprint"] = self.fingerprint.to_json()
        group.attrs["provenance"] = self.provenance.to_json()

    @classmethod
    def from_group(cls, name: str, group: h5py.Group) -> EmbeddingInfo:
        """Read what `write_attributes` wrote."""
        fingerprint = Fingerprint.from_json(group.attrs["fingerprint"])
        return cls(name, fingerprint, Provenance.from_json(group.attrs["provenance"]))


OPTIONAL = ("label", "split", "group")
"""Columns whose empty text means that there is none."""


def check_dtype(dtype: str) -> None:
    """Refuse a dtype that vectors are not stored in.

    Raises
    ------
    CacheError
    """
    if dtype not in DTYPES:
        raise CacheError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}. Fix it.")


def check_names(names: Iterable[str]) -> None:
    """Refuse what HDF5 would take for a path through groups.

    Raises
    ------
    CacheError
    """
    for name in names:
        if not re.fullmatch(r"[^\W_][\w.+@-]*", name):
            raise CacheError(
                subject="embedding",
                expected="letters, digits and . + - _ @",
                got=repr(name),
                remedy="Pass another embedding=NAME.",
            )


def list_columns(kind: type[Row] | type[Failure]) -> list[str]:
    """Name the columns of a table of rows or failures: the fields of one."""
    return [field.name for field in fields(kind)]


def write_table(group: h5py.Group, kind: type[Record], records: Sequence[Record]) -> None:
    """Write one column per field."""
    for name in list_columns(kind):
        values = [getattr(record, name) for record in records]
        if name in NUMBERS:
            group.create_dataset(name, data=np.array(values, NUMBERS[name]))
        else:
            texts = np.array([value or "" for value in values], dtype=object)
            group.create_dataset(name, data=texts, dtype=TEXT)


def read_table(group: h5py.Group, kind: type[Record]) -> list[Record]:
    """Read what `write_table` wrote."""
    names = list_columns(kind)
    columns = [read_column(group, name).tolist() for name in names]
    for name, column in zip(names, columns, strict=True):
        if name in OPTIONAL:
            column[:] = [text or None for text in column]
    return [kind(*values) for values in zip(*columns, strict=True)]


def read_column(group: h5py.Group, name: str) -> Array:
    """Read one column, numbers or str."""
    dataset = group[name]
    return np.asarray(dataset[:] if name in NUMBERS else dataset.asstr()[:])


def create_vectors(group: h5py.Group, name: str, n_rows: int, dim: int, dtype: str) -> h5py.Dataset:
    """Create a dataset of vectors of known size, in chunks of whole rows."""
    chunks = (min(CHUNK_ROWS, n_rows), dim) if n_rows else None
    return group.create_dataset(name, (n_rows, dim), dtype, chunks=chunks)


def take_rows(dataset: h5py.Dataset, rows: Array) -> Array:
    """Read rows of a dataset in any order, repeats allowed.

    HDF5 takes ascending indices only, and is slow with many: read the span they lie in where they
    fill a quarter of it.
    """
    if len(rows) == 0:
        return np.empty((0, *dataset.shape[1:]), dataset.dtype)
    if rows[-1] - rows[0] == len(rows) - 1 and bool((np.diff(rows) == 1).all()):
        return np.asarray(dataset[int(rows[0]) : int(rows[-1]) + 1])
    order, inverse = np.unique(rows, return_inverse=True)
    first, last = int(order[0]), int(order[-1]) + 1
    dense = len(order) * 4 > last - first
    values = dataset[first:last][order - first] if dense else dataset[order]
    return np.asarray(values[inverse])


def check_is_there(path: Path) -> None:
    """Refuse a path where there is no file."""
    if not path.is_file():
        raise CacheError(f"{path}: expected a cache, got no such file. Make it: featx extract.")


@contextmanager
def open_sealed(path: str | os.PathLike[str], kind: str) -> Iterator[tuple[h5py.File, SealedFile]]:
    """Open a sealed HDF5 file of this format; yield both views of it.

    Raises
    ------
    CacheError
        If it is missing, not sealed, damaged, or of another format or version.
    """
    path = Path(path)
    check_is_there(path)
    with SealedFile(path) as sealed:
        with sealed.guard():
            try:
                file = h5py.File(sealed, "r")
            except OSError as error:
                raise CacheError(
                    f"{path}: expected an HDF5 file, got {str(error).splitlines()[0]}. "
                    "Extract again."
                ) from error
        with file:
            with sealed.guard():
                name, version = file.attrs.get("format"), file.attrs.get("format_version")
            if name != kind or version != FORMAT_VERSION:
                raise CacheError(
                    f"{path}: expected format {kind} version {FORMAT_VERSION}, got {name} version "
                    f"{version}. Make it with featx extract, or install the featx that wrote it."
                )
            yield file, sealed
