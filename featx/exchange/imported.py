"""Make a cache of vectors that another program computed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featx.cache.lock import CacheLock
from featx.cache.writer import Column, Placement, write_cache
from featx.core.columns import Categories, Table, Texts
from featx.core.errors import CacheError, ExchangeError
from featx.core.files import check_destination, explain_reading, follow_link
from featx.core.fingerprint import Fingerprint
from featx.core.inputs import check_not_read
from featx.core.learnt import Digests
from featx.core.notes import note
from featx.core.progress import stage
from featx.core.text import count_noun, join_some, shorten, show_text
from featx.core.typing import PathLike, VectorDtype
from featx.exchange.formats import FORMATS, Format, find_format
from featx.exchange.identity import describe_import
from featx.exchange.incoming import Incoming, VectorStream
from featx.exchange.metadata import ExchangeMetadata
from featx.exchange.rows import ImportedRows, read_foreign_rows, read_own_rows
from featx.images.labels import clean_label, list_label_notes
from featx.images.sources.columns import find_role
from featx.labels.element import Labels, Recorded, build_entries

TABLES: Mapping[str, Format] = {
    suffix: found for suffix, found in FORMATS.items() if found.read_texts is not None
}
"""Kinds of tables of ids, by their suffixes."""

AUTHOR = "import"
"""Author of what an import records in further columns."""


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """Summary of an import; ``print(report)`` shows it in one line.

    Attributes
    ----------
    path : Path
        Path of the new cache.
    digest : str
        SHA-256 that stands for every byte of the cache, hexadecimal.
    vectors : Path
        The file of vectors.
    embedding : str
        Name of the embedding in the cache.
    fingerprint : Fingerprint
        Identity of the vectors.
    model : str or None
        Name of the model as the user gave it.
    is_own : bool
        Whether the fingerprint is the one that featx had exported, as if nothing had happened.
    dim : int
        Length of one vector.
    dtype : {"float32", "float16"}
        Dtype of the stored vectors.
    n_rows, n_labelled, n_split : int
        Number of rows, of those with a label, and of those with a split.
    columns : tuple of str
        Names of the further columns that were recorded.
    passed_over : tuple of str
        Names of the columns that were not read.
    """

    path: Path
    digest: str
    vectors: Path
    embedding: str
    fingerprint: Fingerprint
    model: str | None
    is_own: bool
    dim: int
    dtype: VectorDtype
    n_rows: int
    n_labelled: int
    n_split: int
    columns: tuple[str, ...]
    passed_over: tuple[str, ...]

    def __str__(self) -> str:
        identity = f"imported as vectors of {self.model}"
        if self.is_own:
            identity = "with the fingerprint that featx exported"
        elif self.model is None:
            identity = "imported; comparable with no vectors but those of this file"
        parts = [
            f"{self.path}: {count_noun(self.n_rows, 'row')} ({self.n_labelled} labelled, "
            f"{self.n_split} in a split), {self.embedding} (dim {self.dim}, {self.dtype})",
            identity,
        ]
        if self.columns:
            parts.append(f"further columns {join_some(self.columns, 3)}")
        if self.passed_over:
            parts.append(f"columns passed over: {join_some(self.passed_over, 3)}")
        return "; ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values, for JSON."""
        return asdict(self) | {
            "path": str(self.path),
            "vectors": str(self.vectors),
            "columns": list(self.columns),
            "passed_over": list(self.passed_over),
        }


def import_embeddings(
    vectors: PathLike,
    *,
    output: PathLike,
    ids: PathLike | None = None,
    model: str | None = None,
    embedding: str | None = None,
    column: str | None = None,
    overwrite: bool = False,
) -> ImportReport:
    r"""Make a cache of vectors that another program computed, such as timm, CLIP or a text model.

    The cache serves heads, evaluation, audit and search like any other; what needs the network,
    such as predicting new images, is refused. A file that `featx.export_cache` wrote gives the
    same cache again, with its own fingerprint, unless a model is named.

    Parameters
    ----------
    vectors : path
        File of vectors, one per row: ``.npy``, ``.npz``, ``.parquet``, ``.arrow``, ``.csv``,
        ``.h5ad`` or ``.lance``. Objects of Python are never read.
    output : path
        Path of the new cache.
    ids : path, optional
        Table with a header and a line for each vector, in their order: CSV or Parquet. Its columns
        id, path, label, split, group and digest are read by the names that sources have too; others
        are recorded. Default: the columns of the file of vectors; without any, the ids are the
        numbers of the rows, from 0.
    model : str, optional
        Name of the model that computed the vectors, with its version and preprocessing. Vectors of
        two imports are comparable only if model and dim agree. Default: the vectors are comparable
        with those of this very file only.
    embedding : str, optional
        Name of the embedding in the cache. Default: the name that featx exported, or the model.
    column : str, optional
        Name of the column of vectors; in CSV, the beginning of the names of their columns. Default:
        ``embedding`` (CSV: ``e``), or the only one.
    overwrite : bool
        Whether to replace an existing file.

    Returns
    -------
    ImportReport
        Summary of the import.

    Warns
    -----
    FeatxWarning
        If labels are doubtful, such as two that differ only by case, or if a CSV was changed after
        featx had written it.

    Raises
    ------
    ExchangeError
        If a file cannot be read, its vectors are no finite numbers of one length, or the table of
        ids has another number of lines, no header, or an id twice. If the output is one of these
        files, whatever `overwrite` says.
    CacheError
        If the cache exists or cannot be written.
    MissingExtraError
        If the package that reads this kind of file is not installed.

    See Also
    --------
    featx.export_cache : Write a cache to such a file.

    Examples
    --------
    >>> np.save("clip.npy", np.random.default_rng(0).normal(size=(4, 8)).astype("float32"))
    >>> lines = ["id,label", "1.jpg,ants", "2.jpg,bees", "3.jpg,ants", "4.jpg,"]
    >>> _ = Path("ids.csv").write_text("\n".join(lines))
    >>> report = featx.import_embeddings(
    ...     "clip.npy", ids="ids.csv", model="clip-vit-b-32", output="clip.h5"
    ... )
    >>> report.n_rows, report.n_labelled, report.embedding
    (4, 3, 'clip-vit-b-32')
    """
    path, target = Path(vectors), follow_link(Path(output))
    kind = find_format(path, "a file of vectors", FORMATS)
    check_destination(target, overwrite=overwrite, error=CacheError)
    check_not_read(target, [path] if ids is None else [path, ids], error=ExchangeError)
    named = None if model is None else _clean_model(model)
    _check_exists(path, is_folder=kind.is_folder)
    with stage(f"reading {path.name}"):
        with explain_reading(path, error=ExchangeError):
            incoming = kind.read(path, column)
        _check_some(incoming)
        own = _find_metadata(incoming, named)
        rows = _read_rows(incoming, own, None if ids is None else Path(ids))
        info = describe_import(incoming, None if named is not None else own, named, embedding)
    if own is None:
        for text in list_label_notes(rows.rows["label"].count()):
            note(f"{ids or path}: {text}")
    with (
        CacheLock(target) as lock,
        stage(f"writing {target.name}"),
        closing(VectorStream(incoming)) as stream,
    ):
        digest = write_cache(
            target,
            rows.rows,
            [
                Column(
                    info=info,
                    dtype=incoming.dtype,
                    read=stream.read,
                    learnt=_find_learnt(own if named is None else None),
                )
            ],
            source=_name_source(path, own, ids),
            labels=_build_labels(rows),
            placement=Placement(overwrite=overwrite, check=lock.check),
        )
    return ImportReport(
        path=target,
        digest=digest,
        vectors=path,
        embedding=info.name,
        fingerprint=info.fingerprint,
        model=named,
        is_own=own is not None and named is None,
        dim=incoming.dim,
        dtype=incoming.dtype,
        n_rows=incoming.n_rows,
        n_labelled=int((rows.rows["label"].codes > 0).sum()),
        n_split=int((rows.rows["split"].codes > 0).sum()),
        columns=tuple(rows.further),
        passed_over=(*incoming.passed_over, *rows.passed_over),
    )


def _clean_model(model: str) -> str:
    """Bring the name of a model into one form, and refuse an empty one."""
    named = clean_label(model)
    if named is None:
        raise ExchangeError(
            subject="model",
            expected="the name of the model that computed the vectors",
            got=repr(model),
            remedy="Pass a name such as model='timm/vit_base_patch16_224'.",
        )
    return named


def _check_exists(path: Path, *, is_folder: bool) -> None:
    if not (path.is_dir() if is_folder else path.is_file()):
        got = "a folder" if path.is_dir() else "a file" if path.is_file() else "nothing there"
        raise ExchangeError(
            subject=str(path),
            expected="a folder" if is_folder else "a file",
            got=got,
            remedy="Check the path.",
        )


def _check_some(incoming: Incoming) -> None:
    if not incoming.n_rows or not incoming.dim:
        raise ExchangeError(
            subject=str(incoming.path),
            expected="at least one vector of at least one number",
            got=f"{incoming.n_rows} rows of {incoming.dim} numbers",
            remedy="Choose another file.",
        )


def _find_metadata(incoming: Incoming, model: str | None) -> ExchangeMetadata | None:
    """Read what featx wrote beside the vectors; if a model is named, it need not be sound."""
    if incoming.metadata is None:
        return None
    try:
        return ExchangeMetadata.from_json(
            incoming.metadata, subject=str(incoming.path), dim=incoming.dim
        )
    except ExchangeError:
        if model is None:
            raise
        return None


def _find_learnt(own: ExchangeMetadata | None) -> Digests:
    return np.empty(0, np.uint64) if own is None else own.read_learnt()


def _name_source(path: Path, own: ExchangeMetadata | None, ids: PathLike | None) -> str:
    """Name the source of the rows: a table of ids may be one whose images can be found again."""
    if ids is not None:
        return str(Path(ids))
    return str(path) if own is None else own.source


def _read_rows(incoming: Incoming, own: ExchangeMetadata | None, ids: Path | None) -> ImportedRows:
    """Read the rows from the table of ids, or else from the columns beside the vectors."""
    if ids is None:
        if own is not None:
            return read_own_rows(incoming.columns, own.columns, incoming.path)
        return read_foreign_rows(incoming.columns, incoming.n_rows, incoming.path)
    kind = find_format(ids, "a table of ids", TABLES)
    assert kind.read_texts is not None
    _check_exists(ids, is_folder=False)
    with explain_reading(ids, error=ExchangeError):
        columns, passed_over = kind.read_texts(ids)
    if not any(find_role(name) for name in columns):
        raise ExchangeError(
            subject=str(ids),
            expected="a header with a column such as id, path or label",
            got=shorten(", ".join(columns), 100) or "no columns",
            remedy="Write a header such as id,label in its first line.",
        )
    n_lines = len(next(iter(columns.values())))
    if n_lines != incoming.n_rows:
        raise ExchangeError(
            subject=str(ids),
            expected=f"{count_noun(incoming.n_rows, 'row')}, one for each vector of "
            f"{incoming.path}",
            got=str(n_lines),
            remedy="Write a line for each vector, in the order of the vectors.",
        )
    found = read_foreign_rows(columns, n_lines, ids)
    _check_same_ids(incoming, found.rows["id"], ids)
    return ImportedRows(
        rows=found.rows, further=found.further, passed_over=(*passed_over, *found.passed_over)
    )


def _check_same_ids(incoming: Incoming, ids: Texts, table: Path) -> None:
    """Refuse a table in another order than the ids that lie beside the vectors."""
    beside = incoming.columns.get("id")
    if beside is None or beside == Texts.from_list(map(str, range(len(beside)))):
        return  # the numbers of the rows, which AnnData always has
    wrong = np.flatnonzero(~beside.equal(ids))
    if len(wrong):
        row = int(wrong[0])
        raise ExchangeError(
            subject=f"{table}, row {row + 1}",
            expected=f"the id {show_text(beside[row])!r}, as in {incoming.path}",
            got=repr(show_text(ids[row])),
            remedy="Write the lines in the order of the vectors.",
        )


def _build_labels(found: ImportedRows) -> Labels:
    """Build what is said of the rows: labels as the words of the source, further columns beside."""
    labels = Labels.of_source(found.rows)
    said = [_build_entries(found.rows, name, values) for name, values in found.further.items()]
    return Labels(
        held=labels.held,
        source=labels.source,
        said=Table.concat([labels.said, *said]),
        recorded=Recorded.empty(len(found.rows)),
    )


def _build_entries(rows: Table, name: str, values: Categories) -> Table:
    """Write one further column as statements; a cell without a value says nothing."""
    some = np.flatnonzero(values.codes > 0)
    return build_entries(
        rows["id"][some],
        rows["digest"][some],
        fields=[name] * len(some),
        values=values[some],
        kinds=["sure"] * len(some),
        authors=[AUTHOR] * len(some),
        time=time.time_ns() // 1_000_000,
    )
