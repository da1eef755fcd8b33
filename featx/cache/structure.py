"""The structure of a file: what FORMAT.md allows, as data, and the check of an open file.

The seal vouches for bytes, not for their meaning: whoever can write a file can seal it. So the
structure is checked before any value is read. An HDF5 file can name other files, claim more values
than it holds, or point into itself; nothing of this passes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import h5py
from h5py import h5d, h5g, h5l, h5o, h5s, h5t

from featx.cache.format import (
    ANEW,
    ELEMENTS,
    USER_GROUP,
    ElementKind,
    FileKind,
    has_attribute,
    is_embedding_name,
    read_stamp,
)
from featx.cache.seal import SealedFile
from featx.core.digests import SIZE as DIGEST_SIZE
from featx.core.errors import CacheError
from featx.core.row_tables import (
    ENTRY_KINDS,
    FAILURE_KINDS,
    READ_KINDS,
    RECORD_KINDS,
    SAID_KINDS,
    UNKNOWN,
    ColumnKind,
)

TypeName = Literal["uint8", "uint64", "int32", "int64", "float16", "float32"]


@dataclass(frozen=True)
class DataRule:
    """What a dataset must be.

    Attributes
    ----------
    types : tuple of str
        Types that its values may have.
    axes : tuple of str or int
        Length of each axis, or the name of the length: axes of one name have one length in the
        whole file, or one more with `` + 1`` behind the name. ``*`` in a name stands for the name
        of the embedding; `ANY` has no length to keep to.
    """

    types: tuple[TypeName, ...]
    axes: tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class GroupRule:
    """What a group must be.

    Attributes
    ----------
    element : str or None
        Kind of the element, whose stamp the group carries; None for a group that is no element.
    attributes : mapping of str to type
        Attributes that the group must have, scalars of type ``str`` or ``int``. Others are ignored.
    members : mapping of str to rule
        Members that the group must have.
    optional : mapping of str to rule
        Members that the group may have.
    each : rule or None
        Rule for further members, which have the names of embeddings; None if there are none.
    ignored : tuple of str
        Names of members that the group may have, and that are not looked at.
    """

    element: ElementKind | None = None
    attributes: Mapping[str, type] = field(default_factory=dict)
    members: Mapping[str, Rule] = field(default_factory=dict)
    optional: Mapping[str, Rule] = field(default_factory=dict)
    each: Rule | None = None
    ignored: tuple[str, ...] = ()


Rule: TypeAlias = DataRule | GroupRule

ANY = "any length"
"""Name of the length of an axis that may have any."""

_VECTORS = DataRule(("float32", "float16"), ("n_rows", "dim of *"))


def _text(axis: str | int) -> GroupRule:
    """Build the rule of a column of texts: offsets, and the bytes that they cut."""
    offsets = axis if axis == ANY else f"{axis} + 1"
    return GroupRule(
        members={"offsets": DataRule(("int64",), (offsets,)), "bytes": DataRule(("uint8",), (ANY,))}
    )


def _column(kind: ColumnKind, axis: str) -> Rule:
    """Build the rule of a column of a table."""
    if kind == "text":
        return _text(axis)
    if kind == "category":
        members = {"codes": DataRule(("int32",), (axis,)), **_text(ANY).members}
        return GroupRule(members=members)
    if kind == "digest":
        return DataRule(("uint8",), (axis, DIGEST_SIZE))
    return DataRule((kind,), (axis,))


def _columns(kinds: Mapping[str, ColumnKind], axis: str) -> dict[str, Rule]:
    return {name: _column(kind, axis) for name, kind in kinds.items()}


def _table(
    element: ElementKind,
    kinds: Mapping[str, ColumnKind],
    axis: str,
    optional: Collection[str] = (),
) -> GroupRule:
    members = _columns(kinds, axis)
    return GroupRule(
        element=element,
        members={name: rule for name, rule in members.items() if name not in optional},
        optional={name: rule for name, rule in members.items() if name in optional},
    )


LAYOUTS: Mapping[FileKind, GroupRule] = {
    "featx-cache": GroupRule(
        attributes={"format": str, "format_version": int, "source": str},
        members={
            "rows": _table("rows", READ_KINDS, "n_rows", optional=UNKNOWN),
            "labels": GroupRule(
                element="labels",
                members={
                    **_columns(SAID_KINDS, "n_rows"),
                    "source": GroupRule(members=_columns(SAID_KINDS, "n_rows")),
                    "said": GroupRule(members=_columns(ENTRY_KINDS, "n_said")),
                    "recorded": GroupRule(members=_columns(RECORD_KINDS, "n_recorded")),
                    "splits": GroupRule(each=DataRule(("uint8",), ("n_rows",))),
                },
            ),
            "failures": _table("failures", FAILURE_KINDS, "n_failures"),
            "embeddings": GroupRule(
                each=GroupRule(
                    element="embedding",
                    attributes={"fingerprint": str, "provenance": str},
                    members={"vectors": _VECTORS, "present": DataRule(("uint8",), ("n_rows",))},
                    optional={"learnt": DataRule(("uint64",), ("n_learnt of *",))},
                )
            ),
        },
        ignored=(USER_GROUP,),
    ),
    "featx-shard": GroupRule(
        attributes={"format": str, "format_version": int, "plan": str},
        members={
            "rows": _table("rows", READ_KINDS, "n_rows"),
            "repeats": _table("rows", READ_KINDS, "n_repeats"),
            "failures": _table("failures", FAILURE_KINDS, "n_failures"),
            "vectors": GroupRule(each=_VECTORS),
        },
    ),
}
"""Every object of a file of each kind."""

_TYPES: Mapping[TypeName, h5t.TypeID] = {
    "uint8": h5t.STD_U8LE,
    "uint64": h5t.STD_U64LE,
    "int32": h5t.STD_I32LE,
    "int64": h5t.STD_I64LE,
    "float16": h5t.IEEE_F16LE,
    "float32": h5t.IEEE_F32LE,
}
INSTALL = "Install the featx that wrote the file."

_LINKS = {h5l.TYPE_SOFT: "a soft link", h5l.TYPE_EXTERNAL: "a link to another file"}


def check_structure(file: h5py.File, kind: FileKind, sealed: SealedFile) -> dict[str, int]:
    """Check that a file has the objects that FORMAT.md names, and no others.

    Parameters
    ----------
    file : h5py.File
        The open file. No value of a dataset is read.
    kind : {"featx-cache", "featx-shard"}
        Kind of the file.
    sealed : SealedFile
        The same file as checked bytes: all values together must fit into it.

    Returns
    -------
    dict of str to int
        Length of each axis by its name, such as ``n_rows`` and ``dim of mini``.

    Raises
    ------
    CacheError
        If an object breaks the format; the error names the object.
    """
    return _Check(sealed).check(file, LAYOUTS[kind])


class _Check:
    """One check of one file."""

    def __init__(self, sealed: SealedFile) -> None:
        self._sealed = sealed
        self._n_free = len(sealed)
        self._seen: set[int] = set()
        self._lengths: dict[str, int] = {}

    def check(self, file: h5py.File, rule: GroupRule) -> dict[str, int]:
        self._check_group(h5o.open(file.id, b"/"), rule, "", "")
        return self._lengths

    def _refuse(self, name: str, expected: str, got: str, remedy: str = ANEW) -> CacheError:
        subject = f"{self._sealed.path}, {name or '/'}"
        return CacheError(subject=subject, expected=expected, got=got, remedy=remedy)

    def _check_group(self, group: h5g.GroupID, rule: GroupRule, name: str, scope: str) -> None:
        opened = h5py.Group(group)
        if rule.element is not None:
            known, stamp = (rule.element, ELEMENTS[rule.element]), read_stamp(opened, self._sealed)
            if stamp != known:
                raise self._refuse(name, "{} {}".format(*known), "{} {}".format(*stamp), INSTALL)
        for attribute, kind in rule.attributes.items():
            if not has_attribute(opened, attribute, kind):
                words = "a text" if kind is str else "an integer"
                raise self._refuse(name, f"{words} in the attribute {attribute}", "none")
        found = dict(self._iter_members(group, rule, name))
        for member in rule.members:
            if member not in found:
                raise self._refuse(f"{name}/{member}", "a part of the format", "nothing")
        for member in sorted(found, key=[*rule.members, *found].index):  # rows first
            path, own = f"{name}/{member}", {**rule.optional, **rule.members}.get(member, rule.each)
            if own is None or (own is rule.each and not is_embedding_name(member)):
                raise self._refuse_unknown(found[member], path, rule)
            self._check_object(found[member], own, path, member if own is rule.each else scope)

    def _iter_members(
        self, group: h5g.GroupID, rule: GroupRule, name: str
    ) -> Iterator[tuple[str, h5g.GroupID | h5d.DatasetID | h5t.TypeID]]:
        """Yield name and object of each member that is to be checked; refuse links to elsewhere."""
        for raw in group:
            member = raw.decode("utf-8", "surrogateescape")
            if member in rule.ignored:
                continue
            link = group.links.get_info(raw).type
            if link != h5l.TYPE_HARD:
                got = _LINKS.get(link, "a link of an unknown type")
                raise self._refuse(f"{name}/{member}", "an object of this file", got)
            yield member, h5o.open(group, raw)

    def _refuse_unknown(
        self, found: h5g.GroupID | h5d.DatasetID | h5t.TypeID, name: str, rule: GroupRule
    ) -> CacheError:
        got = "a type" if isinstance(found, h5t.TypeID) else "a dataset"
        if isinstance(found, h5g.GroupID):
            kind, version = read_stamp(h5py.Group(found), self._sealed)
            got = "a group" if kind is None else f"an element {kind} {version}"
        known = [
            *rule.members,
            *rule.optional,
            *rule.ignored,
            *(["embeddings"] if rule.each else []),
        ]
        return self._refuse(name, f"only {', '.join(known)} here", got, INSTALL)

    def _check_object(
        self, found: h5g.GroupID | h5d.DatasetID | h5t.TypeID, rule: Rule, name: str, scope: str
    ) -> None:
        address = h5o.get_info(found).addr
        if address in self._seen:
            raise self._refuse(name, "an object of its own", "a second name of another object")
        self._seen.add(address)
        if isinstance(rule, GroupRule):
            if not isinstance(found, h5g.GroupID):
                raise self._refuse(name, "a group", "another object")
            self._check_group(found, rule, name, scope)
        else:
            if not isinstance(found, h5d.DatasetID):
                raise self._refuse(name, "a dataset", "another object")
            self._check_dataset(found, rule, name, scope)

    def _check_dataset(self, found: h5d.DatasetID, rule: DataRule, name: str, scope: str) -> None:
        # Storage first: HDF5 opens the sources of a virtual dataset to tell its shape.
        storage = found.get_create_plist()
        layout = storage.get_layout()
        if layout == h5d.VIRTUAL:
            raise self._refuse(name, "values in this file", "a virtual dataset")
        if storage.get_external_count():
            raise self._refuse(name, "values in this file", "values in another file")
        if storage.get_nfilters():
            raise self._refuse(name, "values as they are", "values behind a filter")
        stored = found.get_type()
        if not any(_is_type(stored, one) for one in rule.types):
            raise self._refuse(name, " or ".join(rule.types), f"the type {_describe_type(stored)}")
        shape = self._check_shape(found.get_space(), rule, name, scope)
        size = stored.get_size()
        n_stored = math.prod(shape)
        if layout == h5d.CHUNKED:
            chunk = storage.get_chunk()
            if any(part > max(length, 1) for part, length in zip(chunk, shape, strict=True)):
                raise self._refuse(name, f"chunks within {shape}", f"chunks of {chunk}")
            n_chunks = [-(-length // part) for part, length in zip(chunk, shape, strict=True)]
            n_stored = math.prod(n_chunks) * math.prod(chunk)
        self._n_free -= n_stored * size
        if self._n_free < 0:
            got = f"{n_stored} values of {size} bytes"
            raise self._refuse(name, "no more values than the file has bytes", got)
        if found.get_storage_size() != n_stored * size:
            raise self._refuse(name, "all values in the file", "values that were never written")

    def _check_shape(
        self, space: h5s.SpaceID, rule: DataRule, name: str, scope: str
    ) -> tuple[int, ...]:
        """Check that each axis has the length that the other datasets give it."""
        is_simple = space.get_simple_extent_type() == h5s.SIMPLE
        shape: tuple[int, ...] = space.get_simple_extent_dims() if is_simple else ()
        if len(shape) != len(rule.axes):
            raise self._refuse(name, f"{len(rule.axes)} axes", f"{len(shape)}")
        for axis, length in zip(rule.axes, shape, strict=True):
            if isinstance(axis, int):
                if length != axis:
                    raise self._refuse(name, f"an axis of {axis}", str(length))
            elif axis != ANY:
                own = axis.removesuffix(" + 1").replace("*", scope)
                n_more = axis.endswith(" + 1")
                known = self._lengths.setdefault(own, length - n_more)
                if length != known + n_more:
                    raise self._refuse(name, f"{own} {known}, as in other datasets", str(length))
        return shape


def _is_type(stored: h5t.TypeID, name: TypeName) -> bool:
    return not stored.committed() and bool(stored.equal(_TYPES[name]))


def _describe_type(stored: h5t.TypeID) -> str:
    try:
        return str(stored.dtype)
    except (TypeError, ValueError):  # numpy has none for it
        return type(stored).__name__.removeprefix("Type").removesuffix("ID").lower()
