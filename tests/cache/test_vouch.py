"""A changed cache is sealed anew only on request, and what differs is said."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from featx.cache import vouch
from featx.cache.joined import open_cache
from featx.cache.seal import check_seal
from featx.cache.user_block import Seal
from featx.cache.vouch import NO_SEAL, list_changed, seal_after, seal_cache
from featx.core.errors import CacheDamagedError, CacheError
from tests.builders import MakeCache, build_info, read_rows, split_seal


def add_notes(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["user/notes"] = np.arange(5)


def test_seal_cache_of_a_sound_cache_changes_nothing(cache_path: Path) -> None:
    before = cache_path.read_bytes()
    report = seal_cache(cache_path)
    assert (report.changes, report.is_sealed) == ((), False)
    with open_cache(cache_path) as cache:
        assert report.digest == cache.digest
    assert cache_path.read_bytes() == before


def test_seal_cache_takes_what_a_user_added(cache_path: Path) -> None:
    add_notes(cache_path)
    with pytest.raises(CacheDamagedError):
        open_cache(cache_path)
    report = seal_cache(cache_path)
    assert report.is_sealed
    assert "user/notes: rows 0 to 4 of 5" in report.changes
    check_seal(cache_path)
    with h5py.File(cache_path) as file:
        assert file["user/notes"][:].tolist() == [0, 1, 2, 3, 4]
    assert [path.name for path in cache_path.parent.iterdir()] == ["cache.h5"]


def test_seal_cache_dry_run_says_the_same_and_seals_nothing(cache_path: Path) -> None:
    add_notes(cache_path)
    before = cache_path.read_bytes()
    report = seal_cache(cache_path, dry_run=True)
    assert not report.is_sealed
    assert cache_path.read_bytes() == before
    again = seal_cache(cache_path)
    assert (again.changes, again.digest) == (report.changes, report.digest)


def test_seal_cache_names_only_the_rows_whose_blocks_differ(make_cache: MakeCache) -> None:
    path = make_cache(infos=[build_info(dim=16384)])  # a row is a block of the seal
    with h5py.File(path, "a") as file:
        file["embeddings/tiny/vectors"][41, 5] = 7
    (line,) = seal_cache(path).changes
    name, _, rows = line.partition(": rows ")
    first, last = rows.removesuffix(" of 60").split(" to ")
    assert name == "embeddings/tiny/vectors"
    assert 40 <= int(first) <= 41 <= int(last) <= 42


@pytest.mark.parametrize(
    ("blocks", "runs"),
    [("abcd", []), ("abcx", [(300, 350)]), ("xyzd", [(0, 300)]), ("xbyz", [(0, 100), (200, 350)])],
)
def test_list_changed_joins_blocks_side_by_side(blocks: str, runs: list[tuple[int, int]]) -> None:
    old, new = (
        Seal(start=4096, n_bytes=350, block_size=100, table=b"".join(32 * c.encode() for c in text))
        for text in ("abcd", blocks)
    )
    assert list_changed(old, new) == runs


def test_seal_cache_of_another_format_is_refused(cache_path: Path) -> None:
    with h5py.File(cache_path, "a") as file:
        file["mine"] = 1
    before = cache_path.read_bytes()
    with pytest.raises(CacheError, match=r"cache\.h5: expected a file that keeps the format of a"):
        seal_cache(cache_path)
    assert cache_path.read_bytes() == before
    assert [path.name for path in cache_path.parent.iterdir()] == ["cache.h5"]


def test_seal_cache_that_lost_its_user_block_gets_one(cache_path: Path) -> None:
    """As h5repack and programs that copy object by object write it."""
    copy = cache_path.with_name("copy.h5")
    with h5py.File(cache_path) as file, h5py.File(copy, "w") as other:
        for name in file:
            file.copy(name, other)
        other.attrs.update(file.attrs)
    with pytest.raises(CacheDamagedError, match="If it is a cache and you trust it, check and se"):
        open_cache(copy)
    assert seal_cache(copy).changes == (NO_SEAL,)
    with open_cache(copy) as cache, open_cache(cache_path) as original:
        assert read_rows(cache) == read_rows(original)
        assert cache.read_vectors().tobytes() == original.read_vectors().tobytes()
    before = copy.read_bytes()
    h5py.File(copy, "a").close()
    assert copy.read_bytes() == before


@pytest.mark.parametrize("place", [20, 80, 4000])
def test_seal_cache_with_a_damaged_seal_has_nothing_to_compare(
    cache_path: Path, place: int
) -> None:
    content = bytearray(cache_path.read_bytes())
    content[place] ^= 1
    cache_path.write_bytes(content)
    assert seal_cache(cache_path).changes == (NO_SEAL,)
    check_seal(cache_path)


def test_seal_cache_of_a_later_superblock_is_refused_with_remedy(cache_path: Path) -> None:
    path = cache_path.with_name("late.h5")
    with h5py.File(path, "w", libver="latest") as file:
        file["x"] = 1
    with pytest.raises(CacheError, match=r"superblock of version 0 or 1, got version .*earliest"):
        seal_cache(path)


def test_seal_cache_that_is_written_meanwhile_is_refused(
    cache_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_notes(cache_path)

    def check_and_write(path: Path, draft: Path) -> None:
        with h5py.File(cache_path, "a") as file:
            file["user/late"] = np.arange(100_000)

    monkeypatch.setattr(vouch, "_check_content", check_and_write)
    with pytest.raises(CacheError, match="expected a file that nobody writes, got changes in the"):
        seal_cache(cache_path)
    with h5py.File(cache_path) as file:
        assert "user/late" in file


def test_seal_cache_adds_nothing_to_the_data(cache_path: Path) -> None:
    add_notes(cache_path)
    before = split_seal(cache_path)[1]
    seal_cache(cache_path)
    assert split_seal(cache_path)[1] == before


def test_changes_are_shown_before_the_file_is_sealed(cache_path: Path) -> None:
    with h5py.File(cache_path, "a") as file:
        file["user/x"] = [1]
    before, seen = cache_path.read_bytes(), []

    def refuse(changes: tuple[str, ...]) -> None:
        seen.append(changes)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seal_after(cache_path, refuse, dry_run=False)
    assert cache_path.read_bytes() == before
    assert seen == [seal_cache(cache_path).changes]
