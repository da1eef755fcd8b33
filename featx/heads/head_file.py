"""The file of a head: a dict of plain values, arrays and one estimator, as joblib writes it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import joblib

from featx.core.errors import HeadError
from featx.core.files import check_destination, explain_reading, replacing

FORMAT_NAME = "featx-head"
FORMAT_VERSION = 3


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
