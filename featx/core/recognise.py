"""Recognise the kinds of files that featx writes, by their first bytes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from featx.core.address import find_address, list_paths
from featx.core.errors import FeatxError
from featx.core.files import name_work_dir
from featx.core.look import find_obstacle
from featx.core.parts import list_part_files
from featx.core.typing import PathLike

FileContent = Literal["cache", "head", "weights"]
"""Kinds of files that featx reads and writes."""

NAMES: dict[FileContent, str] = {
    "cache": "a cache",
    "head": "a head",
    "weights": "a file of weights",
}
"""Noun phrase for each kind of file."""

UNREADABLE = "something that cannot be read"
"""What `describe_path` says if the system does not let look."""

LET_READ = "Change the permissions of the file and of its folders."
"""What to do about it."""

_HDF5 = b"\x89HDF\r\n\x1a\n"
_SEAL = b"featx-seal-"
"""First bytes of a sealed file."""

_USER_BLOCKS = (0, 512, 1024, 2048)
"""Positions at which the superblock of an HDF5 file without a seal is looked for."""

TORCH_PICKLE = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
"""The number that a file of torch.save begins with, in a pickle: those that are no zip have it."""

_OLD_TORCH = b"\x80\x02" + TORCH_PICKLE + b"."
"""First bytes of a file that ``torch.save`` of PyTorch before 1.6 wrote: a pickled constant."""


def recognise_file(path: PathLike) -> FileContent | None:
    """Recognise a cache, a head or a file of weights by its first bytes.

    Parameters
    ----------
    path : path
        Path of anything.

    Returns
    -------
    {"cache", "head", "weights"} or None
        ``"cache"`` for any HDF5 file and for a folder of parts, ``"head"`` for any uncompressed
        pickle, ``"weights"`` for a ``.safetensors`` or PyTorch file. None for another file, for any
        other path that is no regular file, and if the file cannot be read: `describe_path` tells
        these apart.
    """
    try:
        if not os.path.isfile(path):
            return "cache" if list_part_files(path) else None
        with open(path, "rb") as stream:
            start = stream.read(_USER_BLOCKS[-1] + len(_HDF5))
    except OSError:
        return None
    if start.startswith(_SEAL) or any(
        start.startswith(_HDF5, position) for position in _USER_BLOCKS
    ):
        return "cache"
    # torch writes a zip whose first member is ARCHIVE/data.pkl; a header of JSON in braces stands
    # behind eight bytes of length in .safetensors.
    is_zip = start.startswith(b"PK\x03\x04") and b"/data.pkl" in start[:300]
    if is_zip or start.startswith(_OLD_TORCH) or start[8:10] in (b'{"', b"{}"):
        return "weights"
    return "head" if start[:1] == b"\x80" and 2 <= start[1] <= 5 else None


def describe_path(path: PathLike) -> str:
    """Say in a few words what lies at a path, for the error of a caller who expected another thing.

    Parameters
    ----------
    path : path
        Path of anything.

    Returns
    -------
    str
        A noun phrase, such as ``"a head"``, ``"a folder"`` or ``"no such file"``; it begins with
        `UNREADABLE` if the system does not let look.
    """
    content = recognise_file(path)
    if content is not None:
        return NAMES[content]
    obstacle = find_obstacle(path)
    if obstacle:
        return f"{UNREADABLE} ({obstacle})"
    if os.path.isdir(path):
        return "a folder"
    if os.path.exists(path):
        return "another file"
    work_dir = name_work_dir(Path(path))
    return f"only unfinished work in {work_dir}" if os.path.isdir(work_dir) else "no such file"


def check_local(path: PathLike, error: type[FeatxError]) -> None:
    """Refuse the address of a file that featx reads from paths only.

    Parameters
    ----------
    path : path
        Path of the file.
    error : type
        Class of the error to raise.

    Raises
    ------
    FeatxError
        If the path is an address. The class of the error is `error`.
    """
    address = find_address(path)
    if address is not None:
        raise error(
            subject=str(address),
            expected="a path of this machine",
            got="an address",
            remedy="Copy the file to this machine, and name the copy.",
        )


def check_order(
    names: tuple[str, str],
    paths: tuple[object, object],
    *,
    content: FileContent,
    is_first: bool = True,
    call: str,
    **words: str,
) -> None:
    """Refuse two arguments of which each stands in the place of the other.

    Parameters
    ----------
    names : tuple of str
        Names of the two arguments, or twice that of an argument that holds both.
    paths : tuple of object
        The two arguments, each a path or a list of paths; no other value is in the wrong place.
    content : {"cache", "head", "weights"}
        What one of them is to hold.
    is_first : bool
        Whether that is the first argument.
    call : str
        The right call: ``{held}`` stands for the path that holds it, ``{rest}`` for the others.
    **words : str
        Other words of the call, by their names in it.

    Raises
    ------
    FeatxError
        If the other argument holds it. The remedy is the right call.

    Examples
    --------
    >>> call = "featx.evaluate({held!r}, {rest!r})"
    >>> check_order(("head", "cache"), ("a.joblib", "a.h5"), content="head", call=call)
    """
    owners, others = map(_list_files, paths if is_first else reversed(paths))
    if len(owners) != 1 or not os.path.exists(owners[0]) or recognise_file(owners[0]) == content:
        return
    held = [path for path in others if recognise_file(path) == content]
    if not held:
        return
    rest = [str(path) for path in [*owners, *others] if path not in held]
    places = ("the first", "the second") if is_first else ("the second", "the first")
    right = call.format(held=str(held[0]), rest=rest[0] if len(rest) == 1 else rest, **words)
    raise FeatxError(
        subject=", ".join(dict.fromkeys(names)),
        expected=f"{NAMES[content]} in {places[0]} of them",
        got=f"it in {places[1]}",
        remedy=f"Exchange the two: {right}.",
    )


def _list_files(given: object) -> list[Path]:
    """List the paths of an argument that may be anything."""
    listed = list_paths(given) if isinstance(given, str | os.PathLike | list | tuple) else []
    return [Path(one) for one in listed if isinstance(one, str | os.PathLike)]
