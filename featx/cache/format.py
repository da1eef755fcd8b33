"""The format of a cache: its names, its version, and the metadata of an embedding (FORMAT.md)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import h5py
import numpy as np
from h5py import h5a, h5s, h5t

from featx.cache.seal import SealedFile
from featx.cache.texts import read_attribute_text
from featx.core.errors import CacheError
from featx.core.fingerprint import Fingerprint
from featx.core.provenance import Provenance

FileKind = Literal["featx-cache", "featx-shard"]
ElementKind = Literal["rows", "labels", "failures", "embedding"]

FORMAT_VERSION = 2

ELEMENTS: dict[ElementKind, int] = {"rows": 1, "labels": 1, "failures": 1, "embedding": 1}
"""Version of each kind of element that this featx writes and reads."""

ANEW = "Do not use this file: extract again with featx.extract(source, output=path)."
"""Remedy for a file that breaks its format."""

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
    def from_group(
        cls, name: str, group: h5py.Group, sealed: SealedFile, *, dim: int
    ) -> EmbeddingInfo:
        """Read the metadata that `write_attributes` wrote.

        Parameters
        ----------
        name : str
            Name of the embedding.
        group : h5py.Group
            Group of the embedding.
        sealed : SealedFile
            The file of the group.
        dim : int
            Length of the vectors.

        Raises
        ------
        CacheError
            If the metadata lack a field, have another, or name another length of the vectors.
        """
        try:
            fingerprint = Fingerprint.from_json(read_attribute_text(group, "fingerprint", sealed))
            provenance = Provenance.from_json(read_attribute_text(group, "provenance", sealed))
            if fingerprint.dim != dim:
                raise ValueError(f"dim {fingerprint.dim} beside vectors of {dim}")
        except ValueError as error:
            raise CacheError(
                subject=f"{sealed.path}, {group.name}",
                expected="a fingerprint and a provenance as the format has them",
                got=str(error),
                remedy=ANEW,
            ) from error
        return cls(name, fingerprint, provenance)


def is_embedding_name(name: str) -> bool:
    """Return True if an embedding may have this name."""
    return re.fullmatch(r"[^\W_][\w.+@-]*", name) is not None


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
        if not is_embedding_name(name):
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


def check_file_stamp(file: h5py.File, kind: FileKind, sealed: SealedFile) -> None:
    """Refuse a file of another kind or version.

    Raises
    ------
    CacheError
        If the stamp of the file is not the one that `stamp_file` writes.
    """
    name, version = read_text(file, "format", sealed), read_integer(file, "format_version")
    if (name, version) != (kind, FORMAT_VERSION):
        raise CacheError(
            subject=str(sealed.path),
            expected=f"format {kind} version {FORMAT_VERSION}",
            got=f"{name} version {version}",
            remedy="Make a new cache with featx.extract(source, output=path), or install the featx "
            "that wrote the file.",
        )


def require_element(parent: h5py.Group, name: str, kind: ElementKind) -> h5py.Group:
    """Return the group of an element. A new one is stamped with its type and the version of that.

    Parameters
    ----------
    parent : h5py.Group
        The group of the element.
    name : str
        Name of the element.
    kind : str
        Kind of the element.
    """
    if name not in parent:  # attributes that are written again leave their old texts behind
        group = parent.create_group(name)
        group.attrs["featx-type"] = kind
        group.attrs["featx-version"] = ELEMENTS[kind]
    return parent[name]


def read_stamp(group: h5py.Group, sealed: SealedFile) -> tuple[str | None, int | None]:
    """Read the stamp that `require_element` wrote; None for each part that is missing."""
    return read_text(group, "featx-type", sealed), read_integer(group, "featx-version")


def has_attribute(owner: h5py.Group, name: str, kind: type) -> bool:
    """Return True if a group has an attribute that is one text or one integer.

    Parameters
    ----------
    owner : h5py.Group
        The group.
    name : str
        Name of the attribute.
    kind : type
        ``str`` or ``int``.
    """
    return _open_attribute(owner, name, kind) is not None


def read_text(owner: h5py.Group, name: str, sealed: SealedFile) -> str | None:
    """Read an attribute that is one text; None if it is missing or of another type.

    Parameters
    ----------
    owner : h5py.Group
        The group that has the attribute.
    name : str
        Name of the attribute.
    sealed : SealedFile
        The file of the group.
    """
    return read_attribute_text(owner, name, sealed) if has_attribute(owner, name, str) else None


def read_integer(owner: h5py.Group, name: str) -> int | None:
    """Read an attribute that is one integer; None if it is missing or of another type.

    Parameters
    ----------
    owner : h5py.Group
        The group that has the attribute.
    name : str
        Name of the attribute.
    """
    attribute = _open_attribute(owner, name, int)
    if attribute is None:
        return None
    stored = np.empty((), attribute.dtype)
    attribute.read(stored)
    return int(stored)


def _open_attribute(owner: h5py.Group, name: str, kind: type) -> h5a.AttrID | None:
    if not h5a.exists(owner.id, name.encode()):
        return None
    attribute = h5a.open(owner.id, name.encode())
    if attribute.get_space().get_simple_extent_type() != h5s.SCALAR:
        return None
    stored = attribute.get_type()
    if kind is int:
        return attribute if isinstance(stored, h5t.TypeIntegerID) else None
    is_text = isinstance(stored, h5t.TypeStringID) and stored.is_variable_str()
    return attribute if is_text else None
