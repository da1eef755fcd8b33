"""Whether a process still runs, from its id and its start."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from featx.core import running
from featx.core.running import find_start, read_boot, read_place

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


def test_read_place_names_host_and_space_of_process_ids() -> None:
    host, machine, pid_namespace = read_place()
    assert host == socket.gethostname()
    assert machine == running._read_text("/etc/machine-id")
    assert pid_namespace == os.readlink("/proc/self/ns/pid")
    assert read_boot() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_find_start_of_this_process_is_a_number_of_ticks() -> None:
    start = find_start(os.getpid())
    assert start is not None
    assert start.isdecimal()


def test_find_start_of_an_ended_process_is_none() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert find_start(process.pid) is None  # a zombie
    process.wait()
    assert find_start(process.pid) is None


def test_find_start_of_a_hidden_process_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """As another user's under a /proc mounted with hidepid."""

    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    monkeypatch.setattr(running, "_read_text", lambda path: "")
    assert find_start(1) == ""


def test_find_start_of_a_visible_process_of_another_user_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = find_start(os.getpid())

    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert find_start(os.getpid()) == start
