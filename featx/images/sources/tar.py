"""A source that is one or several plain tar archives. Images are read in place, never unpacked."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np

from featx.core.address import Address
from featx.core.columns import Categories, CategoriesBuilder, Texts, TextsBuilder
from featx.core.errors import SourceError
from featx.core.row_tables import SAID_KINDS
from featx.core.text import count_noun
from featx.core.typing import IntArray, Split
from featx.images.content import Content, InMemory, Unreadable, Unseen, find_image
from featx.images.contents import NOWHERE, Contents
from featx.images.entries import Entries, build_rows
from featx.images.ignored import PLACEHOLDER_REASON, find_placeholder, is_system_folder, name_kind
from featx.images.keys import describe_shared_keys
from featx.images.layout import read_layout
from featx.images.manifest import Manifest, build_manifest
from featx.images.names import escape_name, escape_names, quote_name
from featx.images.remote import HeldContent, Location, RemoteContent, list_archives, name_file
from featx.images.sources.sidecars import SIDECARS, Sidecars
from featx.images.sources.tar_members import Member, list_members
from featx.images.split_words import find_split_in


def read_tar(tar: Location) -> Manifest:
    """List the images of one tar, as `read_tars` does.

    Parameters
    ----------
    tar : Path or Address
        A plain tar.
    """
    return read_tars([tar])


def read_tars(tars: Sequence[Location]) -> Manifest:
    """List the images of one or several tars.

    A member is ``class/name.jpg``; or ``key.jpg`` with ``key.cls`` (the label as text) or
    ``key.json`` (an object with any of ``label``, ``split``, ``group``) beside it. A split in the
    name of the tar (``photos-train.tar``) applies to all members that name no split.

    Parameters
    ----------
    tars : sequence of Path or Address
        Plain tars with different names.

    Returns
    -------
    Manifest
        One row for each image, in the order of the tars. Ids are names of members, with the name
        of the tar before them if there are several tars.

    Raises
    ------
    SourceError
        If a tar is compressed or damaged, if a member lies outside the archive (``../``), if a
        sidecar cannot be read, or if two tars have the same name.
    """
    _check_names(tars)
    images = _Images()
    ignored: Counter[str] = Counter()
    doubts: list[str] = []
    for tar in tars:
        images.add(tar, ignored, doubts)
    splits = _read_tar_names(tars, doubts)
    source = ", ".join(str(tar) for tar in tars)
    inside, is_seen = images.names.build(), np.array(images.is_seen, bool)
    # Folders say nothing of a member that may be no image.
    layout = read_layout(inside[is_seen], source)
    names = inside
    if len(tars) > 1:
        names = Texts.from_list(
            f"{tars[number].name}/{name}" for number, name in zip(images.tars, inside, strict=True)
        )
    starts = [str(tar / "x").removesuffix("x") for tar in tars]
    paths = Texts.from_list(
        starts[number] + name for number, name in zip(images.tars, inside, strict=True)
    )
    rows = build_rows(names, "", layout, is_seen)
    said = {name: builder.build() for name, builder in images.said.items()}
    n_described = int((said["label"].codes > 0).sum())
    of_tars = Categories.from_list(splits[tar] for tar in tars)
    places = list(map(name_file, tars))
    files = Categories(np.array(images.tars, np.int32) + 1, Texts.from_list(["", *places]))
    rows = rows.replace(
        path=escape_names(paths),
        label=said["label"].or_else(rows["label"]),
        split=said["split"].or_else(rows["split"]).or_else(of_tars[files.codes - 1]),
        group=said["group"],
    )
    contents = Contents(
        files,
        offsets=np.array(images.offsets, np.int64),
        sizes=np.array(images.sizes, np.int64),
        states=_spread_states([images.archives.get(place) for place in places], images.tars),
        are_remote=any(isinstance(tar, Address) for tar in tars),
        others=images.others,
    )
    is_layout = n_described < len(names)
    if is_layout and n_described:
        doubts.append(
            f"{n_described} of {count_noun(len(names), 'image')} have a label in a .cls or .json; "
            "the others have that of their folder, or none"
        )
    manifest = build_manifest(
        source,
        Entries(rows, contents),
        ignored,
        "Name members class/name.jpg, or key.jpg with key.cls.",
        pattern=layout.pattern if is_layout else "",
        doubts=[*(layout.notes if is_layout else ()), *doubts, describe_shared_keys(names)],
    )
    return replace(manifest, archives=images.archives)


def _spread_states(
    states: Sequence[tuple[int, int] | None], tars: Sequence[int]
) -> tuple[IntArray, IntArray] | None:
    """Give each image the state of its tar; None if no tar is at an address."""
    if not any(states):
        return None
    known = np.array([state or (NOWHERE, NOWHERE) for state in states], np.int64)[np.array(tars)]
    return known[:, 0], known[:, 1]


def _check_names(tars: Sequence[Location]) -> None:
    """Refuse two tars with the same name: their images would get the same ids."""
    seen: set[str] = set()
    for tar in tars:
        if tar.name in seen:
            raise SourceError(
                subject=str(tar),
                expected="tars with different names",
                got=f"a second {tar.name}",
                remedy="Rename one of them.",
            )
        seen.add(tar.name)


def _read_tar_names(tars: Sequence[Location], doubts: list[str]) -> dict[Location, Split | None]:
    """Find the split that the name of each tar names."""
    splits = {tar: find_split_in(tar.stem) for tar in tars}
    named = [tar.name for tar in tars if splits[tar]]
    if 0 < len(named) < len(tars):
        doubts.append(
            f"{len(named)} of {len(tars)} tars have a split in their names, such as "
            f"{quote_name(named[0])}: it holds for their images"
        )
    return splits


class _Images:
    """The images of tars as columns, and the fields of their rows that sidecars give."""

    def __init__(self) -> None:
        self.names = TextsBuilder()
        self.tars, self.offsets, self.sizes = array("i"), array("q"), array("q")
        self.is_seen = array("b")
        self.others: dict[int, Content | InMemory] = {}
        self.said = {name: CategoriesBuilder() for name in SAID_KINDS}
        self.archives: dict[str, tuple[int, int]] = {}
        self._n_tars = 0

    def add(self, tar: Location, ignored: Counter[str], doubts: list[str]) -> None:
        """Add the images of one tar, and count what is passed over."""
        members, n_replaced = list_members(tar)
        members = _drop_hidden(tar, members, ignored)
        images: list[Member] = []
        sidecars: list[Member] = []
        for member in members:
            if PurePosixPath(member.name).suffix.lower() in SIDECARS and not member.kind:
                sidecars.append(member)
                continue
            content = find_image(member.content, member.name)
            if content is not None:
                images.append(replace(member, content=content))
            else:
                ignored[member.kind or name_kind(member.name)] += 1
        described = Sidecars(tar, sidecars, [image.name for image in images])
        for image in images:
            fields, content = described.read(image.name), image.content
            if type(content) not in (Content, RemoteContent, HeldContent):
                self.others[len(self.names)] = content
            self.names.append(image.name)
            self.tars.append(self._n_tars)
            self.offsets.append(content.offset)
            self.sizes.append(content.size)
            self.is_seen.append(not isinstance(content, Unseen))
            for name, builder in self.said.items():
                builder.append(fields.get(name))
        self._n_tars += 1
        self.archives |= list_archives(image.content for image in images)
        # A sidecar without an image, such as annotations.json, is ignored.
        ignored.update(name_kind(one.name) for one in sidecars if one.name not in described.used)
        if n_replaced:
            doubts.append(
                f"{quote_name(tar.name)} has {count_noun(n_replaced, 'member')} again later: "
                "the later ones count"
            )
        if described.n_conflicts:
            doubts.append(
                f"{quote_name(tar.name)} has {count_noun(described.n_conflicts, 'image')} with a "
                ".cls and a .json that differ: the .cls counts"
            )


def _drop_hidden(tar: Location, members: Sequence[Member], ignored: Counter[str]) -> list[Member]:
    """Drop hidden members and folders of the system; give placeholders the name of their file."""
    names = {member.name for member in members}
    system: set[tuple[str, ...]] = set()
    found = []
    for member in members:
        *folders, base = member.name.split("/")
        number = next((n for n, name in enumerate(folders) if is_system_folder(name)), None)
        if any(name.startswith(".") for name in folders):
            continue
        if number is not None:
            system.add(tuple(folders[: number + 1]))
            continue
        real = find_placeholder(base)
        full = "/".join([*folders, real]) if real else member.name
        if real and full not in names:
            content = Unreadable(str(tar), reason=PLACEHOLDER_REASON)
            found.append(Member(full, content, "placeholder"))
        elif not base.startswith("."):
            found.append(member)
    ignored.update(f"{escape_name(folders[-1])}/" for folders in system)
    return found
