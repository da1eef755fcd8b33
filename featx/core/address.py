"""Addresses: places that a scheme names, such as ``s3://bucket/photos``, in place of paths."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

_WHOLE = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]+)://.+", re.S)

_SCHEMES = "s3|s3a|gs|gcs|az|abfs|abfss|adl|oss|oci|hf|http|https|ftp|sftp|ssh|hdfs|webhdfs|memory"
_SHORT = re.compile(rf"({_SCHEMES}):/(?=[^/])", re.I)
"""What is left of the beginning of an address that has been a `pathlib.Path`."""

_HTTP = ("http", "https")

_SECRET = re.compile(r"[?&][^=&]*(?:sig|token|key|credential|secret|password|auth)[^=&]*=", re.I)
"""A parameter of a query that may be a secret, such as the signature of a link for one day."""


@dataclass(frozen=True, slots=True)
class Address:
    """A place in a store of objects, or on a server.

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
        shown = re.sub(r"(?<=://)[^/@]*@", "", self.text)
        return re.split(r"\?", shown, maxsplit=1)[0] if _SECRET.search(shown) else shown


def find_address(place: object) -> Address | None:
    """Find the address that a caller gives in place of a path.

    Parameters
    ----------
    place : path
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
    if isinstance(place, Address):
        return place
    if not isinstance(place, str | os.PathLike):
        return None
    text = os.fsdecode(place)
    if isinstance(place, os.PathLike):
        text = _SHORT.sub(r"\1://", text, count=1) if _SHORT.match(text) else text
    if not _WHOLE.fullmatch(text) or text[:5].lower() == "file:":
        return None
    return Address(text)
