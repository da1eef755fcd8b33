"""Put a file in place: the whole file, or nothing."""

from __future__ import annotations

import errno
import filecmp
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from featx.core.address import find_address
from featx.core.drafts import give_new_name, is_draft, open_draft
from featx.core.errors import FeatxError
from featx.core.notes import note

LACKS_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF})
"""Errors by which a file system says that it cannot flush a folder: CIFS, vboxsf, sshfs and DrvFs
are such systems. EIO is not among them: by EIO the disk says that it has lost something."""

REMEDIES = {
    errno.EMFILE: "Raise the number of files that a process may open: ulimit -n {n_files}.",
    errno.ENFILE: "Close other programs: the system has too many open files.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.EIO: "Check the disk.",
}
"""What to do about an error of the operating system, by its number."""

WORK_SUFFIX = ".partial"
"""End of the name of the folder for unfinished work, behind the name of the file."""


def find_remedy(number: int | None, default: str) -> str:
    """Say what to do about an error of the operating system.

    Parameters
    ----------
    number : int or None
        Number of the error.
    default : str
        What to do about errors of other numbers.
    """
    if number != errno.EMFILE:
        return REMEDIES.get(number or 0, default)
    n_files = 1024
    with suppress(ImportError):  # Windows has no such limit
        import resource

        n_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return REMEDIES[errno.EMFILE].format(n_files=4 * n_files)


def follow_link(path: Path) -> Path:
    """Return the file that a symbolic link leads to, so that the link stays and its file changes.

    Parameters
    ----------
    path : Path
        Path of a file that is to be written.

    Returns
    -------
    Path
        The path itself if it is no link, or leads to nothing.
    """
    return path.resolve() if path.is_symlink() and path.exists() else path


def describe_kind(path: Path) -> str:
    """Describe what lies at a path, unless a file can be written there.

    Parameters
    ----------
    path : Path
        Path of a file that is to be written.

    Returns
    -------
    str
        A noun phrase such as ``"a device"``; empty for a regular file and for nothing at all.

    Raises
    ------
    OSError
        If the system cannot tell, for example because the name is too long.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "a symbolic link that leads to no file" if path.is_symlink() else ""
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return "a symbolic link that leads to itself"
    kinds = {
        stat.S_IFREG: "",
        stat.S_IFDIR: "a folder",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "something that is no file")


def check_destination(path: Path, *, overwrite: bool, error: type[FeatxError]) -> None:
    """Refuse, before any work is done, a path at which no file can be written.

    Only a regular file is ever replaced, whatever `overwrite` says.

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
        If the folder is missing or read-only, if a folder, a device, a pipe, a socket or a dangling
        link lies at the path, or if the file exists and `overwrite` is False. The class of the
        error is `error`.
    """
    with explain_errors(path, error=error):
        _check_destination(path, overwrite=overwrite, error=error)


def _check_destination(path: Path, *, overwrite: bool, error: type[FeatxError]) -> None:
    subject = str(path)
    address = find_address(path)
    if address is not None:
        raise error(
            subject=str(address),
            expected="a path of this machine",
            got="an address",
            remedy="Write the file here, and copy it there.",
        )
    if not path.parent.is_dir():
        is_there = path.parent.exists()
        raise error(
            subject=subject,
            expected="an existing folder",
            got="a file in its place" if is_there else "none",
            remedy="Choose another folder." if is_there else f"Run: mkdir -p {path.parent}",
        )
    kind = describe_kind(path)
    if kind:
        raise error(
            subject=subject,
            expected="the path of a file",
            got=kind,
            remedy="Name a file in the folder." if path.is_dir() else "Name another file.",
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


def name_work_dir(path: Path) -> Path:
    """Name the folder for the unfinished work on a file."""
    return path.with_name(path.name + WORK_SUFFIX)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, so that a new name survives a power cut.

    Nothing is done if the file system cannot flush folders.

    Parameters
    ----------
    folder : Path
        The folder.

    Raises
    ------
    OSError
        If flushing fails for another reason.
    """
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder that this user may write to, but not list
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in LACKS_SYNC:
            raise
    finally:
        os.close(descriptor)


class UnsyncedError(OSError):
    """A file got its name, but flushing the folder failed: the disk may not know the name yet."""


def put_in_place(
    draft: Path, path: Path, *, overwrite: bool, check: Callable[[], None] | None = None
) -> None:
    """Flush a finished draft to the disk, and give the draft its final name in one step.

    Parameters
    ----------
    draft : Path
        The finished file, on the same file system as `path`. It may be left as a second name.
    path : Path
        The final name.
    overwrite : bool
        Whether to replace an existing file. Anything else at the name is an error in any case, and
        so is an existing file otherwise, even one that came a moment ago.
    check : callable, optional
        Function that is called last before the new name is given, and raises an error to prevent
        it. Flushing a large file takes seconds, in which another process may break a lock.

    Raises
    ------
    FileExistsError
        If there is a file that must not be replaced, or something else.
    UnsyncedError
        If the file is in place, but the folder cannot be flushed.
    OSError
        If the file cannot be put in place.
    """
    with draft.open("r+b") as stream:
        os.fsync(stream.fileno())
    if check is not None:
        check()
    kind = describe_kind(path)
    if kind or path.is_symlink():
        raise FileExistsError(errno.EEXIST, f"{kind or 'a symbolic link'} at its path")
    if overwrite:
        os.replace(draft, path)
    else:
        give_new_name(draft, path)
    try:
        sync_folder(path.parent)
    except OSError as error:
        raise UnsyncedError(error.errno, error.strerror) from error


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
    except UnsyncedError as cause:
        raise error(
            subject=str(path),
            expected="a folder that can be flushed to the disk",
            got=str(cause.strerror),
            remedy="The new file is in place; whether it outlives a power cut is not known. "
            "Check the disk.",
        ) from cause
    except OSError as cause:
        remedy = find_remedy(cause.errno, "Free some space, or choose another folder.")
        raise error(
            subject=str(path),
            expected="a file that can be written",
            got=str(cause.strerror or cause),
            remedy=f"The file at this path is unchanged. {remedy}",
        ) from cause


@contextmanager
def explain_reading(path: Path, *, error: type[FeatxError]) -> Iterator[None]:
    """Turn an error of the operating system into an error of featx: a file cannot be read.

    Parameters
    ----------
    path : Path
        The file or folder that is read in the block.
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
            expected="a file that can be read",
            got=str(cause.strerror or cause),
            remedy=find_remedy(cause.errno, "Check its permissions and its disk."),
        ) from cause


@contextmanager
def replacing(
    path: Path,
    *,
    error: type[FeatxError],
    overwrite: bool,
    folder: Path | None = None,
    check: Callable[[], None] | None = None,
) -> Iterator[Path]:
    """Write a file in one step: yield a draft, and put it in place at the end of the block.

    If the block raises an error, the draft is removed and the destination is unchanged. Drafts of
    the file that killed processes left are removed.

    Parameters
    ----------
    path : Path
        Destination. If it is a symbolic link, the file that the link leads to is replaced.
    error : type
        Class of the error to raise if a write fails, for example because the disk is full.
    overwrite : bool
        Whether to replace an existing file. Otherwise, a file that is there at the end of the block
        is refused, unless it has the same content.
    folder : Path, optional
        Folder of the draft, on the same file system. Default: the folder of the destination.
    check : callable, optional
        Function that is called after the block, last before the destination is replaced.

    Yields
    ------
    Path
        Path of the draft, an empty file, which the block writes.

    Raises
    ------
    FeatxError
        If the block or the last step raises an OSError. The class of the error is `error`.
    """
    with ExitStack() as stack:
        stack.enter_context(explain_errors(path, error=error))
        target = follow_link(path)
        near = target if folder is None else folder / target.name
        draft = stack.enter_context(open_draft(near))
        yield draft
        try:
            put_in_place(draft, target, overwrite=overwrite, check=check)
        except FileExistsError:
            if overwrite or not target.is_file():
                raise
            if not filecmp.cmp(draft, target, shallow=False):
                raise error(
                    subject=str(path),
                    expected="a new file, or one with the same content",
                    got="a file with another content",
                    remedy="Pass overwrite=True to replace it, or name another output.",
                ) from None


def remove_work_dir(folder: Path, is_work: Callable[[str], object]) -> None:
    """Remove the unfinished work on a file that is finished; hold the lock of the file.

    What cannot be removed is told in a note: the result is in place. Files of other names are not
    removed, and neither is the folder then.

    Parameters
    ----------
    folder : Path
        Folder of the unfinished work, from `name_work_dir`.
    is_work : callable
        Function that tells, by its name, whether a file belongs to the work. Drafts always do.
    """
    try:
        for name in os.listdir(folder):
            if is_work(name) or is_draft(name):
                (folder / name).unlink()
        folder.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        note(f"{folder} could not be removed ({error.strerror}): no run needs it any more")
