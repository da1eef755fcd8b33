"""Plain tar archives, read where they lie and never unpacked."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from featx.errors import SourceError
from featx.images.manifest import (
    Content,
    Entry,
    Manifest,
    build_entry,
    build_manifest,
    escape_name,
    read_layout,
)
from featx.rows import read_split

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
    for tar in tars:
        if by_name.setdefault(tar.name, tar) is not tar:
            raise SourceError(
                f"{tar}: expected tars of different names, got a second {tar.name}. Rename one."
            )
    entries: dict[str, Entry] = {}
    n_ignored = 0
    for tar in tars:
        prefix = f"{tar.name}/" if len(tars) > 1 else ""
        found, ignored = _read_tar(tar, prefix)
        # A member that comes twice replaces the first, as it does when a tar is unpacked.
        entries.update((entry.row.id, entry) for entry in found)
        n_ignored += ignored
    source = ", ".join(str(tar) for tar in tars)
    hint = "Members are expected as class/name.jpg or key.jpg with key.cls."
    return build_manifest(source, entries.values(), n_ignored, hint)


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


def _read_tar(tar: Path, prefix: str) -> tuple[list[Entry], int]:
    images: list[tuple[_Member, Content]] = []
    sidecars: dict[str, dict[str, Any]] = {}
    n_ignored = 0
    for member in _iter_members(tar):
        suffix = PurePosixPath(member.name).suffix.lower()
        if member.content and suffix in SIDECARS:
            fields = _read_sidecar(tar, member, member.content)
            sidecars.setdefault(member.key, {}).update(fields)
        elif member.content and member.content.looks_like_image(member.name):
            images.append((member, member.content))
        else:
            n_ignored += 1
    parts = [member.parts for member, _ in images]
    # `tar cf photos.tar photos/` puts all under one folder, which then says nothing.
    if len({p[0] for p in parts}) == 1 and all(len(p) > 2 for p in parts):
        parts = parts if read_split(parts[0][0]) else [p[1:] for p in parts]
    tar_split = next(filter(None, map(read_split, re.split(r"[^a-zA-Z]+", tar.stem))), None)
    entries = []
    places = read_layout(parts, subject=str(tar))
    for (member, content), place in zip(images, places, strict=True):
        entry = build_entry(prefix + member.name, tar / member.name, place, content)
        row = replace(entry.row, split=place.split or tar_split)
        entries.append(replace(entry, row=replace(row, **sidecars.get(member.key, {}))))
    return entries, n_ignored


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
