"""Lock a cache for one writer: a file beside the cache names the process that writes it.

No locks of the file system are used, because network file systems often lack them. It is enough
that a file can be created only once, and that a name is replaced in one step.
"""

from __future__ import annotations

import datetime
import json
import os
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from featx.core.drafts import give_new_name, open_draft
from featx.core.errors import CacheError, CacheLockedError
from featx.core.files import explain_errors
from featx.core.notes import note
from featx.core.records import build_record, load_json
from featx.core.running import find_start, read_boot, read_place

_held: set[str] = set()
"""Tokens of the locks that this process holds, or is about to take."""


def hold_token(token: str) -> None:
    """Note that this process holds a lock, or is about to take it.

    Parameters
    ----------
    token : str
        Token of the lock.
    """
    _held.add(token)


def forget_token(token: str) -> None:
    """Note that this process no longer holds a lock.

    Parameters
    ----------
    token : str
        Token of the lock.
    """
    _held.discard(token)


@dataclass(frozen=True, kw_only=True)
class LockOwner:
    """The process that holds a lock.

    Attributes
    ----------
    host, machine, pid_namespace : str
        Name of the host, id of the machine, and id of the space in which process ids are unique.
        Two hosts with the same name have different machine ids.
    boot, started : str
        Id of the machine's boot, and start of the process in ticks since then: the system reuses
        process ids. Empty if the system hides them.
    pid : int
        Process id.
    since : str
        Time at which the lock was taken, ISO 8601, UTC.
    token : str
        Random text that no other lock has.
    """

    host: str
    machine: str
    pid_namespace: str
    boot: str
    pid: int
    started: str
    since: str
    token: str

    @classmethod
    def of_this_process(cls) -> LockOwner:
        """Describe the current process."""
        host, machine, pid_namespace = read_place()
        return cls(
            host=host,
            machine=machine,
            pid_namespace=pid_namespace,
            boot=read_boot(),
            pid=os.getpid(),
            started=find_start(os.getpid()) or "",
            since=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            token=uuid.uuid4().hex,
        )

    def is_here(self) -> bool:
        """Return True if the owner is on this machine, so that its process can be looked up."""
        return (self.host, self.machine, self.pid_namespace) == read_place()

    def is_dead(self) -> bool:
        """Return True if the owner has surely ended; never for an owner on another host.

        A lock that this process could not remove has no owner either.
        """
        if not self.is_here() or os.name != "posix":
            return False
        if self.boot != read_boot():
            return True
        started = find_start(self.pid)  # empty if the system hides processes of other users
        if started is None or (started and started != self.started):
            return True
        return self.pid == os.getpid() and self.token not in _held

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


def remove_dead_lock(path: Path) -> None:
    """Remove the lock that a killed process left, if nothing has to be written; errors pass.

    Parameters
    ----------
    path : Path
        The cache.
    """
    with suppress(CacheError, OSError):
        if _name_lock(path).exists():
            CacheLock(path).__exit__()


def _name_lock(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


class CacheLock:
    """The right to write one cache. The end of the ``with`` block releases the lock.

    Parameters
    ----------
    path : Path
        The cache; it need not exist yet.
    break_lock : bool
        Take the lock even if another process holds it.

    Attributes
    ----------
    taken_from : LockOwner or None
        Dead process that left its lock behind, if there was one.

    Raises
    ------
    CacheLockedError
        If a running process, or a process on another host, holds the lock.
    CacheError
        If no file can be created beside the cache.
    """

    def __init__(self, path: Path, *, break_lock: bool = False) -> None:
        self._path = path
        self._file = _name_lock(path)
        self._claim = path.with_name(f".{path.name}.lock.claim")
        self._me = LockOwner.of_this_process()
        self.taken_from: LockOwner | None = None
        hold_token(self._me.token)
        try:
            with explain_errors(path, error=CacheError):
                if break_lock:
                    self._file.unlink(missing_ok=True)
                    self._claim.unlink(missing_ok=True)
                while not self._create(self._file):
                    self._take_over()
        except BaseException:
            forget_token(self._me.token)
            raise

    def __enter__(self) -> CacheLock:
        return self

    def __exit__(self, *_: object) -> None:
        forget_token(self._me.token)
        try:
            if self._is_mine():
                self._file.unlink(missing_ok=True)
        except (OSError, CacheLockedError) as error:  # the work under the lock is done
            reason = error.strerror if isinstance(error, OSError) else error.got
            note(f"the lock {self._file} could not be removed ({reason}); you may delete it")

    def check(self) -> None:
        """Make sure that no other process has broken the lock.

        Raises
        ------
        CacheLockedError
            If another process holds the lock now.
        """
        if not self._is_mine():
            owner = self._read(self._file)
            raise CacheLockedError(
                subject=str(self._path),
                expected="to be the only writer of the cache",
                got=f"a lock that {owner or 'another process'} has broken",
                remedy="Run one extraction at a time.",
            )

    def _is_mine(self) -> bool:
        owner = self._read(self._file)
        return owner is not None and owner.token == self._me.token

    def _create(self, file: Path) -> bool:
        """Create a file that names this process; return False if the file exists already."""
        with open_draft(file) as draft:
            draft.write_text(json.dumps(asdict(self._me)), "utf-8")
            try:
                give_new_name(draft, file)  # unlike open(file, "x"), nobody sees it half written
            except FileExistsError:
                return False
        return True

    def _read(self, file: Path) -> LockOwner | None:
        try:
            if file.exists() and not file.is_file():
                raise ValueError("a pipe or a device, which might never end")
            owner = build_record(LockOwner, load_json(file.read_text("utf-8")))
            if not 0 < owner.pid < 1 << 31:
                raise ValueError("no process id")
            return owner
        except FileNotFoundError:
            return None
        except ValueError:
            raise CacheLockedError(
                subject=str(file),
                expected="the name of the process that writes the cache",
                got="a damaged file",
                remedy="If no process writes the cache, pass break_lock=True or delete the file.",
            ) from None

    def _take_over(self) -> None:
        """Remove the lock of a dead process. Of several processes that try, only one succeeds."""
        owner = self._read(self._file)
        if owner is None:  # released meanwhile
            return
        if not owner.is_dead():
            raise CacheLockedError(
                subject=str(self._path),
                expected="to be the only writer of the cache",
                got=str(owner),
                remedy="Wait for that process; if it is dead, pass break_lock=True or delete "
                f"{self._file}.",
            )
        # Only the process that creates the claim may remove the lock. That process reads the lock
        # again first, because another process may have taken over the lock meanwhile.
        if not self._create(self._claim):
            claimant = self._read(self._claim)
            if claimant is None or claimant.is_here():
                if claimant is not None and claimant.is_dead():
                    self._claim.unlink(missing_ok=True)
                return
            raise CacheLockedError(
                subject=str(self._path),
                expected="to be the only writer of the cache",
                got=f"{claimant}, which takes over the lock of a dead process",
                remedy="Wait for that process; if it is dead, pass break_lock=True or delete "
                f"{self._claim} and {self._file}.",
            )
        try:
            again = self._read(self._file)
            if again is not None and again.token == owner.token:
                self._file.unlink()
                self.taken_from = owner
        finally:
            self._claim.unlink(missing_ok=True)
