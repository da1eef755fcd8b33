"""A cache has one writer: others are refused, and only a dead process loses its lock."""

import dataclasses
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pytest

from featx.cache import lock as lock_module
from featx.cache.lock import CacheLock, LockOwner, remove_dead_lock
from featx.core.drafts import give_new_name, name_draft
from featx.core.errors import CacheError, CacheLockedError, FeatxWarning
from featx.core.running import find_start


class Process(subprocess.Popen[str]):
    """A process that is spoken to in lines."""

    stdin: IO[str]
    stdout: IO[str]
    stderr: IO[str]


Spawn = Callable[..., Process]
Hold = Callable[[Path], Process]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="who is dead is told on POSIX alone")

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")

HOLD = """
import sys
from pathlib import Path
from featx.cache.lock import CacheLock

with CacheLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""

COMPETE = """
import sys
from pathlib import Path
from featx.cache.lock import CacheLock
from featx.core.errors import CacheLockedError

print("ready", flush=True)
for line in sys.stdin:
    try:
        lock = CacheLock(Path(line.rstrip()))
    except CacheLockedError:
        print("refused", flush=True)
        sys.stdin.readline()
    else:
        print("got", flush=True)
        sys.stdin.readline()
        lock.check()
        lock.__exit__()
    print("done", flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c.h5"


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start a process that runs code and speaks in lines; all end with the test."""
    started = []

    def start(code: str, *arguments: object) -> Process:
        process = Process(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.stdin.close()
        process.wait()
        process.stdout.close()
        process.stderr.close()


@pytest.fixture
def hold(spawn: Spawn) -> Hold:
    """Let another process hold the lock; return it."""

    def start(path: Path) -> Process:
        process = spawn(HOLD, path)
        assert process.stdout.readline() == "held\n"
        return process

    return start


def kill(process: Process) -> None:
    process.kill()
    process.wait()


def leave_lock(path: Path, *, ending: str = "lock", **changes: Any) -> LockOwner:
    """Write a lock as another process would have left it."""
    holder = dataclasses.replace(LockOwner.of_this_process(), **changes)
    file = path.with_name(f".{path.name}.{ending}")
    file.write_text(json.dumps(dataclasses.asdict(holder)))
    return holder


def list_names(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir())


def test_cache_lock_held_is_one_file_and_given_back_is_none(path: Path) -> None:
    with CacheLock(path) as lock:
        lock.check()
        assert list_names(path) == [".c.h5.lock"]
    assert lock.taken_from is None
    assert list_names(path) == []


@needs_proc
def test_lock_owner_of_this_process_is_here_and_lives() -> None:
    owner = LockOwner.of_this_process()
    assert (owner.pid, owner.host) == (os.getpid(), socket.gethostname())
    assert owner.pid_namespace == os.readlink("/proc/self/ns/pid")
    assert owner.boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert owner.started.isdecimal()
    assert owner.since.endswith("+00:00")
    assert owner.is_here()
    assert str(owner) == f"process {os.getpid()} on {owner.host} since {owner.since}"
    assert LockOwner.of_this_process().token != owner.token


def raise_under_lock(path: Path) -> None:
    with CacheLock(path):
        raise RuntimeError("stop")


def test_cache_lock_on_exception_is_given_back(path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"stop"):
        raise_under_lock(path)
    assert list_names(path) == []


def test_cache_lock_of_other_caches_are_apart(path: Path) -> None:
    with CacheLock(path), CacheLock(path.with_name("d.h5")):
        assert list_names(path) == [".c.h5.lock", ".d.h5.lock"]


def test_cache_lock_held_by_living_process_is_refused_naming_it(path: Path, hold: Hold) -> None:
    process = hold(path)
    host = LockOwner.of_this_process().host
    message = rf"only writer of the cache, got process {process.pid} on {host} since"
    with pytest.raises(CacheLockedError, match=message):
        CacheLock(path)
    process.stdin.close()
    process.wait()
    with CacheLock(path) as lock:
        assert lock.taken_from is None


def test_cache_lock_of_killed_process_is_taken_over(path: Path, hold: Hold) -> None:
    process = hold(path)
    kill(process)
    assert list_names(path) == [".c.h5.lock"]
    with CacheLock(path) as lock:
        lock.check()
        assert lock.taken_from is not None
        assert lock.taken_from.pid == process.pid
        assert list_names(path) == [".c.h5.lock"]
    assert list_names(path) == []


@needs_proc
def test_cache_lock_of_killed_process_nobody_waited_for_is_taken_over(
    path: Path, hold: Hold
) -> None:
    process = hold(path)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is a zombie
    with CacheLock(path) as lock:
        assert lock.taken_from is not None
        assert lock.taken_from.pid == process.pid


@needs_proc
@pytest.mark.parametrize("changes", [{"started": "1"}, {"boot": "another"}], ids=["start", "boot"])
def test_cache_lock_of_same_pid_but_another_process_is_taken_over(
    path: Path, changes: dict[str, str]
) -> None:
    holder = leave_lock(path, token="old", **changes)
    with CacheLock(path) as lock:
        assert lock.taken_from == holder


@pytest.mark.parametrize(
    "changes", [{"host": "elsewhere"}, {"pid_namespace": "pid:[1]"}], ids=["host", "container"]
)
def test_cache_lock_of_another_host_is_refused_though_it_seems_dead(
    path: Path, changes: dict[str, str]
) -> None:
    holder = leave_lock(path, boot="another", started="1", **changes)
    message = (
        rf"got process {holder.pid} on {holder.host} since .*"
        r"pass break_lock=True or delete .*/\.c\.h5\.lock\.$"
    )
    with pytest.raises(CacheLockedError, match=message):
        CacheLock(path)
    assert list_names(path) == [".c.h5.lock"]


def test_cache_lock_of_another_host_is_taken_with_break_lock(path: Path) -> None:
    leave_lock(path, host="elsewhere")
    leave_lock(path, ending="lock.claim", host="elsewhere")
    with CacheLock(path, break_lock=True) as lock:
        lock.check()
        assert list_names(path) == [".c.h5.lock"]


def test_cache_lock_break_lock_without_lock_gets_it(path: Path) -> None:
    with CacheLock(path, break_lock=True) as lock:
        lock.check()
        assert lock.taken_from is None


def test_cache_lock_of_process_that_hides_its_start_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another user's under a /proc mounted with hidepid."""
    leave_lock(path, pid=os.getppid())
    monkeypatch.setattr(lock_module, "find_start", lambda pid: "")
    with pytest.raises(CacheLockedError, match=r"expected to be the only writer of the cache"):
        CacheLock(path)


@needs_proc
def test_cache_lock_claim_of_dead_process_does_not_stand_in_the_way(path: Path) -> None:
    leave_lock(path, token="old", started="1")
    leave_lock(path, ending="lock.claim", token="claim", started="1")
    with CacheLock(path) as lock:
        assert lock.taken_from is not None
        assert lock.taken_from.token == "old"
        assert list_names(path) == [".c.h5.lock"]


@needs_proc
def test_cache_lock_claimed_on_another_host_is_refused_naming_it(path: Path) -> None:
    leave_lock(path, token="old", started="1")
    claimant = leave_lock(path, ending="lock.claim", host="elsewhere", pid=7)
    with pytest.raises(CacheLockedError) as caught:
        CacheLock(path)
    assert caught.value.got == f"{claimant}, which takes over the lock of a dead process"
    assert list_names(path) == [".c.h5.lock", ".c.h5.lock.claim"]


@pytest.mark.parametrize(("age_s", "is_left"), [(60, True), (25 * 3600, False)])
def test_cache_lock_empty_draft_of_a_process_elsewhere_goes_after_a_day(
    path: Path, age_s: int, is_left: bool
) -> None:
    """Nobody can look up that process, or read from the draft who it was."""
    token = name_draft(path).name.split(".")[-2]
    place, rest = token.split("-", 1)
    assert place != "0" * 8
    draft = path.with_name(f"..c.h5.lock.{'0' * 8}-{rest}.partial")
    draft.touch()
    now = draft.stat().st_mtime
    os.utime(draft, (now - age_s, now - age_s))
    with CacheLock(path):
        assert list_names(path) == [draft.name, ".c.h5.lock"][not is_left :]


@needs_proc
def test_remove_dead_lock_removes_that_of_a_killed_process_alone(path: Path, hold: Hold) -> None:
    remove_dead_lock(path)
    assert list_names(path) == []
    process = hold(path)
    remove_dead_lock(path)
    assert list_names(path) == [".c.h5.lock"]
    kill(process)
    remove_dead_lock(path)
    assert list_names(path) == []


STOP_BEFORE_LINK = """
import os, sys
from pathlib import Path
from featx.cache.lock import CacheLock

os.link = lambda *names: os.kill(os.getpid(), 9)
CacheLock(Path(sys.argv[1]))
"""


@needs_proc
def test_cache_lock_draft_of_a_killed_process_goes_at_once(path: Path, spawn: Spawn) -> None:
    spawn(STOP_BEFORE_LINK, path).wait()
    assert len(list_names(path)) == 1
    with CacheLock(path.with_name("c")):  # another cache
        assert len(list_names(path)) == 2
    with CacheLock(path):
        assert list_names(path) == [".c.h5.lock"]


def fail_to_unlink(patch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EIO, "Input/output error")

    patch.setattr(Path, "unlink", fail)


def fail_to_read(patch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, encoding: str) -> str:
        raise OSError(errno.EMFILE, "Too many open files")

    patch.setattr(Path, "read_text", fail)


@pytest.mark.parametrize("fail", [fail_to_unlink, fail_to_read])
def test_cache_lock_that_cannot_be_given_back_is_a_note(
    path: Path, fail: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """The work under it is done. The same process can write the cache again."""
    lock = CacheLock(path)
    with pytest.MonkeyPatch.context() as patch:
        fail(patch)
        with pytest.warns(FeatxWarning, match=r"the lock .*\.c\.h5\.lock could not be removed"):
            lock.__exit__()
    assert list_names(path) == [".c.h5.lock"]
    with CacheLock(path) as lock:
        lock.check()
        with pytest.raises(CacheLockedError):
            CacheLock(path)
    assert list_names(path) == []


def test_cache_lock_damaged_meanwhile_is_a_note_in_the_end(path: Path) -> None:
    with (
        pytest.warns(FeatxWarning, match=r"could not be removed \(a damaged file\)"),
        CacheLock(path),
    ):
        path.with_name(".c.h5.lock").write_text("{")


def test_cache_lock_that_cannot_be_taken_is_not_held(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error after the file was made, such as of a signal, does not lock out this process."""
    with monkeypatch.context() as patch:

        def interrupt(draft: Path, file: Path) -> None:
            give_new_name(draft, file)
            raise KeyboardInterrupt

        patch.setattr(lock_module, "give_new_name", interrupt)
        with pytest.raises(KeyboardInterrupt):
            CacheLock(path)
    with CacheLock(path) as lock:
        lock.check()
    assert list_names(path) == []


def say(processes: Sequence[Process], line: object) -> None:
    for process in processes:
        process.stdin.write(f"{line}\n")


def hear(processes: Sequence[Process]) -> list[str]:
    return sorted(process.stdout.readline().rstrip() for process in processes)


@needs_proc
@pytest.mark.parametrize("is_left", [True, False], ids=["dead", "none"])
def test_cache_lock_several_processes_at_once_exactly_one_gets_it(
    path: Path, spawn: Spawn, is_left: bool
) -> None:
    processes = [spawn(COMPETE) for _ in range(4)]
    assert hear(processes) == ["ready"] * 4
    for number in range(40):
        if is_left:
            leave_lock(path, token=f"old {number}", started="1")
        say(processes, path)
        assert hear(processes) == ["got"] + ["refused"] * 3, number
        say(processes, "release")
        assert hear(processes) == ["done"] * 4, number
        assert list_names(path) == [], number


@needs_proc
def test_cache_lock_two_that_saw_the_same_dead_one_are_never_both_given_it(path: Path) -> None:
    """The second comes when the first has looked for the last time, and is about to remove."""
    leave_lock(path, token="old", started="1")
    moved = threading.Event()
    held = []

    class First(CacheLock):
        n_looks = 0

        def _read(self, file: Path) -> LockOwner | None:
            holder = super()._read(file)
            self.n_looks += 1
            if self.n_looks == 2:
                thread.start()
                moved.wait()
            return holder

    class Second(CacheLock):
        def _create(self, file: Path) -> bool:
            is_made = super()._create(file)
            if is_made != file.name.endswith(".claim"):  # has the lock, or met the first's claim
                moved.set()
            return is_made

    def take(kind: type[CacheLock]) -> None:
        try:
            held.append(kind(path))
        except CacheLockedError:
            moved.set()

    thread = threading.Thread(target=take, args=[Second])
    take(First)
    thread.join()
    assert len(held) == 1
    held[0].check()


def test_cache_lock_broken_old_holder_is_told_and_leaves_the_new_lock(path: Path) -> None:
    with CacheLock(path) as old:
        new = CacheLock(path, break_lock=True)
        with pytest.raises(
            CacheLockedError, match=r"got a lock that process \d+ on \S+ since \S+ has broken"
        ):
            old.check()
    new.check()
    assert list_names(path) == [".c.h5.lock"]
    new.__exit__()
    assert list_names(path) == []


def test_cache_lock_file_removed_meanwhile_is_told(path: Path) -> None:
    with CacheLock(path) as lock:
        path.with_name(".c.h5.lock").unlink()
        with pytest.raises(CacheLockedError, match=r"got a lock that another process has broken"):
            lock.check()


def write_owner(**changes: Any) -> bytes:
    owner = dataclasses.asdict(LockOwner.of_this_process())
    return json.dumps(owner | changes).encode()


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b'{"pid": 1', b"{}", b"[1]", b"null", b"\xff\xfe\0", b"[" * 100_000),
        *(write_owner(pid=pid) for pid in ("1", 10**30, 0, -1, None)),
        write_owner(host=["a"]),
    ],
    ids=range(13),  # an owner holds the time, which is another one in each process of the tests
)
def test_cache_lock_damaged_file_is_refused_with_remedy(path: Path, content: bytes) -> None:
    path.with_name(".c.h5.lock").write_bytes(content)
    with pytest.raises(CacheLockedError, match=r"\.c\.h5\.lock: .*damaged file.*break_lock=True"):
        CacheLock(path)
    with CacheLock(path, break_lock=True) as lock:
        lock.check()


def test_cache_lock_never_waits_for_a_pipe(path: Path) -> None:
    os.mkfifo(path.with_name(".c.h5.lock"))
    with pytest.raises(CacheLockedError, match=r"\.c\.h5\.lock: .*damaged file.*break_lock=True"):
        CacheLock(path)


@pytest.fixture
def _no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.usefixtures("_no_links")
def test_cache_lock_without_hard_links_is_held_and_given_back(path: Path) -> None:
    with CacheLock(path) as lock:
        lock.check()
        with pytest.raises(CacheLockedError, match=r"expected to be the only writer of the cache"):
            CacheLock(path)
        assert list_names(path) == [".c.h5.lock"]
    assert list_names(path) == []


@pytest.mark.usefixtures("_no_links")
def test_cache_lock_without_hard_links_is_taken_from_killed_process(path: Path, hold: Hold) -> None:
    process = hold(path)
    kill(process)
    with CacheLock(path) as lock:
        assert lock.taken_from is not None
        assert lock.taken_from.pid == process.pid


def write_half(path: Path, text: str, encoding: str) -> None:
    path.write_bytes(text.encode(encoding)[:20])
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("links", [True, False])
def test_cache_lock_full_disk_leaves_no_half_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, links: bool
) -> None:
    if not links:
        request.getfixturevalue("_no_links")
    monkeypatch.setattr(Path, "write_text", write_half)
    with pytest.raises(CacheError, match=r"c\.h5: .*got No space left on device"):
        CacheLock(path)
    assert list_names(path) == []


def test_cache_lock_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match=r"c\.h5: .*got No such file or directory"):
        CacheLock(tmp_path / "no" / "c.h5")


@needs_proc
def test_lock_owner_lives_while_its_process_does_and_holds_the_lock(path: Path) -> None:
    parent = os.getppid()
    changes: dict[str, Any] = {"pid": parent, "started": find_start(parent)}
    assert not dataclasses.replace(LockOwner.of_this_process(), **changes).is_dead()
    with CacheLock(path):
        held = LockOwner(**json.loads(path.with_name(".c.h5.lock").read_text()))
        assert not held.is_dead()
    assert held.is_dead()


def test_lock_owner_names_process_host_and_time() -> None:
    holder = LockOwner.of_this_process()
    assert str(holder).startswith(f"process {os.getpid()} on {holder.host} since 2")
    assert holder.token != LockOwner.of_this_process().token


def test_cache_lock_ended_by_ctrl_c_is_given_back(path: Path, hold: Hold) -> None:
    process = hold(path)
    process.send_signal(signal.SIGINT)
    process.wait()
    assert list_names(path) == []
