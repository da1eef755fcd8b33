"""Scoring heads on caches."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from featx.cache.joined import open_cache
from featx.core.errors import CacheError, FeatxWarning, FingerprintError, HeadError
from featx.fitting.evaluate import choose_evaluated, evaluate
from featx.fitting.fit import fit_head
from tests.builders import MakeCache, MakeInfo, rewrite_values


def test_evaluate_without_split_takes_val(cache_path: Path) -> None:
    scores = evaluate(fit_head(cache_path), cache_path)
    assert scores.n_rows == 20
    assert scores.accuracy > 0.9
    assert scores.log_loss is not None


def test_evaluate_without_split_nor_val_takes_test(cache_path: Path) -> None:
    rewrite_values(cache_path, "labels/split", "test", slice(50, 60))
    rewrite_values(cache_path, "labels/split", "", slice(40, 50))
    told = r"cache\.h5: 10 labelled rows have no split, and were left out"
    with pytest.warns(FeatxWarning, match=told):
        head = fit_head(cache_path)
    with pytest.warns(FeatxWarning, match=told):
        assert evaluate(head, cache_path).n_rows == 10


def test_evaluate_svm_has_a_log_loss(cache_path: Path) -> None:
    scores = evaluate(fit_head(cache_path, kind="linear-svm"), cache_path)
    assert scores.log_loss is not None
    assert scores.accuracy > 0.9


def test_evaluate_wrong_labels_are_wrong(cache_path: Path) -> None:
    head = fit_head(cache_path)
    with open_cache(cache_path) as cache:
        swapped = np.where(cache.labels == "ants", "bees", "ants").astype(object)
    rewrite_values(cache_path, "labels/label", swapped)
    assert evaluate(head, cache_path).accuracy < 0.1


@pytest.mark.parametrize(("split", "n_seen", "n_rows"), [("train", 40, 40), ("all", 40, 60)])
def test_evaluate_warns_of_rows_that_were_fitted_on(
    cache_path: Path, split: str, n_seen: int, n_rows: int
) -> None:
    message = rf"^{n_seen} of {n_rows} rows were used to fit the head: their scores are too high$"
    with pytest.warns(FeatxWarning, match=message):
        scores = evaluate(fit_head(cache_path), cache_path, split=split)
    assert scores.n_seen == n_seen


def test_evaluate_on_rows_that_were_not_fitted_on_counts_none(cache_path: Path) -> None:
    assert evaluate(fit_head(cache_path), cache_path, split="val").n_seen == 0


def test_evaluate_and_fit_head_name_the_rows_that_they_leave_out(cache_path: Path) -> None:
    rewrite_values(cache_path, "labels/label", "", slice(0, 3))
    rewrite_values(cache_path, "labels/label", "", slice(40, 45))
    with pytest.warns(FeatxWarning, match=r"split train: of 40 rows, 3 without a label were left"):
        head = fit_head(cache_path)
    assert head.fitted_on.n_rows == 37
    with pytest.warns(FeatxWarning, match=r"split val: of 20 rows, 5 without a label were left"):
        assert evaluate(head, cache_path).n_rows == 15


def test_evaluate_split_not_there_names_those_there(cache_path: Path) -> None:
    head = fit_head(cache_path)
    with pytest.raises(CacheError, match=r"expected rows in split 'test', got splits train, val"):
        evaluate(head, cache_path, split="test")


def test_evaluate_without_labels_is_refused(cache_path: Path) -> None:
    head = fit_head(cache_path)
    rewrite_values(cache_path, "labels/label", "", slice(40, 60))
    with pytest.raises(CacheError, match=r"split val: expected labelled rows, got none"):
        evaluate(head, cache_path)


def test_evaluate_class_that_the_head_does_not_know_is_counted(cache_path: Path) -> None:
    head = fit_head(cache_path)
    rewrite_values(cache_path, "labels/label", "cats", slice(40, 45))
    with pytest.warns(FeatxWarning, match=r"^5 rows have a class that the head does not know"):
        scores = evaluate(head, cache_path)
    assert scores.n_unknown == 5
    assert scores.accuracy <= 15 / 20


def test_evaluate_without_a_class_in_common_is_refused(cache_path: Path) -> None:
    head = fit_head(cache_path)
    rewrite_values(cache_path, "labels/label", "Cats", slice(40, 60))
    with pytest.raises(HeadError, match=r"split val: expected classes among .*, got Cats\."):
        evaluate(head, cache_path)


def test_evaluate_embeddings_of_another_fingerprint_are_refused_naming_both(
    cache_path: Path, make_cache: MakeCache, make_info: MakeInfo
) -> None:
    other = make_cache("other.h5", infos=[make_info(weights_digest="cd" * 32, precision="bf16")])
    head = fit_head(cache_path)
    message = (
        rf"other\.h5, embedding tiny: expected weights {'ab' * 6}, precision fp32, "
        rf"as the head was fitted on, got weights {'cd' * 6}, precision bf16\."
    )
    with pytest.raises(FingerprintError, match=message):
        evaluate(head, other)


def test_evaluate_of_several_embeddings_takes_the_matching_one(
    cache_path: Path, several: Path
) -> None:
    head = fit_head(several, embedding="tiny")
    assert head.fingerprint.layer == "penultimate"
    assert evaluate(head, several).n_rows == 20
    assert evaluate(fit_head(cache_path), several).n_rows == 20
    other = fit_head(several, embedding="tiny@conv")
    assert other.fingerprint.layer == "conv"
    assert evaluate(other, several).n_rows == 20


def test_evaluate_embedding_named_that_does_not_match_is_refused(several: Path) -> None:
    head = fit_head(several, embedding="tiny")
    with pytest.raises(FingerprintError, match=r"embedding tiny@conv: expected backbone tiny, as"):
        evaluate(head, several, embedding="tiny@conv")


def test_evaluate_of_several_none_matching_is_a_fingerprint_error(several: Path) -> None:
    head = fit_head(several, embedding="tiny")
    read = head.embeddings[0]
    other = replace(read, fingerprint=replace(read.fingerprint, precision="bf16"))
    head = replace(head, embeddings=(other,))
    with pytest.raises(FingerprintError, match=r"precision"):
        evaluate(head, several)


def test_evaluate_without_val_and_test_says_what_is_asked_for(make_cache: MakeCache) -> None:
    path = make_cache(splits=None)
    head = fit_head(path)
    with pytest.raises(CacheError, match=r"expected a split val or test .*got no splits"):
        evaluate(head, path)


# --- choose_evaluated


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        (["train", "val", "test"], "val"),
        (["train", "val", "train"], "val"),
        (["test", "train", "test"], "test"),
        (["test", "", ""], "test"),
    ],
    ids=str,
)
def test_choose_evaluated_is_val_or_else_test(
    make_cache: MakeCache, splits: list[str], expected: str
) -> None:
    path = make_cache(n_train=3, n_val=0)
    rewrite_values(path, "labels/split", np.array(splits, object))
    with open_cache(path) as cache:
        assert choose_evaluated(cache) == expected


@pytest.mark.parametrize(("split", "got"), [("", "no splits"), ("train", "train")])
def test_choose_evaluated_without_val_and_test_is_refused(
    cache_path: Path, split: str, got: str
) -> None:
    rewrite_values(cache_path, "labels/split", split)
    with (
        open_cache(cache_path) as cache,
        pytest.raises(CacheError, match=rf"expected a split val or test .*, got {got}\. "),
    ):
        choose_evaluated(cache)


def test_evaluate_of_groups_has_the_interval_of_their_units(make_cache: MakeCache) -> None:
    groups = [f"g{row // 5}" for row in range(60)]
    path = make_cache(groups=groups)
    scores = evaluate(fit_head(path), path)
    assert scores.n_units == 4
    rewrite_values(path, "labels/group", "")
    alone = evaluate(fit_head(path), path)
    assert alone.n_units is None
    low, high = scores.accuracy_ci95
    assert high - low > alone.accuracy_ci95[1] - alone.accuracy_ci95[0]


def test_evaluate_of_copies_has_the_interval_of_their_units(make_cache: MakeCache) -> None:
    path = make_cache()
    with open_cache(path) as cache:
        digests = cache.read_column("digest")
    digests[50:60] = digests[40:50]
    rewrite_values(path, "rows/digest", digests)
    assert evaluate(fit_head(path), path).n_units == 10
