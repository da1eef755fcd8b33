"""Whole copies of objects on this machine, for what reads a file at many positions."""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal

from featx.core.address import Address, find_address, note_copy
from featx.core.artifacts import drop_oldest, find_state_folder, find_store
from featx.core.errors import CacheError
from featx.core.files import explain_errors, replacing
from featx.core.parts import list_part_names
from featx.core.progress import stage
from featx.core.typing import PathLike
from featx.remote.failures import MissingError, RemoteError
from featx.remote.objects import download, find_kind, find_state, iter_objects

MAX_AGE_S = 24 * 3600
"""Seconds without use after which the copy of an old version of an object is removed, and that of
the newest one if much else is copied."""


def localise(location: PathLike) -> Path:
    """Return a cache, or a folder of caches, as a path of this machine.

    Parameters
    ----------
    location : path
        A path, which is returned as it is; or an address. The object at an address is copied to the
        store of this machine, unless a copy of the same version is there. Of a folder, the
        parts in it are copied.

    Returns
    -------
    Path
        Path of the file or folder.

    Raises
    ------
    CacheError
        If nothing is at the address, if the store refuses or does not answer, or if the copy cannot
        be written.
    """
    address = find_address(location)
    if address is None:
        return Path(location)
    try:
        is_file = not address.text.endswith("/") and bool(address.suffix)
        if is_file or find_kind(address) != "folder":
            return _copy(address)
        return _copy_folder(address)
    except MissingError as error:
        if not glob.has_magic(address.name):
            raise error.as_error(CacheError, address) from error
        raise CacheError(
            subject=str(address),
            expected="the address of one cache, or of the folder of all parts",
            got="a pattern",
            remedy="Name the folder, or each cache.",
        ) from error
    except RemoteError as error:
        raise error.as_error(CacheError, address) from error


def list_parts(folder: Address) -> list[str]:
    """List the names of the parts in a folder at an address; empty if it is no folder.

    Parameters
    ----------
    folder : Address
        The folder.

    Raises
    ------
    RemoteError
        If the folder cannot be listed.
    """
    if find_kind(folder) != "folder":
        return []
    return list_part_names(one.name for one in iter_objects(folder) if "/" not in one.name)


def name_folder(address: Address, purpose: Literal["copies", "outputs"]) -> Path:
    """Name the folder of this machine that belongs to an address.

    Parameters
    ----------
    address : Address
        The address.
    purpose : {"copies", "outputs"}
        What the folder is for: copies, which may be deleted, lie in the store; outputs apart.

    Raises
    ------
    CacheError
        If this machine has no store.
    """
    with explain_errors(Path(purpose), error=CacheError):
        base = find_store() if purpose == "copies" else find_state_folder()
    return base / purpose / hashlib.sha256(str(address).encode()).hexdigest()[:16]


def _copy(address: Address) -> Path:
    """Copy an object, unless the same version has been copied before."""
    versions = name_folder(address, "copies")
    state = find_state(address)
    folder = versions / f"{state[0]}-{state[1]}"
    path = folder / address.name
    note_copy(path, address)
    if path.is_file() and state[1] >= 0:
        with suppress(OSError):
            os.utime(folder)
        return path
    with explain_errors(path, error=CacheError):
        folder.mkdir(parents=True, exist_ok=True)
    with (
        stage(f"copying {address}"),
        replacing(path, error=CacheError, overwrite=True) as draft,
    ):
        try:
            download(address, draft)
        except RemoteError as error:
            raise error.as_error(CacheError, address) from error
    _remove_old(versions, keep=folder)
    return path


def _copy_folder(address: Address) -> Path:
    """Copy the parts in a folder, and put them together in a folder of this machine."""
    names = list_parts(address)
    if not names:
        raise CacheError(
            subject=str(address),
            expected="a cache, or parts of one (part-001-of-016.h5 and others)",
            got="a folder without any",
            remedy="Name a cache, or the folder that holds the parts.",
        )
    paths = [_copy(address / name) for name in names]
    text = "\n".join(map(str, paths))
    folder = name_folder(address, "copies") / hashlib.sha256(text.encode()).hexdigest()[:16]
    note_copy(folder, address)
    with explain_errors(folder, error=CacheError):
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            with suppress(FileExistsError):
                os.symlink(path, folder / path.name)
    return folder


def _remove_old(versions: Path, *, keep: Path) -> None:
    """Remove copies of older versions, and others that were unused for long; errors pass."""
    with suppress(OSError):
        for folder in versions.iterdir():
            if folder != keep and time.time() - folder.stat().st_mtime > MAX_AGE_S:
                shutil.rmtree(folder, ignore_errors=True)
    drop_oldest(versions.parent.glob("*/*"), min_age_s=MAX_AGE_S)
