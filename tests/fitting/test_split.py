"""Recording splits in caches."""

from pathlib import Path

import pytest

from featx.cache.joined import open_cache
from featx.core.errors import CacheError, FeatxWarning, HeadError
from featx.fitting.split import split_cache
from tests.builders import MakeCache, rewrite_values


def test_split_cache_records_what_it_returns(make_cache: MakeCache) -> None:
    path = make_cache(splits=False)
    counts = split_cache(path, val=0.2, test=0.1)
    assert counts == {"train": 42, "val": 12, "test": 6}
    with open_cache(path) as cache:
        found = {name: len(cache.select_rows(name)) for name in cache.list_splits()}
        y = cache.labels[cache.select_rows("val")]
    assert found == counts
    assert sorted(y) == ["ants"] * 6 + ["bees"] * 6


def test_split_cache_with_splits_is_refused_and_kept(cache_path: Path) -> None:
    before = cache_path.read_bytes()
    with pytest.raises(CacheError, match=r"expected a cache without splits, or .*, got train, val"):
        split_cache(cache_path)
    assert cache_path.read_bytes() == before


def test_split_cache_with_the_same_numbers_again_leaves_the_file(make_cache: MakeCache) -> None:
    path = make_cache(splits=False)
    counts = split_cache(path, val=0.3, seed=2)
    before = path.read_bytes(), path.stat().st_ino
    assert split_cache(path, val=0.3, seed=2) == counts
    assert (path.read_bytes(), path.stat().st_ino) == before
    for val, seed in ((0.2, 2), (0.3, 3)):
        with pytest.raises(CacheError, match=r"got train, val\. Pass overwrite=True"):
            split_cache(path, val=val, seed=seed)


def test_split_cache_that_has_splits_says_so_before_it_counts_rows(make_cache: MakeCache) -> None:
    path = make_cache(n_train=1, n_val=1)
    with pytest.raises(CacheError, match=r"expected a cache without splits"):
        split_cache(path)


@pytest.mark.parametrize("n_rows", [2, 4])
def test_split_cache_of_too_few_rows_is_refused(make_cache: MakeCache, n_rows: int) -> None:
    path = make_cache(splits=False, n_train=n_rows, n_val=0)
    message = rf"expected rows of every class among the \d of {n_rows} rows set aside"
    with pytest.raises(HeadError, match=message):
        split_cache(path)


def test_split_cache_of_one_row_is_refused(make_cache: MakeCache) -> None:
    path = make_cache(splits=False, n_train=1, n_val=0)
    with pytest.raises(HeadError, match=r"expected rows of at least 2 classes, got only 'bees'"):
        split_cache(path)


def test_split_cache_of_two_groups_of_one_row_is_refused(make_cache: MakeCache) -> None:
    path = make_cache(splits=False, n_train=2, n_val=0, groups=["a", "b"])
    with pytest.raises(HeadError, match=r"expected rows of every class among the 0 of 2 rows"):
        split_cache(path)


def test_split_cache_overwrite_replaces_splits(cache_path: Path) -> None:
    assert split_cache(cache_path, val=0, test=0.5, overwrite=True) == {"train": 30, "test": 30}
    with open_cache(cache_path) as cache:
        assert cache.list_splits() == ["train", "test"]


def test_split_cache_leaves_unlabelled_rows_without_split(make_cache: MakeCache) -> None:
    path = make_cache(splits=False)
    rewrite_values(path, "labels/label", "", slice(0, 20))
    with pytest.warns(FeatxWarning, match=r"^20 of 60 rows have no label, and get no split$"):
        assert split_cache(path, val=0.25) == {"train": 30, "val": 10}
    with open_cache(path) as cache:
        assert (cache.splits[:20] == "").all()
        assert (cache.splits[20:] != "").all()


def test_split_cache_keeps_groups_together(make_cache: MakeCache) -> None:
    groups = [f"g{i // 4}" for i in range(60)]
    path = make_cache(splits=False, groups=groups)
    split_cache(path, val=0.3)
    with open_cache(path) as cache:
        pairs = set(zip(cache.groups, cache.splits, strict=True))
    assert len(pairs) == 15
    assert {split for _, split in pairs} == {"train", "val"}


def test_split_cache_same_seed_is_the_same(make_cache: MakeCache) -> None:
    found = []
    for seed in (5, 5, 6):
        path = make_cache(splits=False)
        split_cache(path, seed=seed)
        with open_cache(path) as cache:
            found.append(cache.splits.tolist())
    assert found[0] == found[1] != found[2]


def test_split_cache_without_labels_is_refused(make_cache: MakeCache) -> None:
    path = make_cache(splits=False)
    rewrite_values(path, "labels/label", "")
    with pytest.raises(HeadError, match=r"got no labelled rows"):
        split_cache(path)
