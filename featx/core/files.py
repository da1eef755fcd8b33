"""Put a file at its destination whole or not at all."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from featx.core.errors import FeatxError


def check_destination(path: Path, *, overwrite: bool, error: type[FeatxError]) -> None:
    """Refuse, before any work is done, a place where no file can be put.

    Raises
    ------
    FeatxError
        Of the given class, if the folder is missing or read-only, the path is a folder, or a file
        is there that is not to be replaced.
    """
    if not path.parent.is_dir():
        raise error(
            f"{path}: expected its folder to be there, got none. Run: mkdir -p {path.parent}"
        )
    if path.is_dir():
        raise error(f"{path}: expected a file to write, got a folder. Name a file in it.")
    if path.exists() and not overwrite:
        raise error(
            f"{path}: expected a new file, got one that is there. Pass --overwrite to replace it."
        )
    if not os.access(path.parent, os.W_OK):
        raise error(
            f"{path}: expected a folder one may write to, got one that is read-only. "
            "Choose another place."
        )


def name_partial(path: Path) -> Path:
    """Name a hidden sibling, so that it lies on the same file system."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def remove_partials(path: Path) -> None:
    """Remove what a killed process left of `name_partial`; for one who has the path to itself."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        leftover.unlink(missing_ok=True)


def replace_file(partial: Path, path: Path) -> None:
    """Flush a finished file to the disk and put it at its destination in one step."""
    with partial.open("r+b") as stream:
        os.fsync(stream.fileno())
    os.replace(partial, path)
    sync_folder(path.parent)


def name_work(path: Path) -> Path:
    """Name the folder of the unfinished work on a file."""
    return path.with_name(path.name + ".partial")


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk: a new one is there only once its folder is."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def explain_errors(path: Path, *, error: type[FeatxError]) -> Iterator[None]:
    """Turn what the operating system says of a full disk or the like into one line."""
    try:
        yield
    except OSError as cause:
        raise error(
            f"{path}: expected to write the file, got {cause.strerror or cause}. "
            "What was there before is untouched. Make room, or choose another place."
        ) from cause


@contextmanager
def replacing(
    path: Path, *, error: type[FeatxError], partial: Path | None = None
) -> Iterator[Path]:
    """Yield a draft to write; put it at its destination once it is whole, or leave no trace of it.

    Parameters
    ----------
    path : Path
        The destination.
    error : type
        What a full disk or the like becomes.
    partial : Path, optional
        The draft, on the same file system. Default: a hidden sibling.

    Raises
    ------
    FeatxError
        Of the given class, if the disk is full or the like.
    """
    partial = partial or name_partial(path)
    try:
        with explain_errors(path, error=error):
            yield partial
            replace_file(partial, path)
    finally:
        partial.unlink(missing_ok=True)
