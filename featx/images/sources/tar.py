"""A source that is one or several plain tar archives. Images are read in place, never unpacked."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from featx.core.errors import SourceError
from featx.core.rows import parse_split
from featx.core.typing import Split
from featx.images.content import Content
from featx.images.layout import read_layout
from featx.images.manifest import Manifest, build_entry, build_manifest
from featx.images.names import escape_name

SIDECARS = (".cls", ".json")
"""Suffixes of members that describe the image with the same key, as WebDataset writes them."""


def read_tar(tar: Path) -> Manifest:
    """List the images of one tar, as `read_tars` does.

    Parameters
    ----------
    tar : Path
        A plain tar.
    """
    return read_tars([tar])


def read_tars(tars: Sequence[Path]) -> Manifest:
    """List the images of one or several tars.

    A member is ``class/name.jpg``; or ``key.jpg`` with ``key.cls`` (the label as text) or
    ``key.json`` (an object with any of ``label``, ``split``, ``group``) beside it. A split in the
    name of the tar (``photos-train.tar``) applies to all members that name no split.

    Parameters
    ----------
    tars : sequence of Path
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
    splits: dict[Path, Split | None] = {}
    images: dict[str, _Image] = {}
    n_ignored = 0
    _check_names(tars)
    for tar in tars:
        words = re.split(r"[^a-zA-Z]+", tar.stem)
        splits[tar] = next(filter(None, map(parse_split, words)), None)
        found, ignored = _read_tar(tar)
        prefix = f"{tar.name}/" if len(tars) > 1 else ""
        # If two members have one name, the later one counts, as when a tar is unpacked.
        images.update((prefix + image.member.name, image) for image in found)
        n_ignored += ignored
    source = ", ".join(str(tar) for tar in tars)
    meanings = read_layout(_drop_wrapper([image.member.parts for image in images.values()]), source)
    entries = []
    for (name, image), meaning in zip(images.items(), meanings, strict=True):
        entry = build_entry(name, image.tar / image.member.name, meaning, image.content)
        row = replace(entry.row, split=meaning.split or splits[image.tar])
        entries.append(replace(entry, row=replace(row, **image.fields)))
    hint = "Name members class/name.jpg, or key.jpg with key.cls."
    return build_manifest(source, entries, n_ignored, hint)


def _check_names(tars: Sequence[Path]) -> None:
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


@dataclass(frozen=True, slots=True)
class _Member:
    """A file in a tar: its name, the parts of the name, and its bytes; None for a symbolic link."""

    name: str
    parts: tuple[str, ...]
    content: Content | None

    @property
    def key(self) -> str:
        """The name up to the first dot of its last part, by which WebDataset groups members."""
        folder, _, base = self.name.rpartition("/")
        return f"{folder}/{base.split('.', 1)[0]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Image:
    """An image in a tar, and the fields of its row that its sidecars give."""

    tar: Path
    member: _Member
    content: Content
    fields: dict[str, Any]


def _read_tar(tar: Path) -> tuple[list[_Image], int]:
    """List the images of one tar, and count its other files."""
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
        found.append(_Image(tar=tar, member=member, content=content, fields=fields))
    # A sidecar without an image, such as annotations.json, is ignored.
    used = {member.key for member, _ in images}
    n_ignored += sum(len(group) for key, group in sidecars.items() if key not in used)
    return found, n_ignored


def _drop_wrapper(paths: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Remove the one folder around all classes that ``tar cf photos.tar photos/`` adds.

    A single folder that holds a file, or fewer than two folders, is the class and stays.
    """
    tops = {path[0] for path in paths}
    wrapped = len(tops) == 1 and all(len(path) > 2 for path in paths)
    if wrapped and not parse_split(paths[0][0]) and len({path[1] for path in paths}) > 1:
        return [path[1:] for path in paths]
    return paths


def _iter_members(tar: Path) -> Iterator[_Member]:
    """Yield the files of a tar that are not hidden. Only headers are read."""
    contents: dict[str, Content] = {}
    try:
        with tarfile.open(tar, "r:", errors="surrogateescape") as archive:
            for info in archive:
                # tarfile would keep the list of all members in memory.
                archive.members = []  # type: ignore[attr-defined]
                parts = tuple(part for part in info.name.split("/") if part not in ("", "."))
                if info.name.startswith("/") or ".." in parts:
                    raise SourceError(
                        subject=f"{tar}, member {escape_name(info.name)!r}",
                        expected="a path inside the archive",
                        got="a path outside it",
                        remedy="Write the tar again without this member.",
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
            subject=str(tar),
            expected="a plain tar",
            got=f"{type(error).__name__}: {error}",
            remedy="Decompress the file if it is a .tar.gz; otherwise copy it again.",
        ) from error


def _check_end(archive: tarfile.TarFile) -> None:
    """Refuse a tar if anything but zeros follows its last member.

    tarfile stops at a damaged header without an error; a whole tar ends with a block of zeros.

    Raises
    ------
    tarfile.ReadError
        If anything but zeros follows, or less than one block of zeros.
    """
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    rest = archive.fileobj.read(1 << 20)
    if len(rest) < tarfile.BLOCKSIZE or rest.strip(b"\0"):
        raise tarfile.ReadError(f"no end of archive at byte {archive.offset}")


def _read_sidecar(tar: Path, member: _Member, content: Content) -> dict[str, Any]:
    """Read label, split and group of a row from a ``.cls`` or ``.json`` member."""
    subject = f"{tar}, member {escape_name(member.name)!r}"
    try:
        text = content.read().decode()
        fields = (
            {"label": text.strip()} if member.name.lower().endswith(".cls") else json.loads(text)
        )
        if not isinstance(fields, dict):
            raise ValueError("not an object")
    except (ValueError, OSError) as error:
        raise SourceError(
            subject=subject,
            expected="UTF-8 text (.cls) or a JSON object (.json)",
            got=f"{type(error).__name__}: {error}",
            remedy="Correct the member.",
        ) from error
    names = [name for name in ("label", "split", "group") if fields.get(name) not in (None, "")]
    row = {name: escape_name(str(fields[name])) for name in names}
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
