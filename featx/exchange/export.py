"""Export a cache to a file of another program."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from featx.cache.conditions import find_labels
from featx.cache.joined import open_cache
from featx.cache.reader import Cache
from featx.core.address import name_caches
from featx.core.errors import ExchangeError
from featx.core.files import check_destination, replacing
from featx.core.fingerprint import Fingerprint
from featx.core.inputs import check_not_read
from featx.core.notes import note
from featx.core.progress import stage
from featx.core.text import count_noun, join_some
from featx.core.typing import CachePaths, PathLike, SplitChoice, VectorDtype
from featx.exchange.csv_files import describe_csv, name_sidecar
from featx.exchange.folders import check_folder, replacing_folder
from featx.exchange.formats import FORMATS, Format, find_format
from featx.exchange.metadata import ExchangeMetadata
from featx.exchange.table import RESERVED, ExportTable

EXPORTS: Mapping[str, Format] = {
    suffix: found for suffix, found in FORMATS.items() if found.write is not None
}
"""Kinds of files that featx writes, by their suffixes."""


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """Summary of an export; ``print(report)`` shows it in one line.

    Attributes
    ----------
    path : Path
        Path of the exported file, or of the folder for Lance.
    format : str
        Kind of the file, such as ``"Parquet"``.
    embedding : str
        Name of the embedding whose vectors are exported.
    fingerprint : Fingerprint
        Identity of the vectors.
    dim : int
        Length of one vector.
    dtype : {"float32", "float16"}
        Dtype of the vectors.
    n_rows : int
        Number of rows in the file.
    n_without_vector : int
        Number of rows that were asked for and left out: they have no vector in this embedding.
    n_not_asked : int
        Number of rows of the cache in other splits or with other labels than were asked for.
    columns : tuple of str
        Names of the columns beside the vectors, in the order of the file.
    """

    path: Path
    format: str
    embedding: str
    fingerprint: Fingerprint
    dim: int
    dtype: VectorDtype
    n_rows: int
    n_without_vector: int
    n_not_asked: int
    columns: tuple[str, ...]

    def __str__(self) -> str:
        left_out = {
            "without a vector": self.n_without_vector,
            "of other splits or labels": self.n_not_asked,
        }
        told = [f"{n} {reason} left out" for reason, n in left_out.items() if n]
        return "; ".join(
            [
                f"{self.path}: {count_noun(self.n_rows, 'row')}, {self.embedding} "
                f"(dim {self.dim}, {self.dtype}), {count_noun(len(self.columns), 'column')}",
                *told,
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values, for JSON."""
        return asdict(self) | {"path": str(self.path), "columns": list(self.columns)}


def export_cache(
    cache: CachePaths,
    output: PathLike,
    *,
    embedding: str | None = None,
    split: SplitChoice | None = None,
    labels: str | Sequence[str] | None = None,
    overwrite: bool = False,
) -> ExportReport:
    """Write rows of a cache and their vectors to a file for other programs.

    The suffix decides the kind: ``.parquet``, ``.arrow``, ``.npz``, ``.csv``, ``.h5ad`` (AnnData)
    or ``.lance``. The file has the columns id, path, label, split, group, digest, width, height,
    those that people recorded, and the vectors as ``embedding`` (CSV: ``e0``, ``e1``, …; AnnData:
    ``X``). What is not known is null; in ``.npz``, an empty text or 0. Fingerprint and provenance
    lie in the file's own metadata, so that `featx.import_embeddings` makes the same cache again.
    Rows are read in blocks: memory holds a few of them.

    Parameters
    ----------
    cache : path or sequence of paths
        Cache or caches, as `featx.open_cache` takes them.
    output : path
        Path of the file.
    embedding : str, optional
        Name of the embedding. Default: the only one.
    split : {"train", "val", "test", "all"}, optional
        Split of the rows. Default: all rows, also those without a split.
    labels : str or sequence of str, optional
        Labels of the rows. Default: all rows, also those without a label.
    overwrite : bool
        Whether to replace an existing file.

    Returns
    -------
    ExportReport
        Summary of the export.

    Warns
    -----
    FeatxWarning
        If a recorded column is left out because this kind of file cannot have its name.

    Raises
    ------
    ExchangeError
        If the suffix is unknown, the file exists, no row is left, or the file cannot be written.
    CacheError
        If the cache cannot be read, or has no such split or embedding.
    MissingExtraError
        If the package that writes this kind of file is not installed.

    See Also
    --------
    featx.import_embeddings : Make a cache of vectors that another program wrote.

    Examples
    --------
    >>> report = featx.export_cache("photos.h5", "photos.npz", split="train")
    >>> print(report)
    photos.npz: 8 rows, mini (dim 768, float32), 8 columns; 4 of other splits or labels left out
    >>> import numpy as np
    >>> with np.load("photos.npz") as arrays:
    ...     print(arrays["embedding"].shape, arrays["label"][0])
    (8, 768) ants
    """
    path = Path(output)
    kind = find_format(path, "the name of a file that featx writes", EXPORTS)
    _check_output(path, kind, overwrite=overwrite)
    with open_cache(cache) as opened, stage(f"writing {path.name}"):
        check_not_read(path, [member.path for member in opened.members], error=ExchangeError)
        table, n_without_vector = _choose_rows(
            opened, name_caches(cache), kind, embedding=embedding, split=split, labels=labels
        )
        _write(path, kind, table, overwrite=overwrite)
        info = opened.get_info(table.embedding)
        return ExportReport(
            path=path,
            format=kind.name,
            embedding=info.name,
            fingerprint=info.fingerprint,
            dim=table.dim,
            dtype=table.dtype,
            n_rows=len(table),
            n_without_vector=n_without_vector,
            n_not_asked=len(opened) - len(table) - n_without_vector,
            columns=table.names,
        )


def _check_output(path: Path, kind: Format, *, overwrite: bool) -> None:
    """Refuse, before any work is done, an output that cannot be written."""
    if kind.is_folder:
        check_folder(path, overwrite=overwrite)
        return
    check_destination(path, overwrite=overwrite, error=ExchangeError)
    if kind.has_sidecar:
        check_destination(name_sidecar(path), overwrite=overwrite, error=ExchangeError)


def _choose_rows(
    cache: Cache,
    name: str,
    kind: Format,
    *,
    embedding: str | None,
    split: str | None,
    labels: str | Sequence[str] | None,
) -> tuple[ExportTable, int]:
    """Choose the rows to export; count those that were asked for and have no vector."""
    chosen = cache.get_info(embedding).name
    rows = cache.select_rows(split)
    if labels is not None:
        rows = rows[find_labels(cache, labels)[rows]]
    present = cache.read_present(chosen)[rows]
    if not present.any():
        raise ExchangeError(
            subject=name,
            expected=f"at least one row with a {chosen} vector",
            got="none in this split with these labels" if len(rows) == 0 else "none",
            remedy="Ask for other rows: pass another split=, labels= or embedding=.",
        )
    left_out = [one for one in cache.columns if one in RESERVED or re.fullmatch(kind.taken, one)]
    if left_out:
        note(
            f"{name}: without {count_noun(len(left_out), 'recorded column')} whose name this kind "
            f"of file cannot have: {join_some(left_out, 3)}."
        )
    further = tuple(one for one in cache.columns if one not in left_out)
    table = ExportTable(
        cache=cache,
        embedding=chosen,
        rows=rows[present],
        further=further,
        metadata=ExchangeMetadata.of_cache(cache, chosen, further).to_json(),
    )
    return table, int((~present).sum())


def _write(path: Path, kind: Format, table: ExportTable, *, overwrite: bool) -> None:
    """Write the file, and put it in place whole."""
    assert kind.write is not None
    with _replacing(path, kind, overwrite=overwrite) as draft:
        kind.write(draft, table)
        beside = describe_csv(draft, table) if kind.has_sidecar else ""
    if kind.has_sidecar:
        with replacing(name_sidecar(path), error=ExchangeError, overwrite=overwrite) as draft:
            draft.write_text(beside, encoding="utf-8")


@contextmanager
def _replacing(path: Path, kind: Format, *, overwrite: bool) -> Iterator[Path]:
    if kind.is_folder:
        with replacing_folder(path, overwrite=overwrite) as draft:
            yield draft
    else:
        with replacing(path, error=ExchangeError, overwrite=overwrite) as draft:
            yield draft
