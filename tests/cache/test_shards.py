"""An interrupted extraction keeps its sound shards, and loses its damaged ones."""

import errno
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from featx.cache import sealing
from featx.cache import shards as shards_module
from featx.cache.datasets import ROW_BYTES
from featx.cache.format import EmbeddingInfo
from featx.cache.index import WorkPlan
from featx.cache.lock import CacheLock
from featx.cache.shards import Shards, find_plan
from featx.core.address import Address, note_copy
from featx.core.digests import pack_digests, unpack_digests
from featx.core.errors import CacheError, CacheLockedError, FeatxWarning
from featx.core.row_tables import READ_KINDS, build_table, list_values
from featx.core.rows import Failure, Row
from featx.core.typing import Array, VectorDtype
from tests.builders import build_info, leave_draft

Infos = Sequence[EmbeddingInfo]
OpenShards = Callable[..., Shards]


def name_digest(number: int) -> str:
    """Return the digest of the image with a number: zeros would be a digest that is not known."""
    return f"{number + 1:064x}"


def build_rows(start: int, end: int) -> list[Row]:
    return [
        Row(
            id=f"{i}.jpg",
            path=f"/p/{i}.jpg",
            label="ants",
            split=None,
            group=None,
            digest=name_digest(i),
            width=40,
            height=30,
            n_bytes=500 + i,
            mtime_ns=2**60 + i,
        )
        for i in range(start, end)
    ]


def build_vectors(start: int, end: int, infos: Infos) -> dict[str, Array]:
    """Build vectors that differ in every row, column and embedding."""
    values = np.arange(start, end, dtype=np.float32)[:, None]
    return {
        info.name: values + 1000 * place + np.arange(info.fingerprint.dim, dtype=np.float32) / 16
        for place, info in enumerate(infos)
    }


SOURCE = build_table(
    [
        *build_rows(0, 40),
        *(Row(id=f"{name}.jpg", path=f"/p/{name}.jpg") for name in ("again", "empty", "nan")),
    ],
    READ_KINDS,
)
"""The rows of the source, in its order."""


@pytest.fixture
def infos() -> list[EmbeddingInfo]:
    return [build_info("tiny"), build_info("tiny@conv", dim=3, layer="conv")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "c.h5.partial"


@pytest.fixture
def open_shards(folder: Path, infos: Infos) -> Iterator[OpenShards]:
    """Open the shards of the folder as a run does; all are closed after the test."""
    opened = []

    def start(
        infos: Infos = infos,
        *,
        dtype: VectorDtype = "float32",
        batch_size: int = 4,
        fresh: bool = False,
    ) -> Shards:
        shards = Shards(
            folder, infos, source=SOURCE, dtype=dtype, batch_size=batch_size, fresh=fresh
        )
        opened.append(shards)
        return shards

    yield start
    for shards in opened:
        shards.close()


def append_rows(shards: Shards, infos: Infos, *runs: tuple[int, int]) -> None:
    """Append runs of rows, and seal one shard."""
    for start, end in runs:
        shards.append(build_rows(start, end), build_vectors(start, end, infos))
    shards.seal()


@pytest.fixture
def three(folder: Path, infos: Infos, open_shards: OpenShards) -> Path:
    """A folder of three shards with rows 0 to 5, 5 to 8, and 8 to 20 of three batches."""
    shards = open_shards()
    append_rows(shards, infos, (0, 5))
    append_rows(shards, infos, (5, 8))
    append_rows(shards, infos, (8, 12), (12, 13), (13, 20))
    shards.close()
    return folder


def read_row(shards: Shards, name: str, number: int) -> Array:
    (place,) = shards.index.find(pack_digests([name_digest(number)]))
    assert place >= 0
    shard, row = (int(shards.index.contents[key][place]) for key in ("shard", "row"))
    vector: Array = shards.read_vectors(name, shard, np.array([row]))[0]
    return vector


def list_contents(shards: Shards) -> set[str]:
    """List the digests that have vectors."""
    return set(unpack_digests(shards.index.contents["digest"]))


def list_reads(shards: Shards) -> dict[str, tuple[str, int, int]]:
    """List digest, size and time of the files that were read, by id."""
    reads = shards.index.reads
    columns = (list_values(reads, name) for name in ("digest", "n_bytes", "mtime_ns"))
    found = zip(SOURCE["id"], *columns, strict=True)
    return {name: (digest, n_bytes, time) for name, digest, n_bytes, time in found if digest}


def check_rows(shards: Shards, infos: Infos, numbers: Iterable[int]) -> None:
    """Make sure that these rows are there, with their vectors, and no others."""
    assert list_contents(shards) == {name_digest(number) for number in numbers}
    assert list_reads(shards) == {
        row.id: (row.digest, row.n_bytes, row.mtime_ns)
        for number in numbers
        for row in build_rows(number, number + 1)
    }
    for number in numbers:
        for name, values in build_vectors(number, number + 1, infos).items():
            np.testing.assert_array_equal(read_row(shards, name, number), values[0])


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


SHARDS = ["shard-000001.h5", "shard-000002.h5", "shard-000003.h5"]


def test_shards_sealed_are_there_at_once(
    folder: Path, infos: Infos, open_shards: OpenShards
) -> None:
    shards = open_shards()
    append_rows(shards, infos, (0, 5))
    append_rows(shards, infos, (5, 7))
    check_rows(shards, infos, range(7))
    assert list_names(folder) == [*SHARDS[:2]]
    with h5py.File(folder / SHARDS[0]) as file:
        assert file.attrs["format"] == "featx-shard"


def test_shards_reopened_are_as_they_were(
    three: Path, infos: Infos, open_shards: OpenShards
) -> None:
    shards = open_shards()
    check_rows(shards, infos, range(20))
    assert shards.n_damaged == 0
    assert list_names(three) == [*SHARDS]


def test_shards_reopened_go_on_in_a_new_shard(
    three: Path, infos: Infos, open_shards: OpenShards
) -> None:
    append_rows(open_shards(), infos, (20, 22))
    check_rows(open_shards(), infos, range(22))
    assert list_names(three) == [*SHARDS, "shard-000004.h5"]


def test_shards_not_sealed_are_not_there_after_reopening(
    three: Path, infos: Infos, open_shards: OpenShards
) -> None:
    shards = open_shards()
    shards.append(build_rows(20, 24), build_vectors(20, 24, infos))
    check_rows(shards, infos, range(20))
    check_rows(open_shards(), infos, range(20))
    assert list_names(three) == [*SHARDS]


def test_shards_seal_of_nothing_writes_nothing(
    folder: Path, infos: Infos, open_shards: OpenShards
) -> None:
    shards = open_shards()
    shards.seal()
    assert list_names(folder) == []
    append_rows(shards, infos, (0, 2))
    shards.seal()
    assert list_names(folder) == [SHARDS[0]]


def test_seal_when_due_after_its_time_seals(
    folder: Path, infos: Infos, open_shards: OpenShards
) -> None:
    shards = open_shards()
    shards.append(build_rows(0, 2), build_vectors(0, 2, infos))
    shards.seal_when_due(3600)
    assert list_names(folder) == []
    shards.seal_when_due(0)
    assert list_names(folder) == [SHARDS[0]]
    check_rows(shards, infos, range(2))


@pytest.mark.parametrize(("now", "n_shards"), [(100.0, 0), (129.9, 0), (130.0, 1), (200.0, 1)])
def test_seal_when_due_at_the_second_seals(
    folder: Path,
    infos: Infos,
    open_shards: OpenShards,
    monkeypatch: pytest.MonkeyPatch,
    now: float,
    n_shards: int,
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    shards = open_shards()
    shards.append(build_rows(0, 2), build_vectors(0, 2, infos))
    monkeypatch.setattr(time, "monotonic", lambda: now)
    shards.seal_when_due(30)
    assert len(list_names(folder)) == n_shards


def test_seal_when_due_counts_from_the_last_time(
    folder: Path, infos: Infos, open_shards: OpenShards, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    shards = open_shards()
    counts = []
    for start, now in enumerate((1010.0, 1030.0, 1040.0, 1059.9, 1060.0)):
        clock[0] = now
        shards.append(build_rows(start, start + 1), build_vectors(start, start + 1, infos))
        shards.seal_when_due(30)
        counts.append(len(list_names(folder)))
    assert counts == [0, 1, 1, 1, 2]


def test_shards_folder_outlives_a_power_cut(
    folder: Path, open_shards: OpenShards, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[tuple[Path, bool]] = []
    monkeypatch.setattr(
        shards_module, "sync_folder", lambda path: flushed.append((path, folder.is_dir()))
    )
    open_shards()
    assert flushed == [(folder.parent, True)]


def test_seal_when_due_with_many_bytes_seals(
    folder: Path,
    infos: Infos,
    open_shards: OpenShards,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shards_module, "MAX_PENDING_BYTES", 4 * ((8 + 3) * 4 + ROW_BYTES))
    shards = open_shards()
    shards.append(build_rows(0, 3), build_vectors(0, 3, infos))
    shards.seal_when_due(3600)
    assert list_names(folder) == []
    shards.append(build_rows(3, 4), build_vectors(3, 4, infos))
    shards.seal_when_due(3600)
    assert list_names(folder) == [SHARDS[0]]


def test_shards_repeats_and_failures_alone_are_kept(infos: Infos, open_shards: OpenShards) -> None:
    shards = open_shards()
    append_rows(shards, infos, (0, 1))
    repeat = Row(
        id="again.jpg", path="/p/again.jpg", digest=name_digest(0), width=40, height=30, n_bytes=9
    )
    none = {info.name: np.empty((0, info.fingerprint.dim), np.float32) for info in infos}
    shards.append([], none, repeats=[repeat])
    shards.seal()
    shards = open_shards()
    assert list_reads(shards)["again.jpg"] == (repeat.digest, 9, -1)
    assert list_contents(shards) == {name_digest(0)}
    np.testing.assert_array_equal(
        read_row(shards, "tiny", 0), build_vectors(0, 1, infos)["tiny"][0]
    )


FAILURES = [
    Failure(
        id="unread.jpg", path="/p/unread.jpg", digest="", stage="read", reason="Permission denied"
    ),
    Failure(
        id="empty.jpg",
        path="/p/empty.jpg",
        digest="e0" * 32,
        stage="decode",
        reason="empty file",
        embedding="",
        n_bytes=0,
        mtime_ns=7,
    ),
    Failure(
        id="nan.jpg",
        path="/p/nan.jpg",
        digest="f0" * 32,
        stage="embed",
        reason="not finite",
        embedding="tiny",
        n_bytes=100,
        mtime_ns=8,
    ),
    Failure(
        id="nan.jpg",
        path="/p/nan.jpg",
        digest="f0" * 32,
        stage="embed",
        reason="not finite",
        embedding="tiny@conv",
        n_bytes=100,
        mtime_ns=8,
    ),
]


@pytest.mark.parametrize("reopened", [False, True])
def test_shards_failures_with_digest_are_known_others_tried_again(
    infos: Infos, open_shards: OpenShards, reopened: bool
) -> None:
    shards = open_shards()
    shards.append(build_rows(0, 2), build_vectors(0, 2, infos), failures=FAILURES)
    shards.seal()
    shards = open_shards() if reopened else shards
    assert shards.index.failures == {
        "e0" * 32: {"": FAILURES[1]},
        "f0" * 32: {"tiny": FAILURES[2], "tiny@conv": FAILURES[3]},
    }
    assert set(list_reads(shards)) == {"0.jpg", "1.jpg", "empty.jpg", "nan.jpg"}
    assert list_reads(shards)["empty.jpg"] == ("e0" * 32, 0, 7)
    assert list_contents(shards) == {name_digest(0), name_digest(1)}


def flip_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def write_other(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["rows"] = 1


DAMAGES = [
    pytest.param(flip_middle, id="bit"),
    pytest.param(truncate, id="truncated"),
    pytest.param(lambda path: path.write_bytes(b""), id="empty"),
    pytest.param(write_other, id="unsealed"),
]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    ("number", "rest"),
    [(0, range(5, 20)), (1, [*range(5), *range(8, 20)]), (2, range(8))],
    ids=["first", "middle", "last"],
)
def test_shards_damaged_one_is_dropped_and_the_rest_stays(
    three: Path,
    infos: Infos,
    open_shards: OpenShards,
    damage: Callable[[Path], object],
    number: int,
    rest: Iterable[int],
) -> None:
    damage(three / SHARDS[number])
    shards = open_shards()
    assert shards.n_damaged == 1
    check_rows(shards, infos, rest)
    assert SHARDS[number] not in list_names(three)
    lost = sorted(set(range(20)) - set(rest))
    append_rows(shards, infos, (lost[0], lost[-1] + 1))
    shards = open_shards()
    assert shards.n_damaged == 0
    check_rows(shards, infos, range(20))


def test_shards_all_damaged_are_counted(three: Path, infos: Infos, open_shards: OpenShards) -> None:
    for name in SHARDS:
        flip_middle(three / name)
    shards = open_shards()
    assert shards.n_damaged == 3
    check_rows(shards, infos, [])
    assert list_names(three) == []


def read_all(shards: Shards) -> list[Array]:
    return [read_row(shards, "tiny", number) for number in range(20)]


def test_read_vectors_damaged_after_opening_is_refused(
    three: Path, open_shards: OpenShards
) -> None:
    shards = open_shards()
    flip_middle(three / SHARDS[1])
    with pytest.raises(
        CacheError, match=r"shard-000002\.h5: expected the bytes .*, got changes in bytes"
    ):
        read_all(shards)


def test_read_vectors_damaged_where_not_yet_read_is_refused(
    infos: Infos, open_shards: OpenShards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "BLOCK_SIZE", 256)
    shards = open_shards()
    append_rows(shards, infos, (0, 2000))
    read_row(shards, "tiny@conv", 0)
    path = shards.folder / SHARDS[0]
    with h5py.File(path) as file:
        vectors = file["vectors/tiny"]
        place = path.read_bytes().index(vectors[5 * vectors.chunks[0]].tobytes())
    with path.open("r+b") as stream:
        stream.seek(place)
        stream.write(b"\xff")
    with pytest.raises(
        CacheError, match=r"shard-000001\.h5: expected the bytes .*, got changes in bytes"
    ):
        shards.read_vectors("tiny", 1, np.arange(2000))


def test_shards_drafts_of_killed_writer_are_removed(
    three: Path, infos: Infos, open_shards: OpenShards
) -> None:
    drafts = [leave_draft(three / "shard-000004.h5"), leave_draft(three / "c.h5")]
    (three / "notes.txt").touch()
    shards = open_shards()
    check_rows(shards, infos, range(20))
    shards.append(build_rows(20, 23), build_vectors(20, 23, infos))
    shards.seal()
    assert list_names(three) == [drafts[1].name, "notes.txt", *SHARDS, "shard-000004.h5"]
    with pytest.warns(FeatxWarning, match=r"c\.h5\.partial could not be removed \(Directory not"):
        shards.remove()
    assert list_names(three) == ["notes.txt"]


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        pytest.param({"name": "other"}, {}, r"got unfinished work on tiny, tiny@conv\.", id="name"),
        pytest.param({"backbone": "x"}, {}, r"another backbone of tiny: tiny\.", id="backbone"),
        pytest.param({"dim": 9}, {}, r"got another dim of tiny: 8\.", id="dim"),
        pytest.param({"weights_digest": "cd"}, {}, r"weights_digest of tiny: abab", id="weights"),
        pytest.param({"precision": "bf16"}, {}, r"another precision of tiny: fp32\.", id="prec"),
        pytest.param({}, {"dtype": "float16"}, r"dtype float32 in place of float16\.", id="dtype"),
        pytest.param({}, {"batch_size": 8}, r"batch_size 4 in place of 8\.", id="batch"),
    ],
)
def test_shards_of_another_plan_are_refused_or_dropped_when_fresh(
    three: Path,
    infos: Infos,
    open_shards: OpenShards,
    changes: dict[str, Any],
    options: dict[str, Any],
    message: str,
) -> None:
    others = [build_info(**changes), infos[1]]
    before = {path.name: path.read_bytes() for path in three.iterdir()}
    with pytest.raises(
        CacheError, match=rf"{message}.*Finish that .*or delete .*: rm -r .*\.partial"
    ):
        open_shards(others, **options)
    assert {path.name: path.read_bytes() for path in three.iterdir()} == before
    shards = open_shards(others, fresh=True, **options)
    assert (list_reads(shards), shards.index.n_contents, shards.n_damaged) == ({}, 0, 0)
    assert list_names(three) == []
    append_rows(shards, others, (0, 3))
    assert set(list_reads(open_shards(others, **options))) == {"0.jpg", "1.jpg", "2.jpg"}


def test_shards_of_another_plan_for_an_address_are_named_here_and_there(
    three: Path, infos: Infos, open_shards: OpenShards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.core.address._copies", {})
    note_copy(Path(str(three).removesuffix(".partial")), Address("s3://b/a.h5"))
    told = rf"rm -r {three} and, if they are there, the objects below s3://b/a\.h5\.partial/"
    with pytest.raises(CacheError, match=told):
        open_shards([build_info(name="other"), infos[1]])


def test_shards_of_fewer_embeddings_are_refused(
    three: Path, infos: Infos, open_shards: OpenShards
) -> None:
    with pytest.raises(CacheError, match=r"got unfinished work on tiny, tiny@conv\."):
        open_shards(infos[:1])


def test_shards_of_the_same_plan_go_on_when_fresh(
    three: Path, infos: Infos, open_shards: OpenShards
) -> None:
    check_rows(open_shards(fresh=True), infos, range(20))


def test_shards_provenance_is_no_part_of_the_plan(
    three: Path, infos: Infos, open_shards: OpenShards
) -> None:
    later = [replace(info, provenance=replace(info.provenance, time="later")) for info in infos]
    check_rows(open_shards(later), infos, range(20))


def test_shards_float16_vectors_come_back_rounded(infos: Infos, open_shards: OpenShards) -> None:
    shards = open_shards(dtype="float16")
    append_rows(shards, infos, (0, 5))
    values = open_shards(dtype="float16").read_vectors("tiny", 1, np.arange(5))
    assert values.dtype == np.float16
    np.testing.assert_array_equal(values, build_vectors(0, 5, infos)["tiny"].astype(np.float16))


def test_read_vectors_of_a_shard_that_another_replaced_is_refused(
    infos: Infos, open_shards: OpenShards, tmp_path: Path
) -> None:
    shards = open_shards()
    append_rows(shards, infos, (0, 3))
    other = Shards(tmp_path / "other", infos, source=SOURCE, dtype="float32", batch_size=4)
    append_rows(other, infos, (3, 6))
    os.replace(other.folder / SHARDS[0], shards.folder / SHARDS[0])
    with pytest.raises(CacheError, match=r"got changes in the whole shard"):
        read_row(shards, "tiny", 0)


def test_shards_that_cannot_be_read_are_refused_not_dropped(
    three: Path, open_shards: OpenShards, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise CacheError(
            subject=str(path),
            expected="a file that can be read",
            got="Input/output error",
            remedy="Check its disk.",
        )

    monkeypatch.setattr(shards_module, "check_seal", fail)
    with pytest.raises(CacheError, match=r"Input/output error"):
        open_shards()
    assert list_names(three) == SHARDS


def test_read_vectors_of_more_shards_than_are_kept_open_in_any_order(
    infos: Infos, open_shards: OpenShards
) -> None:
    shards = open_shards()
    for number in range(20):
        append_rows(shards, infos, (3 * number, 3 * number + 3))
    rng = np.random.default_rng(0)
    for shard in np.concatenate([rng.permutation(20) for _ in range(3)]).tolist():
        rows = rng.integers(0, 3, 4)
        for name, values in build_vectors(3 * shard, 3 * shard + 3, infos).items():
            found = shards.read_vectors(name, shard + 1, rows)
            np.testing.assert_array_equal(found, values[rows])


def test_seal_that_fails_leaves_no_draft_and_can_be_done_again(
    three: Path,
    infos: Infos,
    open_shards: OpenShards,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    shards = open_shards()
    shards.append(build_rows(20, 23), build_vectors(20, 23, infos))
    with monkeypatch.context() as patch:
        patch.setattr(shards_module, "seal_file", fail)
        with pytest.raises(CacheError, match=r"shard-000004\.h5: .*got No space left on device"):
            shards.seal()
    assert list_names(three) == [*SHARDS]
    check_rows(open_shards(), infos, range(20))
    shards.seal()
    check_rows(open_shards(), infos, range(23))


@pytest.mark.parametrize("moment", ["_clear", "_check_lock"])
def test_seal_that_ctrl_c_interrupts_writes_no_content_twice(
    folder: Path,
    infos: Infos,
    open_shards: OpenShards,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    shards = open_shards()
    shards.append(build_rows(0, 4), build_vectors(0, 4, infos))
    act = getattr(shards, moment)

    def interrupt() -> None:
        signal.raise_signal(signal.SIGINT)
        act()

    with monkeypatch.context() as patch:
        patch.setattr(shards, moment, interrupt)
        with pytest.raises(KeyboardInterrupt):
            shards.seal()
    shards.seal()
    assert os.listdir(folder) == ["shard-000001.h5"]
    assert shards.index.n_contents == open_shards().index.n_contents == 4


def test_remove_open_shards_removes_the_folder(three: Path, open_shards: OpenShards) -> None:
    shards = open_shards()
    read_row(shards, "tiny", 3)
    shards.remove()
    assert not three.exists()


def test_shards_without_parent_folder_are_refused(tmp_path: Path, infos: Infos) -> None:
    with pytest.raises(CacheError, match=r"\.partial: .*got No such file or directory"):
        Shards(
            tmp_path / "no" / "c.h5.partial", infos, source=SOURCE, dtype="float32", batch_size=4
        )


def test_seal_under_a_broken_lock_writes_no_shard(folder: Path, infos: Infos) -> None:
    cache = folder.with_name("c.h5")
    with CacheLock(cache) as lock:
        shards = Shards(folder, infos, source=SOURCE, dtype="float32", batch_size=4, lock=lock)
        append_rows(shards, infos, (0, 3))
        shards.append(build_rows(3, 5), build_vectors(3, 5, infos))
        with CacheLock(cache, break_lock=True):
            with pytest.raises(
                CacheLockedError, match=r"c\.h5: .* got a lock that process .* has broken"
            ):
                shards.seal()
            with pytest.raises(
                CacheLockedError, match=r"c\.h5: .* got a lock that process .* has broken"
            ):
                shards.remove()
    assert list_names(folder) == [SHARDS[0]]
    assert set(list_reads(shards)) == {"0.jpg", "1.jpg", "2.jpg"}


def test_shards_under_the_lock_are_written_and_removed(folder: Path, infos: Infos) -> None:
    with CacheLock(folder.with_name("c.h5")) as lock:
        shards = Shards(folder, infos, source=SOURCE, dtype="float32", batch_size=4, lock=lock)
        append_rows(shards, infos, (0, 3))
        assert list_names(folder) == [SHARDS[0]]
        shards.remove()
        assert not folder.exists()


def test_find_plan_of_unfinished_work_reads_the_first_sound_shard(
    three: Path, infos: Infos, tmp_path: Path
) -> None:
    flip_middle(three / SHARDS[0])
    fingerprints = {info.name: info.fingerprint for info in infos}
    assert find_plan(three) == WorkPlan(embeddings=fingerprints, dtype="float32", batch_size=4)
    assert find_plan(tmp_path / "none") is None


def count_open_files() -> int:
    return int(h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE))


def test_read_vectors_keeps_a_limited_number_of_shards_open(
    infos: Infos, open_shards: OpenShards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards_module, "MAX_OPEN", 3)
    shards = open_shards()
    for number in range(5):
        append_rows(shards, infos, (number, number + 1))
    before = count_open_files()
    counts = []
    for number in (0, 1, 1, 2, 3, 4, 0):
        read_row(shards, "tiny", number)
        counts.append(count_open_files() - before)
    assert counts == [1, 2, 2, 3, 3, 3, 3]
    shards.close()
    assert count_open_files() == before
