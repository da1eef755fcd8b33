"""The file of a head: a dict of plain values, arrays and one estimator, as joblib writes it."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from featx.core.errors import HeadError
from featx.core.files import check_destination, explain_reading, replacing
from featx.core.learnt import is_ascending
from featx.core.records import build_record
from featx.heads.conformal import ConformalSets
from featx.heads.evaluate import CrossValidation
from featx.heads.matrix import Matrix
from featx.heads.side_by_side import HeadEmbedding
from featx.heads.unknown import UnknownDetector
from featx.heads.unpickling import check_values

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
    """Write the content of a head as a file, if it can be read again.

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
        If a field could not be read again, or if the file cannot be written, or exists and must not
        be replaced.
    """
    check_destination(path, overwrite=overwrite or is_head_file(path), error=HeadError)
    try:
        unpack_fields(content)
        if content["matrix"] is not None:
            Matrix.from_dict(content["matrix"])
    except (TypeError, ValueError) as error:
        raise HeadError(
            subject=str(path),
            expected="a head that can be read again",
            got=f"one whose fields do not fit ({type(error).__name__}: {error})",
            remedy="Look for embeddings that are very large, or hardly differ, and leave them out.",
        ) from error
    stream = io.BytesIO()
    joblib.dump({"format": FORMAT_NAME, "format_version": FORMAT_VERSION, **content}, stream)
    with replacing(path, error=HeadError, overwrite=overwrite) as draft:
        draft.write_bytes(stream.getbuffer())


def unpack_fields(content: Mapping[str, Any]) -> dict[str, Any]:
    """Build the fields that heads of all kinds have and that are no plain values; check the others.

    Parameters
    ----------
    content : mapping
        Fields of a head, as its file holds them. The estimator is left as it is.

    Raises
    ------
    LookupError, TypeError, ValueError, AttributeError
        If a field is missing, unknown, of another type or of another shape.
    """
    check_values({name: value for name, value in content.items() if name != "estimator"})
    fields: dict[str, Any] = {}
    if type(content["embeddings"]) is not list or not content["embeddings"]:
        raise TypeError("embeddings that are no list")
    fields["embeddings"] = tuple(build_record(HeadEmbedding, one) for one in content["embeddings"])
    for name, part in (("unknown", UnknownDetector), ("conformal", ConformalSets)):
        fields[name] = None if content[name] is None else part.from_dict(content[name])
    dims = tuple(one.fingerprint.dim for one in fields["embeddings"])
    if fields["unknown"] is not None and fields["unknown"].dims != dims:
        raise ValueError("a detector of other embeddings")
    fields["cross_validation"] = unpack_scores(content["cross_validation"])
    for name, type_ in (("kind", str), ("params", dict), ("options", dict), ("versions", dict)):
        if type(content[name]) is not type_:
            raise TypeError(f"{name} of the type {type(content[name]).__name__}")
    if not all(type(value) is str for value in content["versions"].values()):
        raise TypeError("versions that are no texts")
    if not all(type(value) in (int, float) for value in content["params"].values()):
        raise TypeError("params that are no numbers")
    fields["temperature"] = temperature = float(content["temperature"])
    if not 0 < temperature < math.inf:
        raise ValueError(f"a temperature of {temperature}")
    seen = content["seen"]
    if not isinstance(seen, np.ndarray) or seen.dtype != np.uint64 or seen.ndim != 1:
        raise TypeError("digests of another type")
    if not is_ascending(seen):
        raise ValueError("digests that are not ascending")
    classes = content["classes"]
    if type(classes) is not list or not all(type(label) is str for label in classes):
        raise TypeError("classes that are no texts")
    return fields


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
