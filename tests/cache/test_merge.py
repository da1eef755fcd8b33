"""Parts are merged to one cache, bit for bit; what is missing or does not fit is named."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.cache.check import verify_cache
from featx.cache.joined import open_cache
from featx.cache.merge import merge_caches
from featx.cache.writer import rewrite_cache
from featx.core.errors import CacheError, CacheLockedError, FeatxWarning
from featx.core.parts import Part
from tests.builders import build_info, build_rows, write_vectors
from tests.cache.parts import N_ROWS, read_all, write_parts
from tests.extraction.caches import leave_dead_lock


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """A cache, and the same rows in five parts."""
    return write_parts(tmp_path_factory.mktemp("merge") / "parts", 5)


@pytest.fixture
def parts(made: tuple[Path, list[Path]], tmp_path: Path) -> Path:
    """A folder with the five parts, which the test may change."""
    folder = tmp_path / "parts"
    folder.mkdir()
    for path in made[1]:
        os.link(path, folder / path.name)
    return folder


def test_merged_parts_equal_one_cache_to_the_last_bit(
    made: tuple[Path, list[Path]], parts: Path, tmp_path: Path
) -> None:
    report = merge_caches(parts, tmp_path / "all.h5")
    with open_cache(made[0]) as expected, open_cache(report.path) as cache:
        assert read_all(cache) == read_all(expected)
        assert report.digest == cache.digest
        assert report.n_failures == len({failure.id for failure in cache.failures}) > 0
    assert (report.n_caches, report.n_rows) == (5, N_ROWS)
    assert report.dims == {"tiny": 4, "other": 2}
    assert str(report) == f"{tmp_path / 'all.h5'}: 60 rows of 5 caches, other (dim 2), tiny (dim 4)"
    assert verify_cache(report.path).problems == ()
    assert len(list(parts.iterdir())) == 5


def test_merge_twice_gives_the_same_bytes(parts: Path, tmp_path: Path) -> None:
    first, second = (merge_caches(parts, tmp_path / name) for name in ("a.h5", "b.h5"))
    assert first.digest == second.digest
    assert first.path.read_bytes() == second.path.read_bytes()


def test_missing_parts_are_named_with_how_to_extract_them(parts: Path, tmp_path: Path) -> None:
    for number in (2, 5):
        (parts / Part(number, 5).file_name).unlink()
    (parts / "part-005-of-005.h5.partial").mkdir()
    with pytest.raises(CacheError) as caught:
        merge_caches(parts, tmp_path / "all.h5")
    assert str(caught.value) == (
        f"{parts}: expected all 5 parts, got 3 of 5 parts, without 2 and 5 (unfinished). Extract "
        f"each missing part, for example with featx.extract(source, output='{parts}', part='2/5')."
    )
    assert not (tmp_path / "all.h5").exists()


def test_unfinished_work_beside_a_part_is_refused(parts: Path, tmp_path: Path) -> None:
    (parts / "part-003-of-005.h5.partial").mkdir()
    with pytest.raises(CacheError, match=r"unfinished work beside .*part-003-of-005\.h5"):
        merge_caches(parts, tmp_path / "all.h5")


def test_an_existing_output_is_replaced_only_on_request(parts: Path, tmp_path: Path) -> None:
    output = tmp_path / "all.h5"
    output.write_bytes(b"mine")
    with pytest.raises(CacheError, match="Pass overwrite=True"):
        merge_caches(parts, output)
    assert output.read_bytes() == b"mine"
    merge_caches(parts, output, overwrite=True)
    assert verify_cache(output).problems == ()


def test_an_output_that_is_merged_is_refused(parts: Path) -> None:
    first = parts / Part(1, 5).file_name
    with pytest.raises(CacheError, match="got one of the caches to merge"):
        merge_caches(parts, first, overwrite=True)


def test_an_embedding_that_a_cache_lacks_is_named(tmp_path: Path) -> None:
    info, other = build_info(dim=3), build_info("other", dim=3)
    paths = []
    for label, infos in (("ants", [info, other]), ("bees", [info])):
        rows = build_rows([label] * 2, [None] * 2)
        vectors = {one.name: np.ones((2, 3), np.float32) for one in infos}
        paths.append(write_vectors(tmp_path / f"{label}.h5", infos, rows, vectors))
    with pytest.raises(CacheError, match=r"other in each cache, got none in .*bees\.h5"):
        merge_caches(paths, tmp_path / "all.h5")


def test_batches_of_several_sizes_are_told(tmp_path: Path) -> None:
    paths = []
    for label, size in (("ants", 8), ("bees", 256)):
        info = build_info(dim=3)
        made = replace(info.provenance, batch_size=size, n_embedded=2)
        info = replace(info, provenance=made)
        rows = build_rows([label] * 2, [None] * 2)
        vectors = {"tiny": np.ones((2, 3), np.float32)}
        paths.append(write_vectors(tmp_path / f"{label}.h5", [info], rows, vectors))
    with pytest.warns(FeatxWarning, match=r"in batches of several sizes \(8, 256\)"):
        merge_caches(paths, tmp_path / "all.h5")
    with open_cache(tmp_path / "all.h5") as cache:
        made = cache.get_info().provenance
    assert [made.batch_size, *(one.batch_size for one in made.updates)] == [8, 256]


def test_what_users_keep_in_a_part_is_left_out_and_told(parts: Path, tmp_path: Path) -> None:
    path = parts / Part(2, 5).file_name
    with rewrite_cache(path) as file:
        file["user/mine"] = 1
    with pytest.warns(FeatxWarning, match=r"without what lies below /user/ in .*part-002-of-005"):
        merge_caches(parts, tmp_path / "all.h5")
    with open_cache(tmp_path / "all.h5") as merged:
        assert not merged.has_user_group


def test_a_damaged_part_leaves_the_old_output(parts: Path, tmp_path: Path) -> None:
    output = tmp_path / "all.h5"
    merge_caches(parts, output)
    before = output.read_bytes()
    path = parts / Part(3, 5).file_name
    data = bytearray(path.read_bytes())
    data[data.index(b"ants/")] ^= 1
    path.unlink()
    path.write_bytes(data)
    with pytest.raises(CacheError, match=r"part-003-of-005\.h5"):
        merge_caches(parts, output, overwrite=True)
    assert output.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.h5", "parts"]


def test_a_lock_of_the_output_counts(parts: Path, tmp_path: Path, monkeypatch: Any) -> None:
    output = tmp_path / "all.h5"
    leave_dead_lock(output)
    merge_caches(parts, output)  # the lock of a dead process is taken over
    leave_dead_lock(output)
    monkeypatch.setattr("featx.cache.lock.LockOwner.is_dead", lambda _: False)
    with pytest.raises(CacheLockedError):
        merge_caches(parts, output, overwrite=True)
    merge_caches(parts, output, overwrite=True, break_lock=True)


def test_verify_of_parts_checks_each_and_that_they_fit(parts: Path) -> None:
    found = verify_cache(parts)
    assert (found.n_rows, found.problems, found.path) == (N_ROWS, (), parts)
    with open_cache(parts) as cache:
        assert found.digest == cache.digest
    (parts / Part(4, 5).file_name).unlink()
    assert verify_cache(parts).problems == ("expected all parts, got 4 of 5 parts, without 4",)
    path = parts / Part(2, 5).file_name
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:-40])
    found = verify_cache(parts)
    assert found.digest == ""
    assert any(problem.startswith(f"{path}: ") for problem in found.problems)
