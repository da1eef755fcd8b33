"""Copy files of this machine to addresses."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from featx.core.address import Address
from featx.remote.failures import ChangedError, MissingError, RemoteError
from featx.remote.objects import State, find_state, iter_objects, remove
from featx.remote.store import request

_WITH_FOLDERS = ("sftp", "ssh", "ftp", "hdfs", "webhdfs", "smb")
"""Schemes of which a folder must be made before a file; s3fs would make a bucket."""


def upload(
    path: Path, address: Address, *, folder: Address, check: Callable[[], None] | None = None
) -> State:
    """Copy a file of this machine to an address: the whole file, or nothing.

    The file gets a temporary name in `folder`; the store then copies it to the address in one step.
    `remove_drafts` removes the temporary names that killed processes left.

    Parameters
    ----------
    path : Path
        File to read.
    address : Address
        Address to write.
    folder : Address
        Folder for the temporary name, in the same store.
    check : callable, optional
        Function that is called last before the store copies the file to the address, and raises an
        error to prevent it. Another process may break a lock while a large file is on its way.

    Returns
    -------
    (int, int)
        State of the new object.

    Raises
    ------
    RemoteError
        If the file cannot be written. The object at the address is then the old one, or the whole
        new one.
    """
    n_bytes = path.stat().st_size
    draft = folder / f"{address.name}.{os.urandom(16).hex()}"
    try:
        put(path, draft)
        if check is not None:
            check()
        request(address, lambda system, target: _copy(system, _strip(system, draft), target))
        state = find_state(address)
        if state[0] != n_bytes:
            raise ChangedError(
                f"{n_bytes} bytes", f"{state[0]} bytes", "Let one run write at a time"
            )
    finally:
        with suppress(RemoteError):
            remove(draft)
    return state


def remove_drafts(address: Address, *, folder: Address) -> None:
    """Remove what killed processes left of their uploads; hold the lock of the address.

    Parameters
    ----------
    address : Address
        The address that they wrote.
    folder : Address
        Folder of the temporary names.

    Raises
    ------
    RemoteError
        If the store refuses.
    """
    is_draft = re.compile(rf"{re.escape(address.name)}\.[0-9a-f]{{32}}").fullmatch
    with suppress(MissingError):  # no folder
        for one in iter_objects(folder):
            if is_draft(one.name):
                remove(folder / one.name)


def _copy(system: Any, source: str, target: str) -> None:
    try:
        system.cp_file(source, target)
    except NotImplementedError:  # a server of files, which can give a file another name
        system.mv(source, target)


def put(path: Path, address: Address) -> None:
    """Copy a file of this machine to an address that nobody reads before it is whole.

    Parameters
    ----------
    path : Path
        File to read.
    address : Address
        Address to write.

    Raises
    ------
    RemoteError
        If the file cannot be written.
    """
    n_bytes = path.stat().st_size

    def copy(system: Any, target: str) -> None:
        if address.scheme in _WITH_FOLDERS:
            system.makedirs(system._parent(target), exist_ok=True)
        system.put_file(os.fspath(path), target)
        size = system.info(target).get("size")
        if size != n_bytes:
            raise ConnectionError(f"{size} of {n_bytes} bytes are there")

    request(address, copy)


def _strip(system: Any, address: Address) -> str:
    path: str = system._strip_protocol(address.text)
    return path
