"""Comparisons on caches: the same rows for all, and none that somebody has learnt from."""

from pathlib import Path

import numpy as np
import pytest

from featx.cache.joined import open_cache
from featx.core.errors import CacheError, FeatxError, FeatxWarning, FingerprintError, HeadError
from featx.core.typing import Array
from featx.fitting.compare import compare_heads, compare_kinds, name_heads
from featx.fitting.evaluate import evaluate
from featx.fitting.fit import fit_head
from tests.builders import MakeCache, MakeInfo, mark_learnt, rewrite_values

KINDS = ["logreg", "nearest-mean"]


@pytest.fixture
def two(make_cache: MakeCache, make_info: MakeInfo) -> Path:
    """Return a cache of 60 rows of train and 60 of val: ``tiny`` says the class, ``mini`` noise."""
    infos = [make_info("tiny"), make_info("mini")]
    path = make_cache("two.h5", n_train=60, n_val=60, infos=infos)
    noise = np.random.default_rng(0).normal(size=(120, 8)).astype(np.float32)
    rewrite_values(path, "embeddings/mini/vectors", noise)
    return path


def drop_vectors(path: Path, embedding: str, rows: slice) -> None:
    """Take vectors away."""
    with open_cache(path) as cache:
        dim = cache.get_info(embedding).fingerprint.dim
    rewrite_values(path, f"embeddings/{embedding}/present", 0, rows)
    n_rows = rows.stop - rows.start
    rewrite_values(
        path, f"embeddings/{embedding}/vectors", np.full((n_rows, dim), np.nan, np.float32), rows
    )


# ---- heads


def test_compare_heads_of_two_embeddings_scores_the_same_rows(two: Path) -> None:
    good, noise = (fit_head(two, embedding=name) for name in ("tiny", "mini"))
    found = compare_heads({"good": good, "noise": noise}, two)
    assert (found.n_rows, found.n_left_out, found.split) == (60, 0, "val")
    assert [one.name for one in found.candidates][:2] == ["good", "noise"]
    assert found.winner == "good"
    scores = evaluate(good, two)
    first = found.candidates[0]
    assert first.accuracy == scores.accuracy
    assert first.accuracy_ci95 == scores.accuracy_ci95
    assert first.log_loss == pytest.approx(scores.log_loss)
    assert first.seconds is None


def test_compare_heads_leaves_out_for_all_what_one_lacks(two: Path) -> None:
    heads = {name: fit_head(two, embedding=name) for name in ("tiny", "mini")}
    drop_vectors(two, "mini", slice(60, 70))
    rewrite_values(two, "labels/label", "", slice(110, 120))
    message = (
        r"split val: of 60 rows, 10 without a label and 10 without a vector in one of the "
        r"embeddings were left out for all$"
    )
    with pytest.warns(FeatxWarning, match=message):
        found = compare_heads(heads, two)
    assert (found.n_rows, found.n_left_out) == (40, 10)


def test_compare_tells_of_rows_without_a_split(two: Path) -> None:
    head = fit_head(two, embedding="tiny")
    rewrite_values(two, "labels/split", "", slice(110, 120))
    with pytest.warns(FeatxWarning, match=r"10 labelled rows have no split, and were left out\. "):
        assert compare_heads([head], two).n_rows == 50


def test_compare_heads_leaves_out_for_all_what_one_has_learnt_from(two: Path) -> None:
    first = fit_head(two, embedding="tiny", split="all")
    second = fit_head(two, embedding="tiny")
    with pytest.raises(CacheError, match=r"got 60 rows, each learnt from by all\. "):
        compare_heads({"all": first, "train": second}, two)


def test_compare_heads_on_all_rows_takes_those_that_none_was_fitted_on(two: Path) -> None:
    heads = {name: fit_head(two, embedding=name) for name in ("tiny", "mini")}
    message = (
        r"split all: 60 of 120 rows were learnt from by tiny and mini, and were left out for all"
    )
    with pytest.warns(FeatxWarning, match=message):
        found = compare_heads(heads, two, split="all")
    assert (found.n_rows, found.n_left_out) == (60, 60)


def test_compare_heads_joins_rows_by_their_groups(make_cache: MakeCache) -> None:
    path = make_cache(groups=[f"g{row // 5}" for row in range(60)])
    found = compare_heads([fit_head(path)], path)
    assert found.n_units == 4


def test_compare_heads_with_class_weights_compares_balanced_accuracies(two: Path) -> None:
    plain = fit_head(two, embedding="tiny")
    weighted = fit_head(two, embedding="tiny", class_weight="balanced")
    assert compare_heads([plain, weighted], two).measure == "balanced_accuracy"
    assert compare_heads([plain], two).measure == "accuracy"


def test_compare_heads_refuses_what_it_cannot_compare(
    two: Path, cache_path: Path, make_cache: MakeCache, make_info: MakeInfo, tmp_path: Path
) -> None:
    path = tmp_path / "head.joblib"
    head = fit_head(two, path, embedding="mini")
    with pytest.raises(HeadError, match=r"^heads: expected at least one head, got none\. "):
        compare_heads([], two)
    with pytest.raises(HeadError, match=r"^heads: expected each head once, got .*joblib twice\. "):
        compare_heads([path, path], two)
    with pytest.raises(FingerprintError, match=r"embedding tiny: "):
        compare_heads([head], cache_path)
    with pytest.raises(FeatxError, match=r"Exchange the two: featx\.compare_heads\(\['"):
        compare_heads([two], path)


def test_name_heads_takes_the_shortest_names_that_differ(two: Path) -> None:
    head = fit_head(two, embedding="tiny")
    assert list(name_heads(["a/x.joblib", "b/y.joblib"])) == ["x.joblib", "y.joblib"]
    assert list(name_heads(["a/x.joblib", "b/x.joblib"])) == ["a/x.joblib", "b/x.joblib"]
    assert list(name_heads([head, "x.joblib", head])) == [
        "head 1, logreg",
        "x.joblib",
        "head 3, logreg",
    ]


# ---- kinds


def test_compare_kinds_scores_each_kind_on_each_embedding(two: Path) -> None:
    found = compare_kinds(two, kinds=KINDS, progress=False)
    assert (found.n_rows, found.n_folds, found.split) == (60, 5, "train")
    names = [one.name for one in found.candidates]
    assert sorted(names[:4]) == sorted(
        f"{kind}, {name}" for kind in KINDS for name in ("tiny", "mini")
    )
    assert all(name.endswith("tiny") for name in names[:2])
    assert names[4].startswith("always ")
    assert all(one.seconds is not None for one in found.candidates[:4])
    assert "C" in dict(next(o for o in found.candidates if o.name == "logreg, tiny").params)


def test_compare_kinds_gives_the_held_out_scores_of_fit_head(cache_path: Path) -> None:
    found = compare_kinds(cache_path, kinds=["logreg"], progress=False)
    held_out = fit_head(cache_path).cross_validation
    assert held_out is not None
    assert found.candidates[0].accuracy == held_out.scores.accuracy


def test_compare_kinds_with_one_answer_is_not_told_from_the_control(two: Path) -> None:
    found = compare_kinds(two, kinds=KINDS, embeddings=["mini"], progress=False)
    assert found.winner is None
    assert found.verdict.startswith("cannot tell ")
    assert {one.name for one in found.candidates[:2]} == set(KINDS)


def test_compare_kinds_leaves_out_for_all_what_one_embedding_lacks(two: Path) -> None:
    drop_vectors(two, "mini", slice(0, 10))
    with pytest.warns(FeatxWarning, match=r"split train: of 60 rows, 10 without a vector in one "):
        found = compare_kinds(two, kinds=["nearest-mean"], progress=False)
    assert (found.n_rows, found.n_left_out) == (50, 10)


def test_compare_kinds_scores_no_row_that_a_network_has_learnt_from(
    make_cache: MakeCache, make_info: MakeInfo
) -> None:
    path = make_cache(n_train=100, n_val=0, infos=[make_info("tiny"), make_info("mini")])
    mark_learnt(path, slice(0, 50))
    with pytest.warns(FeatxWarning, match=r"^50 of 100 rows were learnt from by a network, and "):
        found = compare_kinds(path, kinds=["nearest-mean"], progress=False)
    assert (found.n_rows, found.n_left_out) == (50, 50)
    mark_learnt(path, slice(50, 100), "mini")
    with pytest.raises(HeadError, match=r"expected rows new to the network, got too few"):
        compare_kinds(path, kinds=["nearest-mean"], progress=False)


def test_compare_kinds_refuses_what_it_cannot_compare(cache_path: Path) -> None:
    for kinds, got in ((["logrec"], "'logrec'"), (["auto"], "'auto'"), ([], "none")):
        message = rf"^kinds: expected some of knn, lda, .*, got {got}\. "
        with pytest.raises(HeadError, match=message):
            compare_kinds(cache_path, kinds=kinds)
    with pytest.raises(CacheError, match=r"expected one of its embeddings"):
        compare_kinds(cache_path, embeddings=["huge"])
    rewrite_values(cache_path, "labels/label", "")
    with pytest.raises(CacheError, match=r"split train: expected labelled rows, got none"):
        compare_kinds(cache_path)


def test_compare_kinds_on_random_labels_names_no_winner(
    make_cache: MakeCache, make_info: MakeInfo
) -> None:
    path = make_cache(n_train=80, n_val=0, infos=[make_info("tiny"), make_info("mini")])
    for seed in range(5):
        for name in ("tiny", "mini"):
            noise: Array = np.random.default_rng([seed, len(name)]).normal(size=(80, 8))
            rewrite_values(path, f"embeddings/{name}/vectors", noise.astype(np.float32))
        assert compare_kinds(path, kinds=["nearest-mean", "ridge"], progress=False).winner is None


def test_compare_heads_without_a_class_in_common_is_refused(cache_path: Path) -> None:
    head = fit_head(cache_path, C=1.0)
    rewrite_values(cache_path, "labels/label", "Cats", slice(40, 60))
    with pytest.raises(HeadError, match=r"split val: expected classes among .*, got Cats\."):
        compare_heads({"mine": head}, cache=cache_path, split="val")


def test_compare_kinds_checks_the_memory_of_the_largest_fit_before_vectors_are_read(
    two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.fitting.memory.TOLD_BYTES", 1)
    monkeypatch.setattr("featx.fitting.memory.find_free_memory", lambda: 1)
    monkeypatch.setattr("featx.cache.reader.Cache.read_vectors", None)
    with pytest.raises(HeadError, match=r"^kind rbf-svm: expected .* of free memory"):
        compare_kinds(two, kinds=["logreg", "rbf-svm", "nearest-mean"])
