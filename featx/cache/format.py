"""Names in the file, as FORMAT.md specifies them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from featx.errors import CacheError
from featx.fingerprint import Fingerprint

FORMAT_NAME = "featx-cache"
FORMAT_VERSION = 0

ROW_TEXTS = ("id", "path", "label", "split", "group", "digest")
ROW_NUMBERS = ("width", "height")
FAILURE_TEXTS = ("id", "path", "digest", "stage", "reason")
DTYPES = ("float32", "float16")

CHUNK_ROWS = 256
"""Rows per chunk of vectors: h5py's own choice reads random rows five times slower."""

TEXT = h5py.string_dtype()


@dataclass(frozen=True)
class EmbeddingInfo:
    """What stands beside the vectors of one embedding.

    Attributes
    ----------
    name : str
        Its group below ``/embeddings``: ``backbone``, or ``backbone@layer``.
    fingerprint : Fingerprint
        What makes it comparable.
    provenance : dict
        Who computed it, how and when: engine, device, versions, host, time, weights, preprocess.
    """

    name: str
    fingerprint: Fingerprint
    provenance: dict[str, Any]

    def write_attributes(self, group: h5py.Group) -> None:
        """Stamp the embedding's group."""
        group.attrs["fingerprint"] = self.fingerprint.to_json()
        group.attrs["provenance"] = json.dumps(self.provenance, sort_keys=True)

    @classmethod
    def from_group(cls, name: str, group: h5py.Group) -> EmbeddingInfo:
        """Read what `write_attributes` wrote."""
        fingerprint = Fingerprint.from_json(group.attrs["fingerprint"])
        return cls(name, fingerprint, json.loads(group.attrs["provenance"]))


def open_file(path: str | os.PathLike[str], mode: str = "r") -> h5py.File:
    """Open an HDF5 file that says it is a cache of a version that is known.

    Raises
    ------
    CacheError
        If it is missing, no HDF5 file, no featx cache, or of a newer version.
    """
    path = Path(path)
    if not path.is_file():
        raise CacheError(f"{path}: expected a cache, got no such file. Make it: featx extract.")
    try:
        # Network file systems often refuse HDF5's locks; a finished file needs none.
        file = h5py.File(path, mode, locking="best-effort")
    except OSError as error:
        raise CacheError(
            f"{path}: expected an HDF5 cache, got a file that HDF5 cannot open "
            f"({str(error).splitlines()[0]}). Make it with featx extract."
        ) from error
    name, version = file.attrs.get("format"), file.attrs.get("format_version")
    if name != FORMAT_NAME or version != FORMAT_VERSION:
        file.close()
        raise CacheError(
            f"{path}: expected format {FORMAT_NAME} version {FORMAT_VERSION}, got {name} version "
            f"{version}. Make it with featx extract, or install the featx that wrote it."
        )
    return file
