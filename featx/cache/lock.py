"""One writer at a time: a file beside the cache that says who writes it.

It needs no locks of the file system, which network file systems often lack: only that a file is
created once, and that a name is replaced in one step.
"""

from __future__ import annotations

import datetime
import glob
import json
import os
import socket
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from featx.core.errors import CacheError, CacheLockedError
from featx.core.files import explain_errors


@dataclass(frozen=True)
class LockOwner:
    """The process that writes a cache.

    Attributes
    ----------
    host, machine, pid_namespace : str
        Where a process id means something: hosts of one name are told apart by the machine's id.
    boot, pid, started : str, int, str
        The process: ids are given again, so its boot and starting time count too; empty where the
        system does not tell.
    since : str
        ISO 8601, UTC.
    token : str
        Tells this lock from any other.
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
        """Describe the process that runs."""
        return cls(
            host=socket.gethostname(),
            machine=_read_text("/etc/machine-id"),
            pid_namespace=_read_pid_namespace(),
            boot=_read_text("/proc/sys/kernel/random/boot_id"),
            pid=os.getpid(),
            started=_read_start(os.getpid()),
            since=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            token=uuid.uuid4().hex,
        )

    def is_here(self) -> bool:
        """Tell whether this process can look after that one."""
        here = (socket.gethostname(), _read_text("/etc/machine-id"), _read_pid_namespace())
        return (self.host, self.machine, self.pid_namespace) == here

    def is_dead(self) -> bool:
        """Tell whether the process is surely gone; one of another host never is."""
        if not self.is_here() or os.name != "posix":
            return False
        if self.boot != _read_text("/proc/sys/kernel/random/boot_id"):
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # it runs, as somebody else
        started = _read_start(self.pid)
        return bool(started) and started != self.started  # another's may be hidden: it runs

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip()
    except OSError:
        return ""


def _read_pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _read_start(pid: int) -> str:
    """Read when a process started, in ticks since the boot; empty where the system hides it."""
    # The second field, the program's name, may hold blanks and brackets.
    fields = _read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if len(fields) < 20:
        return ""
    return "ended" if fields[0] in "ZX" else fields[19]  # a zombie: only its number is left


class CacheLock:
    """The right to write one cache; a context manager that gives it back.

    Parameters
    ----------
    path : Path
        The cache, there or to be made.
    break_lock : bool
        Take the lock from whoever has it.

    Attributes
    ----------
    taken_from : LockOwner or None
        Who left the lock behind.

    Raises
    ------
    CacheLockedError
        If another process holds it: one that lives, or one of another host.
    CacheError
        If no file can be made beside the cache.
    """

    def __init__(self, path: Path, *, break_lock: bool = False) -> None:
        self._path = path
        self._file = path.with_name(f".{path.name}.lock")
        self._claim = path.with_name(f".{path.name}.lock.claim")
        self._me = LockOwner.of_this_process()
        self.taken_from: LockOwner | None = None
        with explain_errors(path, error=CacheError):
            if break_lock:
                self._file.unlink(missing_ok=True)
                self._claim.unlink(missing_ok=True)
            while not self._create(self._file):
                self._take_over()
            self._sweep()

    def __enter__(self) -> CacheLock:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_mine():
            self._file.unlink(missing_ok=True)

    def check(self) -> None:
        """Make sure that nobody has broken the lock.

        Raises
        ------
        CacheLockedError
            If it is another's now.
        """
        if not self._is_mine():
            holder = self._read(self._file)
            raise CacheLockedError(
                f"{self._path}: expected to be its only writer, got the lock broken by "
                f"{holder or 'another process'}. Run one extraction at a time."
            )

    def _is_mine(self) -> bool:
        holder = self._read(self._file)
        return holder is not None and holder.token == self._me.token

    def _create(self, file: Path) -> bool:
        """Make a file that says who we are, whole; False if it is there already."""
        draft = file.with_name(f"{file.name}.{self._me.token}")
        try:
            draft.write_text(json.dumps(asdict(self._me)), "utf-8")
            try:
                os.link(draft, file)  # unlike a file opened for writing, never seen half written
            except FileExistsError:
                return False
            except OSError:  # a file system without hard links
                return self._create_directly(file)
            return True
        finally:
            draft.unlink(missing_ok=True)

    def _create_directly(self, file: Path) -> bool:
        try:
            stream = file.open("x", encoding="utf-8")
        except FileExistsError:
            return False
        try:
            with stream:
                json.dump(asdict(self._me), stream)
        except BaseException:  # a full disk: half a lock would keep everybody out
            file.unlink()
            raise
        return True

    def _sweep(self) -> None:
        """Remove the drafts of processes that were killed between writing and linking one."""
        for draft in self._file.parent.glob(f"{glob.escape(self._file.name)}.*"):
            if draft != self._claim:
                with suppress(CacheLockedError, OSError):  # half written, or not ours to read
                    holder = self._read(draft)
                    if holder is not None and holder.is_dead():
                        draft.unlink(missing_ok=True)

    def _read(self, file: Path) -> LockOwner | None:
        try:
            return LockOwner(**json.loads(file.read_text("utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            raise CacheLockedError(
                f"{file}: expected to read who writes the cache, got a damaged file. "
                "If nobody does, pass --break-lock."
            ) from None

    def _take_over(self) -> None:
        """Remove the lock of a dead process; of several that try, one at a time."""
        holder = self._read(self._file)
        if holder is None:  # given back meanwhile
            return
        if not holder.is_dead():
            raise CacheLockedError(
                f"{self._path}: expected to be its only writer, got {holder}. Wait for it; "
                "if it is dead, pass --break-lock."
            )
        # Whoever makes this file may remove that very lock. The lock is looked at again under it:
        # another may have done so between our two looks.
        if not self._create(self._claim):
            claimant = self._read(self._claim)
            if claimant is None or claimant.is_here():
                if claimant is not None and claimant.is_dead():
                    self._claim.unlink(missing_ok=True)
                return
            raise CacheLockedError(
                f"{self._path}: expected to be its only writer, got {claimant}, which takes over "
                "the lock of a dead process. If it is dead too, pass --break-lock."
            )
        try:
            again = self._read(self._file)
            if again is not None and again.token == holder.token:
                self._file.unlink()
                self.taken_from = holder
        finally:
            self._claim.unlink(missing_ok=True)
