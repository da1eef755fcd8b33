"""Write a cache at an address: build it on this machine, then copy it there whole.

The staged file and its unfinished work stay on this machine until the next run. A run that was cut
off goes on here, or on another machine from the copies of the shards at the address.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from featx.cache.remote_lock import RemoteLock
from featx.cache.shard_copies import ShardCopies
from featx.core.address import Address, find_address, list_paths, note_copy
from featx.core.errors import CacheError
from featx.core.files import WORK_SUFFIX, explain_errors, follow_link, name_work_dir, replacing
from featx.core.progress import stage
from featx.core.records import build_record, load_json
from featx.core.typing import CachePaths, PathLike
from featx.remote.copies import list_parts, name_folder
from featx.remote.failures import MissingError, RemoteError
from featx.remote.objects import State, download, find_kind, find_state, is_same
from featx.remote.upload import remove_drafts, upload

READ_ONLY = ("http", "https")


def find_staged(location: PathLike | Address) -> Path:
    """Find the file of this machine in which the cache of an output is built.

    Parameters
    ----------
    location : path
        Path or address of the output.

    Returns
    -------
    Path
        The path itself, or the staged file of an address; it need not exist.
    """
    address = find_address(location)
    if address is None:
        return Path(str(location))
    path = name_folder(address, "outputs") / address.name
    note_copy(path, address)
    return path


@contextmanager
def open_output(
    location: PathLike | Address,
    *,
    overwrite: bool = False,
    break_lock: bool = False,
    has_shards: bool = False,
) -> Iterator[Path]:
    """Open a cache for writing, on this machine or at an address.

    Parameters
    ----------
    location : path
        Path or address of the cache; it need not exist.
    overwrite : bool
        Whether the cache that is at the address is not needed.
    break_lock : bool
        Take the lock at the address even if another process holds it.
    has_shards : bool
        Whether the block is an extraction: it goes on from the shards at the address, its own
        shards are copied there, and all of them are removed when the cache is in place. Any other
        block leaves the shards of an unfinished extraction alone.

    Yields
    ------
    Path
        Path of the cache on this machine. At the end of the block, a changed file is copied to the
        address whole; if the block raises an error, only finished shards are copied.

    Raises
    ------
    CacheError
        If the store refuses, does not answer, or has another cache at the end than at the start.
    CacheLockedError
        If another process writes the cache at the address.
    """
    address = find_address(location)
    if address is None:
        yield follow_link(Path(str(location)))
        return
    _check_address(address)
    try:
        with RemoteLock(address, break_lock=break_lock) as lock:
            output = _Output(address)
            with stage(f"reading {address}"):
                remove_drafts(address, folder=output.work)
                output.fetch(overwrite=overwrite)
            with _copying_shards(output) if has_shards else nullcontext():
                yield output.path
                if output.is_changed():
                    with stage(f"writing {address}"):
                        output.publish(lock.check)
    except RemoteError as error:
        raise error.as_error(CacheError, address) from error


@contextmanager
def _copying_shards(output: _Output) -> Iterator[None]:
    """Copy the shards of an extraction to the address, until the cache is in place there."""
    copies = ShardCopies(name_work_dir(output.path), output.work, is_needed=output.is_changed)
    with stage("looking for unfinished work"):
        copies.fetch()
    copies.start()
    try:
        yield
    except BaseException:
        copies.close()
        raise
    copies.remove()


def has_address(caches: CachePaths) -> bool:
    """Tell whether a cache that is to be changed lies at an address.

    Parameters
    ----------
    caches : path or sequence of paths
        What the user gives.
    """
    return any(find_address(path) is not None for path in list_paths(caches))


@contextmanager
def open_outputs(caches: CachePaths) -> Iterator[list[Path]]:
    """Open caches that exist, to change them, on this machine or at addresses.

    Parameters
    ----------
    caches : path or sequence of paths
        What the user gives.

    Yields
    ------
    list of Path
        Paths on this machine. At the end of the block, changed files are copied to their addresses.

    Raises
    ------
    CacheError
        If there is no cache at an address, or as `open_output` raises it.
    """
    with ExitStack() as stack:
        paths = []
        for location in list_paths(caches):
            address = find_address(location)
            if address is None:
                paths.append(Path(location))
                continue
            for one in _list_caches(address):
                path = stack.enter_context(open_output(one))
                if not path.exists():
                    raise CacheError(
                        subject=str(one),
                        expected="a cache",
                        got="no object at this address",
                        remedy="Make a cache with featx.extract(source, output=address).",
                    )
                paths.append(path)
        yield paths


def _list_caches(address: Address) -> list[Address]:
    """List the parts in a folder at an address; an address of anything else is one cache."""
    if address.suffix:
        return [address]
    try:
        return [address / name for name in list_parts(address)] or [address]
    except RemoteError as error:
        raise error.as_error(CacheError, address) from error


def check_new(address: Address, *, overwrite: bool) -> None:
    """Refuse an address at which no new cache may be written.

    Parameters
    ----------
    address : Address
        Address of the output.
    overwrite : bool
        Whether to accept one at which there is something.

    Raises
    ------
    CacheError
        If there is something, if it is no address of a file, or if the store does not answer.
    """
    _check_address(address)
    try:
        kind = None if overwrite else find_kind(address)
    except RemoteError as error:
        raise error.as_error(CacheError, address) from error
    if kind is not None:
        raise CacheError(
            subject=str(address),
            expected="a new object",
            got="a folder" if kind == "folder" else "an object that exists",
            remedy="Pass overwrite=True to replace it, or name another output.",
        )


def _check_address(address: Address) -> None:
    """Refuse an address at which no file can be written."""
    is_folder = address.text.endswith("/") or "://" not in address.parent.text  # a bucket
    if address.scheme in READ_ONLY or is_folder:
        raise CacheError(
            subject=str(address),
            expected="the address of a file, such as s3://bucket/photos.h5",
            got="a folder" if is_folder else f"{address.scheme}://, which can only be read",
            remedy="Name another output.",
        )


@dataclass(frozen=True, kw_only=True)
class _Published:
    """What is known to be the same on this machine and at the address.

    Attributes
    ----------
    remote : tuple of int or None
        State of the object at the address; None for no object.
    local : tuple of int or None
        Size and time of the staged file; None for no file.
    """

    remote: State | None
    local: State | None


class _Output:
    """The staged file of an address."""

    def __init__(self, address: Address) -> None:
        self.address, self.path = address, find_staged(address)
        self.work = Address(address.text + WORK_SUFFIX)
        self._record = self.path.with_name("published.json")
        self._published = _Published(remote=None, local=None)

    def fetch(self, *, overwrite: bool) -> None:
        """Make the staged file that of the address, unless it is a newer one made from it."""
        remote = self._find_remote()
        with explain_errors(self.path, error=CacheError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        published = self._read_record()
        if published is not None and published.remote == remote and (remote or (0, 0))[1] >= 0:
            self._published = published
            return
        with explain_errors(self.path, error=CacheError):
            self._record.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)
        if remote is not None and not overwrite:
            with replacing(self.path, error=CacheError, overwrite=True) as draft:
                remote = download(self.address, draft)
        self._keep(remote)

    def is_changed(self) -> bool:
        """Tell whether the staged file has to be copied to the address."""
        local = self._find_local()
        return local is not None and local != self._published.local

    def publish(self, check: Callable[[], None]) -> None:
        """Copy the staged file to the address.

        Parameters
        ----------
        check : callable
            Function that raises an error if this process may not write any more.
        """

        def check_all() -> None:
            check()
            self._check_same()

        check_all()  # an upload may take hours
        self._keep(upload(self.path, self.address, folder=self.work, check=check_all))

    def _check_same(self) -> None:
        """Refuse to replace another cache than that which was there at the start."""
        before, now = self._published.remote, self._find_remote()
        if (before is None) != (now is None) or (before and now and not is_same(before, now)):
            raise CacheError(
                subject=str(self.address),
                expected="the cache that was there at the start",
                got="another one, which another run has written meanwhile",
                remedy="Run the same again: it goes on from that one.",
            )

    def _keep(self, remote: State | None) -> None:
        """Write down that the staged file is that of the address."""
        self._published = _Published(remote=remote, local=self._find_local())
        with replacing(self._record, error=CacheError, overwrite=True) as draft:
            draft.write_text(json.dumps(asdict(self._published)), "utf-8")

    def _read_record(self) -> _Published | None:
        with suppress(OSError, ValueError):
            return build_record(_Published, load_json(self._record.read_text("utf-8")))
        return None

    def _find_remote(self) -> State | None:
        try:
            return find_state(self.address)
        except MissingError as error:
            if error.expected == "an existing bucket":
                raise
            return None

    def _find_local(self) -> State | None:
        with suppress(FileNotFoundError):
            status = self.path.stat()
            return status.st_size, status.st_mtime_ns
        return None
