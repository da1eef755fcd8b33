"""List, look at, read and remove objects at addresses."""

from __future__ import annotations

import datetime
import hashlib
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from featx.core.address import Address
from featx.remote.failures import ChangedError, MissingError, PastEndError, RemoteError
from featx.remote.store import request

N_THREADS = 16
"""Number of folders that are listed, or of objects that are looked at, at a time."""

RECENT_S = 2
"""Coarsest clock of a store in use, in seconds."""

_TAGS = ("etag", "md5hash", "content-md5", "content_md5")
_TIMES = (
    "lastmodified",
    "last_modified",
    "last-modified",
    "updated",
    "mtime",
    "modified",
    "created",
)
"""Names that the file systems of fsspec give to the tag and to the time of an object, in lower
case."""

State = tuple[int, int]
"""Number of bytes (-1 if it is not known), and the time of `read_state`."""


class Found(NamedTuple):
    """An object below a folder.

    Attributes
    ----------
    name : str
        Path within the folder, with ``/`` between its parts.
    state : (int, int)
        Its state, as `read_state` gives it.
    """

    name: str
    state: State


def read_state(info: Mapping[str, Any]) -> State:
    """Read what tells one version of an object from another.

    Parameters
    ----------
    info : mapping
        Description of the object, as fsspec gives it.

    Returns
    -------
    n_bytes : int
        Number of bytes; -1 if it is not known.
    mtime_ns : int
        Time of the last change in nanoseconds since 1970. If the store gives a tag (ETag), the
        nanoseconds below one second are a digest of the tag. -1 if the store gives neither tag nor
        time, or a time so recent that the object might change again without a new one.

    Examples
    --------
    >>> read_state({"size": 3})
    (3, -1)
    """
    values = {name.lower(): value for name, value in info.items()}
    tag = next((values[name] for name in _TAGS if values.get(name)), None)
    seconds = next((values[name] for name in _TIMES if values.get(name)), None)
    size, changed_ns = values.get("size"), _read_time(seconds)
    n_bytes = -1 if size is None else int(size)
    if tag:
        fraction = int.from_bytes(hashlib.sha256(str(tag).encode()).digest()[:8]) % 1_000_000_000
        return n_bytes, max(0, changed_ns) // 1_000_000_000 * 1_000_000_000 + fraction
    is_settled = time.time_ns() - changed_ns > RECENT_S * 1_000_000_000
    return n_bytes, changed_ns if is_settled else -1


def _read_time(value: Any) -> int:
    """Read a time in one of the forms that file systems use, in nanoseconds; -1 for none."""
    from email.utils import parsedate_to_datetime  # a local source needs no modules of mail

    with suppress(ValueError, TypeError, OverflowError):
        if isinstance(value, str):
            is_iso = value[:4].isdecimal()
            value = (
                datetime.datetime.fromisoformat(value) if is_iso else parsedate_to_datetime(value)
            )
        if isinstance(value, datetime.datetime):
            if value.tzinfo is None:
                value = value.replace(tzinfo=datetime.UTC)
            value = value.timestamp()
        if value is not None:
            return int(float(value) * 1_000_000) * 1000
    return -1


def find_state(address: Address) -> State:
    """Ask for the state of one object without reading its bytes.

    Parameters
    ----------
    address : Address
        The object.

    Returns
    -------
    (int, int)
        Its state, as `read_state` gives it.

    Raises
    ------
    RemoteError
        If there is no object, or the store does not answer.
    """
    info = request(address, lambda system, path: system.info(path))
    if info.get("type") == "directory":
        raise MissingError("an object at this address", "a folder", "Check the address")
    return read_state(info)


def is_same(before: State, after: State) -> bool:
    """Tell whether an object is the one that it was, as far as the store says.

    Parameters
    ----------
    before, after : (int, int)
        States of the object. A time that was too recent to be trusted says nothing.
    """
    return before[0] == after[0] and (before[1] == after[1] or before[1] < 0)


def find_kind(address: Address) -> Literal["folder", "object"] | None:
    """Tell what is at an address; None if nothing is.

    Parameters
    ----------
    address : Address
        The address.

    Raises
    ------
    RemoteError
        If the bucket does not exist, or the store does not answer or refuses.
    """
    try:
        info = request(address, lambda system, path: system.info(path))
    except MissingError as error:
        if error.expected == "an existing bucket":
            raise
        return None
    return "folder" if info.get("type") == "directory" else "object"


def iter_objects(folder: Address) -> Iterator[Found]:
    """Yield the objects below a folder, in no order; nothing is opened.

    Parameters
    ----------
    folder : Address
        The folder.

    Raises
    ------
    RemoteError
        If a folder cannot be listed.
    """
    root = request(folder, lambda _, path: path.rstrip("/"))
    scheme = folder.text.partition("://")[0]
    level = [root]
    with ThreadPoolExecutor(N_THREADS, "featx-list") as pool:
        while level:
            below: list[str] = []
            at = (Address(f"{scheme}://{path.lstrip('/')}") for path in level)
            for path, listed in zip(level, pool.map(_list_folder, at, level), strict=True):
                for info in listed:
                    name = info["name"].rstrip("/")
                    if name == path:  # the object that some tools put in place of a folder
                        continue
                    if info["type"] == "directory":
                        below.append(name)
                    elif not info["name"].endswith("/"):
                        yield Found(name[len(root) + 1 :], read_state(info))
            level = below


def _list_folder(folder: Address, path: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = request(folder, lambda system, _: system.ls(path, detail=True))
    return listed


def read_range(address: Address, start: int = 0, end: int | None = None) -> bytes:
    """Read some bytes of an object, or all.

    Parameters
    ----------
    address : Address
        The object.
    start, end : int
        Position of the first byte, and that behind the last one. Default: all bytes.

    Returns
    -------
    bytes
        The bytes; fewer if the object ends before `end`.

    Raises
    ------
    RemoteError
        If the bytes cannot be read.
    """
    if end is not None and end <= start:
        return b""

    def read(system: Any, path: str) -> bytes:
        # Even of a whole object, a range: without one, s3fs asks for the size first.
        data: bytes = system.cat_file(path, start=start, end=end)
        return data

    try:
        data = request(address, read)
    except PastEndError:  # a store has no range of an empty object
        if start:
            raise
        return b""
    if end is not None and len(data) > end - start:
        if start:
            raise RemoteError(
                "a server that gives ranges of bytes",
                "one that gives whole files",
                "Download the file, and name it here",
            )
        data = data[:end]
    return data


def download(address: Address, path: Path) -> State:
    """Copy an object to a file of this machine.

    Parameters
    ----------
    address : Address
        The object.
    path : Path
        File to write. It is written in place: give a draft.

    Returns
    -------
    (int, int)
        State of the object that was copied.

    Raises
    ------
    ChangedError
        If the object changed while it was copied.
    RemoteError
        If the object cannot be read.
    """
    state = find_state(address)

    def copy(system: Any, source: str) -> None:
        system.get_file(source, str(path))
        n_bytes = path.stat().st_size
        if n_bytes != state[0] >= 0:
            raise ConnectionError(f"{n_bytes} of {state[0]} bytes")

    request(address, copy)
    if not is_same(state, find_state(address)):
        raise ChangedError(
            "an object that stays as it is", "another one at its address", "Try again"
        )
    return state


def remove(address: Address) -> None:
    """Remove an object; it may be gone already.

    Parameters
    ----------
    address : Address
        The object.

    Raises
    ------
    RemoteError
        If the store refuses.
    """
    with suppress(MissingError):
        request(address, lambda system, path: system.rm_file(path))
