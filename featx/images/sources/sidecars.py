"""Sidecars: the members of a tar that describe an image, as WebDataset writes them."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable
from typing import Any

from featx.core.errors import SourceError
from featx.core.records import load_json
from featx.core.rows import parse_split
from featx.images.keys import find_key
from featx.images.labels import clean_label
from featx.images.names import escape_name
from featx.images.remote import Location
from featx.images.sources.cells import TYPED, read_typed
from featx.images.sources.tar_members import Member

SIDECARS = (".cls", ".json")
"""Suffixes of sidecars, the most binding one first."""

MAX_BYTES = 1 << 24
"""Largest size of a sidecar."""


class Sidecars:
    """The sidecars of one tar, and the images that they describe.

    A sidecar belongs to the image with the same name up to the last dot (``2021.05.03_a.cls``). An
    image without one takes the sidecar of its WebDataset key (``0001.cls`` for ``0001.seg.png``).

    Parameters
    ----------
    tar : Path or Address
        The tar, for errors.
    members : iterable of Member
        The sidecars.
    images : iterable of str
        Names of the images.

    Attributes
    ----------
    used : set of str
        Names of the sidecars that describe an image.
    n_conflicts : int
        Number of images to which their sidecars give different values of one field.
    """

    def __init__(self, tar: Location, members: Iterable[Member], images: Iterable[str]) -> None:
        self._tar = tar
        self._exact: dict[tuple[str, str], Member] = {}
        self._by_key: dict[tuple[str, str], list[Member]] = {}
        for member in members:
            stem, suffix = posixpath.splitext(member.name)
            first = self._exact.setdefault((stem, suffix.lower()), member)
            if first is not member:
                raise self._refuse_several(suffix.lower(), stem, [first, member])
            self._by_key.setdefault((find_key(member.name), suffix.lower()), []).append(member)
        self._stems = {posixpath.splitext(name)[0] for name in images}
        self._n_sharing: Counter[tuple[str, str]] = Counter()
        self.used: set[str] = set()
        self.n_conflicts = 0

    def read(self, image: str) -> dict[str, Any]:
        """Read label, split and group of an image.

        Parameters
        ----------
        image : str
            Name of the image.

        Returns
        -------
        dict
            Those of ``label``, ``split`` and ``group`` that the sidecars give.

        Raises
        ------
        SourceError
            If several sidecars of one kind match, if one sidecar matches several images of one
            kind, or if a sidecar cannot be read.
        """
        fields: dict[str, Any] = {}
        has_conflict = False
        for suffix in SIDECARS:
            member = self._find(image, suffix)
            if member is not None:
                self.used.add(member.name)
                found = _read_sidecar(self._tar, member)
                has_conflict |= any(fields.get(name, found[name]) != found[name] for name in found)
                fields = found | fields
        self.n_conflicts += has_conflict
        return fields

    def _find(self, image: str, suffix: str) -> Member | None:
        stem, kind = posixpath.splitext(image)
        exact = self._exact.get((stem, suffix))
        if exact is not None:
            return exact
        found = []
        for member in self._by_key.get((find_key(image), suffix), ()):
            other = posixpath.splitext(member.name)[0]
            is_wider = stem.startswith(f"{other}.")
            is_narrower = other.startswith(f"{stem}.") and other not in self._stems
            found += [member] if is_wider or is_narrower else []
        if len(found) > 1:
            raise self._refuse_several(suffix, find_key(image), found)
        if not found:
            return None
        self._n_sharing[found[0].name, kind.lower()] += 1
        if self._n_sharing[found[0].name, kind.lower()] > 1:
            raise SourceError(
                subject=f"{self._tar}, member {escape_name(found[0].name)!r}",
                expected=f"one {kind} with the key {escape_name(find_key(image))!r}",
                got="several: their names have dots",
                remedy=f"Give each image a {suffix} of its own, named like the image.",
            )
        return found[0]

    def _refuse_several(self, suffix: str, key: str, found: list[Member]) -> SourceError:
        names = ", ".join(escape_name(member.name) for member in found[:3])
        return SourceError(
            subject=str(self._tar),
            expected=f"one {suffix} for {escape_name(key)!r}",
            got=f"{len(found)} ({names}{', …' if len(found) > 3 else ''})",
            remedy=f"Name each {suffix} like its image up to the last dot.",
        )


def _read_sidecar(tar: Location, member: Member) -> dict[str, Any]:
    """Read label, split and group of a row from a ``.cls`` or ``.json`` member."""
    subject = f"{tar}, member {escape_name(member.name)!r}"
    try:
        if member.content.size > MAX_BYTES:
            raise ValueError(f"{member.content.size} bytes")
        text = member.content.read().decode("utf-8-sig")
        is_text = member.name.lower().endswith(".cls")
        fields = {"label": text} if is_text else load_json(text)
        if not isinstance(fields, dict):
            raise ValueError("not an object")
    except (ValueError, OSError) as error:
        raise SourceError(
            subject=subject,
            expected="UTF-8 text (.cls) or a JSON object (.json)",
            got=f"{type(error).__name__}: {error}",
            remedy="Correct the member.",
        ) from error
    row: dict[str, Any] = {}
    for name in ("label", "split", "group"):
        try:
            label = clean_label(read_typed(fields.get(name)))
        except TypeError as error:
            raise SourceError(
                subject=f"{subject}, field {name!r}",
                expected=TYPED,
                got=str(error),
                remedy="Correct the member.",
            ) from error
        row |= {name: label} if label else {}
    if "split" in row:
        split = parse_split(row["split"])
        if split is None:
            raise SourceError(
                subject=subject,
                expected="split train, val or test",
                got=repr(row["split"]),
                remedy="Correct the member.",
            )
        row["split"] = split
    return row
