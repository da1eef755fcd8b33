"""What is kept between runs: found again as it was written, or made anew."""

import errno
import importlib.metadata
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from featx.core import artifacts as store
from featx.core.artifacts import build_key, find_kept, find_state_folder, find_store, keep
from featx.core.drafts import is_draft
from featx.core.errors import FeatxWarning
from tests.builders import leave_draft


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of its own, which is not there yet."""
    monkeypatch.setenv("FEATX_STORE", str(tmp_path / "store"))
    return tmp_path / "store"


def write(**files: bytes) -> Callable[[Path], None]:
    """Return what writes such files."""

    def write(folder: Path) -> None:
        for name, content in files.items():
            (folder / name).write_bytes(content)

    return write


def read(key: str) -> dict[str, bytes] | None:
    """Return the files that are kept under a key, None where none are."""
    found = find_kept(key)
    if found is None:
        return None
    return {path.name: path.read_bytes() for path in found.iterdir() if path.name != "sums.json"}


# --- keep, find_kept


def test_keep_then_find_gives_the_files() -> None:
    keep("key", write(one=b"1", two=b"22"))
    assert read("key") == {"one": b"1", "two": b"22"}


def test_find_kept_other_key_or_no_store_is_none(folder: Path) -> None:
    assert find_kept("key") is None
    assert not folder.exists()
    keep("key", write(one=b"1"))
    assert find_kept("other") is None


def test_keep_leaves_nothing_but_what_is_kept(folder: Path) -> None:
    keep("key", write(one=b"1"))
    assert os.listdir(folder) == ["key"]


def damage_a_byte(kept: Path) -> None:
    (kept / "one").write_bytes(b"11111!11")


def shorten(kept: Path) -> None:
    (kept / "one").write_bytes(b"1111")


def remove_a_file(kept: Path) -> None:
    (kept / "one").unlink()


def remove_sums(kept: Path) -> None:
    (kept / "sums.json").unlink()


def damage_sums(kept: Path) -> None:
    (kept / "sums.json").write_bytes(b"\xff{")


def replace_sums(kept: Path) -> None:
    (kept / "sums.json").write_text("[]")


@pytest.mark.parametrize(
    "damage", [damage_a_byte, shorten, remove_a_file, remove_sums, damage_sums, replace_sums]
)
def test_find_kept_damaged_is_none_and_removed(
    folder: Path, damage: Callable[[Path], None]
) -> None:
    keep("key", write(one=b"11111111", two=b"2"))
    damage(folder / "key")
    assert find_kept("key") is None
    assert os.listdir(folder) == []
    keep("key", write(one=b"again"))
    assert read("key") == {"one": b"again"}


def test_keep_where_nothing_can_be_written_goes_on_without(folder: Path) -> None:
    folder.write_text("a file is in the way")
    with pytest.warns(FeatxWarning, match=r"nothing is kept for later runs \(.*store: File exists"):
        keep("key", write(one=b"1"))
    keep("key", write(one=b"1"))  # once is enough
    assert find_kept("key") is None
    assert folder.read_text() == "a file is in the way"


def test_keep_without_a_home_goes_on_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("Could not determine home directory.")

    for name in ("FEATX_STORE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pathlib.Path.home", fail)
    with pytest.raises(OSError, match=r"home directory"):
        find_store()
    monkeypatch.setattr("featx.core.artifacts._told", set())
    with pytest.warns(FeatxWarning, match=r"nothing is kept .* \(no home folder: .* FEATX_STORE\."):
        keep("key", write(one=b"1"))
    assert find_kept("key") is None


def test_keep_what_cannot_be_written_whole_keeps_nothing(folder: Path) -> None:
    def write_half(draft: Path) -> None:
        (draft / "one").write_bytes(b"1")
        raise OSError("No space left on device")

    with pytest.warns(FeatxWarning, match=r"nothing is kept .*: No space left on device\)"):
        keep("key", write_half)
    assert find_kept("key") is None
    assert os.listdir(folder) == []


def test_keep_key_that_another_kept_meanwhile_leaves_it(folder: Path) -> None:
    def write_late(draft: Path) -> None:
        keep("key", write(one=b"first"))
        (draft / "one").write_bytes(b"second")

    keep("key", write_late)
    assert read("key") == {"one": b"first"}
    assert os.listdir(folder) == ["key"]


def test_keep_by_many_writers_at_once_keeps_one_of_them_whole(folder: Path) -> None:
    n_writers = 8
    together = threading.Barrier(n_writers)

    def keep_together(number: int) -> None:
        def write(draft: Path) -> None:
            (draft / "one").write_bytes(b"%d" % number * 1000)
            (draft / "two").write_bytes(b"%d" % number)
            together.wait(60)

        keep("key", write)

    threads = [threading.Thread(target=keep_together, args=(n,)) for n in range(n_writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = read("key")
    assert found is not None
    assert found["one"] == found["two"] * 1000
    assert os.listdir(folder) == ["key"]


# --- what is dropped


def use(kept: Path, seconds: int) -> None:
    os.utime(kept, (seconds, seconds))


def test_keep_more_than_fits_drops_what_was_used_longest_ago(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, name in enumerate("abc"):
        keep(name, write(one=bytes(1000)))
        use(folder / name, 10**9 + number)
    size = sum(path.stat().st_size for path in (folder / "a").iterdir())
    monkeypatch.setattr(store, "MAX_BYTES", 3 * size)
    assert find_kept("a") is not None  # which is a use: now b is the oldest
    keep("d", write(one=bytes(1000)))
    assert sorted(os.listdir(folder)) == ["a", "c", "d"]


def test_keep_what_fits_drops_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep("a", write(one=bytes(1000)))
    size = sum(path.stat().st_size for path in (folder / "a").iterdir())
    monkeypatch.setattr(store, "MAX_BYTES", 2 * size)
    keep("b", write(one=bytes(1000)))
    assert sorted(os.listdir(folder)) == ["a", "b"]


# --- find_store


def test_find_store_is_where_the_system_keeps_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FEATX_STORE")
    monkeypatch.setenv("XDG_CACHE_HOME" if os.name != "nt" else "LOCALAPPDATA", str(tmp_path))
    assert find_store() == tmp_path / "featx"


def test_find_store_without_variables_is_below_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FEATX_STORE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert find_store() == tmp_path / ".cache" / "featx"


def test_find_state_folder_is_no_part_of_the_store(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_state_folder() == tmp_path / "store-state"
    monkeypatch.delenv("FEATX_STORE")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    assert not find_state_folder().is_relative_to(find_store())
    if os.name != "nt":
        assert find_state_folder() == tmp_path / ".local" / "state" / "featx"
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        assert find_state_folder() == tmp_path / "state" / "featx"


def test_keep_makes_the_folders_above_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATX_STORE", str(tmp_path / "not" / "yet" / "there"))
    keep("key", write(one=b"1"))
    assert read("key") == {"one": b"1"}


# --- build_key


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A folder of code."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "one.py").write_text("one = 1\n")
    (tmp_path / "code" / "notes.txt").write_text("no code")
    return tmp_path / "code"


PARTS = {"name": "tiny", "layers": ["a", "b"], "content": None}


def build(sources: Path, **changes: Any) -> str:
    return build_key(PARTS | changes, packages=["numpy", "h5py"], sources=[sources])


def test_build_key_of_the_same_is_the_same(sources: Path) -> None:
    key = build(sources)
    (sources / "notes.txt").write_text("other notes")
    assert build(sources) == key
    assert (
        build_key(dict(reversed(PARTS.items())), packages=["numpy", "h5py"], sources=[sources])
        == key
    )


@pytest.mark.parametrize(
    "changes",
    [{"name": "tinier"}, {"layers": ["b", "a"]}, {"layers": ["ab"]}, {"content": ""}, {"more": 1}],
    ids=str,
)
def test_build_key_of_other_parts_is_another(sources: Path, changes: dict[str, Any]) -> None:
    assert build(sources, **changes) != build(sources)


def test_build_key_with_another_version_of_a_package_is_another(
    sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, version = build(sources), importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: version(name) + "+local" * (name == "h5py")
    )
    assert build(sources) != before


@pytest.mark.parametrize("name", ["one.py", "two.py", "below/three.py", "below/deep/four.py"])
def test_build_key_with_other_code_is_another(sources: Path, name: str) -> None:
    before = build(sources)
    (sources / name).parent.mkdir(parents=True, exist_ok=True)
    (sources / name).write_text("one = 2\n")
    changed = build(sources)
    assert changed != before
    (sources / name).write_text("one = 3\n")
    assert build(sources) not in (before, changed)


def test_build_key_with_code_under_another_name_is_another(sources: Path) -> None:
    before = build(sources)
    (sources / "one.py").rename(sources / "two.py")
    assert build(sources) != before


def test_keep_leaves_what_is_not_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATX_STORE", str(tmp_path))
    monkeypatch.setattr("featx.core.artifacts.MAX_BYTES", 1)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "ant.jpg").write_bytes(b"a photo, older than all")
    keep("key", write(part=b"large enough"))
    assert (tmp_path / "photos" / "ant.jpg").exists()


def test_keep_writes_to_a_hidden_folder(folder: Path) -> None:
    drafts: list[Path] = []

    def write_one(draft: Path) -> None:
        (draft / "one").write_bytes(b"1")
        drafts.append(draft)

    keep("key", write_one)
    (draft,) = drafts
    assert draft.parent == folder
    assert is_draft(draft.name)


def test_keep_removes_what_killed_processes_left(folder: Path) -> None:
    folder.mkdir()
    leave_draft(folder / "artifact")
    keep("key", write(one=b"1"))
    assert os.listdir(folder) == ["key"]


def test_keep_drops_no_unfinished_artifact_of_another_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_late(draft: Path) -> None:
        (draft / "one").write_bytes(b"1")
        (draft / "sums.json").write_text("{}")  # as if it was about to be kept
        monkeypatch.setattr(store, "MAX_BYTES", 1)
        keep("other", write(one=b"2"))
        monkeypatch.setattr(store, "MAX_BYTES", 1000)
        (draft / "sums.json").unlink()

    keep("key", write_late)
    assert read("key") == {"one": b"1"}


def test_find_kept_that_cannot_be_read_is_none_and_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep("key", write(one=b"1"))
    with monkeypatch.context() as patch:

        def fail(*_: object, **__: object) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        patch.setattr(Path, "read_text", fail)
        assert find_kept("key") is None
    assert read("key") == {"one": b"1"}


def test_keep_while_another_process_drops_the_oldest_keeps_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep("a", write(one=b"1"))
    iterdir = Path.iterdir

    def vanish(path: Path) -> Iterator[Path]:
        if path.name == "a":
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", vanish)
    keep("b", write(one=b"1"))  # without a note
    assert read("b") == {"one": b"1"}


def test_find_kept_damaged_that_cannot_be_deleted_is_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("a store of another user")

    keep("key", write(one=b"11111111"))
    damage_a_byte(folder / "key")
    for name in ("unlink", "rmdir"):
        monkeypatch.setattr(os, name, refuse)
    assert find_kept("key") is None
    assert (folder / "key").is_dir()
