"""Embeddings of a cache that are read side by side."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from featx.cache.joined import open_cache
from featx.cache.reader import Cache
from featx.cache.side_by_side import (
    read_digests_learnt_by,
    read_joined,
    read_learnt_by,
    read_present_in,
    select_labelled,
)
from featx.core.errors import CacheError
from featx.core.typing import VectorDtype
from tests.builders import (
    MakeCache,
    MakeInfo,
    build_column,
    build_rows,
    mark_learnt,
    rewrite_values,
    write_rows,
)


@pytest.fixture
def path(make_cache: MakeCache, make_info: MakeInfo) -> Path:
    infos = [make_info("tiny"), make_info("mini", dim=3)]
    return make_cache("two.h5", infos=infos)


@pytest.fixture
def cache(path: Path) -> Iterator[Cache]:
    with open_cache(path) as opened:
        yield opened


def test_read_joined_is_in_the_order_of_the_names(cache: Cache) -> None:
    rows = np.array([7, 3, 50])
    tiny, mini = (cache.read_vectors(name, rows) for name in ("tiny", "mini"))
    for names, parts in ((["tiny", "mini"], [tiny, mini]), (["mini", "tiny"], [mini, tiny])):
        found = read_joined(cache, names, rows)
        np.testing.assert_array_equal(found, np.hstack(parts))
        assert found.dtype == np.float32
    np.testing.assert_array_equal(read_joined(cache, "mini", rows), mini)
    assert read_joined(cache, ["tiny", "mini"], rows[:0]).shape == (0, 11)


@pytest.mark.parametrize("dtypes", [("float16", "float16"), ("float16", "float32")], ids=str)
def test_read_joined_loses_no_digits(
    make_info: MakeInfo, tmp_path: Path, dtypes: tuple[VectorDtype, VectorDtype]
) -> None:
    X = np.random.default_rng(0).normal(size=(3, 8))
    infos = [make_info("tiny"), make_info("mini")]
    columns = [
        build_column(info, X.astype(dtype), dtype)
        for info, dtype in zip(infos, dtypes, strict=True)
    ]
    write_rows(tmp_path / "c.h5", build_rows([None] * 3, [None] * 3), columns, source="drawn")
    with open_cache(tmp_path / "c.h5") as cache:
        found = read_joined(cache, ["tiny", "mini"], np.arange(3))
    assert found.dtype == dtypes[1]
    np.testing.assert_array_equal(found[:, 8:], X.astype(dtypes[1]))


def test_rows_that_lack_one_vector_do_not_count(path: Path) -> None:
    rewrite_values(path, "embeddings/tiny/present", 0, slice(0, 2))
    rewrite_values(path, "embeddings/mini/present", 0, slice(1, 5))
    rewrite_values(path, "labels/label", "", slice(5, 7))
    with open_cache(path) as cache:
        present = read_present_in(cache, ["tiny", "mini"])
        assert np.flatnonzero(~present).tolist() == [0, 1, 2, 3, 4]
        rows = select_labelled(cache, "train", ["tiny", "mini"])
        assert rows.tolist() == list(range(7, 40))
        assert select_labelled(cache, "train", "tiny")[0] == 2
        with pytest.raises(CacheError, match=r"embedding mini: expected a vector for each row"):
            read_joined(cache, ["tiny", "mini"], np.array([3]))


def test_labelled_rows_without_the_vectors_are_refused(path: Path) -> None:
    rewrite_values(path, "embeddings/tiny/present", 0, slice(0, 20))
    rewrite_values(path, "embeddings/mini/present", 0, slice(20, 40))
    with open_cache(path) as cache:
        message = (
            r"split train: expected labelled rows with a vector in tiny and mini, got none\. Add"
        )
        with pytest.raises(CacheError, match=message):
            select_labelled(cache, "train", ["tiny", "mini"])
        assert len(select_labelled(cache, "train", "mini")) == 20
    rewrite_values(path, "labels/label", "", slice(0, 40))
    with open_cache(path) as cache:
        assert not len(select_labelled(cache, "train", ["tiny", "mini"]))


def test_learnt_is_what_one_of_the_networks_has_learnt_from(path: Path) -> None:
    mark_learnt(path, slice(0, 3), "tiny")
    mark_learnt(path, slice(2, 6), "mini")
    with open_cache(path) as cache:
        found = read_learnt_by(cache, ["tiny", "mini"])
        assert np.flatnonzero(found).tolist() == [0, 1, 2, 3, 4, 5]
        assert np.flatnonzero(read_learnt_by(cache, "tiny")).tolist() == [0, 1, 2]
        assert len(read_digests_learnt_by(cache, ["tiny", "mini"])) == 6


def test_nothing_is_learnt_from_by_plain_networks(cache: Cache) -> None:
    assert not read_learnt_by(cache, ["tiny", "mini"]).any()
