"""Any changed byte is found, and no changed byte is read as data."""

import contextlib
import errno
import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from featx.cache import seal, sealing
from featx.cache.joined import open_cache
from featx.cache.reader import Cache
from featx.cache.seal import SealedFile, check_seal
from featx.cache.sealing import seal_file
from featx.cache.user_block import HEADER
from featx.core.errors import CacheDamagedError, CacheError, FeatxError
from featx.core.row_tables import SAID_KINDS
from featx.core.rows import Failure, Row
from featx.core.typing import Array, VectorDtype
from tests.builders import build_column, build_info, read_rows, write_rows

BLOCK = 512
"""Bytes per block of the small cache: damage then lies in one part of it, not in all."""

PARTS = {
    name: lambda cache, name=name: getattr(cache, name)
    for name in (
        *("ids", "paths", "labels", "splits", "groups", "digests", "sizes", "failures"),
        *("embeddings", "source", "digest"),
    )
} | {
    "rows": read_rows,
    "source labels": lambda cache: [cache.read_source(name).tolist() for name in SAID_KINDS],
    "history": lambda cache: cache.read_history(),
    "vectors": lambda cache: cache.read_vectors("tiny"),
    "some vectors": lambda cache: cache.read_vectors("half", np.array([20, 2, 17])),
    "all there": lambda cache: cache.read_vectors("half", cache.select_rows(embedding="half")),
    "present": lambda cache: cache.read_present("half"),
    "info": lambda cache: cache.get_info("tiny"),
    "dtype": lambda cache: cache.get_dtype("half"),
    "length": len,
}


def read_part(cache: Cache, name: str) -> Any:
    value = PARTS[name](cache)
    return value.tolist() if isinstance(value, np.ndarray) else value


@dataclass(frozen=True)
class Small:
    """A cache in small blocks, and all that can be read of it."""

    path: Path
    content: bytes
    expected: dict[str, Any]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """A cache in blocks of 512 bytes: its path, bytes, and all that can be read of it."""
    path = tmp_path_factory.mktemp("small") / "c.h5"
    rng = np.random.default_rng(0)
    rows = [
        Row(
            id=f"ants/ü{i}.jpg",
            path=f"/photos/{i}.jpg",
            label="ants" if i % 3 else None,
            split="train",
            group="a",
            digest="ab" * 32,
        )
        for i in range(24)
    ]
    failures = [
        Failure(
            id="bad.jpg",
            path="/photos/bad.jpg",
            digest="",
            stage="read",
            reason="gone",
            embedding="tiny",
        )
    ] * 5
    vectors = {"tiny": rng.normal(size=(24, 40)), "half": rng.normal(size=(24, 8))}
    vectors["half"][5] = np.nan
    dtypes: dict[str, VectorDtype] = {"tiny": "float32", "half": "float16"}
    columns = [
        build_column(build_info(name, part.shape[1]), part, dtypes[name])
        for name, part in vectors.items()
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealing, "BLOCK_SIZE", BLOCK)
        write_rows(path, rows, columns, failures=failures, source="photos")
    with open_cache(path) as cache:
        expected = {name: read_part(cache, name) for name in PARTS}
    return Small(path=path, content=path.read_bytes(), expected=expected)


@pytest.fixture
def damaged(small: Small, tmp_path: Path) -> Path:
    """A copy of the small cache, to be damaged."""
    path = tmp_path / "c.h5"
    path.write_bytes(small.content)
    return path


def is_found(path: Path) -> bool:
    """Tell whether a check of the whole file finds damage."""
    try:
        check_seal(path)
    except CacheError:
        return True
    return False


def choose_bits(content: bytes) -> list[int]:
    """Choose bits all over a file, and more where few bytes decide much; 520 in all."""
    rng = np.random.default_rng(1)
    _, start, n_bytes, _, _ = HEADER.unpack(content[: HEADER.size])
    heap = content.index("ants/ü0.jpg".encode())
    end = HEADER.size + 32 * -(-n_bytes // BLOCK)
    places = [
        (0, len(content), 400),
        (start, start + 96, 30),  # superblock
        (heap, heap + 24 * 32, 30),  # strings
        (0, HEADER.size, 30),
        (HEADER.size, end, 20),  # digests of the blocks
        (end, start, 10),  # zeros
    ]
    drawn = [rng.integers(8 * a, 8 * b, count).tolist() for a, b, count in places]
    return [bit for bits in drawn for bit in bits]


@contextlib.contextmanager
def flip_bit(path: Path, content: bytes, bit: int) -> Iterator[None]:
    """Flip one bit of a file while the block runs."""
    place, mask = bit // 8, 1 << bit % 8
    with path.open("r+b", buffering=0) as stream:
        stream.seek(place)
        stream.write(bytes([content[place] ^ mask]))
        yield
        stream.seek(place)
        stream.write(content[place : place + 1])


def test_check_seal_any_flipped_bit_is_found(small: Small, damaged: Path) -> None:
    missed = []
    for bit in choose_bits(small.content):
        with flip_bit(damaged, small.content, bit):
            if not is_found(damaged):
                missed.append(bit)
    assert missed == []
    check_seal(damaged)


def read_each(path: Path, names: Iterable[str]) -> dict[str, Any]:
    """Read parts in an order; None where that is refused."""
    found: dict[str, Any] = {}
    with contextlib.suppress(FeatxError), open_cache(path) as cache:
        for name in names:
            found[name] = None
            with contextlib.suppress(FeatxError):
                found[name] = read_part(cache, name)
    return found


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 12])
def test_open_cache_any_flipped_bit_is_refused_or_read_right(
    small: Small, damaged: Path, step: int
) -> None:
    rng = np.random.default_rng(2)
    counts = {"unopened": 0, "refused": 0, "right": 0}
    for bit in choose_bits(small.content)[::step]:
        names = [list(PARTS)[i] for i in rng.permutation(len(PARTS))]
        with flip_bit(damaged, small.content, bit):
            found = read_each(damaged, names)
        wrong = [name for name, value in found.items() if value not in (None, small.expected[name])]
        assert wrong == [], bit
        counts["unopened"] += not found
        counts["refused"] += None in found.values()
        counts["right"] += any(value is not None for value in found.values())
    # Damage was met early and late, so that all of these ways were walked.
    assert min(counts.values()) >= 50 / step, counts


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 16])
def test_open_cache_whole_reading_finds_damage_in_any_block(
    small: Small, damaged: Path, step: int
) -> None:
    _, start, n_bytes, _, _ = HEADER.unpack(small.content[: HEADER.size])
    n_blocks = -(-n_bytes // BLOCK)
    unread = []
    for number in range(0, n_blocks, step):
        with flip_bit(damaged, small.content, 8 * (start + number * BLOCK)):
            found = read_each(damaged, PARTS)
        if found == small.expected:
            unread.append(number)
    assert n_blocks > 20
    assert len(unread) < n_blocks / step / 10  # blocks that hold nothing


@pytest.mark.parametrize("seed", range(3))
def test_open_cache_truncated_anywhere_is_refused(small: Small, damaged: Path, seed: int) -> None:
    opened = []
    for size in np.random.default_rng(seed).integers(0, len(small.content), 30).tolist():
        damaged.write_bytes(small.content[:size])
        if read_each(damaged, PARTS) or not is_found(damaged):
            opened.append(size)
    assert opened == []


@pytest.mark.parametrize(
    "tail",
    [b"\0", b"\n", b"more bytes" * 99, "itself", "seal"],
    ids=["nul", "newline", "many", "itself", "seal"],
)
def test_open_cache_appended_bytes_are_refused(
    small: Small, damaged: Path, tail: bytes | str
) -> None:
    named = {"itself": small.content, "seal": small.content[: HEADER.size]}
    damaged.write_bytes(small.content + (named[tail] if isinstance(tail, str) else tail))
    assert is_found(damaged)
    with pytest.raises(
        CacheError, match=r"c\.h5: expected the \d+ bytes that were sealed, got \d+: cut off or ch"
    ):
        open_cache(damaged)


def test_open_cache_changed_by_h5py_is_refused(damaged: Path) -> None:
    with h5py.File(damaged, "r+") as file:
        file["rows/width"][3] = 7
    assert is_found(damaged)
    assert not read_each(damaged, PARTS).get("sizes")


@pytest.mark.parametrize("text", ["", "no cache", "path,label\n" * 999])
def test_check_seal_other_file_is_refused_with_remedy(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.h5").write_text(text)
    with pytest.raises(CacheError, match=r"without featx's seal at its start.*extract again"):
        check_seal(tmp_path / "c.h5")


def find_vectors(path: Path) -> int:
    with h5py.File(path) as file:
        # HDF5 counts the place of a chunk from the file's start, or older ones from the superblock.
        return path.read_bytes().index(file["embeddings/tiny/vectors"][:3].tobytes())


def test_open_cache_damaged_vectors_labels_are_still_read(small: Small, damaged: Path) -> None:
    place = find_vectors(damaged) + BLOCK
    with flip_bit(damaged, small.content, 8 * place):
        found = read_each(damaged, ["labels", "ids", "info", "vectors"])
    assert found["labels"] == small.expected["labels"]
    assert found["ids"] == small.expected["ids"]
    assert found["info"] == small.expected["info"]
    assert found["vectors"] is None


def read_vectors(path: Path) -> Array:
    with open_cache(path) as cache:
        return cache.read_vectors("tiny")


def test_read_vectors_damaged_names_the_bytes(small: Small, damaged: Path) -> None:
    place = find_vectors(damaged) + BLOCK
    first = place // BLOCK * BLOCK  # the user block is a whole number of blocks
    message = rf"got changes in bytes {first} to {first + BLOCK}, by the disk, or .* h5py, pandas"
    with (
        flip_bit(damaged, small.content, 8 * place),
        pytest.raises(CacheError, match=message),
    ):
        read_vectors(damaged)


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 200_000])
def test_seal_file_round_trip_gives_the_same_bytes(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    content = np.random.default_rng(size).bytes(size)
    path.write_bytes(content)
    digest = seal_file(path)
    check_seal(path)
    with SealedFile(path) as sealed:
        assert (len(sealed), sealed.digest) == (size, digest)
        assert sealed.read() == content
    assert path.read_bytes()[4096:] == content


def test_seal_file_digest_tells_contents_apart(tmp_path: Path) -> None:
    digests = []
    for content in (b"a" * 70_000, b"a" * 70_000, b"a" * 69_999 + b"b", b"a" * 70_001):
        (tmp_path / "file").write_bytes(content)
        digests.append(seal_file(tmp_path / "file"))
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


@pytest.mark.parametrize("block_size", [64, 1000, sealing.BLOCK_SIZE])
def test_sealed_file_any_reading_equals_the_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_size: int
) -> None:
    monkeypatch.setattr(sealing, "BLOCK_SIZE", block_size)
    rng = np.random.default_rng(block_size)
    n_bytes = 70 * block_size + 5 if block_size < 9999 else 3 * block_size + 5
    content = rng.bytes(n_bytes)
    (tmp_path / "file").write_bytes(content)
    seal_file(tmp_path / "file")
    plain = io.BytesIO(content)
    with SealedFile(tmp_path / "file") as sealed:
        assert sealed.seekable()
        assert sealed.readable()
        for _ in range(500):
            start = int(rng.integers(0, n_bytes + block_size))  # some beyond the end
            whence, offset = [
                (os.SEEK_SET, start),
                (os.SEEK_CUR, start - plain.tell()),
                (os.SEEK_END, start - n_bytes),
            ][rng.integers(3)]
            assert sealed.seek(offset, whence) == plain.seek(offset, whence)
            size = int(rng.choice([0, 1, 7, block_size, 3 * block_size + 1]))
            buffers = bytearray(size), bytearray(size)
            assert sealed.readinto(buffers[0]) == plain.readinto(buffers[1])
            assert buffers[0] == buffers[1]
            assert sealed.tell() == plain.tell()


def test_sealed_file_verify_joins_damaged_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "BLOCK_SIZE", 100)
    path = tmp_path / "file"
    path.write_bytes(bytes(950))
    seal_file(path)
    content = bytearray(path.read_bytes())
    for place in (100, 299, 444, 949):
        content[4096 + place] ^= 1
    path.write_bytes(content)
    with SealedFile(path) as sealed:
        assert sealed.verify() == [(4196, 4396), (4496, 4596), (4996, 5046)]
        assert sealed.verify([0, 1, 5, 9]) == [(4196, 4296), (4996, 5046)]


def pass_over_damage(sealed: SealedFile) -> None:
    with sealed.guard(), contextlib.suppress(CacheError):
        sealed.read(1)


def turn_damage_into_another_error(sealed: SealedFile) -> None:
    with contextlib.suppress(CacheError):
        sealed.read(1)
    raise KeyError("what HDF5 made of it")


def test_sealed_file_guard_tells_damage_that_was_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    seal_file(path)
    with path.open("r+b") as stream:
        stream.seek(4096)
        stream.write(b"\1")
    with SealedFile(path) as sealed:
        with pytest.raises(CacheError, match=r"got changes in bytes 4096 to 4196"):
            pass_over_damage(sealed)
        with pytest.raises(CacheError, match=r"got changes in bytes 4096 to 4196"), sealed.guard():
            turn_damage_into_another_error(sealed)
        with sealed.guard():
            pass  # what was not read now is not told now


def test_sealed_file_guard_without_damage_lets_errors_pass(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100))
    seal_file(tmp_path / "file")
    with SealedFile(tmp_path / "file") as sealed:
        with sealed.guard():
            assert sealed.read(1) == b"\0"
        with pytest.raises(ZeroDivisionError), sealed.guard():
            raise ZeroDivisionError


@pytest.mark.parametrize(
    "error", [OSError("no\nspace"), RuntimeError("x"), KeyError("x"), MemoryError()]
)
def test_sealed_file_guard_turns_errors_of_hdf5_into_one_line(
    tmp_path: Path, error: Exception
) -> None:
    (tmp_path / "file").write_bytes(bytes(100))
    seal_file(tmp_path / "file")
    with SealedFile(tmp_path / "file") as sealed:
        message = r"^[^\n]*got one that HDF5 cannot read"
        with pytest.raises(CacheError, match=message) as caught, sealed.guard():
            raise error
        assert caught.value.__cause__ is error


@pytest.mark.parametrize("is_open", [False, True])
def test_sealed_file_that_cannot_be_read_is_refused_in_one_line(
    damaged: Path, monkeypatch: pytest.MonkeyPatch, is_open: bool
) -> None:
    def refuse(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    def open_file(path: Path, mode: str, buffering: int) -> io.FileIO:
        raise OSError(errno.EACCES, "Permission denied")

    if is_open:
        monkeypatch.setattr("featx.cache.user_block._read_once", refuse)
    else:
        monkeypatch.setattr(Path, "open", open_file)
    with pytest.raises(CacheError) as caught:
        SealedFile(damaged)
    assert type(caught.value) is CacheError  # damage is something else: a shard would be deleted
    assert caught.value.got == ("Input/output error" if is_open else "Permission denied")
    assert caught.value.subject == str(damaged)


@pytest.mark.parametrize("size", [0, 10, 65536, 65537, 150_000])
def test_seal_file_layout_is_that_of_the_format(tmp_path: Path, size: int) -> None:
    content = np.random.default_rng(size).bytes(size)
    (tmp_path / "file").write_bytes(content)
    digest = seal_file(tmp_path / "file")
    blocks = [content[start : start + 65536] for start in range(0, size, 65536)]
    table = b"".join(hashlib.sha256(block).digest() for block in blocks)
    numbers = b"".join(number.to_bytes(8, "little") for number in (4096, size, 65536))
    head = b"featx-seal-2\r\n\x1a\n" + numbers
    total = hashlib.sha256(head + table).digest()
    user_block = (head + total + table).ljust(4096, b"\0")
    assert (tmp_path / "file").read_bytes() == user_block + content
    assert digest == total.hex()


def test_sealed_file_keeps_the_blocks_that_were_read_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "BLOCK_SIZE", 100)
    monkeypatch.setattr(seal, "KEPT_BLOCKS", 2)
    path = tmp_path / "file"
    path.write_bytes(bytes(400))
    seal_file(path)
    with SealedFile(path) as sealed:
        for number in (0, 1, 0, 2):  # of the first two, block 1 was read longest ago
            sealed.seek(100 * number)
            assert sealed.read(1) == b"\0"
        content = bytearray(path.read_bytes())
        content[4096:] = b"\1" * 400
        path.write_bytes(content)
        for number in (0, 2):
            sealed.seek(100 * number)
            assert sealed.read(1) == b"\0"
        sealed.seek(100)
        with pytest.raises(CacheDamagedError, match=r"got changes in bytes 4196 to 4296"):
            sealed.read(1)


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_sealed_file_never_waits_for_a_pipe(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "shard-000001.h5"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(CacheError, match="got a folder, a pipe or a device"):
        SealedFile(path)


def test_sealed_file_whose_close_fails_was_read_all_the_same(
    cache_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was written that could be lost."""
    with SealedFile(cache_path) as sealed:
        (key, stream) = next(iter(sealed._pool._streams.items()))

        class Closing:
            def close(self) -> None:
                stream.close()
                raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setitem(sealed._pool._streams, key, Closing())
    assert sealed.closed
