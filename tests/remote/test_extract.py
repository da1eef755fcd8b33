"""Extraction from and to a store: the result of this machine, or an error."""

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import pytest

from featx.cache.check import verify_cache
from featx.cache.joined import open_cache
from featx.cache.merge import merge_caches
from featx.cache.remote_output import open_output
from featx.cache.vouch import seal_cache
from featx.core.address import Address, name_location
from featx.core.errors import CacheError, FeatxError, SourceError, TooManyFailuresError
from featx.core.rows import Row
from featx.extraction.extract import extract
from featx.extraction.ledger import read_failures
from featx.fitting.label import label_cache
from featx.fitting.split import split_cache
from featx.images.content import Content, InMemory
from featx.images.entries import Entry
from featx.images.prefetch import iter_fetched
from featx.images.remote import RemoteContent
from featx.remote.objects import find_kind, iter_objects, read_range, remove
from tests.remote.buckets import copy_folder, write

VERSION_2 = Path(__file__).parents[1] / "cache/fixtures/version-2.h5"

pytestmark = pytest.mark.filterwarnings("ignore::featx.FeatxWarning")


@pytest.fixture
def run(tiny_backbone: str, tmp_path: Path, store: Path) -> Any:
    """Extract with the tiny backbone, on a machine of its own."""

    def run(source: Any, output: Any = "out.h5", **options: Any) -> Any:
        options = {"backbone": tiny_backbone, "batch_size": 4, "progress": False, **options}
        output = str(output) if "://" in str(output) else tmp_path / output
        return extract(str(source), output, **options)

    return run


def read_all(cache: Any) -> list[tuple[Any, ...]]:
    """Read ids, labels, splits, digests and vectors of a cache."""
    with open_cache(cache) as opened:
        vectors = [vector.tobytes() for vector in opened.read_vectors()]
        columns = opened.ids, opened.labels, opened.splits, opened.digests
        return sorted(zip(*(column.tolist() for column in columns), vectors, strict=True))


def list_reads(s3: Any, suffix: str = ".jpg") -> list[str]:
    """List the objects that were read."""
    return [path for method, path in s3.paths if method == "GET" and path.endswith(suffix)]


def test_a_folder_of_a_store_gives_the_cache_of_this_machine(
    run: Any, photos: Path, s3: Any, bucket: Address
) -> None:
    copy_folder(photos, bucket / "photos")
    here = run(photos, "here.h5")
    there = run(bucket / "photos", bucket / "out/there.h5")
    assert there.address == f"{bucket}/out/there.h5"
    assert there.summary.startswith(f"{bucket}/out/there.h5: 12 rows")
    assert read_all(there.address) == read_all(here.path)
    assert verify_cache(there.address).problems == ()
    assert [one.name for one in iter_objects(bucket / "out")] == ["there.h5"]


def test_objects_that_did_not_change_are_not_read_again(
    run: Any, photos: Path, s3: Any, bucket: Address
) -> None:
    copy_folder(photos, bucket / "photos")
    run(bucket / "photos")
    assert len(list_reads(s3)) == 12
    s3.paths.clear()
    assert not run(bucket / "photos").is_changed
    assert list_reads(s3) == []
    write(bucket / "photos/val/bees/1.jpg", (photos / "val/ants/0.jpg").read_bytes())
    s3.paths.clear()
    assert run(bucket / "photos").n_embedded == 0  # its content is known
    assert [path.rpartition("photos/")[2] for path in list_reads(s3)] == ["val/bees/1.jpg"]


def test_images_of_a_table_are_asked_for_but_not_read_again(
    run: Any, photos: Path, s3: Any, bucket: Address
) -> None:
    names = [file.relative_to(photos).as_posix() for file in sorted(photos.rglob("*.jpg"))]
    (photos / "t.csv").write_text("\n".join(["path", *names, "none.jpg"]))
    copy_folder(photos, bucket / "a")
    report = run(bucket / "a/t.csv")
    assert report.n_rows == 12
    (failure,) = read_failures(report.path)
    assert failure.reason == "expected an object at this address, got none. Check the address"
    s3.paths.clear()
    assert not run(bucket / "a/t.csv").is_changed
    assert [path.rpartition("/")[2] for path in list_reads(s3)] in ([], ["none.jpg"])


def test_a_tar_that_changes_while_it_is_read_is_refused(
    run: Any, photos: Path, bucket: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(bucket / "a.tar", write_tar(tmp_path / "a.tar", photos))
    read_whole = RemoteContent.read_whole

    def read_and_change(content: RemoteContent, status: Any = None) -> tuple[bytes, int, int]:
        found = read_whole(content, status)
        write(bucket / "a.tar", (tmp_path / "a.tar").read_bytes() + bytes(512))
        return found

    monkeypatch.setattr(RemoteContent, "read_whole", read_and_change)
    with pytest.raises(SourceError, match=r"a\.tar: expected a file that stays as it is"):
        run(bucket / "a.tar")
    monkeypatch.undo()


def write_tar(path: Path, folder: Path) -> bytes:
    with tarfile.open(path, "w") as tar:
        tar.add(folder, "photos")
    return path.read_bytes()


def test_a_tar_of_a_store_gives_the_cache_of_this_machine(
    run: Any, photos: Path, s3: Any, bucket: Address, tmp_path: Path
) -> None:
    write(bucket / "a.tar", write_tar(tmp_path / "a.tar", photos))
    here, there = run(tmp_path / "a.tar", "here.h5"), run(bucket / "a.tar", "there.h5")
    assert read_all(there.path) == read_all(here.path)
    s3.paths.clear()
    assert not run(bucket / "a.tar", "there.h5").is_changed
    assert len(list_reads(s3, ".tar")) == 1  # its list


def test_a_split_and_labels_are_written_to_the_address(
    run: Any, photos: Path, bucket: Address
) -> None:
    copy_folder(photos, bucket / "photos")
    output = run(bucket / "photos", bucket / "cache.h5").address
    assert split_cache(output, val=0.5, overwrite=True) == {"train": 6, "val": 6}
    label_cache(output, {"val/bees/0.jpg": "wasps"})
    with open_cache(output) as opened:
        assert opened.splits.tolist().count("val") == 6
        assert "wasps" in opened.labels
    (photos / "more.csv").write_text("id,label\nval/bees/1.jpg,flies\n")
    copy_folder(photos, bucket / "photos")
    assert label_cache(output, f"{bucket}/photos/more.csv").n_changed == 1
    with pytest.raises(CacheError, match="expected a cache, got no object at this address"):
        split_cache(f"{bucket}/none.h5")


@pytest.mark.slow
def test_parts_at_an_address_are_read_changed_and_sealed(
    run: Any, photos: Path, bucket: Address
) -> None:
    for number in (1, 2):
        run(photos, f"{bucket}/parts/", part=f"{number}/2")
    parts = f"{bucket}/parts"
    with open_cache(parts) as opened:
        assert (len(opened), name_location(opened.path)) == (12, parts)
    assert split_cache(parts, val=0.5, overwrite=True) == {"train": 6, "val": 6}
    assert label_cache(f"{parts}/", {"val/bees/0.jpg": "wasps"}).n_changed == 1
    with open_cache(parts) as opened:
        assert opened.splits.tolist().count("val") == 6
        assert "wasps" in opened.labels
    assert verify_cache(parts).problems == ()
    part = f"{parts}/part-001-of-002.h5"
    with open_output(part) as path, h5py.File(path, "a") as file:
        file["user/weights"] = [1, 2]
    (problem,) = verify_cache(parts).problems
    assert problem.startswith(f"{part}: expected the ")
    assert seal_cache(part).is_sealed
    assert verify_cache(parts).problems == ()
    with pytest.raises(CacheError, match=r"\*\.h5: expected the address of one .*got a pattern"):
        open_cache(f"{parts}/*.h5")


def test_another_machine_goes_on_from_the_shards(
    run: Any, photos: Path, bucket: Address, store: Path
) -> None:
    (photos / "val/bees/0.jpg").write_bytes(b"no image")
    copy_folder(photos, bucket / "photos")
    output = bucket / "cache.h5"
    with pytest.raises(TooManyFailuresError):
        run(bucket / "photos", output, max_failures=0, shard_seconds=0)
    assert find_kind(output) is None
    assert [one.path for one in read_failures(output.text)] == [f"{bucket}/photos/val/bees/0.jpg"]
    for folder in (store, Path(f"{store}-state")):  # another machine
        shutil.rmtree(folder)
    remove(bucket / "photos/val/bees/0.jpg")
    report = run(bucket / "photos", output, max_failures=0)
    assert (report.n_resumed, report.n_embedded, report.n_rows) == (11, 0, 11)
    assert find_kind(bucket / "cache.h5.partial") is None


def check_through_faults(
    run: Any, photos: Path, s3: Any, bucket: Address, *, seeds: range, share: float
) -> int:
    """Extract through faults, and return how often it succeeded; no cache is ever torn."""
    copy_folder(photos, bucket / "photos")
    whole, n_done = read_all(run(photos, "whole.h5").path), 0
    for seed in seeds:
        output = bucket / f"out/{seed}.h5"
        s3.seed, s3.share = seed, share
        try:
            run(bucket / "photos", output, shard_seconds=0, max_failures=0)
        except FeatxError as error:
            assert "\n" not in str(error)  # noqa: PT017
            s3.share = 0.0
            run(bucket / "photos", output, break_lock=True)
        else:
            n_done += 1
        s3.share = 0.0
        assert read_all(output.text) == whole
        assert verify_cache(output.text).problems == ()
    assert s3.faults.total() >= 20 * share * len(seeds)
    return n_done


@pytest.mark.slow
def test_a_server_that_fails_at_random_gives_the_same_cache(
    run: Any, photos: Path, s3: Any, bucket: Address
) -> None:
    assert check_through_faults(run, photos, s3, bucket, seeds=range(2), share=0.25) > 0


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_a_server_that_fails_often_gives_the_same_cache(
    share: float, run: Any, photos: Path, s3: Any, bucket: Address
) -> None:
    n_done = check_through_faults(run, photos, s3, bucket, seeds=range(8), share=share)
    assert n_done or share == 0.6


def build_entries(contents: list[Any]) -> list[Entry]:
    return [Entry(Row(id=str(number), path=""), one) for number, one in enumerate(contents)]


class Counted(RemoteContent):
    """An image at an address that counts how often it is read."""

    n_read = 0

    def read_whole(self, status: Any = None) -> tuple[bytes, int, int]:
        type(self).n_read += 1
        return self.file.encode(), len(self.file), 5


def test_iter_fetched_keeps_the_order_and_leaves_other_images_alone() -> None:
    kinds = [Content("a"), Counted("x://b"), InMemory(0), Counted("x://c"), Content("d")]
    entries = build_entries(kinds)
    chunks = [entries[:1], entries[1:4], entries[4:]]
    found = [one for chunk in iter_fetched(chunks) for one in chunk]
    assert [one.row for one in found] == [one.row for one in entries]
    assert [found[number].content for number in (0, 2, 4)] == [kinds[0], kinds[2], kinds[4]]
    content = found[3].content
    assert isinstance(content, Content)
    assert content.stat() == (5, 5)
    assert content.read_whole()[0] == b"x://c"
    assert Counted.n_read == 2


def test_iter_fetched_takes_local_chunks_one_at_a_time() -> None:
    taken = []

    def iter_chunks() -> Iterator[list[Entry]]:
        for number in range(3):
            taken.append(number)
            yield build_entries([Content(str(number))])

    chunks = iter_fetched(iter_chunks())
    next(chunks)
    assert taken == [0]
    assert len(list(chunks)) == 2


@pytest.fixture
def parts(store: Path, request: Any) -> Address:
    """A folder of one part and the merged cache, with the shard of an unfinished extraction."""
    folder = Address(f"memory://{request.node.name}")
    data = VERSION_2.read_bytes()
    for name in ("part-001-of-001.h5", "all.h5", "part-001-of-001.h5.partial/shard-000001.0.h5"):
        write(folder / name, data)
    return folder


def test_a_folder_at_an_address_is_its_parts(parts: Address) -> None:
    with open_cache(parts.text) as cache, open_cache(VERSION_2) as same:
        assert cache.ids.tolist() == same.ids.tolist()
    assert label_cache(parts.text, {cache.ids[0]: "zebras"}).n_changed == 1
    assert read_range(parts / "all.h5") == VERSION_2.read_bytes()


def test_a_merge_is_written_to_an_address(parts: Address, tmp_path: Path) -> None:
    here, there = tmp_path / "merged.h5", parts / "merged.h5"
    assert merge_caches(parts.text, here).digest == merge_caches(parts.text, there.text).digest
    assert read_range(there) == here.read_bytes()
    with pytest.raises(CacheError, match="expected a new object, got an object that exists"):
        merge_caches(parts.text, there.text)
    report = merge_caches(parts.text, there.text, overwrite=True)
    assert str(report).startswith(f"{there}: ")
    assert report.to_dict()["path"] == there.text
    part = (parts / "part-001-of-001.h5").text
    with pytest.raises(CacheError, match=r"got one of the caches to merge\."):
        merge_caches(parts.text, part, overwrite=True)
    assert len(list(iter_objects(parts))) == 4


def test_a_dry_run_writes_nothing_at_an_address(parts: Address) -> None:
    before, lock = list(iter_objects(parts)), parts / "part-001-of-001.h5.lock"
    write(lock, b"of another process")
    with open_cache(VERSION_2) as same:
        assert label_cache(parts.text, {same.ids[0]: "zebras"}, dry_run=True).n_new == 1
    report = seal_cache((parts / "part-001-of-001.h5").text, dry_run=True)
    assert (report.changes, report.is_sealed) == ((), False)
    remove(lock)
    assert [one.name for one in iter_objects(parts)] == [one.name for one in before]
