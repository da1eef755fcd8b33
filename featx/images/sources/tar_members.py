"""The members of a plain tar: their names and where their bytes lie. Only headers are read."""

from __future__ import annotations

import errno
import io
import os
import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from featx.core.errors import SourceError
from featx.images.content import Content, Unreadable
from featx.images.formats import find_by_name
from featx.images.names import escape_name, quote_name
from featx.images.remote import (
    Location,
    RemoteContent,
    build_content,
    find_source_state,
    hold_bytes,
    name_file,
    open_source,
)
from featx.remote.failures import RemoteError

KINDS = {
    tarfile.SYMTYPE: "symbolic link",
    tarfile.LNKTYPE: "hard link",
    tarfile.CHRTYPE: "character device",
    tarfile.BLKTYPE: "block device",
    tarfile.FIFOTYPE: "pipe",
}
"""Names of the types of members that have no bytes of their own."""

SMALL = 1 << 16
"""Number of bytes up to which a member that may describe an image, such as a ``.cls``, is kept in
memory while a tar at an address is listed: each would be another request."""

MAX_LINKS = 40
"""Largest number of links that are followed for one member, as on Linux."""

ZEROS = bytes(1 << 20)


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar.

    Attributes
    ----------
    name : str
        Path within the tar.
    content : Content
        The bytes of the member, or the reason why they cannot be read.
    kind : str
        Type of a member that has no bytes: a link to nowhere, a device; empty for a file.
    """

    name: str
    content: Content
    kind: str = ""


def list_members(tar: Location) -> tuple[list[Member], int]:
    """List the files of a tar in their order. Links have the bytes of the file that they lead to.

    Parameters
    ----------
    tar : Path or Address
        A plain tar.

    Returns
    -------
    members : list of Member
        All members but folders. If several members have one name, only the last one is listed, as
        when a tar is unpacked.
    n_replaced : int
        Number of members that are not listed because a later one has their name.

    Raises
    ------
    SourceError
        If the tar is compressed or damaged, if anything but zeros follows its end, or if a member
        lies outside the archive (``../``).
    """
    members: dict[str, Member] = {}
    links: dict[str, str] = {}
    n_replaced = 0
    state = find_source_state(tar)
    for info, stream in _iter_infos(tar):
        name = _check_name(tar, info)
        target = _find_target(name, info)
        if info.isdir() or (
            target == name and name in members
        ):  # tar links a second copy to the first
            continue
        n_replaced += name in members
        links.pop(name, None)
        if target is not None:
            links[name] = target
        members[name] = _build_member(tar, name, info, state)
        content = members[name].content
        if isinstance(content, RemoteContent) and info.size <= SMALL and not find_by_name(name):
            stream.seek(info.offset_data)
            members[name] = Member(name, hold_bytes(content, stream.read(info.size)))
    return [_follow(member, members, links) for member in members.values()], n_replaced


def _check_name(tar: Location, info: tarfile.TarInfo) -> str:
    if info.name.startswith("/") or ".." in info.name.split("/"):
        raise SourceError(
            subject=f"{tar}, member {escape_name(info.name)!r}",
            expected="a path inside the archive",
            got="a path outside it",
            remedy="Write the tar again without this member.",
        )
    return posixpath.normpath(info.name)


def _find_target(name: str, info: tarfile.TarInfo) -> str | None:
    """Find the member that a link leads to: from its folder, or from the top for a hard link."""
    if info.issym():
        return posixpath.normpath(posixpath.join(posixpath.dirname(name), info.linkname))
    return posixpath.normpath(info.linkname.lstrip("/")) if info.islnk() else None


def _build_member(
    tar: Location, name: str, info: tarfile.TarInfo, state: tuple[int, int] | None
) -> Member:
    kind = reason = ""
    if info.issparse():
        reason = (
            "expected a plain member of a tar, got a sparse one. "
            "Write the tar again without --sparse"
        )
    elif not info.isreg():
        kind = KINDS.get(info.type, f"member of type {info.type!r}")
        got, remedy = f"a {kind}", "Leave it out"
        if info.linkname:
            got += f" to {quote_name(info.linkname)}, which the archive lacks"
            remedy = "Write the tar again with --dereference"
        reason = f"expected a file, got {got}. {remedy}"
    location = name_file(tar), info.offset_data, info.size
    content = Unreadable(*location, reason) if reason else build_content(*location, state)
    return Member(name, content, kind)


def _follow(member: Member, members: dict[str, Member], links: dict[str, str]) -> Member:
    """Give a link the bytes of the file that it leads to, if the archive has the file."""
    target = member.name
    for _ in range(MAX_LINKS):
        if target not in links:
            found = members.get(target)
            return member if found is None or found is member else replace(found, name=member.name)
        target = links[target]
    return member


def _iter_infos(tar: Location) -> Iterator[tuple[tarfile.TarInfo, BinaryIO]]:
    """Yield the headers of a tar, with the open tar, and check that nothing follows its end."""
    try:
        with (
            open_source(tar) as stream,
            tarfile.open(fileobj=stream, mode="r:", errors="surrogateescape") as archive,
        ):
            for info in archive:
                # tarfile would keep the list of all members in memory.
                archive.members = []  # type: ignore[attr-defined]
                if archive.offset <= info.offset:
                    raise tarfile.ReadError(f"negative size at byte {info.offset}")
                yield info, stream
            _check_end(tar, stream.raw, archive.offset)
    except RemoteError as error:
        raise error.as_error(SourceError, tar) from error
    except SourceError:
        raise
    # tarfile lets errors of several kinds through if a header is damaged.
    except (tarfile.TarError, OSError, ValueError, LookupError, ArithmeticError) as error:
        raise SourceError(
            subject=str(tar),
            expected="a plain tar",
            got=f"{type(error).__name__}: {error}",
            remedy="Decompress the file if it is a .tar.gz; otherwise copy it again.",
        ) from error


def _check_end(tar: Location, stream: io.RawIOBase, offset: int) -> None:
    """Refuse a tar if anything but zeros follows its last member.

    tarfile stops at a damaged header, and at the end of the first of several archives that were
    put together, without an error.

    Raises
    ------
    tarfile.ReadError
        If the archive has no end, or if other bytes follow it.
    SourceError
        If another archive follows it.
    """
    stream.seek(offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"no end of archive at byte {offset}")
    rest = _find_data(stream)
    if rest is None:
        return
    start = rest - rest % tarfile.BLOCKSIZE
    stream.seek(start)
    header = stream.read(tarfile.BLOCKSIZE) or b""
    try:
        tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        raise tarfile.ReadError(f"bytes after the end of the archive, at byte {rest}") from None
    raise SourceError(
        subject=str(tar),
        expected="one archive",
        got=f"a second one after its end, at byte {start}",
        remedy="Unpack the file with tar --ignore-zeros -xf, and pass the folder.",
    )


def _find_data(stream: io.RawIOBase) -> int | None:
    """Find the next byte that is not zero; None if there is none. Holes cost nothing."""
    position = stream.tell()
    while True:
        try:
            position = os.lseek(stream.fileno(), position, os.SEEK_DATA)
        except (AttributeError, io.UnsupportedOperation):  # Windows; an object of a store
            pass
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole up to the end
                return None
        stream.seek(position)
        data = stream.read(len(ZEROS))
        if not data:
            return None
        if data != ZEROS[: len(data)]:
            return position + len(data) - len(data.lstrip(b"\0"))
        position += len(data)
