"""Addresses: what a scheme names, such as ``s3://bucket/photos``, in place of paths."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from featx.core.text import join_some

N_SHOWN = 3
"""Number of caches that are named one by one if there are more."""

_WHOLE = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]+)://.+", re.S)

_SCHEMES = "s3|s3a|gs|gcs|az|abfs|abfss|adl|oss|oci|hf|http|https|ftp|sftp|ssh|hdfs|webhdfs|memory"
_SHORT = re.compile(rf"({_SCHEMES}):/(?=[^/])", re.I)
"""What is left of the beginning of an address that has been a `pathlib.Path`."""

_HTTP = ("http", "https")

_SIGNED = re.compile(r"[^=]*(?:sig|token|key|credential|secret|password|auth)[^=]*=", re.I)
"""A parameter of a query that lets its bearer in, often for one day only."""

_HARMLESS = re.compile(
    r"(?:id|size|width|height|w|h|format|page|version|v)=[\w.,-]{0,64}|hidden=[0-9a-f]{16}", re.I
)
"""A parameter of a query that is shown: any other may be a password."""

_USER = re.compile(r"(?<=:/)(/?)([^/?#\s]*)@")
"""User and password of an address, also of one that has lost a slash."""

_WITH_CONTAINER = re.compile(r"(?:az|abfss?|wasbs?):", re.I)
"""Schemes of addresses that name a container before the server, ``abfs://container@server/a``."""

_LINKS = re.compile(rf"(?:[A-Za-z][A-Za-z0-9+.-]*://|\b(?:{_SCHEMES}):/)[^\s'\"<>]+", re.I)
"""Addresses in a sentence."""

_copies: dict[str, str] = {}
"""Addresses, as shown, by the path of their copy on this machine. Addresses are few."""


@dataclass(frozen=True, slots=True)
class Address:
    """A location in a store of objects, or on a server.

    It has the few members of `pathlib.Path` that sources need. ``str`` of it hides passwords and
    signatures: open `text`, and show and record ``str``.

    Attributes
    ----------
    text : str
        The address in full, such as ``s3://bucket/photos``.
    """

    text: str

    @property
    def scheme(self) -> str:
        """Scheme in lower case, such as ``s3``."""
        return self.text.partition("://")[0].lower()

    @property
    def host(self) -> str:
        """Name of the bucket or of the server."""
        return str(self).partition("://")[2].partition("/")[0]

    @property
    def name(self) -> str:
        """Last part of the path, without the query of an address of HTTP."""
        return self._path.rstrip("/").rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """Suffix of the name, such as ``.tar``; empty if the address ends with a slash."""
        return "" if self.text.endswith("/") else PurePosixPath(self.name).suffix

    @property
    def stem(self) -> str:
        """Name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def parent(self) -> Address:
        """Address of the folder."""
        return Address(self._path.rstrip("/").rpartition("/")[0])

    @property
    def _path(self) -> str:
        """The address without its query; only addresses of HTTP have one."""
        return re.split(r"[?#]", self.text, maxsplit=1)[0] if self.scheme in _HTTP else self.text

    def __truediv__(self, name: str) -> Address:
        return Address(f"{self._path.rstrip('/')}/{name}")

    def as_posix(self) -> str:
        """Return the address as it may be shown, as ``str`` does."""
        return str(self)

    def __str__(self) -> str:
        text = _USER.sub(self._show_user, self.text)
        path, *rest = re.split(r"[?#]", text, maxsplit=1)
        parameters = re.split(r"[?#&;]", "".join(rest))
        if self.scheme in _HTTP or any(map(_SIGNED.match, parameters)):
            return "?".join(filter(None, (path, _show_query(parameters))))
        return text

    def _show_user(self, match: re.Match[str]) -> str:
        """Hide what stands before the server, unless it can only be the name of a container."""
        slash, user = match.groups()
        is_container = _WITH_CONTAINER.match(self.text) and not re.search("[:@]", user)
        return f"{slash}{user}@" if is_container else str(slash)


def _show_query(parameters: Sequence[str]) -> str:
    """Show the harmless parameters of a query, and a digest of the others, which tells ids apart.

    A signed query has no digest: a link that is signed anew each day leads to the same object.
    """
    shown = list(filter(_HARMLESS.fullmatch, parameters))
    hidden = [one for one in parameters if one and one not in shown]
    if hidden and not any(map(_SIGNED.match, hidden)):
        digest = hashlib.sha256("&".join(hidden).encode()).hexdigest()
        shown.append(f"hidden={digest[:16]}")
    return "&".join(shown)


def note_copy(path: os.PathLike[str], address: Address) -> None:
    """Let `show_locations` name an address in place of its copy on this machine.

    Parameters
    ----------
    path : path
        The copy, or the file that is built for the address.
    address : Address
        The address.
    """
    _copies[os.fspath(path)] = str(address)


def show_locations(text: str) -> str:
    """Write a sentence so that it names what the user named, and no secret.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        The text without passwords and signatures in its addresses, and with addresses in place of
        their copies on this machine. Unfinished work on this machine keeps its path: a person may
        have to delete it.

    Examples
    --------
    >>> show_locations("https://ada:secret@host/a.h5?sig=abc: damaged")
    'https://host/a.h5: damaged'
    """
    for path, shown in _copies.items():
        if path in text:
            text = re.sub(rf"{re.escape(path)}(?!\.partial)", shown.replace("\\", r"\\"), text)
    return _LINKS.sub(_show_link, text) if ":/" in text else text


def _show_link(match: re.Match[str]) -> str:
    """Show an address of a sentence; what ends the sentence is no part of it."""
    text = match.group()
    link = text.rstrip(".,:;)]")
    if _SHORT.match(link):
        link = _SHORT.sub(r"\1://", link, count=1)
    return f"{Address(link)}{text[len(text.rstrip('.,:;)]')) :]}"


def name_location(location: object) -> str:
    """Name a path or an address as a user should see it.

    Parameters
    ----------
    location : path
        A path, or an address as text or as a `pathlib.Path`.
    """
    return str(find_address(location) or show_locations(str(location)))


def find_address(location: object) -> Address | None:
    """Find the address that a caller gives in place of a path.

    Parameters
    ----------
    location : path
        A path, or an address as text or as a `pathlib.Path`, which drops a slash of it.

    Returns
    -------
    Address or None
        The address; None for a path, for an address ``file://``, and for any other object.

    Examples
    --------
    >>> find_address("s3://bucket/photos")
    Address(text='s3://bucket/photos')
    >>> find_address("photos") is None
    True
    """
    if isinstance(location, Address):
        return location
    if not isinstance(location, str | os.PathLike):
        return None
    text = os.fsdecode(location)
    if isinstance(location, os.PathLike):
        text = _SHORT.sub(r"\1://", text, count=1) if _SHORT.match(text) else text
    if not _WHOLE.fullmatch(text) or text[:5].lower() == "file:":
        return None
    return Address(text)


def list_paths(
    given: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
) -> list[str | os.PathLike[str]]:
    """List the paths and addresses that a user gives, one or several.

    Parameters
    ----------
    given : path or iterable of paths
        What the user gives.

    Returns
    -------
    list of path
        Each as it was given: a `pathlib.Path` would drop a slash of an address.
    """
    return [given] if isinstance(given, str | os.PathLike) else list(given)


def name_caches(
    caches: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> str:
    """Name in a few words the caches that a user gives, one or several.

    Parameters
    ----------
    caches : path or sequence of paths
        What the user gives.
    """
    return join_some([name_location(one) for one in list_paths(caches)] or ["no cache"], N_SHOWN)
