"""The file of a head: a dict of plain values, arrays and one estimator, as joblib writes it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from featx.core.errors import HeadError
from featx.core.files import check_destination, explain_reading, replacing
from featx.core.records import build_record
from featx.heads.evaluate import CrossValidation

FORMAT_NAME = "featx-head"
FORMAT_VERSION = 4

COMPRESSIONS = {
    b"\x1f\x8b": "gzip",
    b"x": "zlib",
    b"BZ": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x5d\x00": "lzma",
    b"\x04\x22\x4d\x18": "lz4",
}
"""First bytes of the files that joblib compresses on request."""


def is_head_file(path: Path) -> bool:
    """Return whether a file begins like a head that featx wrote; nothing is unpickled.

    Raises
    ------
    HeadError
        If there is a file, but it cannot be read.
    """
    with explain_reading(path, error=HeadError):
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return FORMAT_NAME.encode() in stream.read(200)


def find_compression(path: Path) -> str | None:
    """Find how a file is compressed by its first bytes; None for another file."""
    with path.open("rb") as stream:
        start = stream.read(8)
    found = (name for magic, name in COMPRESSIONS.items() if start.startswith(magic))
    return next(found, None)


def write_content(path: Path, content: Mapping[str, Any], *, overwrite: bool) -> None:
    """Write the content of a head as a file.

    Parameters
    ----------
    path : path
        File to write.
    content : mapping
        Fields of the head; name and version of the format are put before them.
    overwrite : bool
        Whether to replace a file that exists. A file that holds exactly this content is left as it
        is in any case.

    Raises
    ------
    HeadError
        If the file cannot be written, or exists and must not be replaced.
    """
    check_destination(path, overwrite=overwrite or is_head_file(path), error=HeadError)
    stream = io.BytesIO()
    joblib.dump({"format": FORMAT_NAME, "format_version": FORMAT_VERSION, **content}, stream)
    with replacing(path, error=HeadError, overwrite=overwrite) as draft:
        draft.write_bytes(stream.getbuffer())


def pack_scores(scores: CrossValidation | None) -> dict[str, Any] | None:
    """Write held-out scores as plain values, and their confusion matrix as an array.

    A pickle has an operation for each number of a tuple, and one for all numbers of an array.
    """
    if scores is None:
        return None
    fields = asdict(scores)
    fields["scores"]["confusion"] = np.array(fields["scores"]["confusion"], np.int64)
    return fields


def unpack_scores(fields: Any) -> CrossValidation | None:
    """Build the scores again from the fields that `pack_scores` returned.

    Raises
    ------
    ValueError
        If a field is missing, unknown, or of another type.
    """
    return None if fields is None else build_record(CrossValidation, list_values(fields))


def list_values(value: Any) -> Any:
    """Turn tuples and arrays into lists, as JSON has them.

    Parameters
    ----------
    value : object
        Plain values and arrays.
    """
    if isinstance(value, dict):
        return {key: list_values(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [list_values(item) for item in value]
    return value.tolist() if isinstance(value, np.ndarray) else value
