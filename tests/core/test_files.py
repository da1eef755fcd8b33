"""A file is put in place whole, or not at all."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from featx.core.errors import CacheError, CacheLockedError, FeatxError, HeadError
from featx.core.files import (
    check_destination,
    explain_errors,
    name_draft,
    name_work_dir,
    put_in_place,
    remove_drafts,
    replacing,
    sync_folder,
)


def make_nothing(path: Path) -> None:
    pass


def make_file(path: Path) -> None:
    path.write_text("old")


def make_folder(path: Path) -> None:
    path.mkdir()


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


def test_names_beside_a_file_are_its_own(tmp_path: Path) -> None:
    path = tmp_path / "c.h5"
    assert name_draft(path) == tmp_path / f".c.h5.{os.getpid()}.partial"
    assert name_work_dir(path) == tmp_path / "c.h5.partial"


def test_remove_drafts_removes_those_of_the_file_alone(tmp_path: Path) -> None:
    kept = [".c.h5.lock", ".c.h5.partial", ".cd.h5.1.partial", "c.h5", "c.h5.partial"]
    for name in [*kept, ".c.h5.1.partial", ".c.h5.99.partial"]:
        (tmp_path / name).touch()
    remove_drafts(tmp_path / "c.h5")
    assert sorted(os.listdir(tmp_path)) == kept


def test_remove_drafts_of_a_name_with_wildcards(tmp_path: Path) -> None:
    for name in (".c[1]*.1.partial", ".c1x.1.partial"):
        (tmp_path / name).touch()
    remove_drafts(tmp_path / "c[1]*")
    assert os.listdir(tmp_path) == [".c1x.1.partial"]


def test_put_in_place_flushes_file_then_checks_then_renames_then_flushes_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    replace = os.replace

    def note_fsync(descriptor: int) -> None:
        steps.append("flush " + Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)

    def note_replace(draft: Path, path: Path) -> None:
        steps.append(f"{draft.name} becomes {path.name}")
        replace(draft, path)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "draft").write_text("new")
    (folder / "file").write_text("old")
    put_in_place(folder / "draft", folder / "file", check=lambda: steps.append("check"))
    assert steps == ["flush draft", "check", "draft becomes file", "flush folder"]
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
    with replacing(path, error=CacheError) as draft:
        assert draft == name_draft(path)
        draft.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["c.h5"]


def test_replacing_takes_a_draft_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    given = tmp_path / "work" / "draft"
    with replacing(tmp_path / "c.h5", error=CacheError, draft=given) as draft:
        assert draft == given
        draft.write_text("new")
    assert (tmp_path / "c.h5").read_text() == "new"
    assert os.listdir(tmp_path / "work") == []


def write_half(path: Path, error: BaseException) -> None:
    with replacing(path, error=CacheError) as draft:
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
        replacing(tmp_path / "c.h5", error=CacheError) as draft,
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
        replacing(path, error=CacheError, check=refuse) as draft,
    ):
        draft.write_text("new")
    assert os.listdir(tmp_path) == ["c.h5"]
    assert path.read_text() == "old"
