"""A source that is a folder of images, with or without class folders and split folders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from featx.core.errors import SourceError
from featx.images.content import Content, Unreadable, Unseen, find_image
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
from featx.images.layout import FolderMeaning, read_layout
from featx.images.manifest import Manifest, build_entry, build_manifest
from featx.images.names import escape_name
from featx.images.sources.metadata import is_metadata, join_metadata
from featx.images.sources.refused import find_remedy


def read_folder(folder: Path) -> Manifest:
    """List the images in a folder and all folders below it.

    A file whose suffix promises an image is a row, whatever it is; for other files, the first bytes
    decide. Hidden files and folders are skipped, and folders of the system (``@eaDir``,
    ``$RECYCLE.BIN``) are skipped and counted. Symbolic links are followed; a link back to one of
    its parent folders is not followed. A table ``metadata.csv`` describes the images beside it.

    Parameters
    ----------
    folder : Path
        The folder.

    Returns
    -------
    Manifest
        One row for each image, sorted by path; ids are paths within the folder.

    Raises
    ------
    SourceError
        If a folder cannot be listed, if a table of metadata is wrong, or if there is no image.
    """
    images: list[tuple[str, Content]] = []
    ignored: Counter[str] = Counter()
    others: list[str] = []
    metadata: list[str] = []
    for name, file, is_readable in _iter_files(folder, ignored):
        content = Content(f"{folder}/{file}")
        if file != name:
            content = Unreadable(content.file, reason=PLACEHOLDER_REASON)
        if not is_readable and not find_by_name(name):
            ignored["pipe, socket or device"] += 1
            continue
        if is_metadata(name):
            metadata.append(name)
            continue
        image = find_image(content, name)
        if image is not None:
            images.append((name, image))
            continue
        kind = name_kind(name)
        ignored[kind] += 1
        others += [name] if kind in (".tar", *TABLES) else []
    # Folders say nothing of a file that may be no image.
    names = [name for name, image in images if not isinstance(image, Unseen)]
    layout = read_layout(names, subject=str(folder))
    meanings = iter(layout.meanings)
    entries = [
        build_entry(
            name,
            folder / name,
            FolderMeaning() if isinstance(image, Unseen) else next(meanings),
            image,
        )
        for name, image in images
    ]
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
        doubts=[*layout.notes, *doubts, describe_tables(others), describe_shared_keys(names)],
    )


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
        entry = next(listed, None)
        if entry is None:
            open_keys.discard(key)
            stack.pop()
            continue
        name = f"{inside}{entry.name}"
        real = find_placeholder(entry.name)
        if real and not os.path.lexists(os.path.join(root, inside, real)):
            yield f"{inside}{real}", name, True
        elif entry.name.startswith("."):
            continue
        elif not _is_folder(entry):
            yield name, name, _has_bytes(entry)
        elif is_system_folder(entry.name):
            ignored[f"{escape_name(entry.name)}/"] += 1
        else:
            found, key = _list_folder(root, name)
            if key not in open_keys:  # else a symbolic link back to a folder above
                open_keys.add(key)
                stack.append((key, f"{name}/", iter(found)))


def _list_folder(root: Path, inside: str) -> tuple[list[os.DirEntry[str]], tuple[int, int]]:
    """List one folder by name, and identify it by device and number."""
    folder = os.path.join(root, inside) if inside else str(root)
    try:
        status = os.stat(folder)
        with os.scandir(folder) as listed:
            found = sorted(listed, key=lambda entry: entry.name)
    except OSError as error:
        raise SourceError(
            subject=folder,
            expected="a folder that can be listed",
            got=str(error.strerror),
            remedy="Change its permissions, or move the folder away.",
        ) from error
    return found, (status.st_dev, status.st_ino)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a symbolic link to itself
        return False


def _has_bytes(entry: os.DirEntry[str]) -> bool:
    """Tell files, and links to nowhere, whose failure is reported, from pipes and devices."""
    try:
        return entry.is_file() or not os.path.exists(entry.path)
    except OSError:
        return True
