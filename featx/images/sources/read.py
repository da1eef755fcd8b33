"""Sources: recognise a folder, a table, tars or image files, and read them as one manifest.

To add a source, write a module with a function ``read_<name>(path) -> Manifest`` and add one entry
to `SOURCES`.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featx.core.address import Address, find_address
from featx.core.columns import Categories, Texts
from featx.core.errors import SourceError
from featx.core.look import find_status
from featx.core.lookup import TextIndex
from featx.core.text import join_some
from featx.core.typing import PathLike, Split
from featx.images.elsewhere import read_file_address
from featx.images.entries import Entries, as_columns
from featx.images.formats import SUFFIXES, find_by_name
from featx.images.manifest import Manifest
from featx.images.names import escape_name
from featx.images.remote import Location
from featx.images.sources.folder import read_folder
from featx.images.sources.image import read_image
from featx.images.sources.refused import build_missing, refuse_other, refuse_unreadable
from featx.images.sources.table import READERS, read_table
from featx.images.sources.tar import read_tar, read_tars
from featx.images.split_words import find_splits
from featx.remote.failures import RemoteError
from featx.remote.objects import find_kind as find_remote_kind


@dataclass(frozen=True, kw_only=True)
class SourceKind:
    """One kind of source.

    Attributes
    ----------
    read : callable
        Function that reads one path as a manifest.
    read_many : callable or None
        Function that reads several paths of this kind as one manifest; None to read each path by
        itself and put the path before the ids.
    may_be_missing : bool
        Whether a missing file is a row that fails later, instead of an error at once.
    """

    read: Callable[[Location], Manifest]
    read_many: Callable[[Sequence[Location]], Manifest] | None = None
    may_be_missing: bool = False


FOLDER = SourceKind(read=read_folder)
IMAGE = SourceKind(read=read_image, may_be_missing=True)

SOURCES: Mapping[str, SourceKind] = {
    **dict.fromkeys(READERS, SourceKind(read=read_table)),
    ".tar": SourceKind(read=read_tar, read_many=read_tars),
    **dict.fromkeys(sorted(SUFFIXES), IMAGE),
}
"""Kind of a source by its suffix, in lower case. A folder is a folder even with such a suffix. A
file with any other suffix is an image if its content says so, and no source otherwise."""


def find_kind(path: Location) -> SourceKind:
    """Find the kind of one source.

    Parameters
    ----------
    path : Path or Address
        Path or address as the user gave it.

    Returns
    -------
    SourceKind
        The entry of `SOURCES`, `FOLDER` for a folder, or `IMAGE` for an image with another suffix.

    Raises
    ------
    SourceError
        If the path does not exist or may not be looked at, and is no image; or if the file is no
        source.
    """
    kind = SOURCES.get(path.suffix.lower())
    if isinstance(path, Address):
        return _find_remote_kind(path, kind)
    is_row = kind is not None and kind.may_be_missing  # an image that is not there fails as a row
    try:
        status = find_status(path)
    except OSError as error:
        if not is_row:
            raise refuse_unreadable(path, error) from error
        return IMAGE
    if status is not None and stat.S_ISDIR(status.st_mode):
        return FOLDER
    if status is None and not is_row:
        raise build_missing(path)
    if kind is None and not find_by_name(path.name):
        refuse_other(path)
    return kind or IMAGE


def _find_remote_kind(address: Address, kind: SourceKind | None) -> SourceKind:
    """Find the kind of a source at an address; servers of HTTP have no folders."""
    if address.scheme in ("http", "https"):
        if address.text.endswith("/"):
            raise SourceError(
                subject=str(address),
                expected="a table, tar or image: servers of HTTP have no folders",
                got="a folder",
                remedy="Name its tars, a table of its images, or the images.",
            )
        return kind or IMAGE
    if kind is IMAGE:  # an image that is not there fails as a row
        return IMAGE
    try:
        found = find_remote_kind(address)
    except RemoteError as error:
        raise error.as_error(SourceError, address) from error
    if found is None:
        raise build_missing(address)
    return FOLDER if found == "folder" else kind or IMAGE


def read_manifest(sources: PathLike | Sequence[PathLike]) -> Manifest:
    """List the images of a source.

    Parameters
    ----------
    sources : path or sequence of paths
        A folder, a table (``.csv``, ``.parquet`` and others), one or several plain ``.tar``, or an
        image file, on this machine or at an address such as ``s3://bucket/photos``; or several of
        these, whose ids are then ``source/id``.

    Returns
    -------
    Manifest
        Rows with unique ids, in a stable order.

    Raises
    ------
    SourceError
        If a source is missing, has no images, is damaged, or is named twice.
    """
    is_one = isinstance(sources, str | os.PathLike)
    paths = [check_path(source) for source in ([sources] if is_one else _iter_sources(sources))]
    if not paths:
        raise SourceError(
            subject="source",
            expected="at least one path",
            got="none",
            remedy="Name a folder of images.",
        )
    for path in paths:
        check_is_there(path)
    try:
        return _read(paths)
    except RemoteError as error:
        raise error.as_error(SourceError, join_some(list(map(str, paths)), 3)) from error


def _read(paths: Sequence[Location]) -> Manifest:
    """List the images of one or several sources."""
    kinds = [find_kind(path) for path in paths]
    read_many = kinds[0].read_many
    if read_many is not None and all(kind is kinds[0] for kind in kinds):
        return read_many(paths)
    if len(paths) == 1:
        return kinds[0].read(paths[0])
    return _join_manifests(
        paths, [kind.read(path) for path, kind in zip(paths, kinds, strict=True)]
    )


def _iter_sources(sources: Any) -> Iterable[Any]:
    """Return several sources; refuse what is no sequence of them before it is iterated."""
    is_other = isinstance(sources, bytes | bytearray | memoryview | Mapping | Set)
    if is_other or not isinstance(sources, Iterable) or hasattr(sources, "columns"):
        raise _refuse(sources)
    return sources


def _refuse(source: object, where: str = "") -> SourceError:
    return SourceError(
        subject="source",
        expected="a path or a sequence of paths",
        got=type(source).__name__ + where,
        remedy="Pass paths, or embed images in memory with featx.embed(images).",
    )


def check_is_there(path: Location) -> None:
    """Refuse a source at whose path nothing is, or where the system does not let look.

    Parameters
    ----------
    path : Path or Address
        Path as the user gave it. An address is looked at when its kind is found.

    Raises
    ------
    SourceError
        If nothing is there, or if the system cannot tell.
    """
    if isinstance(path, Address):
        return
    try:
        status = find_status(path)
    except OSError as error:
        raise refuse_unreadable(path, error) from error
    if status is None:
        raise build_missing(path)


def check_path(source: object) -> Location:
    """Return a source as a path or an address; refuse what is neither.

    Parameters
    ----------
    source : path
        A path, or an address such as ``s3://bucket/photos`` or ``file:///photos``, which is a path.

    Raises
    ------
    SourceError
        If the source is no path, or if it is empty.
    """
    if not isinstance(source, str | os.PathLike):
        raise _refuse(source, " among the sources")
    path = os.fsdecode(source)
    if not path:  # a Path would make the current folder of it
        raise SourceError(
            subject="source",
            expected="a path",
            got="an empty text",
            remedy="Name a folder, a table, tars or images; a dot is the current folder.",
        )
    return find_address(source) or Path(read_file_address(path))


def _name_source(path: Location) -> str:
    """Return the name of a source; without its suffix if the source is a file."""
    if isinstance(path, Address):
        return path.stem if path.suffix in SOURCES else path.name
    return path.resolve().stem if os.path.isfile(path) else path.resolve().name


def _read_names(
    paths: Sequence[Location], manifests: Sequence[Manifest]
) -> Mapping[Location, Split | None]:
    """Find the splits that the names of all sources stand for: ``train/ val/``."""
    if any(manifest.is_single_image for manifest in manifests):
        return {}
    names = {path: _name_source(path) for path in paths}
    splits = find_splits(names.values())
    are_all = all(splits.get(name) for name in names.values()) and len(set(splits.values())) > 1
    return {path: splits[name] for path, name in names.items()} if are_all else {}


def _join_manifests(paths: Sequence[Location], manifests: Sequence[Manifest]) -> Manifest:
    """Join several sources as one; the path of a source comes before its ids."""
    splits = _read_names(paths, manifests)
    parts = []
    for path, manifest in zip(paths, manifests, strict=True):
        rows = manifest.rows
        if not manifest.is_single_image:
            prefix = f"{escape_name(path.as_posix())}/"
            rows = rows.replace(id=Texts.from_list(map(prefix.__add__, rows["id"])))
        if splits:
            own = Categories.fill(splits[path], len(rows))
            rows = rows.replace(split=rows["split"].or_else(own))
        parts.append(Entries(rows, as_columns(manifest.entries).contents))
    entries = Entries.concat(parts)
    repeat = TextIndex(entries.rows["id"]).find_repeat()
    if repeat is not None:
        ends = np.cumsum([len(part) for part in parts])
        raise SourceError(
            subject=str(paths[int(np.searchsorted(ends, repeat, "right"))]),
            expected="each image once",
            got=f"{entries.rows['id'][repeat]!r} again",
            remedy="Name the source once.",
        )
    return Manifest(
        source=", ".join(str(path) for path in paths),
        entries=entries,
        ignored=sum((Counter(manifest.ignored) for manifest in manifests), Counter[str]()),
        doubts=tuple(
            f"{path}: {doubt}"
            for path, manifest in zip(paths, manifests, strict=True)
            for doubt in manifest.doubts
        ),
        archives={
            name: state for manifest in manifests for name, state in manifest.archives.items()
        },
    )
