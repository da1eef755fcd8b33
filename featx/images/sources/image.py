"""A source that is one image file."""

from __future__ import annotations

from featx.core.rows import Row
from featx.images.elsewhere import find_content
from featx.images.entries import Entry
from featx.images.manifest import Manifest
from featx.images.names import escape_name
from featx.images.remote import Location, name_file


def read_image(path: Location) -> Manifest:
    """Build the manifest of one image file.

    Parameters
    ----------
    path : Path or Address
        The file. A missing file becomes a row too, which fails when its bytes are read.

    Returns
    -------
    Manifest
        One row, whose id is the path as given.
    """
    row = Row(id=escape_name(path.as_posix()), path=escape_name(str(path)))
    entry = Entry(row, find_content(name_file(path)))
    return Manifest(source=str(path), entries=(entry,), is_single_image=True)
