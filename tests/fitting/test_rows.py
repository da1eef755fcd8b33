"""The rows of a cache that a head is fitted on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featx.cache.joined import open_cache
from featx.core.errors import FeatxWarning
from featx.fitting.fit import fit_head
from featx.fitting.rows import FittingRows
from tests.builders import MakeCache, mark_learnt, rewrite_values


def read(path: Path, split: str | None = None) -> FittingRows:
    with open_cache(path) as cache:
        return FittingRows.read(cache, split=split, embedding=None)


def copy_digests(path: Path, source: slice, target: slice) -> None:
    """Make rows copies of other rows."""
    with open_cache(path) as cache:
        digests = cache.read_column("digest")[source]
    rewrite_values(path, "rows/digest", digests, target)


def test_rows_of_a_plain_cache_are_alone(cache_path: Path) -> None:
    rows = read(cache_path)
    assert rows.X.shape == (40, 8)
    assert (rows.units, rows.n_units, rows.n_copies, rows.conflicts) == (None, 40, 0, "")
    assert rows.fitted_on.split == "train"
    assert rows.list_notes() == []


def test_rows_of_groups_and_copies_are_units(make_cache: MakeCache) -> None:
    path = make_cache(n_val=0, groups=[f"g{i}" if i < 10 else None for i in range(20)] * 2)
    copy_digests(path, slice(10, 14), slice(30, 34))
    rows = read(path)
    assert rows.units is not None
    assert rows.n_units == 26  # ten groups of two, four files of two rows, twelve rows alone
    assert (rows.units[:14] == rows.units[20:34]).all()
    assert rows.n_copies == 4
    assert rows.list_notes() == ["4 files lie here twice or more: copies are kept together"]


def test_rows_whose_unit_was_learnt_from_are_learnt(make_cache: MakeCache) -> None:
    path = make_cache(n_val=0)
    mark_learnt(path, slice(0, 2))
    assert read(path).learnt.sum() == read(path).fitted_on.n_learnt == 2
    grouped = make_cache("grouped.h5", n_val=0, groups=[f"g{i % 10}" for i in range(40)])
    rows = read(mark_learnt(grouped, slice(0, 2)))
    assert (rows.learnt.sum(), rows.fitted_on.n_learnt) == (8, 2)


@pytest.mark.parametrize("target", [slice(1, 2), slice(41, 42)])
def test_rows_of_a_file_in_two_classes_are_named(cache_path: Path, target: slice) -> None:
    copy_digests(cache_path, slice(0, 1), target)
    told = f"1 file lies in two classes: bees/000.jpg and ants/{target.start:03}.jpg"
    assert told in read(cache_path).list_notes()


def test_rows_account_for_those_left_out(cache_path: Path) -> None:
    rewrite_values(cache_path, "labels/split", "", slice(30, 40))
    rows = read(cache_path)
    assert (len(rows.y), rows.left_out.n_without_split) == (30, 10)
    assert len(rows.list_notes()) == 1


def test_rows_of_copies_with_random_labels_score_at_chance(make_cache: MakeCache) -> None:
    path = make_cache(n_train=200, n_val=0, splits=False)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(100, 8)).astype(np.float32)
    labels = np.array(["ant", "bee"], object)[rng.integers(0, 2, 100)]
    rewrite_values(path, "embeddings/tiny/vectors", np.tile(vectors, (2, 1)))
    rewrite_values(path, "labels/label", np.tile(labels, 2), slice(0, 200))
    copy_digests(path, slice(0, 100), slice(100, 200))
    with pytest.warns(FeatxWarning, match=r"^100 files lie here twice or more"):
        held_out = fit_head(path).cross_validation
    assert held_out is not None
    assert (held_out.scores.n_rows, held_out.scores.n_units) == (200, 100)
    low, high = held_out.scores.accuracy_ci95
    assert low < 0.5 < high
    assert held_out.scores.accuracy < 0.65  # of copies that part, it is above 0.8


def test_rows_are_joined_by_rows_that_are_left_out(make_cache: MakeCache) -> None:
    # Row 1 is a copy of row 4, which has no label, and whose group is that of row 0.
    groups = ["g1" if i in (0, 4) else None for i in range(20)]
    path = mark_learnt(make_cache(n_train=20, n_val=0, groups=groups, splits=False), slice(4, 5))
    copy_digests(path, slice(4, 5), slice(1, 2))
    rewrite_values(path, "labels/label", "", slice(4, 5))
    rows = read(path)
    assert rows.units is not None
    assert rows.units[0] == rows.units[1]
    assert (len(rows.y), rows.n_units) == (19, 18)
    assert rows.learnt.tolist() == [True, True] + [False] * 17
