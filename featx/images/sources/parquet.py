"""Read the rows of a Parquet table: paths, or the images themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx.core.errors import SourceError, require
from featx.core.records import load_json
from featx.core.text import shorten
from featx.images.remote import Location, name_file, open_source
from featx.images.sources.cells import ROLES, Findings, Line, read_typed, refuse_type
from featx.images.sources.columns import Role, find_columns, has_paths
from featx.images.sources.parquet_image import ParquetImages
from featx.remote.failures import RemoteError

IMAGE_NAMES = frozenset(["bytes", "image_bytes", "img_bytes", "jpg", "jpeg", "png"])
"""Names of columns of bytes that hold images, beside the names of columns of paths."""


def iter_parquet(table: Location, findings: Findings) -> Iterator[Line]:
    """Yield the rows of a Parquet table. Images in it are not read.

    Parameters
    ----------
    table : Path or Address
        A ``.parquet`` file. Its images are paths in a column of text; or bytes; or structs of
        ``bytes`` and ``path``, as Hugging Face writes them.
    findings : Findings
        Record of how the table was read.

    Raises
    ------
    SourceError
        If the file is no whole Parquet table, or if a column has a type that featx does not read.
    """
    findings.word = "row"
    parquet = require("pyarrow.parquet", "parquet")
    try:
        stream = open_source(table)  # of a path, Arrow would wait for a pipe
        if isinstance(table, Path):  # Arrow reads the file itself, faster
            stream.close()
            stream = table
        file = parquet.ParquetFile(stream)
    except RemoteError as error:
        raise error.as_error(SourceError, table) from error
    except OSError as error:
        got = error.strerror or shorten(str(error))
        raise _refuse_file(table, "a Parquet table", got) from error
    except Exception as error:  # the errors of pyarrow have no common base but Exception
        raise _refuse_file(table, "a Parquet table", type(error).__name__) from error
    try:
        yield from _iter_lines(_plan(table, file, findings))
    except RemoteError as error:
        raise error.as_error(SourceError, table) from error
    except OSError as error:
        raise _refuse_file(table, "a whole Parquet table", shorten(str(error))) from error
    finally:
        file.close()


def _refuse_file(table: Location, expected: str, got: str) -> SourceError:
    return SourceError(
        subject=str(table), expected=expected, got=got, remedy="Write the table again."
    )


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """An open Parquet table, and what to read of it.

    Attributes
    ----------
    table : Path or Address
        The table.
    file : pyarrow.parquet.ParquetFile
        The open table.
    texts : dict of str to str
        Name of the column of each role whose cells are text; paths among them.
    images : ParquetImages or None
        The column of images; None if the table holds paths.
    names : str or None
        Column of names for the images.
    class_names : sequence of str
        Names of the classes that stand for 0, 1, 2 in the column of labels; empty if it has none.
    """

    table: Location
    file: Any
    texts: Mapping[Role, str]
    images: ParquetImages | None
    names: str | None
    class_names: Sequence[str]


def _plan(table: Location, file: Any, findings: Findings) -> _Plan:
    """Decide by names and types what to read."""
    schema = file.schema_arrow
    image = _find_images(str(table), schema)
    columns = find_columns(schema.names, str(table), images=image)
    findings.columns.append(columns)
    texts = {role: schema.names[index] for role, index in columns.indices.items()}
    images = names = None
    if image is not None:
        name = texts.pop("path")
        is_struct = schema.field(image).type.num_fields > 0
        leaf = f"{name}.bytes" if is_struct else name
        if is_struct and schema.field(image).type.get_field_index("path") >= 0:
            names = f"{name}.path"
        if names is not None and _is_empty(file.metadata, leaf):
            texts["path"] = names
        else:
            images = ParquetImages(name_file(table), leaf)
    for role, index in columns.indices.items():
        if index != image and not _is_readable(schema.field(index).type, role):
            field = schema.field(index)
            raise _refuse_column(table, field.name, str(field.type), role)
    return _Plan(
        table=table,
        file=file,
        texts=texts,
        images=images,
        names=names,
        class_names=_read_class_names(schema.metadata, texts.get("label")),
    )


def _find_images(subject: str, schema: Any) -> int | None:
    """Find the column that holds images, by its type: a struct with bytes, or bytes."""
    found = [i for i in range(len(schema)) if _holds_bytes(schema.field(i).type, "bytes")]
    if not found:
        is_named = [has_paths([name]) or name.lower() in IMAGE_NAMES for name in schema.names]
        found = [i for i in range(len(schema)) if is_named[i] and _is_bytes(schema.field(i).type)]
    found = [i for i in found if has_paths([schema.names[i]])] or found
    if len(found) > 1:
        raise SourceError(
            subject=subject,
            expected="one column of images",
            got=shorten(", ".join(schema.names[i] for i in found)),
            remedy="Rename the one to read to image.",
        )
    return found[0] if found else None


def _holds_bytes(type_: Any, field: str) -> bool:
    index = type_.get_field_index(field) if str(type_).startswith("struct<") else -1
    return index >= 0 and _is_bytes(type_.field(index).type)


def _is_bytes(type_: Any) -> bool:
    return str(type_) in ("binary", "large_binary", "binary_view")


def _is_readable(type_: Any, role: Role) -> bool:
    """Tell whether the cells of a column are text, or what becomes text."""
    types = require("pyarrow", "parquet").types
    if types.is_dictionary(type_):
        type_ = type_.value_type
    if str(type_) in ("string", "large_string", "string_view", "null"):
        return True
    is_simple = types.is_integer(type_) or types.is_floating(type_) or types.is_boolean(type_)
    return role != "path" and is_simple


def _refuse_column(subject: object, name: str, got: str, role: Role) -> SourceError:
    if role != "path":
        return refuse_type(str(subject), name, got)
    remedy = "Write the paths as text, or the images as bytes."
    return refuse_type(str(subject), name, got, expected="text, or images as bytes", remedy=remedy)


def _is_empty(metadata: Any, leaf: str) -> bool:
    """Tell by the statistics of the table whether all cells of a column are null."""
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        columns = map(group.column, range(group.num_columns))
        column = next(column for column in columns if column.path_in_schema == leaf)
        counts = column.statistics
        if counts is None or not counts.has_null_count or counts.null_count != column.num_values:
            return False
    return True


def _read_class_names(metadata: Mapping[bytes, bytes] | None, label: str | None) -> Sequence[str]:
    """Read the names of the classes that Hugging Face stores beside the schema; may be empty."""
    try:
        features = load_json((metadata or {})[b"huggingface"])["info"]["features"]
        return [str(name) for name in features[label]["names"]]
    except (KeyError, TypeError, ValueError):
        return ()


def _iter_lines(plan: _Plan) -> Iterator[Line]:
    names = _read_names(plan)
    n_done = 0
    for batch in plan.file.iter_batches(columns=list(plan.texts.values())):
        cells: list[Sequence[Any]] = [[""] * len(batch)] * len(ROLES)
        for role, name in plan.texts.items():
            column = _read_column(plan, role, _take_leaf(batch, name), n_done)
            cells[ROLES.index(role)] = column
        if plan.images is not None:
            rows = range(n_done, n_done + len(batch))
            cells[0] = [plan.images.build_content(row, names[row] if names else "") for row in rows]
        yield from zip(range(n_done + 1, n_done + len(batch) + 1), *cells, strict=True)
        n_done += len(batch)


def _take_leaf(batch: Any, name: str) -> Any:
    """Take a column, or the field ``column.field`` if that is the only one that was read of it."""
    if name in batch.schema.names:
        return batch.column(name)
    return batch.column(name.rpartition(".")[0]).flatten()[0]


def _read_names(plan: _Plan) -> list[str]:
    """Read the names of the images; none if an image has no name or two have the same."""
    if plan.images is None or plan.names is None:
        return []
    names: list[str] = []
    for batch in plan.file.iter_batches(columns=[plan.names]):
        names += _take_leaf(batch, plan.names).to_pylist()
    return names if all(names) and len(set(names)) == len(names) else []


def _read_column(plan: _Plan, role: Role, column: Any, n_done: int) -> Sequence[str]:
    """Read the cells of one column of a batch as text."""
    values = column.to_pylist()
    if role == "path":
        return [value or "" for value in values]
    texts = []
    for number, value in enumerate(values, n_done + 1):
        try:
            text = read_typed(value)  # whole numbers are floats beside missing values
            if role == "label" and plan.class_names and isinstance(value, int | float) and text:
                text = "" if value < 0 else plan.class_names[int(value)]
            texts.append(text)
        except (TypeError, IndexError) as error:
            subject = f"{plan.table}, row {number}"
            got = str(error) if isinstance(error, TypeError) else f"{value}, which has no name"
            raise _refuse_column(subject, plan.texts[role], got, role) from error
    return texts
