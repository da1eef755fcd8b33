"""A source that is one image file."""

from __future__ import annotations

from pathlib import Path

from featx.images.elsewhere import find_content
from featx.images.layout import FolderMeaning
from featx.images.manifest import Manifest, build_entry


def read_image(path: Path) -> Manifest:
    """Build the manifest of one image file.

    Parameters
    ----------
    path : Path
        The file. A missing file becomes a row too, which fails when its bytes are read.

    Returns
    -------
    Manifest
        One row, whose id is the path as given.
    """
    entry = build_entry(path.as_posix(), path, FolderMeaning(), find_content(str(path)))
    return Manifest(source=str(path), entries=(entry,), is_single_image=True)
