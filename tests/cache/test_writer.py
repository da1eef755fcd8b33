"""A cache comes back as it was written; a write that fails leaves the old cache."""

import errno
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest

from featx.cache import sealing
from featx.cache.format import EmbeddingInfo
from featx.cache.joined import open_cache
from featx.cache.label_writer import write_splits
from featx.cache.lock import CacheLock
from featx.cache.seal import SealedFile, check_seal
from featx.cache.tables import BLOCK_ROWS
from featx.cache.writer import Column, Placement, rewrite_cache
from featx.core.errors import CacheDamagedError, CacheError, CacheLockedError
from featx.core.rows import Failure, Row
from featx.core.typing import Array, IntArray, VectorDtype
from tests.builders import build_column, build_info, read_rows, write_rows

VECTORS = np.arange(24, dtype=np.float32).reshape(3, 8) / 7
ROWS = [
    Row(
        id="ants/a.jpg",
        path="/p/a",
        label="ants",
        split="train",
        group="burst 1",
        digest="0a" * 32,
        width=640,
        height=480,
        n_bytes=2**40,
        mtime_ns=2**60,
    ),
    Row(
        id="bees/ü.png",
        path="/p/bees/ü.png",
        label="bees",
        split="val",
        group=None,
        digest="0b" * 32,
        width=1,
        height=7,
        n_bytes=12,
        mtime_ns=-1,
    ),
    Row(id="c.gif", path="/p/c.gif"),
]
FAILURES = [
    Failure(
        id="d.jpg",
        path="/p/d.jpg",
        digest="0d" * 32,
        stage="decode",
        reason="empty file",
        n_bytes=0,
        mtime_ns=2**60,
    ),
    Failure(
        id="e.jpg", path="/p/e.jpg", digest="", stage="read", reason="No such file or directory"
    ),
    Failure(
        id="ä.jpg",
        path="/p/ä.jpg",
        digest="0f" * 32,
        stage="embed",
        reason="output is not finite",
        embedding="tiny@conv",
        n_bytes=9,
        mtime_ns=8,
    ),
]


def write_small(path: Path, info: EmbeddingInfo, **options: VectorDtype) -> str:
    columns = [build_column(info, VECTORS, **options)]
    return write_rows(path, ROWS, columns, failures=FAILURES, source="photos/")


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_write_cache_rows_come_back_as_given(tmp_path: Path) -> None:
    write_small(tmp_path / "c.h5", build_info())
    with open_cache(tmp_path / "c.h5") as cache:
        assert read_rows(cache) == ROWS
        assert cache.source == "photos/"
        assert len(cache) == 3


def test_write_cache_columns_come_back_as_given(tmp_path: Path) -> None:
    write_small(tmp_path / "c.h5", build_info())
    with open_cache(tmp_path / "c.h5") as cache:
        assert cache.ids.tolist() == [row.id for row in ROWS]
        assert cache.paths.tolist() == [row.path for row in ROWS]
        assert cache.labels.tolist() == ["ants", "bees", ""]
        assert cache.splits.tolist() == ["train", "val", ""]
        assert cache.groups.tolist() == ["burst 1", "", ""]
        assert cache.digests.tolist() == ["0a" * 32, "0b" * 32, ""]
        assert cache.sizes.tolist() == [[640, 480], [1, 7], [0, 0]]


def test_write_cache_failures_come_back_as_given(tmp_path: Path) -> None:
    write_small(tmp_path / "c.h5", build_info())
    with open_cache(tmp_path / "c.h5") as cache:
        assert cache.failures == tuple(FAILURES)


def test_write_cache_info_comes_back_as_given(tmp_path: Path) -> None:
    info = build_info()
    write_small(tmp_path / "c.h5", info)
    with open_cache(tmp_path / "c.h5") as cache:
        assert cache.get_info() == info


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_write_cache_vectors_come_back_in_dtype(tmp_path: Path, dtype: VectorDtype) -> None:
    write_small(tmp_path / "c.h5", build_info(), dtype=dtype)
    with open_cache(tmp_path / "c.h5") as cache:
        vectors = cache.read_vectors()
        assert cache.get_dtype() == dtype
    assert vectors.dtype == dtype
    np.testing.assert_array_equal(vectors, VECTORS.astype(dtype))


def read_texts(group: h5py.Group) -> list[str]:
    """Read a column of texts as FORMAT.md describes it."""
    data = group["bytes"][:].tobytes()
    return [data[start:end].decode() for start, end in pairwise(group["offsets"][:].tolist())]


def test_write_cache_file_is_read_by_plain_h5py(tmp_path: Path) -> None:
    write_small(tmp_path / "c.h5", build_info("resnet50"))
    with h5py.File(tmp_path / "c.h5") as file:
        X = file["embeddings/resnet50/vectors"][:]
        present = file["embeddings/resnet50/present"][:]
        ids, reasons = read_texts(file["rows/id"]), read_texts(file["failures/reason"])
        digests = file["rows/digest"][:]
    np.testing.assert_array_equal(X, VECTORS)
    assert present.tolist() == [1, 1, 1]
    assert ids == ["ants/a.jpg", "bees/ü.png", "c.gif"]
    assert [bytes(digest).hex() for digest in digests] == [row.digest or "00" * 32 for row in ROWS]
    assert reasons == [failure.reason for failure in FAILURES]


def test_write_cache_several_embeddings_keep_their_own_vectors(tmp_path: Path) -> None:
    infos = [build_info("a"), build_info("a@b", dim=2, layer="b")]
    columns = [build_column(infos[0], VECTORS), build_column(infos[1], -VECTORS[:, :2])]
    write_rows(tmp_path / "c.h5", ROWS, columns, source="")
    with open_cache(tmp_path / "c.h5") as cache:
        np.testing.assert_array_equal(cache.read_vectors("a"), VECTORS)
        np.testing.assert_array_equal(cache.read_vectors("a@b"), -VECTORS[:, :2])


def test_write_cache_more_rows_than_a_block_keep_their_order(tmp_path: Path) -> None:
    n_rows = 2 * BLOCK_ROWS + 500
    vectors = np.arange(n_rows, dtype=np.float32)[:, None]
    runs = []

    def read(rows: IntArray) -> Array:
        runs.append(len(rows))
        return vectors[rows]

    rows = [Row(id=f"{i}.jpg", path="") for i in range(n_rows)]
    write_rows(
        tmp_path / "c.h5",
        rows,
        [Column(info=build_info(dim=1), dtype="float32", read=read)],
        source="photos",
    )
    with open_cache(tmp_path / "c.h5") as cache:
        np.testing.assert_array_equal(cache.read_vectors(), vectors)
        assert cache.ids.tolist() == [row.id for row in rows]
    assert runs == [BLOCK_ROWS, BLOCK_ROWS, 500]


def test_write_cache_without_rows_is_an_empty_cache(tmp_path: Path) -> None:
    columns = [build_column(build_info(), VECTORS[:0])]
    write_rows(tmp_path / "c.h5", [], columns, failures=FAILURES, source="photos")
    with open_cache(tmp_path / "c.h5") as cache:
        assert len(cache) == 0
        assert read_rows(cache) == []
        assert cache.read_vectors().shape == (0, 8)
        assert cache.failures == tuple(FAILURES)


def test_write_cache_digest_is_that_of_the_content(tmp_path: Path) -> None:
    first = write_small(tmp_path / "a.h5", build_info())
    again = write_small(tmp_path / "b.h5", build_info())
    other = write_small(tmp_path / "c.h5", build_info(decoder="another"))
    with open_cache(tmp_path / "a.h5") as cache:
        assert cache.digest == first
    assert again == first
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert other != first


def test_write_cache_replaces_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "c.h5").write_text("old")
    write_small(tmp_path / "c.h5", build_info())
    check_seal(tmp_path / "c.h5")
    assert list_names(tmp_path) == ["c.h5"]


def test_write_cache_given_a_folder_is_written_there(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    seen = []

    def read(rows: IntArray) -> Array:
        seen.append((len(list_names(tmp_path / "work")), (tmp_path / "c.h5").exists()))
        return VECTORS[rows]

    columns = [Column(info=build_info(), dtype="float32", read=read)]
    write_rows(
        tmp_path / "c.h5", ROWS, columns, source="", placement=Placement(folder=tmp_path / "work")
    )
    assert seen == [(1, False)]
    assert list_names(tmp_path) == ["c.h5", "work"]
    assert list_names(tmp_path / "work") == []


def test_write_cache_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        CacheError, match=r"c\.h5: expected a file that can be written, got No such file"
    ):
        write_small(tmp_path / "no" / "c.h5", build_info())


def write_failing(path: Path, info: EmbeddingInfo, error: BaseException) -> None:
    def read(rows: IntArray) -> Array:
        raise error

    late = replace(info, name="late")
    columns = [build_column(info, VECTORS), Column(info=late, dtype="float32", read=read)]
    write_rows(path, ROWS, columns, source="")


@pytest.mark.parametrize("old", [None, b"old"], ids=["new", "replacing"])
@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt("stop")])
def test_write_cache_read_raises_leaves_what_was_there(
    tmp_path: Path, error: BaseException, old: bytes | None
) -> None:
    if old is not None:
        (tmp_path / "c.h5").write_bytes(old)
    with pytest.raises(type(error), match=r"stop"):
        write_failing(tmp_path / "c.h5", build_info(), error)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == (
        {} if old is None else {"c.h5": old}
    )


def test_write_cache_read_fails_in_system_says_untouched(cache_path: Path) -> None:
    before = cache_path.read_bytes()
    error = OSError(errno.EIO, "Input/output error")
    with pytest.raises(CacheError, match=r"cache\.h5: .*got Input/output error.*unchanged"):
        write_failing(cache_path, build_info(), error)
    assert cache_path.read_bytes() == before
    assert list_names(cache_path.parent) == ["cache.h5"]


def write_interrupted(path: Path, info: EmbeddingInfo, runs: list[tuple[int, int]]) -> None:
    def read(rows: IntArray) -> Array:
        runs.append((int(rows[0]), int(rows[-1]) + 1))
        signal.raise_signal(signal.SIGINT)
        return np.zeros((len(rows), 8), np.float32)

    rows = [Row(id=f"{i}.jpg", path="") for i in range(2 * BLOCK_ROWS)]
    write_rows(path, rows, [Column(info=info, dtype="float32", read=read)], source="")


def test_write_cache_ctrl_c_ends_it_after_the_block(cache_path: Path) -> None:
    before = cache_path.read_bytes()
    runs: list[tuple[int, int]] = []
    with pytest.raises(KeyboardInterrupt):
        write_interrupted(cache_path, build_info(), runs)
    assert runs == [(0, BLOCK_ROWS)]
    assert cache_path.read_bytes() == before
    assert list_names(cache_path.parent) == ["cache.h5"]


FULL_DISK = """
import json, resource, sys
from itertools import pairwise
from pathlib import Path
import numpy as np
from featx.cache.label_writer import write_splits
from featx.cache.writer import Column, write_cache
from featx.core.errors import FeatxError
from tests.builders import build_column, build_info, read_rows, write_rows
from featx.core.rows import Row

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def read(rows):
    if is_transient:
        limit(resource.RLIM_INFINITY)
    return vectors[rows]

path, is_transient = Path(sys.argv[1]), sys.argv[2] == "transient"
rows = [Row(id=f"{i}.jpg", path=f"/photos/{i}.jpg", label="ants") for i in range(300)]
vectors = np.ones((300, 64), np.float32)
info = build_info(dim=64)
write = lambda: write_rows(path, rows, [Column(info=info, dtype="float32", read=read)], source="")
calls = {"write": write, "split": lambda: write_splits(path, ["val"] * len(rows))}
write()
before = path.read_bytes()
found = []
for size in (0, 100, 3000, 9000, 20000, 43000, 60000, len(before) - 8000, len(before) - 10):
    if is_transient and size > 60000:
        continue
    for name in ["write"] if is_transient else calls:
        limit(size)
        try:
            calls[name]()
            result = "done"
        except FeatxError as error:
            result = str(error)
        limit(resource.RLIM_INFINITY)
        left = [file.name for file in path.parent.iterdir()]
        found.append([size, name, result, path.read_bytes() == before, left])
print(json.dumps(found))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize("kind", ["lasting", "transient"])
def test_write_cache_disk_full_keeps_old_bytes_and_leaves_nothing(
    tmp_path: Path, kind: str
) -> None:
    """HDF5 itself crashes here, or passes over it where there is room again a moment later."""
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "c.h5"), kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert len(found) == (7 if kind == "transient" else 18)
    for size, name, result, is_same, left in found:
        assert "expected a file that can be written, got File too large" in result, (size, name)
        assert (is_same, left) == (True, ["c.h5"]), (size, name)


def write_while_broken(path: Path, info: EmbeddingInfo) -> None:
    def read(rows: IntArray) -> Array:
        CacheLock(path, break_lock=True)
        return VECTORS[rows]

    with CacheLock(path) as lock:
        write_rows(
            path,
            ROWS,
            [Column(info=info, dtype="float32", read=read)],
            source="",
            placement=Placement(check=lock.check),
        )


def test_write_cache_lock_broken_meanwhile_keeps_old_bytes(cache_path: Path) -> None:
    before = cache_path.read_bytes()
    with pytest.raises(
        CacheLockedError, match=r"expected to be the only writer of the cache, got a lock"
    ):
        write_while_broken(cache_path, build_info())
    assert cache_path.read_bytes() == before
    assert list_names(cache_path.parent) == [".cache.h5.lock", "cache.h5"]


def test_write_splits_changes_splits_and_nothing_else(cache_path: Path) -> None:
    with open_cache(cache_path) as cache:
        vectors, rows, info, digest = (
            cache.read_vectors(),
            read_rows(cache),
            cache.get_info(),
            cache.digest,
        )
    splits = ["test"] * 10 + [""] * 50
    write_splits(cache_path, splits)
    check_seal(cache_path)
    with open_cache(cache_path) as cache:
        assert cache.splits.tolist() == splits
        assert cache.read_vectors().tobytes() == vectors.tobytes()
        assert cache.ids.tolist() == [row.id for row in rows]
        assert cache.labels.tolist() == [row.label for row in rows]
        assert cache.get_info() == info
        assert cache.digest != digest
    assert list_names(cache_path.parent) == ["cache.h5"]


def break_rewrite(path: Path, error: BaseException) -> None:
    with rewrite_cache(path) as file:
        file["rows/width"][:] = 9
        file["embeddings/tiny/vectors"][:] = 0
        raise error


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt("stop")])
def test_rewrite_cache_on_exception_leaves_old_bytes(
    cache_path: Path, error: BaseException
) -> None:
    before = cache_path.read_bytes()
    with pytest.raises(type(error), match=r"stop"):
        break_rewrite(cache_path, error)
    assert cache_path.read_bytes() == before
    assert list_names(cache_path.parent) == ["cache.h5"]


def test_write_splits_of_wrong_length_leaves_old_bytes(cache_path: Path) -> None:
    before = cache_path.read_bytes()
    with pytest.raises(AssertionError):
        write_splits(cache_path, ["train"])
    assert cache_path.read_bytes() == before
    assert list_names(cache_path.parent) == ["cache.h5"]


def test_rewrite_cache_while_locked_is_refused(cache_path: Path) -> None:
    before = cache_path.read_bytes()
    with (
        CacheLock(cache_path),
        pytest.raises(
            CacheLockedError, match=r"expected to be the only writer of the cache, got process"
        ),
    ):
        write_splits(cache_path, [""] * 60)
    assert cache_path.read_bytes() == before


def test_write_splits_for_another_state_of_the_file_is_refused(cache_path: Path) -> None:
    with open_cache(cache_path) as cache:
        read = cache.digest
    write_splits(cache_path, ["train"] * 60, digest=read)
    before = cache_path.read_bytes()
    with pytest.raises(
        CacheError,
        match=r"expected the file that was read, got a file that was written",
    ):
        write_splits(cache_path, ["val"] * 60, digest=read)
    assert cache_path.read_bytes() == before


def rewrite_while_broken(path: Path) -> None:
    with rewrite_cache(path) as file:
        file["rows/width"][:] = 9
        CacheLock(path, break_lock=True)


def rewrite_while_replaced(path: Path) -> None:
    with rewrite_cache(path) as file:
        file["rows/width"][:] = 9
        write_small(path, build_info())


def test_rewrite_cache_replaced_meanwhile_keeps_the_other_file(cache_path: Path) -> None:
    with pytest.raises(
        CacheError, match=r"expected the file that was read, got a file that was wr"
    ):
        rewrite_while_replaced(cache_path)
    with open_cache(cache_path) as cache:
        assert len(cache.ids) == len(ROWS)
    assert list_names(cache_path.parent) == ["cache.h5"]


def test_write_cache_new_leaves_a_file_that_is_there(cache_path: Path) -> None:
    before = cache_path.read_bytes()
    with pytest.raises(CacheError, match=r"a new file, or one with the same content, got a file"):
        write_rows(
            cache_path,
            ROWS,
            [build_column(build_info(), VECTORS)],
            source="",
            placement=Placement(overwrite=False),
        )
    assert cache_path.read_bytes() == before
    assert list_names(cache_path.parent) == ["cache.h5"]


def test_rewrite_cache_lock_broken_meanwhile_keeps_old_bytes(cache_path: Path) -> None:
    before = cache_path.read_bytes()
    with pytest.raises(CacheLockedError, match=r"got a lock that process .* has broken"):
        rewrite_while_broken(cache_path)
    assert cache_path.read_bytes() == before
    assert list_names(cache_path.parent) == [".cache.h5.lock", "cache.h5"]


@pytest.fixture
def wide(make_cache: Callable[..., Path]) -> Path:
    """A cache whose vectors fill many blocks of the seal."""
    return make_cache(infos=[build_info(dim=16384)])


def flip_in_vectors(path: Path) -> int:
    """Flip a bit of the vectors; return its position."""
    data = bytearray(path.read_bytes())
    place = len(data) // 2
    data[place] ^= 1
    path.write_bytes(data)
    return place


def test_rewrite_cache_that_uses_damage_is_refused_and_seals_nothing_anew(wide: Path) -> None:
    flip_in_vectors(wide)
    before = wide.read_bytes()
    with (
        pytest.raises(CacheError, match=r"cache\.h5: expected the bytes .*, got changes in bytes"),
        rewrite_cache(wide) as file,
    ):
        file["embeddings/tiny/vectors"][:, 3] = 1
    assert wide.read_bytes() == before
    assert list_names(wide.parent) == ["cache.h5"]


def test_rewrite_cache_beside_damage_leaves_it_to_be_found(wide: Path) -> None:
    place = flip_in_vectors(wide)
    write_splits(wide, ["test"] * 60)
    with SealedFile(wide) as sealed:
        ((start, end),) = sealed.verify()
    assert start <= place < end == start + 65536


def test_rewrite_cache_hashes_only_the_blocks_that_were_written(
    wide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SealedFile(wide) as sealed:
        n_blocks = sealed.seal.n_blocks
    checked: list[int] = []

    def check(sealed: SealedFile, numbers: list[int]) -> None:
        checked.extend(numbers)
        real(sealed, numbers)

    real = SealedFile.check
    with monkeypatch.context() as patch:
        patch.setattr(SealedFile, "check", check)
        write_splits(wide, ["test"] * 60)
    assert 0 < len(checked) <= 3 < n_blocks
    check_seal(wide)


def write_large(path: Path) -> None:
    column = build_column(build_info(dim=50_000), np.ones((3, 50_000), np.float32))
    write_rows(path, ROWS, [column], source="photos/")


def write_other_splits(path: Path) -> None:
    write_splits(path, ["val"] * 60)


@pytest.mark.parametrize("write", [write_large, write_other_splits])
def test_bytes_that_the_disk_changed_are_found_before_the_old_file_goes(
    cache_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None]
) -> None:
    before = cache_path.read_bytes()

    def damage_and_open(path: Path) -> SealedFile:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1  # among the vectors, which opening the cache does not read
        path.write_bytes(data)
        return SealedFile(path)

    monkeypatch.setattr(sealing, "SealedFile", damage_and_open)
    with pytest.raises(CacheDamagedError, match=r"got changes in"):
        write(cache_path)
    assert cache_path.read_bytes() == before
    assert list_names(cache_path.parent) == ["cache.h5"]


def test_write_cache_keeps_what_a_network_has_learnt_from(tmp_path: Path) -> None:
    learnt = np.array([3, 2**64 - 1], np.uint64)
    path, info, other = tmp_path / "c.h5", build_info("tuned"), build_info("tiny")
    columns = [replace(build_column(info, VECTORS), learnt=learnt), build_column(other, VECTORS)]
    write_rows(path, ROWS, columns, source="photos")
    write_splits(path, ["train"] * 3)
    with open_cache(path) as cache:
        assert cache.read_learnt_digests("tuned").tolist() == [3, 2**64 - 1]
        assert len(cache.read_learnt_digests("tiny")) == 0
        assert not cache.read_learnt("tiny").any()
    with h5py.File(path) as file:
        assert file["embeddings/tuned/learnt"].dtype == "<u8"
        assert "learnt" not in file["embeddings/tiny"]
