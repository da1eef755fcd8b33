"""A source that is a folder of images, with or without class folders and split folders."""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from featx.core.address import Address
from featx.core.columns import TextsBuilder
from featx.core.errors import SourceError
from featx.images.content import Content, InMemory, Unreadable, Unseen, find_image
from featx.images.contents import NOWHERE, Contents
from featx.images.entries import Entries, build_rows
from featx.images.formats import find_by_name
from featx.images.ignored import (
    PLACEHOLDER_REASON,
    TABLES,
    describe_tables,
    find_placeholder,
    is_system_folder,
    name_kind,
)
from featx.images.keys import describe_shared_keys
from featx.images.layout import read_layout
from featx.images.manifest import Manifest, build_manifest
from featx.images.names import escape_name
from featx.images.remote import Location, RemoteContent, name_file
from featx.images.sources.metadata import is_metadata, join_metadata
from featx.images.sources.refused import find_remedy
from featx.images.sources.remote_folder import iter_remote_files


def read_folder(folder: Location) -> Manifest:
    """List the images in a folder and all folders below it.

    A file whose suffix promises an image is a row, whatever it is; for other files, the first bytes
    decide. Hidden files and folders are skipped, and folders of the system (``@eaDir``,
    ``$RECYCLE.BIN``) are skipped and counted. Symbolic links are followed; a link back to one of
    its parent folders is not followed. A table ``metadata.csv`` describes the images beside it.

    Parameters
    ----------
    folder : Path or Address
        The folder. At an address, names decide what is an image, except for objects without any
        suffix.

    Returns
    -------
    Manifest
        One row for each image, sorted by path; ids are paths within the folder.

    Raises
    ------
    SourceError
        If a folder cannot be listed, if a table of metadata is wrong, or if there is no image.
    """
    ignored: Counter[str] = Counter()
    others: list[str] = []
    metadata: list[str] = []
    found = TextsBuilder()
    odd: dict[int, Content | InMemory] = {}
    n_bytes, mtimes = array("q"), array("q")
    is_remote = isinstance(folder, Address)
    listed: Iterator[tuple[str, Content | None, bool | None]] = (
        iter_remote_files(folder, ignored)
        if isinstance(folder, Address)
        else _iter_contents(folder, ignored)
    )
    for name, content, is_image in listed:
        if content is None:  # most files of this machine
            found.append(name)
            continue
        if is_metadata(name):
            metadata.append(name)
            continue
        image = find_image(content, name) if is_image is None else content if is_image else None
        if image is not None:
            if is_remote:
                size, time = getattr(image, "state", None) or (NOWHERE, NOWHERE)
                n_bytes.append(size)
                mtimes.append(time)
            odd |= {} if type(image) in (Content, RemoteContent) else {len(found): image}
            found.append(name)
            continue
        kind = name_kind(name)
        ignored[kind] += 1
        others += [name] if kind in (".tar", *TABLES) else []
    names = found.build()
    # Folders say nothing of a file that may be no image.
    is_seen = np.ones(len(names), bool)
    is_seen[[row for row, content in odd.items() if isinstance(content, Unseen)]] = False
    seen = names[is_seen]
    layout = read_layout(seen, subject=str(folder))
    entries = Entries(
        build_rows(names, str(folder / "x").removesuffix("x"), layout, is_seen),
        Contents(
            names,
            root=f"{name_file(folder).rstrip('/')}/" if is_remote else f"{folder}/",
            states=(np.array(n_bytes), np.array(mtimes)) if is_remote else None,
            are_remote=is_remote,
            others=odd,
        ),
    )
    entries, doubts = join_metadata(folder, metadata, entries)
    hint = find_remedy(ignored) or "Name a folder of images."
    if others:
        first = min(others, key=lambda name: name_kind(name) != ".tar")
        kind = name_kind(first)
        what = "tars" if kind == ".tar" else "tables"
        parent = os.path.dirname(f"{folder}/{first}")
        hint = f"Name the {what} themselves: {parent}/*{kind}."
    return build_manifest(
        str(folder),
        entries,
        ignored,
        hint,
        pattern=layout.pattern,
        doubts=[*layout.notes, *doubts, describe_tables(others), describe_shared_keys(seen)],
    )


def _iter_contents(
    folder: Path, ignored: Counter[str]
) -> Iterator[tuple[str, Content | None, bool | None]]:
    """Yield the files below a folder as `iter_remote_files` does, but do not read first bytes.

    The content of a file that its name makes an image is None.
    """
    for name, file, is_readable in _iter_files(folder, ignored):
        is_named = find_by_name(name) is not None
        if is_named and file == name:
            yield name, None, True
            continue
        content = Content(f"{folder}/{file}")
        if file != name:
            content = Unreadable(content.file, reason=PLACEHOLDER_REASON)
        if not is_readable and not is_named:
            ignored["pipe, socket or device"] += 1
            continue
        yield name, content, None


def _iter_files(root: Path, ignored: Counter[str]) -> Iterator[tuple[str, str, bool]]:
    """Yield the files below a folder in sorted order, and count the folders of the system.

    A stack of open folders takes the place of recursion: folders may be nested deeply.

    Yields
    ------
    name, file : str
        Path of the image within the root, with ``/`` between its parts; and path of the file that
        has its bytes, which differs for a placeholder of a cloud.
    is_readable : bool
        Whether the file has bytes to look at: a pipe, a socket or a device has none.
    """
    first, key = _list_folder(root, "")
    stack = [(key, "", iter(first))]
    open_keys = {key}
    while stack:
        key, inside, listed = stack[-1]
        base, kind = next(listed, ("", ""))
        if not base:
            open_keys.discard(key)
            stack.pop()
            continue
        name = inside + base
        real = find_placeholder(base)
        if real and not os.path.lexists(os.path.join(root, inside, real)):
            yield f"{inside}{real}", name, True
        elif base.startswith("."):
            continue
        elif kind != "folder":
            yield name, name, kind == "file"
        elif is_system_folder(base):
            ignored[f"{escape_name(base)}/"] += 1
        else:
            found, key = _list_folder(root, name)
            if key not in open_keys:  # else a symbolic link back to a folder above
                open_keys.add(key)
                stack.append((key, f"{name}/", iter(found)))


def _list_folder(root: Path, inside: str) -> tuple[list[tuple[str, str]], tuple[int, int]]:
    """List names and kinds in one folder by name, and identify it by device and number."""
    folder = os.path.join(root, inside) if inside else str(root)
    try:
        status = os.stat(folder)
        with os.scandir(folder) as listed:
            found = sorted((entry.name, _find_kind(entry)) for entry in listed)
    except OSError as error:
        raise SourceError(
            subject=folder,
            expected="a folder that can be listed",
            got=str(error.strerror),
            remedy="Change its permissions, or move the folder away.",
        ) from error
    return found, (status.st_dev, status.st_ino)


def _find_kind(entry: os.DirEntry[str]) -> str:
    """Tell folders from files; links to nowhere, whose failure is reported, are files too."""
    try:
        if entry.is_dir():
            return "folder"
    except OSError:  # a symbolic link to itself
        pass
    return "file" if _has_bytes(entry) else "device"


def _has_bytes(entry: os.DirEntry[str]) -> bool:
    """Tell files, and links to nowhere, whose failure is reported, from pipes and devices."""
    try:
        return entry.is_file() or not os.path.exists(entry.path)
    except OSError:
        return True
