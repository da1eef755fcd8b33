"""Drafts have names of their own, and go when nobody writes them any more."""

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from featx.core import drafts
from featx.core.drafts import (
    MAX_AGE_S,
    give_new_name,
    is_draft,
    name_draft,
    open_draft,
    open_draft_folder,
    remove_drafts,
)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="who has ended is told on POSIX alone")

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


def build_name(name: str, **changes: str) -> str:
    """Build the name of a draft of this process, or of another one."""
    token = name_draft(Path("x")).name.split(".")[2]
    place, pid, start, digits = token.split("-")
    parts = {"place": place, "pid": pid, "start": start, "digits": digits} | changes
    return f".{name}.{'-'.join(parts.values())}.partial"


@pytest.fixture(scope="module")
def ended_pid() -> str:
    """Id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return str(process.pid)


def list_left(folder: Path, *, now: float | None = None) -> list[str]:
    remove_drafts(folder / "a", now=time.time() if now is None else now)
    return sorted(os.listdir(folder))


def test_name_draft_is_hidden_beside_the_file_and_never_the_same(tmp_path: Path) -> None:
    names = [name_draft(tmp_path / "a.h5") for _ in range(100)]
    assert len(set(names)) == 100
    for path in names:
        assert path.parent == tmp_path
        assert path.name.startswith(".a.h5.")
        assert is_draft(path.name)


@pytest.mark.parametrize(
    "name",
    [
        *("a", ".a.partial", ".a.123.partial", "a.partial", ".DS_Store"),
        "a.02e0ed64-13292-b3c480-3adec816.partial",  # not hidden
    ],
)
def test_is_draft_of_other_names_is_false(name: str) -> None:
    assert not is_draft(name)


@needs_proc
def test_remove_drafts_takes_those_of_processes_that_have_ended(
    tmp_path: Path, ended_pid: str
) -> None:
    for changes in ({"pid": ended_pid}, {"start": "0" * 6}):
        (tmp_path / build_name("a", **changes)).touch()
    (tmp_path / build_name("a", pid=ended_pid, digits="0" * 8)).mkdir()
    (tmp_path / build_name("a", pid=ended_pid, digits="0" * 8) / "part").touch()
    assert list_left(tmp_path) == []


def test_remove_drafts_never_takes_one_of_a_running_process(tmp_path: Path) -> None:
    """However old it is."""
    for name in (build_name("a"), build_name("a", digits="f" * 8)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1, 1))
    assert len(list_left(tmp_path)) == 2


HOLD = """
import sys
from pathlib import Path
from featx.core.drafts import open_draft
with open_draft(Path(sys.argv[1])) as draft:
    print(draft.name, flush=True)
    sys.stdin.read()
"""


def test_remove_drafts_never_takes_one_of_a_running_neighbour(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "a")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        name = process.stdout.readline().rstrip()
        assert list_left(tmp_path) == [name]
        process.stdin.close()
    assert list_left(tmp_path) == []


@pytest.mark.parametrize("name", ["a.h5", "a.b", "ba", "a.h5.old", "A", "a ", ".a"])
def test_remove_drafts_leaves_those_of_other_files(
    tmp_path: Path, ended_pid: str, name: str
) -> None:
    """The name of one file begins, or ends, with the name of another."""
    (tmp_path / build_name(name, pid=ended_pid)).touch()
    assert len(list_left(tmp_path)) == 1


@pytest.mark.parametrize(
    ("start", "end"), [("x", ""), ("", ".bak"), ("", "\n"), (".", "")], ids=repr
)
def test_remove_drafts_leaves_names_that_only_hold_such_a_name(
    tmp_path: Path, ended_pid: str, start: str, end: str
) -> None:
    (tmp_path / f"{start}{build_name('a', pid=ended_pid)}{end}").touch()
    assert len(list_left(tmp_path)) == 1


def test_remove_drafts_of_a_name_with_wildcards(tmp_path: Path, ended_pid: str) -> None:
    for name in ("c[1]*", "c1x"):
        (tmp_path / build_name(name, pid=ended_pid)).touch()
    remove_drafts(tmp_path / "c[1]*", now=time.time())
    assert [name[:5] for name in os.listdir(tmp_path)] == [".c1x."]


@pytest.mark.parametrize(("age_s", "is_left"), [(MAX_AGE_S - 60, True), (MAX_AGE_S + 60, False)])
def test_remove_drafts_of_processes_elsewhere_goes_by_age(
    tmp_path: Path, ended_pid: str, age_s: int, is_left: bool
) -> None:
    """A container, another host, or this one before it was booted: the id says nothing."""
    path = tmp_path / build_name("a", place="0" * 8, pid=ended_pid)
    path.touch()
    assert bool(list_left(tmp_path, now=path.stat().st_mtime + age_s)) == is_left


def test_open_draft_measures_age_by_the_clock_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine whose clock is a year ahead takes nobody's draft."""
    (tmp_path / build_name("a", place="0" * 8)).touch()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 400 * 86_400)
    with open_draft(tmp_path / "a"):
        pass
    assert len(os.listdir(tmp_path)) == 1


def test_open_draft_is_an_empty_file_with_the_mode_of_new_files(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with open_draft(tmp_path / "a") as draft:
        assert draft.stat().st_size == 0
        assert draft.stat().st_mode == (tmp_path / "plain").stat().st_mode
        assert is_draft(draft.name)
    assert os.listdir(tmp_path) == ["plain"]


def test_open_draft_folder_is_removed_with_what_is_in_it(tmp_path: Path) -> None:
    with open_draft_folder(tmp_path / "a") as draft:
        (draft / "deep").mkdir()
        (draft / "deep" / "file").touch()
    assert os.listdir(tmp_path) == []


def test_open_draft_moved_to_its_name_stays(tmp_path: Path) -> None:
    with open_draft(tmp_path / "a") as draft:
        draft.rename(tmp_path / "a")
    with open_draft_folder(tmp_path / "b") as draft:
        draft.rename(tmp_path / "b")
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


LEAVE = """
import os, sys
from pathlib import Path
from featx.core.drafts import {make}
with {make}(Path(sys.argv[1])):
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("make", ["open_draft", "open_draft_folder"])
def test_open_draft_takes_what_a_killed_process_left(tmp_path: Path, make: str) -> None:
    code = LEAVE.format(make=make)
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=False)
    (left,) = os.listdir(tmp_path)
    assert is_draft(left)
    with open_draft(tmp_path / "a.h5"):  # another file
        assert left in os.listdir(tmp_path)
    with open_draft(tmp_path / "a") as draft:
        assert os.listdir(tmp_path) == [draft.name]


@pytest.mark.parametrize("call", ["scandir", "unlink"])
def test_open_draft_goes_on_if_nothing_can_be_swept(
    tmp_path: Path, ended_pid: str, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    (tmp_path / build_name("a", pid=ended_pid)).touch()

    def fail(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, call, fail)
    with open_draft(tmp_path / "a") as draft:
        draft.rename(tmp_path / "a")
    assert (tmp_path / "a").exists()


# --- give_new_name


def refuse(*_: object, **__: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


def make_links(monkeypatch: pytest.MonkeyPatch) -> None:
    pass


def make_no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """As FAT."""
    monkeypatch.setattr(os, "link", refuse)


def make_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As sshfs: neither links, nor a step that renames to a new name only."""
    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(drafts, "_rename_exclusively", lambda draft, path: False)


WAYS = pytest.mark.parametrize("make", [make_links, make_no_links, make_nothing])


@WAYS
def test_give_new_name_gives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[pytest.MonkeyPatch], None]
) -> None:
    make(monkeypatch)
    with open_draft(tmp_path / "a") as draft:
        draft.write_text("new")
        give_new_name(draft, tmp_path / "a")
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "new"


@WAYS
def test_give_new_name_that_exists_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[pytest.MonkeyPatch], None]
) -> None:
    make(monkeypatch)
    (tmp_path / "a").write_text("old")
    with open_draft(tmp_path / "a") as draft:
        draft.write_text("new")
        with pytest.raises(FileExistsError):
            give_new_name(draft, tmp_path / "a")
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"


@WAYS
def test_give_new_name_to_one_of_many_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[pytest.MonkeyPatch], None]
) -> None:
    make(monkeypatch)
    n_writers, results = 8, []
    together = threading.Barrier(n_writers)

    def write(number: int) -> None:
        with open_draft(tmp_path / "a") as draft:
            draft.write_text(str(number))
            together.wait(60)
            try:
                give_new_name(draft, tmp_path / "a")
            except FileExistsError:
                return
            results.append(str(number))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(n_writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [(tmp_path / "a").read_text()]
    assert os.listdir(tmp_path) == ["a"]


def test_give_new_name_that_was_given_though_the_disk_says_no(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network disk that lost its answer, and was asked again."""
    link = os.link

    def link_twice(draft: Path, path: Path) -> None:
        link(draft, path)
        link(draft, path)

    monkeypatch.setattr(os, "link", link_twice)
    with open_draft(tmp_path / "a") as draft:
        give_new_name(draft, tmp_path / "a")
    assert os.listdir(tmp_path) == ["a"]


def test_give_new_name_that_fails_in_the_end_leaves_no_empty_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_nothing(monkeypatch)
    monkeypatch.setattr(os, "replace", refuse)
    with (
        pytest.raises(PermissionError),
        open_draft(tmp_path / "a") as draft,
    ):
        give_new_name(draft, tmp_path / "a")
    assert os.listdir(tmp_path) == []
