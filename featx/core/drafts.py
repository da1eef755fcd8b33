"""Drafts: unfinished files and folders beside their destination, and how the abandoned ones go.

The name of a draft says which process writes it, so that nobody has to read or to lock the draft:
locks of the file system are often missing, or not shared, on network disks and between containers.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from featx.core.running import find_start, read_boot, read_place

MAX_AGE_S = 24 * 3600
"""Age in seconds at which the draft of a process elsewhere, which cannot be looked up, is given up.
A process that writes a draft makes it younger with each write."""

RENAME_NOREPLACE, AT_FDCWD = 1, -100
"""Constants of renameat2(2): refuse an existing name; paths start at the working folder."""

_TOKEN = re.compile(r"([0-9a-f]{8})-([1-9][0-9]{0,9})-([0-9a-f]{6})-[0-9a-f]{8}")
"""Place, process id, start of the process, random digits: no dot, so that a draft of ``a.h5`` is
none of ``a``."""


def name_draft(path: Path) -> Path:
    """Build a unique name for a draft: hidden, beside the file, so that both are on one disk.

    Parameters
    ----------
    path : Path
        The finished file or folder.
    """
    pid = os.getpid()
    token = f"{_digest_place()}-{pid}-{_digest(find_start(pid))}-{os.urandom(4).hex()}"
    return path.with_name(f".{path.name}.{token}.partial")


def is_draft(name: str) -> bool:
    """Tell whether a name is that of a draft, of whatever file."""
    return _match(name, r"\..+") is not None


def remove_drafts(path: Path, *, now: float) -> None:
    """Remove the drafts that processes left that have ended; errors are passed over.

    The draft of a process that runs is never removed. A process elsewhere (on another host, in
    another container, before the last boot) cannot be looked up: its drafts go after `MAX_AGE_S`.

    Parameters
    ----------
    path : Path
        The finished file or folder.
    now : float
        Time of the last change of a file that was made just now on the same disk, in seconds: the
        clock of a network disk may differ from that of this machine.
    """
    with suppress(OSError), os.scandir(path.parent) as listing:
        for entry in listing:
            found = _match(entry.name, re.escape(f".{path.name}"))
            with suppress(OSError):
                if found is None or not _is_abandoned(found, entry, now):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                else:
                    os.unlink(entry.path)


@contextmanager
def open_draft(path: Path) -> Iterator[Path]:
    """Make an empty draft of a file, and remove the abandoned ones.

    Parameters
    ----------
    path : Path
        The finished file; it need not exist.

    Yields
    ------
    Path
        The draft. What is left of it at the end of the block is removed.

    Raises
    ------
    OSError
        If no draft can be made.
    """
    with _open(path, _create_file, Path.unlink) as draft:
        yield draft


@contextmanager
def open_draft_folder(path: Path) -> Iterator[Path]:
    """Make an empty draft of a folder, and remove the abandoned ones.

    Parameters
    ----------
    path : Path
        The finished folder; it need not exist.

    Yields
    ------
    Path
        The draft. What is left of it at the end of the block is removed.

    Raises
    ------
    OSError
        If no draft can be made.
    """
    with _open(path, Path.mkdir, functools.partial(shutil.rmtree, ignore_errors=True)) as draft:
        yield draft


@contextmanager
def _open(
    path: Path, create: Callable[[Path], object], remove: Callable[[Path], object]
) -> Iterator[Path]:
    draft = name_draft(path)
    create(draft)
    try:
        remove_drafts(path, now=draft.stat().st_mtime)
        yield draft
    finally:
        with suppress(OSError):  # the next draft of this path removes it
            remove(draft)


def _create_file(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))


def give_new_name(draft: Path, path: Path) -> None:
    """Give a finished draft a name that no file has: of several processes, only one succeeds.

    Parameters
    ----------
    draft : Path
        The finished file; afterwards it may still be there, as a second name of the same file.
    path : Path
        The name, in a folder of the same file system.

    Raises
    ------
    FileExistsError
        If something has the name.
    OSError
        If the name cannot be given.
    """
    try:
        os.link(draft, path)
    except FileExistsError:
        # A network disk may have linked, lost its answer, and then refused the second try.
        if draft.stat().st_nlink < 2:
            raise
    except OSError:  # most often a file system without hard links: FAT, some CIFS, sshfs
        if not _rename_exclusively(draft, path):
            _replace_empty(draft, path)


def _rename_exclusively(draft: Path, path: Path) -> bool:
    """Rename in one step, unless the name exists; return False if the system lacks such a step."""
    if sys.platform != "linux":
        return False
    import ctypes  # few file systems need it

    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    names = os.fsencode(draft), os.fsencode(path)
    if rename(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number in {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}:
        return False
    raise OSError(number, os.strerror(number), str(path))


def _replace_empty(draft: Path, path: Path) -> None:
    """Create an empty file of a new name, and replace it."""
    _create_file(path)
    try:
        os.replace(draft, path)
    except BaseException:
        path.unlink()
        raise


def _match(name: str, start: str) -> re.Match[str] | None:
    return re.fullmatch(rf"{start}\.{_TOKEN.pattern}\.partial", name, re.DOTALL)


def _is_abandoned(found: re.Match[str], entry: os.DirEntry[str], now: float) -> bool:
    """Tell whether nobody writes a draft any more."""
    place, pid, start = found.groups()
    if place != _digest_place():
        return now - entry.stat(follow_symlinks=False).st_mtime > MAX_AGE_S
    running = find_start(int(pid))
    return running is None or (running != "" and _digest(running) != start)


def _digest_place() -> str:
    return _digest("\n".join([*read_place(), read_boot()]), 8)


def _digest(text: str | None, n_digits: int = 6) -> str:
    return hashlib.sha256((text or "").encode()).hexdigest()[:n_digits]
