"""The files below a folder at an address, in the order of a folder of this machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from featx.core.address import Address
from featx.core.errors import SourceError
from featx.images.content import Content, Unreadable, find_image
from featx.images.formats import find_by_name
from featx.images.ignored import (
    PLACEHOLDER_REASON,
    find_placeholder,
    is_system_folder,
    name_kind,
)
from featx.images.names import escape_name
from featx.images.remote import build_content
from featx.remote.failures import RemoteError
from featx.remote.objects import N_THREADS, Found, iter_objects


def iter_remote_files(
    folder: Address, ignored: Counter[str]
) -> Iterator[tuple[str, Content, bool]]:
    """Yield the objects below a folder, sorted by the parts of their paths.

    Hidden files and folders are skipped, and folders of the system are skipped and counted, as in a
    folder of this machine. Names decide what is an image: only the first bytes of objects without
    any suffix are read, because each look is a request.

    Parameters
    ----------
    folder : Address
        The folder.
    ignored : Counter of str
        Count of what is passed over, which is added to.

    Yields
    ------
    name : str
        Path within the folder.
    content : Content
        The bytes; `Unseen` if they had to be looked at, and the store did not let it.
    is_image : bool
        Whether the object becomes a row.

    Raises
    ------
    SourceError
        If a folder cannot be listed.
    """
    try:
        found = sorted(iter_objects(folder), key=_order)
    except RemoteError as error:
        raise error.as_error(SourceError, folder) from error
    files = _drop_hidden(folder, found, ignored)
    with ThreadPoolExecutor(N_THREADS, "featx-look") as pool:
        looks = (one for one in files if _is_plain(one[0]))
        looked = pool.map(lambda one: find_image(one[1], one[0]), looks)
        for name, content in files:
            image = next(looked) if _is_plain(name) else content if find_by_name(name) else None
            yield name, image or content, image is not None


def _is_plain(name: str) -> bool:
    """Tell whether a name has no suffix that could say what the object is."""
    return find_by_name(name) is None and not name_kind(name)


def _drop_hidden(
    folder: Address, found: Sequence[Found], ignored: Counter[str]
) -> list[tuple[str, Content]]:
    """Drop what is hidden; give placeholders of a cloud the name of their file, and no bytes."""
    names = {one.name for one in found}
    system: set[tuple[str, ...]] = set()
    files: list[tuple[str, Content]] = []
    for one in found:
        *folders, base = one.name.split("/")
        number = next((n for n, name in enumerate(folders) if is_system_folder(name)), None)
        if any(name.startswith(".") for name in folders[:number]):
            continue
        if number is not None:
            system.add(tuple(folders[: number + 1]))
            continue
        file = (folder / one.name).text
        real = find_placeholder(base)
        full = "/".join([*folders, real]) if real else one.name
        if real and full not in names:
            files.append((full, Unreadable(file, reason=PLACEHOLDER_REASON)))
        elif not base.startswith("."):
            files.append((one.name, build_content(file, state=one.state)))
    ignored.update(f"{escape_name(folders[-1])}/" for folders in system)
    return files


def _order(found: Found) -> list[str]:
    return found.name.split("/")
