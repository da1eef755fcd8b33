"""Rows that the network has learnt from: no score of them passes for a score of new images."""

from pathlib import Path

import numpy as np
import pytest

from featx.cache.joined import open_cache
from featx.core.digests import pack_digests
from featx.core.errors import FeatxWarning, HeadError
from featx.core.learnt import join_digests, shorten_digests
from featx.fitting.evaluate import evaluate
from featx.fitting.fit import fit_head
from featx.fitting.split import split_cache
from tests.builders import MakeCache, MakeInfo, mark_learnt, rewrite_values

TRAIN = slice(0, 40)
"""Rows of the split train of `cache_path`; those of val follow."""


def read_splits(path: Path) -> list[str]:
    with open_cache(path) as cache:
        return cache.splits.tolist()  # type: ignore[no-any-return]


# ---- fit_head


def test_fit_head_on_learnt_rows_has_no_held_out_score(cache_path: Path) -> None:
    mark_learnt(cache_path, TRAIN)
    message = (
        r"^40 of 40 rows were learnt from by the network: folds say nothing; score on val\. "
        r"C was chosen by such folds, for want of others$"
    )
    with pytest.warns(FeatxWarning, match=message):
        head = fit_head(cache_path)
    assert head.cross_validation is None
    assert head.fitted_on.n_learnt == 40


def test_fit_head_with_a_given_strength_tells_of_learnt_rows_too(make_cache: MakeCache) -> None:
    path = mark_learnt(make_cache(splits=False), slice(None))
    message = r"^60 of 60 rows were learnt from by the network: folds say nothing; score on rows"
    with pytest.warns(FeatxWarning, match=message):
        assert fit_head(path, C=1.0).fitted_on.n_learnt == 60


def test_fit_head_scores_the_rows_that_the_network_has_not_learnt_from(
    make_cache: MakeCache, make_info: MakeInfo
) -> None:
    # What the network has learnt it tells apart, of all else it knows nothing.
    path = make_cache(n_train=400, n_val=0, splits=False, infos=[make_info(dim=4)])
    rng = np.random.default_rng(0)
    with open_cache(path) as cache:
        sides = np.where(cache.labels == "ants", 3.0, -3.0)[:, None]
    vectors = rng.normal(size=(400, 4)) + sides * (np.arange(400) < 200)[:, None]
    rewrite_values(path, "embeddings/tiny/vectors", vectors.astype(np.float32))
    unaware = fit_head(path).cross_validation
    assert unaware is not None
    assert unaware.scores.accuracy > 0.65
    mark_learnt(path, slice(0, 200))
    message = r"^200 of 400 rows were .*: C and the held-out accuracy are of the 200 others only$"
    with pytest.warns(FeatxWarning, match=message):
        head = fit_head(path)
    assert head.cross_validation is not None
    scores = head.cross_validation.scores
    assert (scores.n_rows, head.cross_validation.n_learnt) == (200, 200)
    assert scores.accuracy_ci95[0] < 0.5 < scores.accuracy_ci95[1]


@pytest.mark.parametrize("n_learnt", [11, 39])
def test_fit_head_with_few_rows_beside_learnt_ones_has_no_score(
    cache_path: Path, n_learnt: int
) -> None:
    mark_learnt(cache_path, slice(0, n_learnt))
    with pytest.warns(FeatxWarning, match=rf"^{n_learnt} of 40 rows were learnt from"):
        assert fit_head(cache_path).cross_validation is None


def test_fit_head_with_a_class_that_is_learnt_throughout_has_no_score(
    make_cache: MakeCache,
) -> None:
    path = make_cache(n_train=200)
    with open_cache(path) as cache:
        mark_learnt(path, cache.labels == "ants")
    with pytest.warns(FeatxWarning, match=r"^100 of 200 rows were learnt from .*: folds say"):
        assert fit_head(path).cross_validation is None


def test_fit_head_takes_a_group_as_learnt_of_which_one_image_was(make_cache: MakeCache) -> None:
    groups = [f"g{number // 4}" for number in range(200)]
    path = mark_learnt(make_cache(n_train=200, n_val=0, groups=groups), slice(0, 80, 4))
    with pytest.warns(FeatxWarning, match=r"^20 of 200 rows .* are of the 120 others only$"):
        held_out = fit_head(path).cross_validation
    assert held_out is not None
    assert (held_out.scores.n_rows, held_out.n_learnt) == (120, 80)


def test_fit_head_adds_what_the_network_has_learnt_to_what_the_head_has_seen(
    cache_path: Path,
) -> None:
    mark_learnt(cache_path, slice(30, 50))
    with pytest.warns(FeatxWarning, match=r"^10 of 40 rows were learnt from"):
        head = fit_head(cache_path, C=1.0)
    with open_cache(cache_path) as cache:
        assert head.seen.tolist() == shorten_digests(cache.digests[:50]).tolist()


# ---- evaluate


def test_evaluate_counts_rows_that_the_network_has_learnt_from(
    cache_path: Path, tmp_path: Path
) -> None:
    head = fit_head(cache_path)  # the head itself knows nothing of it
    mark_learnt(cache_path, slice(35, 50))
    with pytest.warns(
        FeatxWarning,
        match=r"^10 of 20 rows were learnt from by the network: their scores are too high$",
    ):
        scores = evaluate(head, cache_path)
    assert (scores.n_seen, scores.n_rows) == (10, 20)
    with pytest.warns(
        FeatxWarning,
        match=r"^15 of 60 rows were learnt from by the network, and 35 of 60 rows were used to fit",
    ):
        scores = evaluate(head, cache_path, split="all")
    assert (scores.n_seen, scores.unseen_accuracy) == (50, 1.0)


# ---- split_cache


def test_split_cache_keeps_learnt_rows_in_train(make_cache: MakeCache) -> None:
    path = mark_learnt(make_cache(splits=False), slice(0, 30))
    message = r"^30 of 60 rows were learnt from by the network: they become train$"
    with pytest.warns(FeatxWarning, match=message):
        assert split_cache(path, val=0.2, test=0.1) == {"train": 42, "val": 12, "test": 6}
    assert set(read_splits(path)[:30]) == {"train"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_split_cache_anew_has_the_rows_that_were_not_learnt_from(
    cache_path: Path, *, overwrite: bool
) -> None:
    before = read_splits(mark_learnt(cache_path, TRAIN))
    with pytest.warns(FeatxWarning) as caught:
        counts = split_cache(cache_path, val=0.4, seed=5, overwrite=overwrite)
    assert [str(one.message) for one in caught] == [
        "40 of 60 rows were learnt from by the network: they become train",
        "val has 20 rows, not 24: there are no others",
    ]
    assert counts == {"train": 40, "val": 20}
    assert read_splits(cache_path) == before


def test_split_cache_of_learnt_rows_alone_is_refused(make_cache: MakeCache) -> None:
    path = mark_learnt(make_cache(splits=False), slice(None))
    with pytest.raises(HeadError, match=r"rows that no network of the cache has learnt.*got 0"):
        split_cache(path)
    assert set(read_splits(path)) == {""}


def test_split_cache_leaves_rows_of_a_new_class_to_fit_on(make_cache: MakeCache) -> None:
    path = make_cache(n_train=90, n_val=10, splits=False)
    rewrite_values(path, "labels/label", "wasps", slice(90, 100))
    mark_learnt(path, slice(0, 90))
    with pytest.warns(FeatxWarning) as caught:
        assert split_cache(path, val=0.4) == {"train": 96, "val": 4}
    assert [str(one.message) for one in caught][1:] == [
        "val has 4 rows, not 40: there are no others",
        "val has no ants (45 rows) and bees (45 rows)",
    ]


def test_split_cache_keeps_learnt_rows_of_any_embedding_in_train(
    make_cache: MakeCache, make_info: MakeInfo
) -> None:
    infos = [make_info("tiny"), make_info("tuned", weights_digest="cd" * 32)]
    path = mark_learnt(make_cache(splits=False, infos=infos), slice(0, 30), "tuned")
    with pytest.warns(FeatxWarning, match=r"^30 of 60 rows were learnt from"):
        split_cache(path)
    assert set(read_splits(path)[:30]) == {"train"}
    assert fit_head(path, embedding="tiny").cross_validation is not None  # it has learnt nothing


def test_split_cache_keeps_whole_groups_with_their_learnt_rows(make_cache: MakeCache) -> None:
    groups = [f"g{number // 4}" for number in range(200)]
    path = make_cache(n_train=200, n_val=0, groups=groups, splits=False)
    mark_learnt(path, slice(0, 100, 4))
    with pytest.warns(FeatxWarning, match=r"^25 of 200 rows were learnt from"):
        counts = split_cache(path, val=0.2)
    assert counts["val"] == pytest.approx(40, abs=8)
    assert set(read_splits(path)[:100]) == {"train"}


def test_copies_of_a_learnt_image_are_learnt(make_cache: MakeCache) -> None:
    path = make_cache(splits=False)
    with open_cache(path) as cache:
        digests = cache.digests.copy()
    digests[30:] = digests[:30]  # each image again under another id
    rewrite_values(path, "rows/digest", pack_digests(digests))
    mark_learnt(path, slice(0, 30))
    with open_cache(path) as cache:
        assert cache.read_learnt().all()
        assert len(cache.read_learnt_digests()) == 30
        assert (
            join_digests([cache.read_learnt_digests()]).tolist()
            == shorten_digests(digests).tolist()
        )
