"""Several caches are read as one cache with all their rows; those that do not fit are refused."""

import importlib.util
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.cache import seal
from featx.cache.check import verify_cache
from featx.cache.joined import JoinedCache, open_cache
from featx.cache.label_columns import read_labels
from featx.cache.merge import merge_caches
from featx.cache.open import METADATA_BYTES
from featx.cache.reader import Cache
from featx.cli.info import _summarise as summarise
from featx.core.errors import CacheDamagedError, CacheError, FeatxWarning, FingerprintError
from featx.core.parts import Part
from featx.fitting.label import label_cache
from featx.labels.element import KEYS
from featx.labels.history import count_by_author
from tests.builders import build_info, build_rows, mark_learnt, write_vectors
from tests.cache.parts import N_ROWS, read_all, write_parts, write_rows


@pytest.fixture(scope="module")
def parted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A cache, and a folder with the same rows in five parts."""
    folder = tmp_path_factory.mktemp("joined") / "parts"
    whole, _ = write_parts(folder, 5)
    return whole, folder


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a small cache with rows of one label; a factory."""

    def write(name: str, label: str, n_rows: int = 3, dim: int = 8, **options: Any) -> Path:
        info = build_info(dim=dim, **options.pop("info", {}))
        rows = build_rows([label] * n_rows, [None] * n_rows)
        vectors = np.full((n_rows, dim), len(name), np.float32)
        return write_vectors(tmp_path / name, [info], rows, {info.name: vectors}, **options)

    return write


def test_parts_in_a_folder_are_read_as_one_cache(parted: tuple[Path, Path]) -> None:
    whole, folder = parted
    with open_cache(whole) as expected, open_cache(folder) as cache:
        assert isinstance(cache, Cache)
        assert len(cache.members) == 5
        assert cache.path == folder
        assert read_all(cache) == read_all(expected)
        X, y = cache.read_arrays("train", embedding="tiny")
        expected_X, expected_y = expected.read_arrays("train", embedding="tiny")
        assert X.tobytes() == expected_X.tobytes()
        assert y.tolist() == expected_y.tolist()


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(slice(None, None, 7), id="slice"),
        pytest.param(np.random.default_rng(0).permutation(N_ROWS), id="permutation"),
        pytest.param(np.array([-1, 0, 0, 31, -60]), id="repeats"),
        pytest.param(np.array([], int), id="empty"),
        pytest.param(np.arange(N_ROWS) % 9 == 4, id="mask"),
    ],
)
def test_vectors_by_any_index_equal_those_of_one_cache(
    parted: tuple[Path, Path], rows: Any
) -> None:
    whole, folder = parted
    with open_cache(whole) as expected, open_cache(folder) as cache:
        found = cache.read_vectors("other", rows)
        assert found.tobytes() == expected.read_vectors("other", rows).tobytes()
        assert found.shape == (len(np.arange(N_ROWS)[rows]), 2)


def test_one_path_is_one_cache(parted: tuple[Path, Path]) -> None:
    whole, _ = parted
    for given in (whole, str(whole), [whole]):
        with open_cache(given) as cache:
            assert type(cache) is Cache
            assert cache.members == (cache,)
            assert cache.starts.tolist() == [0, N_ROWS]


def test_a_pattern_and_a_list_are_read_in_their_order(parted: tuple[Path, Path]) -> None:
    _, folder = parted
    paths = sorted(folder.glob("*.h5"))
    with open_cache(folder) as cache, open_cache(str(folder / "part-*.h5")) as same:
        assert cache.ids.tolist() == same.ids.tolist()
        assert cache.digest == same.digest
    with open_cache(paths[::-1]) as reverse, open_cache(paths[-1]) as last:
        assert reverse.ids[: len(last)].tolist() == last.ids.tolist()
        assert reverse.digest != cache.digest


def test_empty_parts_are_read_too(tmp_path: Path) -> None:
    whole, paths = write_parts(tmp_path / "parts", 50)
    with open_cache(whole) as expected, open_cache(tmp_path / "parts") as cache:
        assert len(cache.members) == len(paths) == 50
        assert read_all(cache) == read_all(expected)


def test_missing_parts_are_told(parted: tuple[Path, Path]) -> None:
    _, folder = parted
    paths = sorted(folder.glob("*.h5"))
    with (
        pytest.warns(FeatxWarning, match="3 of 5 parts, without 2 and 4"),
        open_cache(paths[::2]) as cache,
    ):
        assert 0 < len(cache) < N_ROWS


def test_a_folder_with_one_part_of_several_tells_it(tmp_path: Path) -> None:
    write_rows(tmp_path / Part(2, 3).file_name, build_rows(["ants"], [None]))
    with pytest.warns(FeatxWarning, match="1 of 3 parts, without 1 and 3"):
        open_cache(tmp_path).close()
    open_cache(tmp_path / Part(2, 3).file_name).close()  # a warning would be an error


def test_one_embedding_of_some_caches_is_absent_in_the_others(write: Callable[..., Path]) -> None:
    paths = [write("a.h5", "ants"), write("bb.h5", "bees", info={"name": "other"}, dim=5)]
    with open_cache(paths) as cache:
        assert cache.embeddings == ("tiny", "other")
        assert cache.read_present("tiny").tolist() == [True] * 3 + [False] * 3
        assert cache.read_vectors("other", np.array([3, 5])).tolist() == [[5.0] * 5] * 2
        with pytest.raises(CacheError, match=r"none for 1 of 2, such as ants/000.jpg"):
            cache.read_vectors("other", np.array([5, 0]))
        assert cache.select_rows(embedding="tiny").tolist() == [0, 1, 2]


def test_what_was_learnt_from_is_that_of_all_caches(write: Callable[..., Path]) -> None:
    first, second = write("a.h5", "ants"), write("b.h5", "bees", n_rows=5)
    mark_learnt(second, [4])
    with open_cache([first, second]) as cache:
        assert cache.read_learnt().tolist() == [False] * 7 + [True]


def test_a_provenance_lists_all_runs(write: Callable[..., Path]) -> None:
    with open_cache([write("a.h5", "ants"), write("b.h5", "bees")]) as cache:
        made = cache.get_info().provenance
    assert made.updates == ()  # neither run embedded anything: one of them stands for both


def test_two_rows_with_one_id_are_refused(write: Callable[..., Path]) -> None:
    paths = [write("a.h5", "ants"), write("b.h5", "bees"), write("c.h5", "bees")]
    with pytest.raises(CacheError, match="each id in one of the caches") as caught:
        open_cache(paths)
    assert f"'bees/000.jpg' in {paths[1]} and in {paths[2]}" in str(caught.value)


def test_other_weights_are_refused_by_name(write: Callable[..., Path]) -> None:
    paths = [write("a.h5", "ants"), write("b.h5", "bees", info={"weights_digest": "cd" * 32})]
    with pytest.raises(FingerprintError, match=r"as in .*a.h5") as caught:
        open_cache(paths)
    assert caught.value.subject == f"{paths[1]}, embedding tiny"


def test_another_dtype_is_refused(write: Callable[..., Path]) -> None:
    paths = [write("a.h5", "ants"), write("b.h5", "bees", dtype="float16")]
    with pytest.raises(CacheError, match=r"expected float32, as in .*a.h5, got float16"):
        open_cache(paths)


def test_a_cache_named_twice_is_refused(write: Callable[..., Path]) -> None:
    path = write("a.h5", "ants")
    path.with_name("link.h5").symlink_to(path)
    for other in (path, path.with_name("link.h5")):
        with pytest.raises(CacheError, match="expected each cache once, got one of them twice"):
            open_cache([path, other])


def test_no_cache_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="no cache: expected each cache once, got none"):
        open_cache([])
    with pytest.raises(CacheError, match=r"\*.h5: expected a cache, got no such file"):
        open_cache(tmp_path / "*.h5")
    with pytest.raises(CacheError, match="expected a cache, got a folder"):
        open_cache(tmp_path)


def test_a_damaged_member_is_refused_and_the_others_are_closed(write: Callable[..., Path]) -> None:
    first, second = write("a.h5", "ants"), write("b.h5", "bees")
    data = bytearray(second.read_bytes())
    data[len(data) // 2] ^= 1
    second.write_bytes(data)
    with pytest.raises(CacheError, match=r"b\.h5"), open_cache([first, second]) as cache:
        read_all(cache)


def test_members_are_closed_together(parted: tuple[Path, Path]) -> None:
    _, folder = parted
    cache = open_cache(folder)
    assert isinstance(cache, JoinedCache)
    cache.close()
    with pytest.raises(CacheError, match=r"part-001-of-005\.h5"):
        cache.members[0].take_vectors("tiny", np.array([0]))


def test_counting_failures_makes_no_object_of_each(
    parted: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, folder = parted

    def refuse(*_: Any) -> None:
        raise AssertionError("an object for each failure")

    monkeypatch.setattr("featx.cache.reader.list_failures", refuse)
    n_failures = [merge_caches(folder, tmp_path / "all.h5").n_failures]
    for path in (whole, folder):
        assert verify_cache(path).problems == ()
        with open_cache(path) as cache:
            n_failures.append(summarise(cache)["n_failures"])
    assert n_failures == [5, 5, 5]


def test_members_share_few_open_files_and_few_blocks(
    parted: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, folder = parted
    monkeypatch.setattr(seal, "MAX_OPEN", 2)
    monkeypatch.setattr(seal, "KEPT_BLOCKS", 3)
    with open_cache(whole) as expected, open_cache(folder) as cache:
        pool: Any = vars(cache.members[0])["_pool"]
        with ThreadPoolExecutor(4) as threads:  # each thread reads from all members
            found = [*threads.map(lambda _: read_all(cache), range(4))]
        assert found == [read_all(expected)] * 4
        opened = [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
        assert sum(Path(one).parent == folder for one in opened) == 2
        assert (len(pool._streams), len(pool._blocks)) == (2, 3)
        metadata = [member._file.id.get_mdc_size()[0] for member in cache.members]
        assert metadata == [METADATA_BYTES] * 5
    assert (len(pool._streams), len(pool._blocks)) == (0, 0)


def test_a_member_that_was_replaced_while_it_was_not_open_is_refused(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal, "MAX_OPEN", 1)
    monkeypatch.setattr(seal, "KEPT_BLOCKS", 0)
    paths = [write("a.h5", "ants"), write("b.h5", "bees")]
    with open_cache(paths) as cache:
        write("other.h5", "wasps").replace(paths[0])
        with pytest.raises(CacheDamagedError) as caught:
            cache.read_vectors()
    assert caught.value.subject == str(paths[0])


def test_every_public_attribute_of_a_cache_works_on_several(parted: tuple[Path, Path]) -> None:
    _, folder = parted
    rows = np.array([0, 31])
    arguments: dict[str, tuple[Any, ...]] = {
        "read_column": ("id",),
        "read_vectors": ("other", rows),
        "take_vectors": ("other", rows),
        "read_arrays": ("train",),
        **dict.fromkeys(["get_dtype", "get_info", "read_learnt", "read_learnt_digests"], ("tiny",)),
        "read_present": ("tiny",),
        **dict.fromkeys(["to_arrow", "to_pandas"], ("tiny",)),
    }
    with open_cache(folder) as cache:
        names = [name for name in {**vars(cache), **dict.fromkeys(dir(cache))} if name[0] != "_"]
        names.remove("close")
        for name, package in (("to_arrow", "pyarrow"), ("to_pandas", "pandas")):
            if importlib.util.find_spec(package) is None:  # an extra
                names.remove(name)
        assert {"has_user_group", "has_history", "digests", "failures"} <= set(names)
        for name in names:
            value = getattr(cache, name)
            if callable(value):
                options = {"embedding": "other"} if name == "read_arrays" else {}
                value(*arguments.get(name, ()), **options)
        assert not cache.has_user_group


def test_what_is_said_of_an_image_holds_for_its_copy_in_another_part(tmp_path: Path) -> None:
    rows = build_rows(["ants"] * 4, ["train"] * 4)
    rows[2] = replace(rows[2], digest=rows[0].digest)
    folder = tmp_path / "parts"
    folder.mkdir()
    for name, share in (("a.h5", rows[:2]), ("b.h5", rows[2:])):
        write_rows(folder / name, share)
    files = [folder / "a.h5", folder / "b.h5"]
    with pytest.warns(FeatxWarning, match="^new label 'wasps', 2 rows"):
        report = label_cache(files, {rows[0].id: "wasps"}, author="ada")
    assert [(one.after, one.n_rows) for one in report.changes] == [("wasps", 2)]
    merge_caches(files, tmp_path / "all.h5")
    for path in (files, tmp_path / "all.h5"):
        with open_cache(path) as cache:
            assert cache.labels.tolist() == ["wasps", "ants", "wasps", "ants"]
            assert cache.read_column("label", 1, 3).to_list() == ["ants", "wasps"]
            assert cache.count_labels() == {("ants", "train"): 2, ("wasps", "train"): 2}
            said = count_by_author(read_labels(cache), cache.read_rows(KEYS))
            assert [one.n_rows for one in said if one.field == "label"] == [2, 2]
