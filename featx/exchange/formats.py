"""The kinds of files that featx exports to and imports from, by their suffixes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from featx.core.columns import Texts
from featx.core.errors import ExchangeError
from featx.exchange.arrow import read_arrow, write_arrow
from featx.exchange.csv_files import PREFIX, read_csv, read_csv_texts, write_csv
from featx.exchange.h5ad import read_h5ad, write_h5ad
from featx.exchange.incoming import Incoming
from featx.exchange.lance_files import read_lance, write_lance
from featx.exchange.numpy_files import read_npy, read_npz, write_npz
from featx.exchange.parquet import read_parquet, read_parquet_texts, write_parquet
from featx.exchange.table import ExportTable

ReadTexts = Callable[[Path], tuple[dict[str, Texts], tuple[str, ...]]]
"""Function that reads the columns of text of a table, and names the others."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """One kind of file.

    Attributes
    ----------
    name : str
        Name of the kind.
    read : callable
        Function that reads vectors: it takes the path, and the name of their column or None.
    write : callable or None
        Function that writes a table to a draft; None if featx only reads this kind.
    read_texts : callable or None
        Function that reads a table without vectors; None if this kind is no table of ids.
    taken : str
        Regular expression of names that no further column can have in this kind of file.
    is_folder : bool
        Whether it is a folder of files.
    has_sidecar : bool
        Whether the metadata lie in a file beside it.
    """

    name: str
    read: Callable[[Path, str | None], Incoming]
    write: Callable[[Path, ExportTable], None] | None = None
    read_texts: ReadTexts | None = None
    taken: str = "(?!)"
    is_folder: bool = False
    has_sidecar: bool = False


_ARROW = Format(name="Arrow", read=read_arrow, write=write_arrow)
_CSV = Format(
    name="CSV",
    read=read_csv,
    write=write_csv,
    read_texts=read_csv_texts,
    taken=rf"{PREFIX}\d+",
    has_sidecar=True,
)
_PARQUET = Format(
    name="Parquet", read=read_parquet, write=write_parquet, read_texts=read_parquet_texts
)
_TEXT = Format(name="text table", read=read_csv, read_texts=read_csv_texts)

FORMATS: Mapping[str, Format] = {
    ".parquet": _PARQUET,
    ".arrow": _ARROW,
    ".npz": Format(name="NumPy", read=read_npz, write=write_npz),
    ".csv": _CSV,
    ".h5ad": Format(name="AnnData", read=read_h5ad, write=write_h5ad, taken="_index|.*/.*"),
    ".lance": Format(
        name="Lance", read=read_lance, write=write_lance, taken=r".*\..*", is_folder=True
    ),
    ".npy": Format(name="NumPy", read=read_npy),
    ".pq": _PARQUET,
    ".feather": _ARROW,
    ".tsv": _TEXT,
    ".txt": _TEXT,
}
"""Kinds of files by their suffixes in lower case."""


def find_format(path: Path, purpose: str, formats: Mapping[str, Format]) -> Format:
    """Find the kind of a file by its suffix.

    Parameters
    ----------
    path : Path
        The file.
    purpose : str
        Purpose of the file in words, for the error.
    formats : mapping of str to Format
        Kinds of files that serve the purpose.

    Raises
    ------
    ExchangeError
        If the path has no such suffix.
    """
    found = formats.get(path.suffix.lower())
    if found is None:
        raise ExchangeError(
            subject=str(path),
            expected=f"{purpose}: {', '.join(formats)}",
            got=f"the suffix {path.suffix!r}" if path.suffix else "no suffix",
            remedy="Write them with numpy.save(path, array)."
            if ".npy" in formats
            else "Choose one of these suffixes.",
        )
    return found
