"""A file is put in place whole, or not at all."""

import errno
import os
import resource
import socket
import stat
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from featx.core.drafts import is_draft, name_draft
from featx.core.errors import CacheError, CacheLockedError, FeatxError, FeatxWarning, HeadError
from featx.core.files import (
    check_destination,
    explain_errors,
    find_remedy,
    follow_link,
    name_work_dir,
    put_in_place,
    remove_work_dir,
    replacing,
    sync_folder,
)


def identify(path: Path) -> tuple[int, ...]:
    """Return what changes with a file; the time of its last reading, which looking changes, not."""
    state = path.lstat()
    return state.st_mode, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def make_nothing(path: Path) -> None:
    pass


def make_file(path: Path) -> None:
    path.write_text("old")


def make_folder(path: Path) -> None:
    path.mkdir()


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)  # the name of a socket has at most 100 letters
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)


def make_device(path: Path) -> None:
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("needs root")


def make_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


def make_link_to_device(path: Path) -> None:
    path.symlink_to("/dev/null")


def make_link_to_folder(path: Path) -> None:
    path.symlink_to(path.parent)


OTHER_KINDS = [
    (make_folder, "a folder"),
    (make_pipe, "a pipe"),
    (make_socket, "a socket"),
    (make_device, "a device"),
    (make_dangling_link, "a symbolic link that leads to no file"),
    (make_loop, "a symbolic link that leads to itself"),
    (make_link_to_device, "a device"),
    (make_link_to_folder, "a folder"),
]

NEEDS_POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX")


@pytest.mark.parametrize(
    ("make", "overwrite"), [(make_nothing, False), (make_nothing, True), (make_file, True)]
)
def test_check_destination_that_can_be_written_passes(
    tmp_path: Path, make: Callable[[Path], None], overwrite: bool
) -> None:
    make(tmp_path / "c.h5")
    check_destination(tmp_path / "c.h5", overwrite=overwrite, error=CacheError)


@pytest.mark.parametrize(
    ("name", "make", "overwrite", "expected", "remedy"),
    [
        ("no/c.h5", make_nothing, True, "an existing folder, got none", "Run: mkdir -p "),
        ("c.h5", make_folder, True, "the path of a file, got a folder", "Name a file in "),
        ("c.h5", make_file, False, "a new file, got a file that exists", "Pass overwrite=True "),
    ],
)
def test_check_destination_that_cannot_be_written_is_refused(
    tmp_path: Path,
    name: str,
    make: Callable[[Path], None],
    overwrite: bool,
    expected: str,
    remedy: str,
) -> None:
    make(tmp_path / name)
    with pytest.raises(HeadError) as caught:
        check_destination(tmp_path / name, overwrite=overwrite, error=HeadError)
    assert str(caught.value).startswith(f"{tmp_path / name}: expected {expected}. {remedy}")


@NEEDS_POSIX
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(("make", "kind"), OTHER_KINDS)
def test_check_destination_of_another_kind_is_refused_and_stays(
    tmp_path: Path, make: Callable[[Path], None], kind: str, overwrite: bool
) -> None:
    path = tmp_path / "c.h5"
    make(path)
    before = identify(path)
    with pytest.raises(HeadError, match=rf"c\.h5: expected the path of a file, got {kind}\. Name "):
        check_destination(path, overwrite=overwrite, error=HeadError)
    assert identify(path) == before


@NEEDS_POSIX
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(("make", "kind"), OTHER_KINDS)
def test_put_in_place_replaces_nothing_that_is_no_file(
    tmp_path: Path, make: Callable[[Path], None], kind: str, overwrite: bool
) -> None:
    (tmp_path / "draft").write_text("new")
    path = tmp_path / "c.h5"
    make(path)
    before = identify(path)
    with pytest.raises(FileExistsError, match=kind):  # it came after the first check
        put_in_place(tmp_path / "draft", path, overwrite=overwrite)
    assert identify(path) == before


def test_check_destination_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HeadError, match=r"an existing folder, got a file in its place\. Choose "):
        check_destination(tmp_path / "file" / "c.h5", overwrite=True, error=HeadError)


def test_check_destination_with_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HeadError, match=r"got File name too long.* Choose a shorter name"):
        check_destination(tmp_path / ("c" * 300), overwrite=True, error=HeadError)


def test_replacing_a_link_changes_its_file(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "real").write_text("old")
    link = tmp_path / "link"
    link.symlink_to("elsewhere/real")
    assert follow_link(link) == (tmp_path / "elsewhere" / "real").resolve()
    with replacing(link, error=CacheError, overwrite=True) as draft:
        draft.write_text("new")
    assert link.is_symlink()
    assert (tmp_path / "elsewhere" / "real").read_text() == "new"
    assert os.listdir(tmp_path / "elsewhere") == ["real"]


def test_check_destination_in_a_read_only_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Path, int]] = []

    def refuse(path: Path, mode: int) -> bool:
        asked.append((path, mode))
        return False

    monkeypatch.setattr(os, "access", refuse)  # root may write everywhere
    with pytest.raises(FeatxError, match=r"expected a writable folder, got a read-only folder"):
        check_destination(tmp_path / "c.h5", overwrite=True, error=FeatxError)
    assert asked == [(tmp_path, os.W_OK)]


def test_name_work_dir_is_beside_the_file(tmp_path: Path) -> None:
    assert name_work_dir(tmp_path / "c.h5") == tmp_path / "c.h5.partial"


def test_remove_work_dir_removes_the_work_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "c.h5.partial"
    folder.mkdir()
    for name in ("shard-1", name_draft(Path("shard-2")).name, "notes.txt", ".hidden"):
        (folder / name).touch()
    with pytest.warns(FeatxWarning, match=r"c\.h5\.partial could not be removed \(.*not empty\)"):
        remove_work_dir(folder, "shard-1".__eq__)
    assert sorted(os.listdir(folder)) == [".hidden", "notes.txt"]
    for path in folder.iterdir():
        path.unlink()
    remove_work_dir(folder, "shard-1".__eq__)
    assert os.listdir(tmp_path) == []
    remove_work_dir(folder, "shard-1".__eq__)


@pytest.mark.parametrize("call", ["listdir", "unlink", "rmdir"])
def test_remove_work_dir_on_a_disk_that_fails_is_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    (tmp_path / "shard-1").touch()

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, call, fail)
    with pytest.warns(FeatxWarning, match=r"could not be removed \(Input/output error\): no run"):
        remove_work_dir(tmp_path, "shard-1".__eq__)


@pytest.mark.parametrize("overwrite", [True, False])
def test_put_in_place_flushes_file_then_checks_then_names_then_flushes_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    steps: list[str] = []
    names = {"replace": os.replace, "link": os.link}

    def note_fsync(descriptor: int) -> None:
        steps.append("flush " + Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)

    def note_name(name: str, draft: Path, path: Path) -> None:
        steps.append(f"{name} {draft.name} {path.name}")
        names[name](draft, path)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    monkeypatch.setattr(os, "fsync", note_fsync)
    for name in names:
        monkeypatch.setattr(os, name, partial(note_name, name))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "draft").write_text("new")
    if overwrite:
        (folder / "file").write_text("old")
    put_in_place(
        folder / "draft",
        folder / "file",
        overwrite=overwrite,
        check=lambda: steps.append("check"),
    )
    named = "replace draft file" if overwrite else "link draft file"
    assert steps == ["flush draft", "check", named, "flush folder"]
    assert (folder / "file").read_text() == "new"


def test_sync_folder_leaves_no_open_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    closed: list[int] = []
    close = os.close

    def note(descriptor: int) -> None:
        closed.append(descriptor)
        close(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    monkeypatch.setattr(os, "close", note)
    with pytest.raises(OSError, match=r"Input/output error"):
        sync_folder(tmp_path)
    assert len(closed) == 1


def fail_for_folders(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let a file system flush files, but no folders."""
    fsync = os.fsync

    def fail(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)


@NEEDS_POSIX
@pytest.mark.parametrize("name", ["EINVAL", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EBADF"])
def test_replacing_where_folders_cannot_be_flushed_writes_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    fail_for_folders(monkeypatch, getattr(errno, name))
    with replacing(tmp_path / "c.h5", error=CacheError, overwrite=True) as draft:
        draft.write_text("new")
    assert (tmp_path / "c.h5").read_text() == "new"


@NEEDS_POSIX
def test_replacing_on_a_disk_that_fails_says_that_the_file_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_for_folders(monkeypatch, errno.EIO)
    with (
        pytest.raises(CacheError, match=r"got Input/output error\. The new file is in place; whet"),
        replacing(tmp_path / "c.h5", error=CacheError, overwrite=True) as draft,
    ):
        draft.write_text("new")
    assert (tmp_path / "c.h5").read_text() == "new"


@NEEDS_POSIX
@pytest.mark.parametrize("name", ["EINVAL", "EIO"])
def test_replacing_where_files_cannot_be_flushed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(getattr(errno, name), "no")

    monkeypatch.setattr(os, "fsync", fail)
    with (
        pytest.raises(CacheError, match=r"got no\. The file at this path is unchanged"),
        replacing(tmp_path / "c.h5", error=CacheError, overwrite=True) as draft,
    ):
        draft.write_text("new")
    assert os.listdir(tmp_path) == []


@NEEDS_POSIX
def test_sync_folder_that_may_not_be_listed_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, flags: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    sync_folder(tmp_path)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "Free some space"),
        (errno.EMFILE, "Raise the number of files"),
        (errno.EIO, "Check the disk"),
    ],
)
def test_explain_errors_says_what_to_do(tmp_path: Path, number: int, remedy: str) -> None:
    with (
        pytest.raises(CacheError, match=rf"is unchanged\. {remedy}"),
        explain_errors(tmp_path, error=CacheError),
    ):
        raise OSError(number, os.strerror(number))


def test_the_remedy_for_too_many_open_files_names_a_larger_number() -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    remedy = find_remedy(errno.EMFILE, "")
    assert remedy == f"Raise the number of files that a process may open: ulimit -n {4 * limit}."


def test_explain_errors_tells_what_the_system_says(tmp_path: Path) -> None:
    cause = OSError(errno.ENOSPC, "No space left on device", "hidden draft")
    with pytest.raises(CacheError) as caught, explain_errors(tmp_path / "c.h5", error=CacheError):
        raise cause
    assert caught.value.subject == str(tmp_path / "c.h5")
    assert caught.value.got == "No space left on device"
    assert caught.value.__cause__ is cause


def test_explain_errors_without_a_number_tells_the_text(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match=r"got odd"), explain_errors(tmp_path, error=CacheError):
        raise OSError("odd")


def test_explain_errors_lets_others_pass(tmp_path: Path) -> None:
    with pytest.raises(KeyError), explain_errors(tmp_path, error=CacheError):
        raise KeyError("other")


def test_replacing_puts_the_draft_in_place(tmp_path: Path) -> None:
    path = tmp_path / "c.h5"
    path.write_text("old")
    with replacing(path, error=CacheError, overwrite=True) as draft:
        assert is_draft(draft.name)
        assert draft.parent == tmp_path
        draft.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["c.h5"]


def test_replacing_makes_its_draft_in_a_given_folder(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    folder = tmp_path / "work"
    with replacing(tmp_path / "c.h5", error=CacheError, overwrite=False, folder=folder) as draft:
        assert draft.parent == folder
        draft.write_text("new")
    assert (tmp_path / "c.h5").read_text() == "new"
    assert os.listdir(tmp_path / "work") == []


def write_half(path: Path, error: BaseException) -> None:
    with replacing(path, error=CacheError, overwrite=True) as draft:
        draft.write_text("half")
        raise error


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (RuntimeError("stop"), RuntimeError),
        (KeyboardInterrupt("stop"), KeyboardInterrupt),
        (OSError(errno.EIO, "stop"), CacheError),
    ],
)
def test_replacing_that_fails_leaves_what_was_there(
    tmp_path: Path, raised: BaseException, expected: type[BaseException]
) -> None:
    path = tmp_path / "c.h5"
    path.write_text("old")
    with pytest.raises(expected, match=r"stop"):
        write_half(path, raised)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["c.h5"]


def test_replacing_whose_last_step_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(draft: Path, path: Path) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "replace", fail)
    with (
        pytest.raises(CacheError, match=r"got Permission denied"),
        replacing(tmp_path / "c.h5", error=CacheError, overwrite=True) as draft,
    ):
        draft.write_text("new")
    assert os.listdir(tmp_path) == []


def test_replacing_that_its_check_refuses_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "c.h5"
    path.write_text("old")

    def refuse() -> None:
        raise CacheLockedError(subject="lock", expected="none", got="one", remedy="Wait.")

    with (
        pytest.raises(CacheLockedError, match=r"^lock: "),
        replacing(path, error=CacheError, overwrite=True, check=refuse) as draft,
    ):
        draft.write_text("new")
    assert os.listdir(tmp_path) == ["c.h5"]
    assert path.read_text() == "old"


# --- a new file


def test_replacing_a_file_that_came_meanwhile_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.h5"

    def write() -> None:
        with replacing(path, error=CacheError, overwrite=False) as draft:
            draft.write_text("ours")
            path.write_text("theirs")

    refusal = r"a new file, or one with the same content, got a file with another content\. Pass ov"
    with pytest.raises(CacheError, match=refusal):
        write()
    assert path.read_text() == "theirs"
    assert os.listdir(tmp_path) == ["c.h5"]


def test_replacing_a_file_of_the_same_content_leaves_it(tmp_path: Path) -> None:
    path = tmp_path / "c.h5"
    path.write_text("same")
    before = identify(path)
    with replacing(path, error=CacheError, overwrite=False) as draft:
        draft.write_text("same")
    assert identify(path) == before
    assert os.listdir(tmp_path) == ["c.h5"]


@NEEDS_POSIX
def test_replacing_a_folder_that_came_meanwhile_is_refused(tmp_path: Path) -> None:
    def write() -> None:
        with replacing(tmp_path / "c.h5", error=CacheError, overwrite=False) as draft:
            draft.write_text("new")
            (tmp_path / "c.h5").mkdir()

    with pytest.raises(CacheError, match=r"got .*a folder at its path"):
        write()
    assert os.listdir(tmp_path) == ["c.h5"]


@pytest.mark.parametrize("overwrite", [True, False])
def test_replacing_by_many_at_once_never_mixes_them(tmp_path: Path, overwrite: bool) -> None:
    n_writers, done = 8, []
    together = threading.Barrier(n_writers)

    def write(number: int) -> None:
        try:
            with replacing(tmp_path / "c.h5", error=CacheError, overwrite=overwrite) as draft:
                draft.write_text(str(number) * 10_000)
                together.wait(60)
        except CacheError:
            return
        done.append(str(number) * 10_000)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(n_writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == (n_writers if overwrite else 1)
    assert (tmp_path / "c.h5").read_text() in done
    assert os.listdir(tmp_path) == ["c.h5"]


# --- where a run stood when it failed


STEPS = {
    "make": ("open", "draft"),
    "flush": ("fsync", "draft"),
    "name": ("", ""),
    "open the folder": ("open", "folder"),
    "flush the folder": ("fsync", "folder"),
}


@NEEDS_POSIX
@pytest.mark.parametrize("overwrite", [True, False], ids=["replace", "new"])
@pytest.mark.parametrize("step", STEPS)
def test_replacing_says_at_which_step_it_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, overwrite: bool
) -> None:
    path = tmp_path / "c.h5"
    if overwrite:
        path.write_text("old")
    function, kind = STEPS[step]
    real = getattr(os, function or "open")

    def fail(first: object, *more: object) -> object:
        is_folder = first == tmp_path if isinstance(first, Path) else False
        if isinstance(first, int):
            is_folder = stat.S_ISDIR(os.fstat(first).st_mode)
        if not kind or is_folder == (kind == "folder"):
            raise OSError(errno.EIO, "Input/output error")
        return real(first, *more)

    for name in [function] if function else ["replace", "link"]:
        monkeypatch.setattr(os, name, fail)
    if step == "name":
        monkeypatch.setattr("featx.core.drafts._rename_exclusively", fail)
    with (
        pytest.raises(CacheError) as caught,
        replacing(path, error=CacheError, overwrite=overwrite) as draft,
    ):
        draft.write_text("new")
    assert caught.value.got == "Input/output error"
    monkeypatch.undo()
    if step in ("make", "flush", "name"):
        assert caught.value.remedy == "The file at this path is unchanged. Check the disk."
        assert os.listdir(tmp_path) == (["c.h5"] if overwrite else [])
        assert not overwrite or path.read_text() == "old"
    else:
        assert caught.value.remedy == (
            "The new file is in place; whether it outlives a power cut is not known. "
            "Check the disk."
        )
        assert os.listdir(tmp_path) == ["c.h5"]
        assert path.read_text() == "new"
