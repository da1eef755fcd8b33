"""An updated cache equals one that is written anew, and costs what changed."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from featx.cache import datasets, sealing
from featx.cache.check import verify_cache
from featx.cache.reader import Cache
from featx.cache.seal import SealedFile, check_seal
from featx.cache.writer import Column, rewrite_cache, update_cache
from featx.core.errors import CacheError
from featx.core.row_tables import ROW_KINDS, build_table
from featx.core.rows import Failure, Row
from featx.core.typing import Array, IntArray
from tests.builders import build_info, build_rows, read_rows, rewrite_values, write_rows


@dataclass
class Content:
    """What a cache is to hold; NaN stands for no vector."""

    rows: list[Row]
    vectors: dict[str, Array]
    failures: list[Failure] = field(default_factory=list)


def build_content(n_rows: int, **dims: int) -> Content:
    rng = np.random.default_rng(n_rows)
    rows = build_rows(["ants", "bees"] * n_rows, [None] * (2 * n_rows))[:n_rows]
    vectors = {name: rng.normal(size=(n_rows, dim)) for name, dim in dims.items()}
    return Content(rows, {name: values.astype(np.float32) for name, values in vectors.items()})


def build_columns(content: Content, rows: IntArray | None = None) -> list[Column]:
    return [
        Column(
            info=build_info(name, vectors.shape[1]),
            dtype="float32",
            read=functools.partial(np.take, vectors, axis=0),
            rows=rows,
        )
        for name, vectors in content.vectors.items()
    ]


def write(path: Path, content: Content) -> Path:
    write_rows(path, content.rows, build_columns(content), failures=content.failures, source="s")
    return path


def update(path: Path, content: Content, rows: IntArray | None = None) -> None:
    with Cache(path) as base:
        update_cache(
            path,
            build_table(content.rows, ROW_KINDS),
            build_columns(content, rows),
            base=base,
            failures=content.failures,
            source="s",
        )


def check_equal(path: Path, content: Content) -> None:
    """Check that a cache is sound and holds this and nothing else."""
    check_seal(path)
    assert verify_cache(path).problems == ()
    with Cache(path) as cache:
        assert read_rows(cache) == content.rows
        assert list(cache.failures) == content.failures
        assert set(cache.embeddings) == set(content.vectors)
        for name, vectors in content.vectors.items():
            present = ~np.isnan(vectors).all(axis=1)
            np.testing.assert_array_equal(cache.read_present(name), present)
            found = cache.take_vectors(name, np.arange(len(cache)))
            np.testing.assert_array_equal(found, vectors)


@pytest.mark.parametrize(
    ("n_old", "n_new"), [(0, 3), (3, 0), (3, 4), (12, 700), (300, 301), (600, 3000)]
)
def test_update_cache_with_new_rows_equals_a_fresh_one(
    tmp_path: Path, n_old: int, n_new: int
) -> None:
    content = build_content(max(n_old, n_new), tiny=8)
    old = Content(content.rows[:n_old], {"tiny": content.vectors["tiny"][:n_old]})
    path = write(tmp_path / "c.h5", old)
    update(path, content, np.empty(0, np.int64))
    check_equal(path, content)
    assert [path.name for path in tmp_path.iterdir()] == ["c.h5"]


def test_update_cache_many_times_equals_a_fresh_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    content = build_content(2000, tiny=8, other=3)
    content.vectors["other"][rng.random(2000) < 0.4] = np.nan
    n_rows = 5
    some = Content(content.rows[:5], {name: v[:5] for name, v in content.vectors.items()})
    path = write(tmp_path / "c.h5", some)
    for step in (1, 0, 30, 400, 2, 900):
        n_rows += step
        changed = np.sort(rng.choice(n_rows - step, min(7, n_rows - step), replace=False))
        content.vectors["tiny"][changed] += 1
        for number in changed.tolist():
            content.rows[number] = replace(content.rows[number], mtime_ns=step, path=f"/{step}")
        reasons = [f"because {number}" for number in range(step % 7)]
        some = Content(
            content.rows[:n_rows],
            {name: vectors[:n_rows] for name, vectors in content.vectors.items()},
            [Failure(id=r, path=r, digest="", stage="read", reason=r) for r in reasons],
        )
        update(path, some, changed)
        check_equal(path, some)


def test_update_cache_adds_an_embedding_and_keeps_what_users_have(tmp_path: Path) -> None:
    content = build_content(50, tiny=8)
    path = write(tmp_path / "c.h5", content)
    with rewrite_cache(path) as file:
        file["user/notes"] = [1, 2, 3]
    content.vectors["other"] = np.ones((50, 4), np.float32)
    update(path, content)
    check_equal(path, content)
    with h5py.File(path) as file:
        assert file["user/notes"][:].tolist() == [1, 2, 3]


def test_write_cache_keeps_what_users_have_in_the_old_one(tmp_path: Path) -> None:
    content = build_content(5, tiny=8)
    path = write(tmp_path / "c.h5", content)
    with rewrite_cache(path) as file:
        file["user/notes"] = ["ä", "b"]
        file["user/elsewhere"] = h5py.ExternalLink("other.h5", "/x")
        file["user/deep/er"] = np.arange(100_000)
    with Cache(path) as base:
        write_rows(path, content.rows[:2], [], source="s", keep=base)
    with h5py.File(path) as file:
        assert file["user/notes"].asstr()[:].tolist() == ["ä", "b"]
        assert file["user/deep/er"][99_999] == 99_999
        assert file["user"].get("elsewhere", getlink=True).filename == "other.h5"


def find_hashed(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> int:
    """Count the blocks that an action hashes and reads back."""
    counts: list[int] = []
    real = SealedFile.check

    def check(sealed: SealedFile, numbers: list[int]) -> None:
        counts.append(len(numbers))
        real(sealed, numbers)

    with monkeypatch.context() as patch:
        patch.setattr(SealedFile, "check", check)
        act()
    (count,) = counts
    return count


def test_update_cache_hashes_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = build_content(3000, tiny=1024)  # 188 blocks of vectors
    old = Content(content.rows[:2990], {"tiny": content.vectors["tiny"][:2990]})
    path = write(tmp_path / "c.h5", old)
    none = np.empty(0, np.int64)
    assert find_hashed(monkeypatch, lambda: update(path, content, none)) < 40
    check_equal(path, content)


def test_update_cache_that_outgrows_its_user_block_moves_behind_a_larger_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "BLOCK_SIZE", 512)
    content = build_content(3000, tiny=64)
    old = Content(content.rows[:100], {"tiny": content.vectors["tiny"][:100]})
    path = write(tmp_path / "c.h5", old)
    with SealedFile(path) as sealed:
        start = sealed.seal.start
    update(path, content, np.empty(0, np.int64))
    with SealedFile(path) as sealed:
        assert sealed.seal.start > start
    check_equal(path, content)
    before = path.read_bytes()
    with h5py.File(path, "a") as file:
        assert file.userblock_size > start
    assert path.read_bytes() == before


def test_update_cache_many_times_keeps_the_file_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "MIN_UNUSED_BYTES", 1)
    content = build_content(40, tiny=2048)
    path = write(tmp_path / "c.h5", content)
    with rewrite_cache(path) as file:
        file["user/notes"] = [1, 2, 3]
    n_bytes = path.stat().st_size
    sizes = []
    for number in range(30):
        content.failures = [
            Failure(id=f"{i}", path="x", digest="", stage="read", reason=f"because {number}" * 99)
            for i in range(number % 2 * 99)
        ]
        update(path, content, np.empty(0, np.int64))
        sizes.append(path.stat().st_size)
    assert max(sizes) < 3 * n_bytes
    content.failures = []
    update(path, content)
    check_equal(path, content)
    with h5py.File(path) as opened:
        assert opened["user/notes"][:].tolist() == [1, 2, 3]


def test_update_cache_of_a_cache_replaced_meanwhile_is_refused(tmp_path: Path) -> None:
    content = build_content(5, tiny=8)
    path = write(tmp_path / "c.h5", content)
    rows = build_table(content.rows, ROW_KINDS)
    with Cache(path) as base:
        rewrite_values(path, "rows/width", 9)
        before = path.read_bytes()
        with pytest.raises(CacheError, match="expected the file that was read, got a file that w"):
            update_cache(path, rows, build_columns(content), base=base, source="s")
    assert path.read_bytes() == before
