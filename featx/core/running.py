"""Tell whether the process that made a file still runs, from what the file says of the process."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def read_place() -> tuple[str, str, str]:
    """Read where process ids are unique: host, id of the machine, id of the space of process ids.

    Two hosts with the same name have different machine ids, and two containers on one host have
    different spaces.
    """
    return socket.gethostname(), _read_text("/etc/machine-id"), _read_pid_namespace()


def read_boot() -> str:
    """Read the id of the machine's boot; empty if the system has none."""
    return _read_text("/proc/sys/kernel/random/boot_id")


def find_start(pid: int) -> str | None:
    """Find the start of a process on this machine, in ticks since the boot.

    The system reuses process ids; two processes of one id have different starts.

    Parameters
    ----------
    pid : int
        Process id, in the space of this process.

    Returns
    -------
    str or None
        The start; empty if the process may run, but the system hides its start; None if no process
        of this id runs.
    """
    if os.name != "posix":  # elsewhere, os.kill would end the process
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # it runs under another user
    # The second field, the program's name, may contain blanks and brackets.
    fields = _read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if len(fields) < 20:
        return ""
    return None if fields[0] in "ZX" else fields[19]  # a zombie has ended


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
