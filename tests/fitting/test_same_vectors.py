"""Rows with the same vector are a unit, whether a digest says so or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featx.cache.joined import open_cache
from featx.core.errors import FeatxWarning
from featx.fitting.compare import compare_kinds
from featx.fitting.curve_rows import read_curve_rows
from featx.fitting.evaluate_target import evaluate_target
from featx.fitting.fit import fit_head
from featx.fitting.held_out import hold_out
from featx.fitting.label import label_cache
from featx.fitting.rows import FittingRows
from featx.fitting.same_vectors import count_same, describe_same, digest_blocks, find_units_of
from featx.fitting.scored_rows import ScoredRows
from featx.fitting.similar import find_row_units
from tests.builders import MakeCache, rewrite_values

PAIRS = np.tile(np.arange(40), 2)


@pytest.fixture(params=[False, True], ids=["other-files", "without-digest"])
def paired(make_cache: MakeCache, request: pytest.FixtureRequest) -> Path:
    """Return a cache of 40 random vectors with random labels, each of them in two rows."""
    path = make_cache(n_train=80, n_val=0, splits=False)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40, 8)).astype(np.float32)
    labels = np.array(["ant", "bee"], object)[rng.permutation(40) % 2]
    rewrite_values(path, "embeddings/tiny/vectors", vectors[PAIRS])
    rewrite_values(path, "labels/label", labels[PAIRS], slice(0, 80))
    if request.param:
        rewrite_values(path, "rows/digest", np.zeros((80, 32), np.uint8))
    return path


def test_rows_with_the_same_vector_score_at_chance(paired: Path) -> None:
    with pytest.warns(FeatxWarning, match=r"^40 vectors are here twice or more: their rows are"):
        head = fit_head(paired)
    assert head.cross_validation is not None
    assert head.cross_validation.scores.n_units == 40
    assert head.cross_validation.scores.accuracy < 0.7
    with open_cache(paired) as cache:
        scored = ScoredRows.read(cache, head, split="all")
        held_out = hold_out(cache, head, scored)
    assert held_out is not None
    assert (held_out.predicted == held_out.y).mean() < 0.7
    for units in (scored.units, held_out.units):
        assert units is not None
        assert (units[:40] == units[40:]).all()


def test_rows_with_the_same_vector_are_compared_and_drawn_as_units(paired: Path) -> None:
    found = compare_kinds(paired, kinds=["nearest-mean"], cv=3)
    assert found.n_units == 40
    with open_cache(paired) as cache:
        units = read_curve_rows(cache).units
    assert units is not None
    assert (units[:40] == units[40:]).all()


def test_rows_with_the_same_vector_are_one_unit_of_a_number(paired: Path) -> None:
    with open_cache(paired) as cache:
        numbers = {key: float(at % 7) for at, key in enumerate(cache.ids)}
    label_cache(paired, numbers, field="weight")
    with pytest.warns(FeatxWarning, match="40 vectors are here twice or more"):
        head = fit_head(paired, target="weight")
    with pytest.warns(FeatxWarning, match="80 of 80 rows"):
        scores = evaluate_target(head, paired, split="all")
    assert (scores.n_rows, scores.n_units) == (80, 40)


def test_splits_keep_rows_without_a_digest_together_by_their_first_vectors(
    make_cache: MakeCache,
) -> None:
    path = make_cache(n_val=0)
    with open_cache(path) as cache:
        vectors = cache.read_vectors("tiny", np.arange(2))
    rewrite_values(path, "embeddings/tiny/vectors", vectors, slice(8, 10))
    with open_cache(path) as cache:
        assert find_row_units(cache, None) is None  # they are two files
    rewrite_values(path, "rows/digest", np.zeros((2, 32), np.uint8), slice(8, 10))
    rewrite_values(path, "rows/digest", np.zeros((1, 32), np.uint8), slice(0, 1))
    with open_cache(path) as cache:
        units = find_row_units(cache, None)
        assert units is not None
        assert units.max() == len(cache) - 2
        assert units[0] == units[8]


def test_rows_are_the_same_if_they_are_in_all_embeddings(several: Path) -> None:
    everyone = ["tiny@conv", "tiny"]
    with open_cache(several) as cache:
        rows = np.arange(len(cache))
        vectors = {name: cache.read_vectors(name, rows[:2]) for name in everyone}
    rewrite_values(several, "embeddings/tiny@conv/vectors", vectors["tiny@conv"], slice(4, 6))
    with open_cache(several) as cache:
        assert find_units_of(cache, rows, ["tiny@conv"]) is not None
        assert find_units_of(cache, rows, everyone) is None
    rewrite_values(several, "embeddings/tiny/vectors", vectors["tiny"][:1], slice(4, 5))
    with open_cache(several) as cache:
        units = find_units_of(cache, rows, everyone)
    assert units is not None
    assert units.max() == len(rows) - 2
    assert units[0] == units[4]


def test_vectors_that_are_all_the_same_join_nothing(make_cache: MakeCache) -> None:
    path = make_cache(n_val=0)
    rewrite_values(path, "embeddings/tiny/vectors", np.ones((40, 8), np.float32))
    with open_cache(path) as cache:
        rows = FittingRows.read(cache, split=None, embedding=None)
    assert (rows.units, rows.n_same) == (None, 0)


def test_vectors_of_rows_that_are_one_unit_anyway_are_not_told() -> None:
    vectors = digest_blocks([np.array([[1.0], [1.0]]), np.array([[2.0], [2.0], [3.0], [1.0]])])
    units = np.array([0, 0, 1, 1, 2, 3])
    assert count_same(vectors, units) == 1
    units[5] = 0
    assert count_same(vectors, units) == 0
    assert describe_same(1) == "1 vector is here twice or more: its rows are kept together"


def test_vectors_of_zeros_say_nothing_of_what_belongs_together() -> None:
    vectors = digest_blocks([np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 2.0], [1.0, 2.0]])])
    assert not vectors[:2].any()
    assert count_same(vectors, np.arange(4)) == 1
