"""Outputs at addresses: whole or as they were, locked, and resumed on another machine."""

import json
import os
import shutil
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from featx.cache import remote_output, shard_copies
from featx.cache.remote_lock import RemoteLock
from featx.cache.remote_output import find_staged, open_output
from featx.core.address import Address
from featx.core.errors import CacheError, CacheLockedError, FeatxWarning
from featx.core.files import check_destination
from featx.remote.copies import localise
from featx.remote.failures import RemoteError
from featx.remote.objects import find_kind, iter_objects, read_range, remove
from featx.remote.upload import put
from tests.remote.buckets import write

OLD, NEW = b"old" * 1000, b"new" * 2000
SYNC = shard_copies.ShardCopies._sync


@pytest.fixture(autouse=True)
def _own(store: Path) -> None:
    """Each test is a machine of its own."""


@pytest.fixture
def cache(bucket: Address) -> Address:
    """Address of a cache that is not there yet."""
    return bucket / "a/cache.h5"


def list_names(folder: Address) -> list[str]:
    return sorted(one.name for one in iter_objects(folder))


def move_to_another_machine(store: Path) -> None:
    for folder in (store, Path(f"{store}-state")):
        shutil.rmtree(folder, ignore_errors=True)


def test_an_output_of_this_machine_is_itself(tmp_path: Path) -> None:
    with open_output(tmp_path / "cache.h5") as path:
        assert path == tmp_path / "cache.h5"
    assert list(tmp_path.glob("*.h5*")) == []


def test_an_output_is_copied_whole_and_leaves_nothing_beside_it(cache: Address) -> None:
    with open_output(cache.text) as path:
        assert not path.exists()
        path.write_bytes(NEW)
        assert find_kind(cache) is None
        assert list_names(cache.parent) == ["cache.h5.lock"]
    assert read_range(cache) == NEW
    assert list_names(cache.parent) == ["cache.h5"]


def test_an_output_that_did_not_change_is_not_copied_again(s3: Any, cache: Address) -> None:
    with open_output(cache.text) as path:
        path.write_bytes(NEW)
    s3.paths.clear()
    with open_output(cache.text) as path:
        assert path.read_bytes() == NEW
    written = {path for method, path in s3.paths if method in ("PUT", "POST")}
    assert [name for name in written if not name.endswith(".lock")] == []


def test_an_output_begins_with_what_is_at_the_address(cache: Address) -> None:
    write(cache, OLD)
    with open_output(cache.text) as path:
        assert path.read_bytes() == OLD
    write(cache, NEW)
    with open_output(cache.text) as path:
        assert path.read_bytes() == NEW
    remove(cache)
    with open_output(cache.text) as path:
        assert not path.exists()
    write(cache, OLD)
    with open_output(cache.text, overwrite=True) as path:
        assert not path.exists()
    assert read_range(cache) == OLD


def run(cache: Address, work: Callable[[Path], object], **options: bool) -> None:
    """Do some work on an output, as an extraction does."""
    with open_output(cache.text, **{"has_shards": True, **options}) as path:
        work(path)


def cut_off(cache: Address, *works: Callable[[Path], object]) -> None:
    """Do some work on an output, and end with an error."""

    def fail(path: Path) -> None:
        for work in works:
            work(path)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(cache, fail)


def write_new(path: Path) -> None:
    path.write_bytes(NEW)


def test_a_run_that_fails_leaves_the_address_as_it_was(cache: Address) -> None:
    write(cache, OLD)
    cut_off(cache, write_new)
    assert read_range(cache) == OLD
    assert list_names(cache.parent) == ["cache.h5"]
    with open_output(cache.text) as path:  # the work of this machine is not lost
        assert path.read_bytes() == NEW
    assert read_range(cache) == NEW


def test_a_copy_that_fails_is_made_by_the_next_run(s3: Any, cache: Address) -> None:
    def lose(path: Path) -> None:
        path.write_bytes(NEW)
        s3.share, s3.kinds = 1.0, ["503"]

    write(cache, OLD)
    with (
        pytest.warns(FeatxWarning, match=r"the lock .* could not be removed"),
        pytest.raises(CacheError, match=r"got 503 .*Run the same again"),
    ):
        run(cache, lose)
    s3.share = 0.0
    assert read_range(cache) == OLD
    with open_output(cache.text) as path:
        assert path.read_bytes() == NEW
    assert read_range(cache) == NEW


def test_a_cache_that_another_run_wrote_meanwhile_is_not_replaced(cache: Address) -> None:
    def write_both(path: Path) -> None:
        path.write_bytes(NEW)
        write(cache, OLD)

    with pytest.raises(CacheError, match="got another one, which another run has written"):
        run(cache, write_both)
    assert read_range(cache) == OLD


@pytest.mark.parametrize(
    ("what", "data", "error"), [(".lock", b"{}", CacheLockedError), ("", OLD, CacheError)]
)
def test_what_happens_while_a_cache_is_uploaded_counts(
    what: str, data: bytes, error: type[Exception], cache: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put_late(path: Path, address: Address) -> None:
        put(path, address)
        write(Address(f"{cache.text}{what}"), data)

    monkeypatch.setattr("featx.remote.upload.put", put_late)
    with pytest.raises(error), pytest.warns(FeatxWarning) if what else nullcontext():
        run(cache, write_new, has_shards=False)
    assert list_names(cache.parent) == [f"cache.h5{what}"]


def test_what_a_killed_upload_left_is_removed(cache: Address) -> None:
    work = cache.parent / "cache.h5.partial"
    for name in (f"cache.h5.{'0' * 32}", "cache.h5.notes"):
        write(work / name, OLD)
    run(cache, lambda _: None, has_shards=False)
    assert list_names(work) == ["cache.h5.notes"]


def write_shard(number: int, data: bytes) -> Callable[[Path], object]:
    """Let a run finish one shard."""

    def work(path: Path) -> None:
        folder = path.with_name(f"{path.name}.partial")
        folder.mkdir(exist_ok=True)
        (folder / f"shard-{number:06}.h5").write_bytes(data)

    return work


def check_shards(**expected: bytes) -> Callable[[Path], object]:
    """Let a run find these shards."""

    def check(path: Path) -> None:
        folder = path.with_name(f"{path.name}.partial")
        assert {one.stem[-1]: one.read_bytes() for one in folder.iterdir()} == {
            name[-1]: data for name, data in expected.items()
        }

    return check


def finish(path: Path) -> None:
    """Put the cache in place and remove the shards, as an extraction does."""
    write_new(path)
    shutil.rmtree(path.with_name(f"{path.name}.partial"))


def test_shards_are_copied_and_another_machine_goes_on_from_them(
    cache: Address, store: Path
) -> None:
    def remove_first(path: Path) -> None:  # it was damaged
        (path.with_name("cache.h5.partial") / "shard-000001.h5").unlink()

    copies = cache.parent / "cache.h5.partial"
    cut_off(cache, write_shard(1, b"one"), write_shard(2, b"two"))
    assert [name.split(".")[0] for name in list_names(copies)] == ["shard-000001", "shard-000002"]
    move_to_another_machine(store)
    cut_off(cache, check_shards(_1=b"one", _2=b"two"), remove_first, write_shard(3, b"three"))
    assert [name.split(".")[0] for name in list_names(copies)] == ["shard-000002", "shard-000003"]
    with open_output(cache.text, has_shards=True) as path:
        check_shards(_2=b"two", _3=b"three")(path)
        finish(path)
    assert list_names(cache.parent) == ["cache.h5"]


def test_a_shard_is_copied_while_the_run_goes_on(
    cache: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_copies, "POLL_S", 0.01)
    copied = threading.Event()

    def put_and_tell(path: Path, address: Address) -> None:
        put(path, address)
        copied.set()

    monkeypatch.setattr(shard_copies, "put", put_and_tell)
    cut_off(cache, write_shard(1, b"one"), lambda _: copied.wait(60) or pytest.fail("not copied"))


def remove_copies(cache: Address) -> None:
    copies = cache.parent / "cache.h5.partial"
    for name in list_names(copies):
        remove(copies / name)


def test_the_shard_of_the_machine_that_went_on_counts(cache: Address) -> None:
    cut_off(cache, write_shard(1, b"mine"))
    remove_copies(cache)
    write(cache.parent / f"cache.h5.partial/shard-000001.{'0' * 16}.h5", b"theirs")
    cut_off(cache, check_shards(_1=b"theirs"))


def test_unfinished_work_outlives_a_cache_that_was_written_elsewhere(cache: Address) -> None:
    cut_off(cache, write_shard(1, b"mine"))
    remove_copies(cache)
    write(cache, OLD)
    cut_off(cache, check_shards(_1=b"mine"))


def test_the_shards_of_an_extraction_are_left_alone_by_another_command(cache: Address) -> None:
    write(cache, OLD)
    cut_off(cache, write_shard(1, b"one"))
    before = list_names(cache.parent)
    run(cache, write_new, has_shards=False)
    assert read_range(cache) == NEW
    assert list_names(cache.parent) == before


def test_shards_are_there_until_the_cache_is(
    cache: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_copies, "POLL_S", 0.01)
    copies, removed = cache.parent / "cache.h5.partial", threading.Event()

    def sync(self: shard_copies.ShardCopies) -> None:
        is_removed = not self._folder.exists()
        SYNC(self)
        removed.set() if is_removed else None

    def lose(path: Path, *_: object, **__: object) -> None:
        assert removed.wait(60)
        assert [name.split(".")[0] for name in list_names(copies)] == ["shard-000001"]
        raise KeyboardInterrupt  # the machine is lost

    cut_off(cache, write_shard(1, b"one"))
    monkeypatch.setattr(shard_copies.ShardCopies, "_sync", sync)
    monkeypatch.setattr(remote_output, "upload", lose)
    with pytest.raises(KeyboardInterrupt):
        run(cache, finish)
    assert [name.split(".")[0] for name in list_names(copies)] == ["shard-000001"]
    monkeypatch.undo()


def test_shards_that_cannot_be_copied_do_not_end_the_run(
    s3: Any, cache: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(_: Path) -> None:
        s3.share, s3.kinds = 1.0, ["503"]

    monkeypatch.setattr(shard_copies, "POLL_S", 3600.0)
    with pytest.warns(FeatxWarning) as told:
        cut_off(cache, write_shard(1, b"one"), lose)
    shard, lock = (str(one.message) for one in told)
    assert shard.startswith(f"finished work could not be copied to {cache}.partial (503")
    assert lock.startswith(f"the lock {cache}.lock could not be removed (503")


def test_of_two_runs_one_is_refused(cache: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_output(cache.text) as path:
        monkeypatch.setattr("featx.cache.lock.read_place", lambda: ("elsewhere", "2", "3"))
        with pytest.raises(CacheLockedError, match=r"got process \d+ on .*pass break_lock=True"):
            open_output(cache.text).__enter__()
        monkeypatch.undo()
        assert list_names(cache.parent) == ["cache.h5.lock"]
        path.write_bytes(NEW)
    assert read_range(cache) == NEW


def test_a_run_whose_lock_was_broken_does_not_write(cache: Address) -> None:
    def lose(path: Path) -> None:
        path.write_bytes(NEW)
        with RemoteLock(cache, break_lock=True):
            pass

    with pytest.raises(CacheLockedError, match=r"got a lock that .* has broken"):
        run(cache, lose)
    assert find_kind(cache) is None


def test_the_lock_of_a_dead_process_is_taken_over(cache: Address) -> None:
    lock = RemoteLock(cache)
    owner = json.loads(read_range(cache.parent / "cache.h5.lock"))
    write(cache.parent / "cache.h5.lock", json.dumps(owner | {"started": "1"}).encode())
    with RemoteLock(cache) as second:
        second.check()
        with pytest.raises(CacheLockedError):
            lock.check()
    write(cache.parent / "cache.h5.lock", b"damaged")
    with pytest.raises(CacheLockedError, match="got a damaged object"):
        RemoteLock(cache)


@pytest.mark.slow
def test_a_lock_is_taken_through_faults_by_one_run_only(
    s3: Any, cache: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.share, s3.kinds = 0.5, ["503", "drop", "lost"]
    n_taken = 0
    for seed in range(8):
        s3.seed = seed
        try:
            lock = RemoteLock(cache)
        except RemoteError:
            continue
        n_taken += 1
        with pytest.raises((CacheLockedError, RemoteError)):
            RemoteLock(cache)
        s3.share = 0.0
        lock.__exit__()
        s3.share = 0.5
    assert n_taken


@pytest.mark.parametrize("address", ["https://host/a.h5", "s3://bucket", "s3://bucket/folder/"])
def test_an_address_that_cannot_be_an_output_is_refused(address: str) -> None:
    with pytest.raises(CacheError, match="expected the address of a file"):
        open_output(address).__enter__()


def test_other_outputs_are_of_this_machine() -> None:
    with pytest.raises(CacheError, match=r"^s3://b/h.joblib: expected a path of this mach"):
        check_destination(Path("s3://b/h.joblib"), overwrite=True, error=CacheError)


def test_a_cache_is_copied_once_for_each_version(s3: Any, cache: Address) -> None:
    write(cache, OLD)
    path = localise(cache.text)
    assert path.read_bytes() == OLD
    s3.seen.clear()
    assert localise(cache.text) == path
    assert s3.seen == {"HEAD": 1}
    write(cache, NEW)
    os.utime(path.parent, (0, 0))
    assert localise(cache.text).read_bytes() == NEW
    assert not path.exists()
    with pytest.raises(CacheError, match="expected an object at this address, got none"):
        localise(f"{cache.parent}/none.h5")


def test_unfinished_work_outlives_the_store(store: Path) -> None:
    cache = Address("memory://outlives/cache.h5")
    cut_off(cache, write_new)
    shutil.rmtree(store)
    run(cache, lambda path: path.exists() or pytest.fail("lost"))


def test_copies_that_were_not_used_for_long_are_dropped(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caches = [Address(f"memory://{name}/cache.h5") for name in ("first", "second", "third")]
    monkeypatch.setattr("featx.core.artifacts.MAX_BYTES", 2 * len(NEW))
    paths = []
    for cache in caches:
        write(cache, NEW)
        monkeypatch.setattr("featx.remote.copies.find_state", lambda _: (len(NEW), 1))
        monkeypatch.setattr("featx.remote.objects.find_state", lambda _: (len(NEW), 1))
        paths.append(localise(cache.text))
    assert all(path.exists() for path in paths)  # of today
    for path in paths[:2]:
        os.utime(path.parent, (0, 0))
    assert localise(caches[0].text) == paths[0]  # is used again
    write(Address("memory://fourth/cache.h5"), NEW)
    localise("memory://fourth/cache.h5")
    assert [path.exists() for path in paths] == [True, False, True]


def test_the_caches_of_a_folder_are_copied_together(cache: Address) -> None:
    for number in (1, 2, 3):
        write(cache.parent / f"part-00{number}-of-003.h5", bytes([number]))
    for other in ("other/part-001-of-003.h5", "all.h5"):
        write(cache.parent / other, b"")
    folder = localise(cache.parent.text)
    assert {one.name: one.read_bytes() for one in folder.iterdir()} == {
        f"part-00{number}-of-003.h5": bytes([number]) for number in (1, 2, 3)
    }
    with pytest.raises(
        CacheError, match=r"expected a cache, or parts .*, got a folder without any"
    ):
        localise(cache.parent.parent.text)


def test_a_cache_that_is_copied_through_faults_is_whole(s3: Any, cache: Address) -> None:
    data = os.urandom(300_000)
    write(cache, data)
    s3.share, n_whole = 0.5, 0
    for seed in range(6):
        s3.seed = seed
        try:
            path = localise(cache.text)
        except CacheError:
            continue
        n_whole += 1
        assert path.read_bytes() == data
        shutil.rmtree(path.parent)
    assert n_whole


def test_staged_files_of_two_addresses_differ() -> None:
    folders = ("s3://b/x", "s3://b/y", "abfs://x@host", "abfs://y@host")
    assert len({find_staged(f"{folder}/a.h5") for folder in folders}) == 4
    assert find_staged("a.h5") == Path("a.h5")
    assert remote_output.READ_ONLY == ("http", "https")
