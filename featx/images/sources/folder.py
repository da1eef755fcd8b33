"""A folder of images, with class folders and split folders or without."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from featx.core.errors import SourceError
from featx.images.manifest import Content, Manifest, build_entry, build_manifest, read_layout


def read_folder(folder: Path) -> Manifest:
    """List the images below a folder, sorted by path.

    Hidden files and folders are passed over, symbolic links followed (a loop once), sockets and
    other things that are no files ignored.

    Raises
    ------
    SourceError
        If the folder, or one below it, cannot be listed, or holds no image.
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
    places = read_layout([name.split("/") for name in names], subject=str(folder))
    entries = (
        build_entry(name, folder / name, place, content)
        for name, place, content in zip(names, places, contents, strict=True)
    )
    hint = f"Pass its tars themselves: {folder}/*.tar" if n_tars else "Point at a folder of images."
    return build_manifest(str(folder), entries, n_ignored, hint)


def _iter_files(root: Path, inside: str, ancestors: frozenset[tuple[int, int]]) -> Iterator[str]:
    """Yield the files below a folder, as paths within the root with ``/`` between parts."""
    folder = root / inside
    try:
        status = folder.stat()
        found = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise SourceError(
            f"{folder}: expected a folder that can be listed, got {error.strerror}. "
            "Change its permissions, or move it away."
        ) from error
    key = (status.st_dev, status.st_ino)
    if key in ancestors:  # a symbolic link back to a folder that we stand in
        return
    for entry in found:
        name = f"{inside}/{entry.name}" if inside else entry.name
        if entry.name.startswith("."):
            continue
        path = Path(entry.path)
        if path.is_dir():
            yield from _iter_files(root, name, ancestors | {key})
        # A dangling link is a file that will fail to be read, and is then reported.
        elif path.is_file() or (path.is_symlink() and not path.exists()):
            yield name
