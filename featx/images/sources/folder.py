"""A source that is a folder of images, with or without class folders and split folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from featx.core.errors import SourceError
from featx.images.content import Content
from featx.images.layout import read_layout
from featx.images.manifest import Manifest, build_entry, build_manifest


def read_folder(folder: Path) -> Manifest:
    """List the images in a folder and all folders below it.

    Hidden files and hidden folders are skipped, and so are sockets, pipes and devices. Symbolic
    links are followed; a link back to one of its parent folders is not followed.

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
        If a folder cannot be listed, or if there is no image.
    """
    names: list[str] = []
    contents: list[Content] = []
    n_ignored, n_tars = 0, 0
    for name in _iter_files(folder, "", frozenset()):
        content = Content(str(folder / name))
        if content.looks_like_image(name):
            names.append(name)
            contents.append(content)
        else:
            n_ignored += 1
            n_tars += name.endswith(".tar")
    meanings = read_layout([name.split("/") for name in names], subject=str(folder))
    entries = (
        build_entry(name, folder / name, meaning, content)
        for name, meaning, content in zip(names, meanings, contents, strict=True)
    )
    hint = f"Name the tars themselves: {folder}/*.tar." if n_tars else "Name a folder of images."
    return build_manifest(str(folder), entries, n_ignored, hint)


def _iter_files(root: Path, inside: str, ancestors: frozenset[tuple[int, int]]) -> Iterator[str]:
    """Yield the files below a folder as paths within the root, with ``/`` between their parts."""
    folder = root / inside
    try:
        status = folder.stat()
        found = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise SourceError(
            subject=str(folder),
            expected="a folder that can be listed",
            got=str(error.strerror),
            remedy="Change its permissions, or move the folder away.",
        ) from error
    key = (status.st_dev, status.st_ino)
    if key in ancestors:  # a symbolic link back to a folder above
        return
    for entry in found:
        name = f"{inside}/{entry.name}" if inside else entry.name
        if entry.name.startswith("."):
            continue
        path = Path(entry.path)
        if path.is_dir():
            yield from _iter_files(root, name, ancestors | {key})
        # A broken link counts as a file: reading it fails, and the failure is reported.
        elif path.is_file() or (path.is_symlink() and not path.exists()):
            yield name
