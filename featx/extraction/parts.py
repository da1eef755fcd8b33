"""Parts of a source: the rows of one part, and the folder where the caches of all parts lie."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np

from featx.cache.reader import Cache
from featx.core.address import Address, find_address
from featx.core.errors import CacheError
from featx.core.files import explain_errors
from featx.core.parts import Part, check_parts, list_part_files
from featx.core.typing import PathLike
from featx.images.manifest import Manifest


def take_part(manifest: Manifest, part: Part) -> Manifest:
    """Return the rows of a source that belong to a part; there may be none.

    Parameters
    ----------
    manifest : Manifest
        Rows of the source.
    part : Part
        The part to return.
    """
    ids = manifest.rows["id"]
    return manifest.take(np.fromiter(map(part.has, ids), bool, len(ids)))


def name_output(given: PathLike, part: Part | None) -> Path | Address:
    """Name the cache that an extraction writes.

    Parameters
    ----------
    given : path
        Output that the user names, or its address: a cache, or the folder of all parts.
    part : Part or None
        The part that is embedded; None for the whole source.

    Raises
    ------
    CacheError
        If a folder of parts is named without a part, or a file with one.
    """
    output, address = Path(given), find_address(given)
    if part is None and list_part_files(output):
        raise CacheError(
            subject=str(output),
            expected="one cache",
            got="a folder of parts",
            remedy="Pass part='K/N' to extract one of the parts.",
        )
    if part is not None and (output.suffix == ".h5" or output.is_file()):
        raise CacheError(
            subject=str(output),
            expected="a folder for the caches of all parts",
            got="a file" if output.exists() else "the name of a file",
            remedy="Name a folder as output, or leave part out.",
        )
    place = address or output
    return place if part is None else place / part.file_name


def prepare_folder(output: Path) -> None:
    """Create the folder of a part; refuse one that has parts of another division.

    Parameters
    ----------
    output : Path
        Path of the part's cache.

    Raises
    ------
    CacheError
        If the folder cannot be created, or has parts of another division.
    """
    folder = output.parent
    with explain_errors(folder, error=CacheError):
        folder.mkdir(parents=True, exist_ok=True)
    check_parts([output, *list_part_files(folder)], str(folder))


def open_sibling(output: Path, stack: ExitStack) -> Cache | None:
    """Open another part, whose settings a new part takes; None if no part is there yet.

    Parameters
    ----------
    output : Path
        Path of the new part.
    stack : ExitStack
        Stack that closes the other part.
    """
    for path in list_part_files(output.parent):
        with suppress(CacheError):  # a damaged part is a matter of its own extraction
            return stack.enter_context(Cache(path))
    return None
