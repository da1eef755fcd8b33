"""Put a file in place: the whole file, or nothing."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from featx.core.errors import FeatxError


def check_destination(path: Path, *, overwrite: bool, error: type[FeatxError]) -> None:
    """Refuse, before any work is done, a path at which no file can be written.

    Parameters
    ----------
    path : Path
        Path of the file that is to be written.
    overwrite : bool
        Whether to accept a file that exists.
    error : type
        Class of the error to raise.

    Raises
    ------
    FeatxError
        If the folder is missing or read-only, if the path is a folder, or if the file exists and
        `overwrite` is False. The class of the error is `error`.
    """
    subject = str(path)
    if not path.parent.is_dir():
        raise error(
            subject=subject,
            expected="an existing folder",
            got="none",
            remedy=f"Run: mkdir -p {path.parent}",
        )
    if path.is_dir():
        raise error(
            subject=subject,
            expected="the path of a file",
            got="a folder",
            remedy="Name a file in the folder.",
        )
    if path.exists() and not overwrite:
        raise error(
            subject=subject,
            expected="a new file",
            got="a file that exists",
            remedy="Pass overwrite=True to replace it.",
        )
    if not os.access(path.parent, os.W_OK):
        raise error(
            subject=subject,
            expected="a writable folder",
            got="a read-only folder",
            remedy="Choose another folder.",
        )


def name_draft(path: Path) -> Path:
    """Name the draft of a file: a hidden file beside it, so that both are on one file system."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def remove_drafts(path: Path) -> None:
    """Remove the drafts that killed processes left. Hold the lock of the path.

    Parameters
    ----------
    path : Path
        The finished file.
    """
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        leftover.unlink(missing_ok=True)


def name_work_dir(path: Path) -> Path:
    """Name the folder for the unfinished work on a file."""
    return path.with_name(path.name + ".partial")


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, so that a new name survives a power cut."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def put_in_place(draft: Path, path: Path, *, check: Callable[[], None] | None = None) -> None:
    """Flush a finished draft to the disk, and give the draft its final name in one step.

    Parameters
    ----------
    draft : Path
        The finished file, on the same file system as `path`.
    path : Path
        The final name. An existing file is replaced.
    check : callable, optional
        Function that is called last before the new name is given, and raises an error to prevent
        it. Flushing a large file takes seconds, in which another process may break a lock.
    """
    with draft.open("r+b") as stream:
        os.fsync(stream.fileno())
    if check is not None:
        check()
    os.replace(draft, path)
    sync_folder(path.parent)


@contextmanager
def explain_errors(path: Path, *, error: type[FeatxError]) -> Iterator[None]:
    """Turn an error of the operating system, such as a full disk, into an error of featx.

    Parameters
    ----------
    path : Path
        The file or folder that is written in the block.
    error : type
        Class of the error to raise.

    Raises
    ------
    FeatxError
        If the block raises an OSError. The class of the error is `error`.
    """
    try:
        yield
    except OSError as cause:
        raise error(
            subject=str(path),
            expected="a file that can be written",
            got=str(cause.strerror or cause),
            remedy="The file at this path is unchanged. Free some space, or choose another folder.",
        ) from cause


@contextmanager
def replacing(
    path: Path,
    *,
    error: type[FeatxError],
    draft: Path | None = None,
    check: Callable[[], None] | None = None,
) -> Iterator[Path]:
    """Write a file in place of another: yield a draft, and put it in place at the end of the block.

    If the block raises an error, the draft is removed and the destination is unchanged.

    Parameters
    ----------
    path : Path
        Destination.
    error : type
        Class of the error to raise if a write fails, for example because the disk is full.
    draft : Path, optional
        Path of the draft, on the same file system. Default: a hidden file beside the destination.
    check : callable, optional
        Function that is called after the block, last before the destination is replaced.

    Yields
    ------
    Path
        Path of the draft, which the block writes.

    Raises
    ------
    FeatxError
        If the block or the last step raises an OSError. The class of the error is `error`.
    """
    draft = draft or name_draft(path)
    try:
        with explain_errors(path, error=error):
            yield draft
            put_in_place(draft, path, check=check)
    finally:
        draft.unlink(missing_ok=True)
