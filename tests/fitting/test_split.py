"""Recording splits in caches."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.cache.joined import open_cache
from featx.core.errors import CacheError, FeatxWarning, HeadError
from featx.core.typing import Split
from featx.fitting.split import record_split, split_cache
from tests.builders import (
    MakeCache,
    build_info,
    build_rows,
    mark_learnt,
    rewrite_values,
    write_vectors,
)

WriteRows = Callable[..., Path]


@pytest.fixture
def write_rows(tmp_path: Path) -> WriteRows:
    """Write a cache of such rows; rows of one number in `files` are copies. A factory."""

    def write(
        labels: Sequence[str],
        *,
        name: str = "cache.h5",
        splits: Sequence[Split | None] | None = None,
        groups: Sequence[str | None] | None = None,
        files: Sequence[int] | None = None,
    ) -> Path:
        n_rows = len(labels)
        rows = build_rows(labels, splits or [None] * n_rows, groups)
        if files is not None:
            rows = [
                replace(row, digest=f"{file + 1:016x}" * 4)
                for row, file in zip(rows, files, strict=True)
            ]
        vectors = np.random.default_rng(0).normal(size=(n_rows, 8)).astype(np.float32)
        return write_vectors(tmp_path / name, [build_info()], rows, {"tiny": vectors})

    return write


def read_splits(path: Path) -> list[str]:
    with open_cache(path) as cache:
        return cache.splits.tolist()  # type: ignore[no-any-return]


def list_told(caught: pytest.WarningsRecorder) -> list[str]:
    return [str(one.message) for one in caught]


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


# ---- copies, groups and classes


def test_split_cache_keeps_copies_together(write_rows: WriteRows) -> None:
    path = write_rows(["ant", "ant", "bee", "bee"] * 25, files=[i // 2 for i in range(100)])
    with pytest.warns(FeatxWarning) as caught:
        counts = split_cache(path)
    assert list_told(caught) == ["50 files lie here twice or more: copies are kept together"]
    splits = read_splits(path)
    assert splits[::2] == splits[1::2]
    assert counts == {"train": 80, "val": 20}


def test_split_cache_names_files_of_two_classes(write_rows: WriteRows) -> None:
    files = [*range(30), *range(5), *range(30, 55)]
    path = write_rows(["ant"] * 30 + ["bee"] * 30, files=files)
    with pytest.warns(FeatxWarning) as caught:
        split_cache(path)
    assert list_told(caught)[-1] == (
        "5 files lie in two classes: ant/000.jpg and bee/030.jpg, ant/001.jpg and bee/031.jpg, "
        "ant/002.jpg and bee/032.jpg, …"
    )


def test_split_cache_of_classes_of_one_group_is_refused(write_rows: WriteRows) -> None:
    labels = ["ant", "bee", "cat", "dog"] * 30
    path = write_rows(labels, groups=[f"site-{label}" for label in labels])
    message = (
        r"expected classes of several groups, .* got ant \(30 rows of group site-ant\), "
        r"bee \(30 rows of group site-bee\), cat \(30 rows of group site-cat\) and 1 more\. "
    )
    with pytest.raises(HeadError, match=message):
        split_cache(path, val=0.25)
    assert set(read_splits(path)) == {""}


def test_split_cache_names_a_class_that_val_lacks(write_rows: WriteRows) -> None:
    labels = ["ant"] * 60 + ["bee"] * 10 + ["lone"]
    groups = [f"g{i // 6}" if i < 60 else "hive" if i < 70 else None for i in range(71)]
    path = write_rows(labels, groups=groups)
    with pytest.warns(FeatxWarning) as caught:
        report = record_split(
            path, val=0.2, test=None, seed=0, new=False, overwrite=False, author=None
        )
    assert list_told(caught) == ["val has no bee (10 rows of group hive) and lone (1 row)"]
    assert report.counts["bee"] == {"train": 10, "val": 0}
    assert report.n_dealt == 71


def test_split_cache_says_that_groups_make_val_larger(write_rows: WriteRows) -> None:
    path = write_rows(["ant", "bee"] * 20, groups=[f"{'ab'[i % 2]}{i // 20}" for i in range(40)])
    with pytest.warns(FeatxWarning) as caught:
        assert split_cache(path, val=0.1) == {"train": 20, "val": 20}
    assert list_told(caught) == ["val has 20 rows, not 4: groups and copies stay whole"]


def test_split_cache_of_a_rare_class_has_it_on_both_sides(write_rows: WriteRows) -> None:
    path = write_rows(["ant"] * 98 + ["bee"] * 2)
    assert split_cache(path) == {"train": 80, "val": 20}
    assert sorted(read_splits(path)[-2:]) == ["train", "val"]


# ---- new rows


def grow(write_rows: WriteRows, n_old: int, labels: Sequence[str], **columns: list[str]) -> Path:
    """Split a cache of some of the rows, then write one of all of them with the splits."""
    held = {name: values[:n_old] for name, values in columns.items()}
    first = write_rows(labels[:n_old], name="first.h5", **held)
    split_cache(first)
    rest: list[str | None] = [None] * (len(labels) - n_old)
    return write_rows(labels, splits=[*read_splits(first), *rest], **columns)


def split_new(path: Path, **options: Any) -> list[str]:
    """Deal new rows, and return what is told."""
    with pytest.warns(FeatxWarning) as caught:
        split_cache(path, new=True, **options)
    return list_told(caught)


def test_split_cache_of_new_rows_leaves_all_others(write_rows: WriteRows) -> None:
    path = grow(write_rows, 80, ["ant", "bee"] * 100)
    before = read_splits(path)
    assert split_new(path) == ["120 rows got a split, and 80 kept theirs"]
    after = read_splits(path)
    assert after[:80] == before[:80]
    assert Counter(after) == {"train": 160, "val": 40}
    assert Counter(after[::2]) == {"train": 80, "val": 20}
    content = path.read_bytes()
    assert split_new(path) == ["all labelled rows have a split: nothing to deal"]
    assert path.read_bytes() == content


def test_split_cache_of_new_rows_says_nothing_of_the_others(write_rows: WriteRows) -> None:
    path = grow(write_rows, 40, ["ant", "bee"] * 30)
    split_new(path)
    with open_cache(path) as cache:
        history = cache.read_history()
    assert [(one.n_rows, one.note) for one in history] == [(20, "new rows, seed=0")]


def test_split_cache_of_new_rows_takes_fractions(write_rows: WriteRows) -> None:
    path = grow(write_rows, 40, ["ant", "bee"] * 50)
    split_new(path, val=0.2, test=0.3)
    assert Counter(read_splits(path)) == {"train": 50, "val": 20, "test": 30}


def test_split_cache_of_new_copies_and_groups_goes_where_the_others_lie(
    write_rows: WriteRows,
) -> None:
    labels = ["ant", "bee"] * 40
    groups = [f"g{i % 40}" for i in range(80)]
    path = grow(write_rows, 40, labels, groups=groups)
    told = split_new(path)
    assert told == [
        "40 rows got a split, and 40 kept theirs",
        "40 of them went where other rows of their group or file lie",
    ]
    after = read_splits(path)
    assert after[:40] == after[40:]


def test_split_cache_of_new_rows_of_a_parted_group_tells(write_rows: WriteRows) -> None:
    splits: list[Split | None] = ["train", "train", "val", "val", "train", "val", None, None]
    groups = ["a", "a", "a", None, None, None, "a", None]
    path = write_rows(["ant", "bee"] * 4, splits=splits, groups=groups)
    told = split_new(path)
    assert told[1:3] == [
        "1 of them went where other rows of their group or file lie",
        "1 of them belong to groups or files that lie in several splits before",
    ]
    assert read_splits(path)[6] == "train"


def test_split_cache_of_a_new_class_in_a_group_of_val_is_refused(write_rows: WriteRows) -> None:
    splits: list[Split | None] = ["train", "train", "val", "val", None, None]
    path = write_rows(
        ["ant", "bee", "ant", "bee", "cat", "cat"],
        splits=splits,
        groups=[None, None, "v", "v", "v", "v"],
    )
    message = r"expected rows of every class in train, got none of cat \(2 rows of group v\)\. "
    with pytest.raises(HeadError, match=message):
        split_cache(path, new=True)
    assert read_splits(path)[4:] == ["", ""]


def test_split_cache_of_new_rows_that_were_learnt_from_makes_them_train(
    write_rows: WriteRows,
) -> None:
    path = grow(write_rows, 40, ["ant", "bee"] * 40)
    mark_learnt(path, slice(40, 60))
    told = split_new(path)
    assert set(read_splits(path)[40:60]) == {"train"}
    assert told[1] == "20 of 80 rows were learnt from by the network: they become train"


def test_split_cache_of_new_rows_without_splits_deals_all(make_cache: MakeCache) -> None:
    assert split_cache(make_cache(splits=False), new=True) == {"train": 48, "val": 12}


def test_split_cache_new_and_overwrite_is_refused(cache_path: Path) -> None:
    with pytest.raises(HeadError, match=r"^new, overwrite: expected one of them, got both\. "):
        split_cache(cache_path, new=True, overwrite=True)


def test_split_cache_of_a_grown_cache_names_the_way_to_split_new_rows(
    write_rows: WriteRows,
) -> None:
    path = grow(write_rows, 40, ["ant", "bee"] * 30)
    with pytest.raises(CacheError, match=r"or new=True to split only the 20 rows without one"):
        split_cache(path)


# --- labels that are numbers


def draw_numbers(n_rows: int) -> list[str]:
    return [f"{number:.4f}" for number in np.random.default_rng(0).lognormal(size=n_rows)]


@pytest.mark.parametrize(("n_rows", "val", "test"), [(100, 0.2, 0.1), (23, 0.2, 0), (50, 0.1, 0)])
def test_split_cache_deals_numbers_by_runs_of_like_ones(
    write_rows: WriteRows, n_rows: int, val: float, test: float
) -> None:
    labels = draw_numbers(n_rows)
    path = write_rows(labels)
    with pytest.warns(FeatxWarning, match=r"^the labels look like numbers: each split takes its"):
        counts = split_cache(path, val=val, test=test)
    assert counts["val"] == round(val * n_rows)
    assert counts.get("test", 0) == round(test * n_rows)
    numbers, splits = np.array(labels, float), np.array(read_splits(path))
    ranks = np.argsort(np.argsort(numbers)) / n_rows
    # Means of random rows would stray by 0.13 in five rows, and 0.06 in twenty.
    for name in set(splits.tolist()):
        assert ranks[splits == name].mean() == pytest.approx(0.5, abs=0.09)


@pytest.mark.filterwarnings("ignore::featx.FeatxWarning")
def test_split_cache_reports_runs_in_the_order_of_their_numbers(write_rows: WriteRows) -> None:
    labels = [str(number) for number in range(-20, 100)]
    report = record_split(
        write_rows(labels), val=0.25, test=0, seed=0, new=False, overwrite=False, author=None
    )
    assert report.are_numbers
    assert list(report.counts)[:3] == ["-20 to -9", "-8 to 3", "4 to 15"]
    assert {name: line["val"] for name, line in report.counts.items()} == dict.fromkeys(
        report.counts, 3
    )


@pytest.mark.filterwarnings("ignore::featx.FeatxWarning")
def test_split_cache_of_numbers_parts_no_unit(write_rows: WriteRows) -> None:
    groups = [f"g{row // 4}" for row in range(80)]
    path = write_rows(draw_numbers(80), groups=groups)
    split_cache(path, val=0.25)
    of_group: dict[str, set[str]] = {}
    for group, split in zip(groups, read_splits(path), strict=True):
        of_group.setdefault(group, set()).add(split)
    assert all(len(sides) == 1 for sides in of_group.values())
    assert 12 <= read_splits(path).count("val") <= 28


@pytest.mark.filterwarnings("ignore::featx.FeatxWarning")
def test_split_cache_of_new_rows_with_numbers_leaves_the_others(write_rows: WriteRows) -> None:
    splits: list[Any] = [*(["train", "train", "train", "val"] * 10), *([None] * 40)]
    path = write_rows(draw_numbers(80), splits=splits)
    counts = split_cache(path, new=True)
    assert 18 <= counts["val"] <= 22
    assert counts["train"] + counts["val"] == 80
    assert read_splits(path)[:40] == splits[:40]


def test_split_cache_refuses_numbers_that_are_all_the_same(write_rows: WriteRows) -> None:
    with pytest.raises(HeadError, match=r"expected rows of at least 2 classes, got only '1\.5'"):
        split_cache(write_rows(["1.5"] * 30))


def test_split_cache_takes_digits_for_classes(write_rows: WriteRows) -> None:
    path = write_rows([str(row % 10) for row in range(60)])
    assert record_split(
        path, val=0.2, test=0, seed=0, new=False, overwrite=False, author=None
    ).counts["7"] == {"train": 5, "val": 1}
