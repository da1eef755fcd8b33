"""Plain tar archives, read where they lie and never unpacked."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from featx.core.errors import SourceError
from featx.core.rows import read_split
from featx.images.manifest import (
    Content,
    Manifest,
    build_entry,
    build_manifest,
    escape_name,
    read_layout,
)

SIDECARS = (".cls", ".json")
"""Members that describe the image of the same key, as WebDataset writes them."""


def read_tars(tars: Sequence[Path]) -> Manifest:
    """List the images of one or several tars, in the order in which they lie there.

    Members are ``class/name.jpg``, or ``key.jpg`` with ``key.cls`` (the label as text) or
    ``key.json`` (an object with ``label``, ``split``, ``group``, each optional) beside it. A split
    in the tar's name (``photos-train.tar``) holds for members that name none.

    Raises
    ------
    SourceError
        If a tar is compressed or damaged, a member climbs out of it (``../``), a sidecar cannot
        be read, or two tars share a name.
    """
    by_name: dict[str, Path] = {}
    splits: dict[Path, str | None] = {}
    images: dict[str, _Image] = {}
    n_ignored = 0
    for tar in tars:
        if by_name.setdefault(tar.name, tar) is not tar:
            raise SourceError(
                f"{tar}: expected tars of different names, got a second {tar.name}. Rename one."
            )
        words = re.split(r"[^a-zA-Z]+", tar.stem)
        splits[tar] = next(filter(None, map(read_split, words)), None)
        found, ignored = _read_tar(tar)
        prefix = f"{tar.name}/" if len(tars) > 1 else ""
        # A member that comes twice replaces the first, as it does when a tar is unpacked.
        images.update((prefix + image.member.name, image) for image in found)
        n_ignored += ignored
    source = ", ".join(str(tar) for tar in tars)
    places = read_layout(_drop_wrapper([image.member.parts for image in images.values()]), source)
    entries = []
    for (name, image), place in zip(images.items(), places, strict=True):
        entry = build_entry(name, image.tar / image.member.name, place, image.content)
        row = replace(entry.row, split=place.split or splits[image.tar])
        entries.append(replace(entry, row=replace(row, **image.fields)))
    hint = "Members are expected as class/name.jpg or key.jpg with key.cls."
    return build_manifest(source, entries, n_ignored, hint)


@dataclass(frozen=True, slots=True)
class _Member:
    """A file inside a tar: its name, parts and bytes; no bytes where it is a symbolic link."""

    name: str
    parts: tuple[str, ...]
    content: Content | None

    @property
    def key(self) -> str:
        """The path up to the first dot of its last part: what WebDataset groups by."""
        folder, _, base = self.name.rpartition("/")
        return f"{folder}/{base.split('.', 1)[0]}"


@dataclass(frozen=True, slots=True)
class _Image:
    """An image inside a tar, with what the members beside it say of it."""

    tar: Path
    member: _Member
    content: Content
    fields: dict[str, Any]


def _read_tar(tar: Path) -> tuple[list[_Image], int]:
    """List one tar's images, and count its other files."""
    images: list[tuple[_Member, Content]] = []
    sidecars: dict[str, list[tuple[_Member, Content]]] = {}
    n_ignored = 0
    for member in _iter_members(tar):
        content = member.content
        if content and PurePosixPath(member.name).suffix.lower() in SIDECARS:
            sidecars.setdefault(member.key, []).append((member, content))
        elif content and content.looks_like_image(member.name):
            images.append((member, content))
        else:
            n_ignored += 1
    found = []
    for member, content in images:
        fields: dict[str, Any] = {}
        for sidecar, text in sidecars.get(member.key, ()):
            fields |= _read_sidecar(tar, sidecar, text)
        found.append(_Image(tar, member, content, fields))
    # What lies beside no image, such as annotations.json, describes none.
    used = {member.key for member, _ in images}
    n_ignored += sum(len(group) for key, group in sidecars.items() if key not in used)
    return found, n_ignored


def _drop_wrapper(paths: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Take off the one folder that ``tar cf photos.tar photos/`` puts all classes under.

    A single folder stays where fewer than two lie below it, or a file lies in it: it is the class.
    """
    tops = {path[0] for path in paths}
    wrapped = len(tops) == 1 and all(len(path) > 2 for path in paths)
    if wrapped and not read_split(paths[0][0]) and len({path[1] for path in paths}) > 1:
        return [path[1:] for path in paths]
    return paths


def _iter_members(tar: Path) -> Iterator[_Member]:
    """Walk the headers of a tar, whose bytes are passed over."""
    contents: dict[str, Content] = {}
    try:
        with tarfile.open(tar, "r:", errors="surrogateescape") as archive:
            for info in archive:
                # Else the list of all members stays in memory.
                archive.members = []  # type: ignore[attr-defined]
                parts = tuple(part for part in info.name.split("/") if part not in ("", "."))
                if info.name.startswith("/") or ".." in parts:
                    raise SourceError(
                        f"{tar}, member {escape_name(info.name)!r}: expected a path inside the "
                        "archive, got one that climbs out. Make the tar anew without it."
                    )
                if info.isreg() and not info.issparse():
                    contents[info.name] = Content(str(tar), info.offset_data, info.size)
                elif info.islnk() and info.linkname in contents:
                    contents[info.name] = contents[info.linkname]
                hidden = any(part.startswith(".") for part in parts)
                if not info.isdir() and not hidden:
                    yield _Member("/".join(parts), parts, contents.get(info.name))
            _check_end(archive)
    except (tarfile.TarError, OSError) as error:
        raise SourceError(
            f"{tar}: expected a plain tar, got {type(error).__name__}: {error}. "
            "Decompress it first if it is a .tar.gz, else copy it again."
        ) from error


def _check_end(archive: tarfile.TarFile) -> None:
    """Refuse a tar that goes on after the walk ended: tarfile stops at a damaged header silently.

    Raises
    ------
    tarfile.ReadError
        Unless only zeros follow, at least one block of them.
    """
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    rest = archive.fileobj.read(1 << 20)
    if len(rest) < tarfile.BLOCKSIZE or rest.strip(b"\0"):
        raise tarfile.ReadError(f"no end of archive at byte {archive.offset}")


def _read_sidecar(tar: Path, member: _Member, content: Content) -> dict[str, Any]:
    """Read the fields of a row that a ``.cls`` or ``.json`` member gives."""
    where = f"{tar}, member {escape_name(member.name)!r}"
    try:
        text = content.read().decode()
        fields = (
            {"label": text.strip()} if member.name.lower().endswith(".cls") else json.loads(text)
        )
        if not isinstance(fields, dict):
            raise ValueError("not an object")
    except (ValueError, OSError) as error:
        raise SourceError(
            f"{where}: expected UTF-8 text (.cls) or a JSON object (.json), "
            f"got {type(error).__name__}: {error}. Mend the member."
        ) from error
    names = [name for name in ("label", "split", "group") if fields.get(name) not in (None, "")]
    row = {name: escape_name(str(fields[name])) for name in names}
    if "split" in row:
        split = read_split(row["split"])
        if split is None:
            raise SourceError(
                f"{where}: expected split train, val or test, got {row['split']!r}. Mend it."
            )
        row["split"] = split
    return row
