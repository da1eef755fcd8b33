"""The table of inputs: rows, and where the bytes of each lie."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx.core.errors import SourceError
from featx.core.rows import Row, read_split
from featx.images.decode import PREFIX_SIZE, SUFFIXES, is_image

RECENT_NS = 2_000_000_000
"""Coarsest clock of a file system in use: FAT's, two seconds."""


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe that nobody writes to would be waited for."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of one image: a whole file, or a run of bytes in an archive."""

    file: str
    offset: int = 0
    size: int = -1

    def stat(self) -> tuple[int, int]:
        """Return size in bytes and time of last change in nanoseconds; an archive's for a member.

        Raises
        ------
        OSError
            If there is no such file.
        """
        status = os.stat(self.file)
        return status.st_size if self.size < 0 else self.size, status.st_mtime_ns

    def read_whole(self) -> tuple[bytes, int, int]:
        """Read all bytes; return them with the size and time of last change they had.

        Raises
        ------
        OSError
            As `read` raises it, or if the file changed meanwhile.
        """
        before = self.stat()
        data = self.read()
        if self.stat() != before:
            raise OSError("the file changed while it was read")
        # What changed just now may change again within one tick of the file system's clock.
        is_old = time.time_ns() - before[1] > RECENT_NS
        return data, before[0], before[1] if is_old else -1

    def read(self, size: int | None = None) -> bytes:
        """Read all bytes, or at most the first `size`.

        Raises
        ------
        OSError
            If they cannot be read, fewer are there than the archive's index says, or the path is
            no file but a socket, a pipe or the like.
        """
        limit = self.size if size is None else size if self.size < 0 else min(size, self.size)
        with open(self.file, "rb", opener=_open_without_waiting) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise OSError("not a regular file")
            stream.seek(self.offset)
            data = stream.read(limit)
        if size is None and 0 <= self.size != len(data):
            raise OSError(f"archive ends after {len(data)} of {self.size} bytes")
        return data

    def looks_like_image(self, name: str) -> bool:
        """Tell whether this is a row: by its name's promise, else by its first bytes."""
        if os.path.splitext(name)[1].lower() in SUFFIXES:
            return True
        try:
            return is_image(self.read(PREFIX_SIZE))
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class InMemory:
    """An image that is there already: a Pillow image, or an array of one."""

    image: Any


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a manifest, and where its image lies."""

    row: Row
    content: Content | InMemory


@dataclass(frozen=True)
class Manifest:
    """The rows of a source, in a stable order.

    Attributes
    ----------
    source : str
        What the user pointed at.
    entries : tuple of Entry
        Ids are unique.
    n_ignored : int
        Files that are no images, neither by suffix nor by content.
    alone : bool
        The source is one image file.
    """

    source: str
    entries: tuple[Entry, ...]
    n_ignored: int = 0
    alone: bool = False

    def __len__(self) -> int:
        return len(self.entries)


def escape_name(name: str) -> str:
    r"""Write a file name so that it is one line of valid UTF-8, and no two names become one.

    A backslash becomes ``\\``, a byte that is not UTF-8 ``\xNN``, any other character that does
    not print ``\uNNNN``. Names without these stay as they are.
    """
    if name.isprintable() and "\\" not in name:
        return name
    return "".join(_escape_character(character) for character in name)


def _escape_character(character: str) -> str:
    code = ord(character)
    if character == "\\":
        return "\\\\"
    if 0xDC80 <= code <= 0xDCFF:  # how Python carries a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if character.isprintable():
        return character
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


@dataclass(frozen=True, slots=True)
class Place:
    """What a path's folders say of it."""

    label: str | None
    split: str | None


def read_layout(paths: Sequence[Sequence[str]], subject: str) -> list[Place]:
    """Decide what folders mean: splits, classes or nothing.

    Parameters
    ----------
    paths : sequence of sequences of str
        Each image's path within the source, in parts.
    subject : str
        The source, for the error.

    Returns
    -------
    list of Place
        Folders named train, val or test are splits where all top folders have such names; the
        folder below is the class. Otherwise the top folder is the class.

    Raises
    ------
    SourceError
        If split folders with class folders in them stand beside other folders.
    """
    tops = {parts[0] for parts in paths if len(parts) > 1}
    split_tops = {name for name in tops if read_split(name)}
    if split_tops and split_tops == tops:
        return [_place_below_split(parts) for parts in paths]
    # A class may well be called "train": only one that holds folders of its own is doubtful.
    doubtful = sorted(split_tops & {parts[0] for parts in paths if len(parts) > 2})
    if doubtful:
        others = ", ".join(sorted(tops - split_tops)[:3])
        raise SourceError(
            f"{subject}: expected either split folders or class folders at the top, got both "
            f"({', '.join(doubtful)} beside {others}). Move the others away, or point at one split."
        )
    return [Place(parts[0] if len(parts) > 1 else None, None) for parts in paths]


def _place_below_split(parts: Sequence[str]) -> Place:
    if len(parts) == 1:
        return Place(None, None)
    return Place(parts[1] if len(parts) > 2 else None, read_split(parts[0]))


def build_manifest(source: str, entries: Iterable[Entry], n_ignored: int, hint: str) -> Manifest:
    """Make a manifest, refusing an empty one.

    Raises
    ------
    SourceError
        Without a single row; `hint` says what to do.
    """
    manifest = Manifest(source, tuple(entries), n_ignored)
    if not manifest.entries:
        raise SourceError(
            f"{source}: expected at least one image, got none among {n_ignored} files. {hint}"
        )
    return manifest


def build_entry(name: str, path: str | Path, place: Place, content: Content) -> Entry:
    """Make a row out of a name within the source and what its folders say."""
    label = None if place.label is None else escape_name(place.label)
    row = Row(id=escape_name(name), path=escape_name(str(path)), label=label, split=place.split)
    return Entry(row, content)
