"""The format of a cache: its names, its version, and the metadata of an embedding (FORMAT.md)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import h5py

from featx.core.errors import CacheError
from featx.core.fingerprint import Fingerprint
from featx.core.provenance import Provenance

FileKind = Literal["featx-cache", "featx-shard"]
ElementKind = Literal["rows", "failures", "embedding"]

FORMAT_VERSION = 2

ELEMENTS: dict[ElementKind, int] = {"rows": 1, "failures": 1, "embedding": 1}
"""Version of each kind of element that this featx writes and reads."""

USER_GROUP = "user"
"""Group of a cache that belongs to the user: featx does not read it."""


@dataclass(frozen=True)
class EmbeddingInfo:
    """The metadata that a cache stores beside the vectors of one embedding.

    Attributes
    ----------
    name : str
        Name of the embedding in the cache: ``backbone`` or ``backbone@layer``.
    fingerprint : Fingerprint
        Every decision that changes the values.
    provenance : Provenance
        Who computed the embedding, how and when.
    """

    name: str
    fingerprint: Fingerprint
    provenance: Provenance

    def write_attributes(self, group: h5py.Group) -> None:
        """Write fingerprint and provenance to the embedding's group.

        Parameters
        ----------
        group : h5py.Group
            Group of the embedding, open for writing.
        """
        group.attrs["fingerprint"] = self.fingerprint.to_json()
        group.attrs["provenance"] = self.provenance.to_json()

    @classmethod
    def from_group(cls, name: str, group: h5py.Group) -> EmbeddingInfo:
        """Read the metadata that `write_attributes` wrote.

        Parameters
        ----------
        name : str
            Name of the embedding.
        group : h5py.Group
            Group of the embedding.
        """
        fingerprint = Fingerprint.from_json(group.attrs["fingerprint"])
        return cls(name, fingerprint, Provenance.from_json(group.attrs["provenance"]))


def check_embedding_names(names: Iterable[str]) -> None:
    """Refuse a name that HDF5 would take for a path through groups.

    Parameters
    ----------
    names : iterable of str
        Names for embeddings.

    Raises
    ------
    CacheError
        If a name has other characters than letters, digits and ``. + - _ @``, or does not begin
        with a letter or a digit.
    """
    for name in names:
        if not re.fullmatch(r"[^\W_][\w.+@-]*", name):
            raise CacheError(
                subject="embedding",
                expected="letters, digits and . + - _ @",
                got=repr(name),
                remedy="Pass another embedding=NAME.",
            )


def stamp_file(file: h5py.File, kind: FileKind) -> None:
    """Write the kind of a file and the version of the format to its root."""
    file.attrs["format"] = kind
    file.attrs["format_version"] = FORMAT_VERSION


def check_file_stamp(file: h5py.File, kind: FileKind, path: Path) -> None:
    """Refuse a file of another kind or version.

    Raises
    ------
    CacheError
        If the stamp of the file is not the one that `stamp_file` writes.
    """
    name, version = file.attrs.get("format"), file.attrs.get("format_version")
    if (name, version) != (kind, FORMAT_VERSION):
        raise CacheError(
            subject=str(path),
            expected=f"format {kind} version {FORMAT_VERSION}",
            got=f"{name} version {version}",
            remedy="Make a new cache with featx.extract(source, output=path), or install the featx "
            "that wrote the file.",
        )


def stamp_element(group: h5py.Group, kind: ElementKind) -> None:
    """Write the type of an element and the version of that type to its group."""
    group.attrs["featx-type"] = kind
    group.attrs["featx-version"] = ELEMENTS[kind]


def check_elements(file: h5py.File, path: Path) -> None:
    """Refuse a cache with an element that this featx does not know.

    Raises
    ------
    CacheError
        If a group below the root or below ``/embeddings`` has another stamp than `stamp_element`
        writes. The group of the user is not checked.
    """
    groups = {f"/embeddings/{name}": group for name, group in file["embeddings"].items()}
    groups |= {
        f"/{name}": group for name, group in file.items() if name not in ("embeddings", USER_GROUP)
    }
    for name, group in groups.items():
        stamp = group.attrs.get("featx-type"), group.attrs.get("featx-version")
        if stamp not in ELEMENTS.items():
            raise CacheError(
                subject=f"{path}, {name}",
                expected="one of " + ", ".join(f"{kind} {n}" for kind, n in ELEMENTS.items()),
                got=f"{stamp[0]} {stamp[1]}",
                remedy="Install the featx that wrote the file.",
            )
