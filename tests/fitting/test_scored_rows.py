"""The rows that a head is scored on, as a value."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import featx
from featx.fitting.held_out import hold_out
from featx.fitting.scored_rows import ScoredRows
from tests.builders import MakeCache


def test_scored_rows_have_the_scores_of_evaluate(cache_path: Path) -> None:
    head = featx.fit_head(cache_path, C=0.01, progress=False)
    with featx.open_cache(cache_path) as cache:
        scored = ScoredRows.read(cache, head, split="val")
        assert scored.subject.endswith("cache.h5, split val")
        assert scored.rows.tolist() == list(range(40, 60))
        assert scored.count_alike(cache) == 0
    assert scored.score() == replace(featx.evaluate(head, cache_path), n_alike=None)


def test_select_unseen_leaves_out_rows_that_were_fitted_on(cache_path: Path) -> None:
    head = featx.fit_head(cache_path, C=0.01, progress=False)
    with featx.open_cache(cache_path) as cache:
        scored = ScoredRows.read(cache, head, split="all")
        assert scored.seen.sum() == 40
        unseen = scored.select_unseen()
        assert unseen is not None
        assert unseen.rows.tolist() == list(range(40, 60))
        assert not unseen.seen.any()
        assert unseen.score().n_seen == 0
        assert ScoredRows.read(cache, head, split="train").select_unseen() is None
        (told,) = scored.list_notes(0)
    assert told == "40 of 60 rows were used to fit the head: their scores are too high"


def test_hold_out_predicts_as_the_search_of_the_fit_did(make_cache: MakeCache) -> None:
    path = make_cache(splits=False)
    head = featx.fit_head(path, progress=False)
    assert head.cross_validation is not None
    with featx.open_cache(path) as cache:
        scored = ScoredRows.read(cache, head, split="all")
        held_out = hold_out(cache, head, scored)
    assert held_out is not None
    assert held_out.score() == head.cross_validation.scores
    assert held_out.n_folds == head.cross_validation.n_folds
    assert not held_out.seen.any()


def test_hold_out_of_too_few_rows_is_none(make_cache: MakeCache) -> None:
    path = make_cache(n_train=4, n_val=0, splits=False)
    with pytest.warns(featx.FeatxWarning, match="too few rows"):
        head = featx.fit_head(path, C=1.0, progress=False)
    with featx.open_cache(path) as cache:
        scored = ScoredRows.read(cache, head, split="all")
        assert hold_out(cache, head, scored) is None
        assert hold_out(cache, head, scored.select(np.array([0, 2]))) is None  # of one class
