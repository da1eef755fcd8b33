"""Objects of a store are listed, read and written whole, through a server that fails at random."""

import datetime
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from featx.core.address import Address
from featx.core.errors import MissingExtraError
from featx.remote import store
from featx.remote.failures import ChangedError, MissingError, PastEndError, RemoteError
from featx.remote.objects import (
    Found,
    download,
    find_kind,
    find_state,
    is_same,
    iter_objects,
    read_range,
    read_state,
    remove,
)
from featx.remote.stream import MIN_BLOCK, RemoteStream
from featx.remote.upload import put, upload
from tests.remote.buckets import write

DATA = bytes(range(256)) * 400


def test_iter_objects_lists_names_and_states_below_a_folder(bucket: Address) -> None:
    names = ["1.jpg", "a/2.jpg", "a/b c/ü%+#.jpg", "a.jpg"]
    for name in names:
        write(bucket / "photos" / name, name.encode())
    write(bucket / "photos/a", b"an object with the name of a folder")
    write(bucket / "other/3.jpg", b"")
    store.request(bucket, lambda system, path: system.pipe_file(f"{path}/photos/empty/", b""))
    found = sorted(iter_objects(bucket / "photos"))
    assert [one.name for one in found] == sorted([*names, "a"])
    assert found[0] == Found("1.jpg", find_state(bucket / "photos/1.jpg"))
    assert find_kind(bucket / "photos") == "folder"
    assert find_kind(bucket) == "folder"
    assert find_kind(bucket / "photos/1.jpg") == "object"
    assert find_kind(bucket / "photos/2.jpg") is None


def test_find_state_tells_another_content_of_the_same_second(bucket: Address) -> None:
    write(bucket / "1.jpg", b"one")
    before = find_state(bucket / "1.jpg")
    write(bucket / "1.jpg", b"two")
    after = find_state(bucket / "1.jpg")
    assert before[0] == after[0] == 3
    assert before[1] % 1_000_000_000 != after[1] % 1_000_000_000


def test_read_range_reads_what_was_asked_for_in_one_request(s3: Any, bucket: Address) -> None:
    write(bucket / "a.tar", DATA)
    write(bucket / "empty.jpg", b"")
    s3.seen.clear()
    assert read_range(bucket / "a.tar") == DATA
    assert read_range(bucket / "a.tar", 10, 20) == DATA[10:20]
    assert read_range(bucket / "a.tar", len(DATA) - 3, len(DATA) + 9) == DATA[-3:]
    assert read_range(bucket / "a.tar", 5, 5) == b""
    assert read_range(bucket / "empty.jpg") == b""
    assert s3.seen == {"GET": 4}
    with pytest.raises(PastEndError):
        read_range(bucket / "a.tar", len(DATA), len(DATA) + 1)
    with pytest.raises(MissingError, match="expected an object at this address, got none"):
        read_range(bucket / "none.jpg")


def is_done(call: Callable[[], object]) -> bool:
    """Tell whether a call succeeds; otherwise, its error says that it may succeed later."""
    try:
        call()
    except RemoteError as error:
        if not error.is_transient:
            raise
        return False
    return True


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 4))]
)
def test_copies_are_whole_or_fail_whatever_the_server_does(
    seed: int, s3: Any, bucket: Address, tmp_path: Path
) -> None:
    here, back, there = tmp_path / "here", tmp_path / "back", bucket / "cache.h5"
    write(there, b"old")
    s3.share, s3.seed = 0.4, seed
    for number in range(4):
        data = DATA[: 10_000 * (number + 1)]
        here.write_bytes(data)
        if is_done(lambda: upload(here, there, folder=bucket / "work")):
            s3.share = 0.0
            assert read_range(there) == data
            s3.share = 0.4
        allowed = [b"old", *(DATA[: 10_000 * (n + 1)] for n in range(number + 1))]
        if is_done(lambda: download(there, back)):
            assert back.read_bytes() in allowed
    assert s3.faults.total() >= 8


def test_a_request_that_fails_is_made_again_so_many_times_and_no_more(
    s3: Any, bucket: Address
) -> None:
    write(bucket / "1.jpg", DATA)
    s3.share, s3.kinds = 1.0, ["503"]
    s3.seen.clear()
    with pytest.raises(RemoteError, match=r"^expected an answer of the store, got 503") as error:
        read_range(bucket / "1.jpg")
    assert s3.seen == {"GET": store.N_TRIES}
    assert "Run the same again later" in str(error.value)
    s3.kinds, s3.n_faults = ["503", "drop", "cut"], store.N_TRIES - 1
    s3.faults.clear()
    assert read_range(bucket / "1.jpg") == DATA


def test_a_store_that_never_answers_ends_the_run(
    s3: Any, bucket: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MAX_LOST", 3)
    monkeypatch.setattr(store, "N_TRIES", 1)
    write(bucket / "1.jpg", DATA)
    s3.share, s3.kinds = 1.0, ["503"]
    for _ in range(2):
        with pytest.raises(RemoteError):
            read_range(bucket / "1.jpg")
    with pytest.raises(store.StoreLostError, match="for the last 3 objects") as error:
        read_range(bucket / "1.jpg")
    assert error.value.subject == f"s3://{bucket.host}"


def test_a_refused_request_is_not_made_again(s3: Any, bucket: Address) -> None:
    s3.share, s3.kinds = 1.0, ["403"]
    s3.seen.clear()
    with pytest.raises(RemoteError, match=r"expected the right to do so, got .*403.*credentials"):
        read_range(bucket / "1.jpg")
    assert s3.seen == {"GET": 1}


def test_a_bucket_that_does_not_exist_is_told(s3: Any) -> None:
    with pytest.raises(MissingError, match=r"expected an existing bucket, got no bucket 'typo'"):
        find_kind(Address("s3://typo/photos"))


def test_an_error_that_is_being_handled_is_no_cause(s3: Any, bucket: Address) -> None:
    s3.share, s3.kinds = 1.0, ["drop"]
    with pytest.raises(RemoteError, match="got no answer") as lost:
        read_range(bucket / "1.jpg")
    s3.share = 0.0
    try:
        raise lost.value
    except RemoteError:
        assert find_kind(bucket / "1.jpg") is None


def test_missing_credentials_say_what_to_set(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(RemoteError, match=r"^expected credentials .* Set AWS_PROFILE, or AWS_A"):
        find_state(Address("s3://bucket/photos"))


def test_an_unreachable_server_is_told(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "N_TRIES", 2)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(RemoteError, match=r"got no answer of lost .*Check the network"):
        find_state(Address("s3://lost/photos"))


def test_an_unknown_scheme_and_a_missing_package_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RemoteError, match="a scheme that fsspec knows, got gopher://"):
        find_state(Address("gopher://host/photos"))
    monkeypatch.setitem(sys.modules, "s3fs", None)
    known = importlib.import_module("fsspec.registry")
    monkeypatch.delitem(vars(known)["_registry"], "s3", raising=False)
    with pytest.raises(MissingExtraError, match=r"pip install s3fs \(the extra remote of featx"):
        find_state(Address("s3://host/photos"))


@pytest.mark.parametrize(
    ("address", "remedy"),
    [
        (
            "s3://bucket/photos",
            r"^s3://bucket/photos: .*for s3://.*Run: pip install s3fs \(the extra",
        ),
        ("https://host/a.tar", r"^https://host/a.tar: .*Run: pip install fsspec aiohttp \(the ex"),
        ("gs://bucket/photos", r"Run: pip install fsspec \(the extra remote of featx"),
    ],
)
def test_without_the_extra_one_line_says_what_to_install(
    address: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingExtraError, match=remedy):
        find_state(Address(address))


def test_remove_of_what_is_gone_passes(bucket: Address, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(DATA)
    put(tmp_path / "f", bucket / "f")
    remove(bucket / "f")
    remove(bucket / "f")
    assert find_kind(bucket / "f") is None


def test_a_stream_reads_like_a_file(s3: Any, bucket: Address) -> None:
    data = DATA * 30
    write(bucket / "a.tar", data)
    s3.seen.clear()
    with RemoteStream(bucket / "a.tar") as stream:
        assert stream.read(5) == data[:5]
        assert stream.seek(MIN_BLOCK - 2) == MIN_BLOCK - 2
        assert stream.read(10) == data[MIN_BLOCK - 2 : MIN_BLOCK + 8]
        stream.seek(-7, 2)
        assert stream.read() == data[-7:]
        stream.seek(0)
        assert stream.read() == data
        assert stream.seek(10**9) == 10**9
        assert stream.read(1) == b""
    assert s3.seen["GET"] <= 6


def test_a_stream_of_an_object_that_shrank_fails(bucket: Address) -> None:
    write(bucket / "a.tar", DATA)
    stream = RemoteStream(bucket / "a.tar")
    write(bucket / "a.tar", DATA[:100])
    with pytest.raises(ChangedError):
        stream.read(200)


UTC = datetime.UTC
SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("info", "seconds"),
    [
        ({"LastModified": datetime.datetime(2020, 1, 1, tzinfo=UTC)}, 1577836800),
        ({"updated": "2020-01-01T00:00:00+00:00"}, 1577836800),
        ({"Last-Modified": "Wed, 01 Jan 2020 00:00:00 GMT"}, 1577836800),
        ({"mtime": 1577836800.5}, 1577836800),
        ({"created": datetime.datetime(2020, 1, 1)}, 1577836800),
        ({"mtime": "yesterday"}, None),
        ({"ETag": "", "mtime": None}, None),
    ],
)
def test_read_state_reads_the_time_of_each_kind_of_store(info: Any, seconds: Any) -> None:
    n_bytes, mtime_ns = read_state({"size": 7, **info})
    assert n_bytes == 7
    assert mtime_ns == -1 if seconds is None else mtime_ns // SECOND == seconds


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((3, 7), (3, 7), True),
        ((3, 7), (3, 8), False),
        ((3, 7), (4, 7), False),
        ((3, -1), (3, 8), True),
        ((3, -1), (4, 8), False),
        ((3, 7), (3, -1), False),
    ],
)
def test_is_same_trusts_what_the_store_says(before: Any, after: Any, *, expected: bool) -> None:
    assert is_same(before, after) is expected


def test_read_state_of_a_recent_change_without_a_tag_is_not_known() -> None:
    now = datetime.datetime.now(UTC)
    assert read_state({"size": 1, "created": now})[1] == -1
    assert read_state({"size": 1, "LastModified": now, "ETag": '"a"'})[1] > 0
