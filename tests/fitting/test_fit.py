"""Fitting and testing heads on caches."""

from dataclasses import replace

import numpy as np
import pytest

from featx.cache.reader import open_cache
from featx.cache.writer import rewrite_cache
from featx.core.errors import CacheError, FingerprintError, HeadError
from featx.core.provenance import Origin
from featx.fitting.fit import evaluate, fit_head, split_cache
from featx.heads.head import load_head


def list_weights(head):
    return [head.estimator["classify"].coef_, head.estimator["scale"].mean_]


def rewrite(path, name, values, rows=slice(None)):
    with rewrite_cache(path) as file:
        file[name][rows] = values


def test_fit_head_does_not_use_rows_of_other_splits(cache_path):
    first = fit_head(cache_path)
    rewrite(cache_path, "embeddings/tiny/vectors", 1e6, slice(40, 60))
    second = fit_head(cache_path)
    for one, other in zip(list_weights(first), list_weights(second), strict=True):
        np.testing.assert_array_equal(one, other)
    assert first.C == second.C
    assert first.cross_validation == second.cross_validation


def test_fit_head_says_what_it_was_fitted_on(cache_path):
    head = fit_head(cache_path)
    assert head.fitted_on == {"cache": str(cache_path), "split": "train", "n_rows": 40}
    assert head.origin == Origin(weights="random:0")
    assert head.classes.tolist() == ["ants", "bees"]
    with open_cache(cache_path) as cache:
        assert head.fingerprint == cache.get_info().fingerprint


def test_fit_head_cross_validates_within_its_rows(cache_path):
    scores = fit_head(cache_path, cv=4).cross_validation
    assert scores["n_rows"] == 40
    assert scores["n_folds"] == 4
    assert scores["accuracy"] > 0.9
    assert len(scores["search"]["C"]) == len(scores["search"]["score"])


def test_fit_head_without_splits_holds_every_row_out_once(make_cache):
    head = fit_head(make_cache(splits=False))
    assert head.fitted_on["split"] == "all"
    assert head.fitted_on["n_rows"] == head.cross_validation["n_rows"] == 60


def test_fit_head_held_out_scores_of_random_labels_are_at_chance(make_cache, make_info):
    path = make_cache(n_train=120, splits=False, infos=[make_info(dim=200)])
    labels = np.random.default_rng(1).choice(["x", "y"], 140).astype(object)
    rewrite(path, "rows/label", labels)
    head = fit_head(path)
    assert abs(head.cross_validation["accuracy"] - 0.5) < 0.15
    assert evaluate(fit_head(path, C=1.0), path, split="all").accuracy == 1


def test_fit_head_groups_are_kept_together_in_folds(make_cache, make_info):
    # One point per group, many times over, with labels by chance: only parted groups are learnt.
    groups = [f"g{i // 5}" for i in range(100)]
    path = make_cache(n_train=100, n_val=0, groups=groups, splits=False, infos=[make_info(dim=50)])
    rng = np.random.default_rng(0)
    numbers = np.arange(100) // 5
    rewrite(path, "rows/label", rng.permutation(["x", "y"] * 10).astype(object)[numbers])
    rewrite(path, "embeddings/tiny/vectors", rng.normal(size=(20, 50))[numbers])
    grouped = fit_head(path).cross_validation["accuracy"]
    rewrite(path, "rows/group", "")
    parted = fit_head(path).cross_validation["accuracy"]
    assert grouped < 0.9 < parted


def test_fit_head_split_named_uses_its_rows(cache_path):
    assert fit_head(cache_path, split="val").fitted_on["n_rows"] == 20
    assert fit_head(cache_path, split="all").fitted_on["n_rows"] == 60


def test_fit_head_with_output_saves_it(cache_path, tmp_path):
    head = fit_head(cache_path, tmp_path / "head.joblib")
    np.testing.assert_array_equal(
        list_weights(load_head(tmp_path / "head.joblib"))[0], list_weights(head)[0]
    )


def test_fit_head_output_folder_missing_is_refused_before_the_cache_is_read(tmp_path):
    with pytest.raises(HeadError, match=r"got none\. Run: mkdir -p"):
        fit_head(tmp_path / "no.h5", tmp_path / "no" / "head.joblib")


def test_fit_head_options_reach_the_classifier(cache_path):
    head = fit_head(cache_path, kind="linear-svm", C=0.25, class_weight="balanced")
    classifier = head.estimator["classify"]
    assert (head.kind, head.C) == ("linear-svm", 0.25)
    assert (classifier.C, classifier.class_weight) == (0.25, "balanced")
    assert head.cross_validation == {}


def test_fit_head_on_an_open_cache_leaves_it_open(cache_path):
    with open_cache(cache_path) as cache:
        head = fit_head(cache)
        evaluate(head, cache)
        assert cache.read_vectors().shape == (60, 8)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("", r"split train: expected rows of at least 2 classes, got no labelled rows"),
        ("ants", r"split train: expected rows of at least 2 classes, got only .*ants"),
    ],
)
def test_fit_head_without_two_classes_is_refused(cache_path, labels, message):
    rewrite(cache_path, "rows/label", labels)
    with pytest.raises(HeadError, match=message):
        fit_head(cache_path)


def test_fit_head_without_train_rows_says_so(cache_path):
    rewrite(cache_path, "rows/split", "test")
    with pytest.raises(CacheError, match=r"expected rows in split 'train', got test"):
        fit_head(cache_path)


@pytest.mark.parametrize("options", [{"C": 0.0}, {"C": -1.0}, {"class_weight": "heavy"}])
def test_fit_head_with_bad_option_is_a_featx_error(cache_path, options):
    with pytest.raises(HeadError, match=next(iter(options))):
        fit_head(cache_path, **options)


def test_fit_head_unknown_kind_shows_nearest(cache_path):
    with pytest.raises(HeadError, match=r"got 'logred'.*Nearest: logreg"):
        fit_head(cache_path, kind="logred")


def test_evaluate_without_split_takes_val(cache_path):
    scores = evaluate(fit_head(cache_path), cache_path)
    assert scores.n_rows == 20
    assert scores.accuracy > 0.9
    assert scores.log_loss is not None


def test_evaluate_without_split_nor_val_takes_test(cache_path):
    rewrite(cache_path, "rows/split", "test", slice(50, 60))
    rewrite(cache_path, "rows/split", "", slice(40, 50))
    assert evaluate(fit_head(cache_path), cache_path).n_rows == 10


def test_evaluate_svm_has_no_log_loss(cache_path):
    scores = evaluate(fit_head(cache_path, kind="linear-svm"), cache_path)
    assert scores.log_loss is None
    assert scores.accuracy > 0.9


def test_evaluate_wrong_labels_are_wrong(cache_path):
    head = fit_head(cache_path)
    with open_cache(cache_path) as cache:
        swapped = np.where(cache.labels == "ants", "bees", "ants").astype(object)
    rewrite(cache_path, "rows/label", swapped)
    assert evaluate(head, cache_path).accuracy < 0.1


@pytest.mark.parametrize(("split", "n_seen"), [("train", 40), ("val", 0), ("all", 40)])
def test_evaluate_reports_rows_that_were_fitted_on(cache_path, split, n_seen):
    assert evaluate(fit_head(cache_path), cache_path, split=split).n_seen == n_seen


def test_evaluate_split_not_there_names_those_there(cache_path):
    head = fit_head(cache_path)
    with pytest.raises(CacheError, match=r"expected rows in split 'test', got train, val"):
        evaluate(head, cache_path, split="test")


def test_evaluate_without_labels_is_refused(cache_path):
    head = fit_head(cache_path)
    rewrite(cache_path, "rows/label", "", slice(40, 60))
    with pytest.raises(CacheError, match=r"split val: expected labelled rows, got none"):
        evaluate(head, cache_path)


def test_evaluate_class_that_the_head_does_not_know_is_counted(cache_path):
    head = fit_head(cache_path)
    rewrite(cache_path, "rows/label", "cats", slice(40, 45))
    scores = evaluate(head, cache_path)
    assert scores.n_unknown == 5
    assert scores.accuracy <= 15 / 20


def test_evaluate_embeddings_of_another_fingerprint_are_refused_naming_both(
    cache_path, make_cache, make_info
):
    other = make_cache("other.h5", infos=[make_info(weights_digest="cd" * 32, precision="bf16")])
    head = fit_head(cache_path)
    message = (
        rf"other\.h5, embedding tiny.*expected weights_digest {'ab' * 32}, precision fp32, "
        rf"got weights_digest {'cd' * 32}, precision bf16"
    )
    with pytest.raises(FingerprintError, match=message):
        evaluate(head, other)


@pytest.fixture
def several(make_cache, make_info):
    infos = [make_info("tiny@conv", layer="conv", dim=4), make_info("tiny")]
    return make_cache("several.h5", infos=infos)


def test_evaluate_of_several_embeddings_takes_the_matching_one(cache_path, several):
    head = fit_head(several, embedding="tiny")
    assert head.fingerprint.layer == "penultimate"
    assert evaluate(head, several).n_rows == 20
    assert evaluate(fit_head(cache_path), several).n_rows == 20
    other = fit_head(several, embedding="tiny@conv")
    assert other.fingerprint.layer == "conv"
    assert evaluate(other, several).n_rows == 20


def test_evaluate_embedding_named_that_does_not_match_is_refused(several):
    head = fit_head(several, embedding="tiny")
    with pytest.raises(FingerprintError, match=r"embedding tiny@conv.*layer penultimate, dim 8"):
        evaluate(head, several, embedding="tiny@conv")


def test_evaluate_of_several_none_matching_is_a_fingerprint_error(several):
    head = fit_head(several, embedding="tiny")
    head = replace(head, fingerprint=replace(head.fingerprint, precision="bf16"))
    with pytest.raises(FingerprintError, match=r"precision"):
        evaluate(head, several)


def test_fit_head_of_several_without_name_lists_them(several):
    with pytest.raises(CacheError, match=r"expected one of its embeddings \(tiny, tiny@conv\)"):
        fit_head(several)


def test_split_cache_records_what_it_returns(make_cache):
    path = make_cache(splits=False)
    counts = split_cache(path, val=0.2, test=0.1)
    assert counts == {"train": 42, "val": 12, "test": 6}
    with open_cache(path) as cache:
        found = {name: len(cache.select_rows(name)) for name in cache.list_splits()}
        y = cache.labels[cache.select_rows("val")]
    assert found == counts
    assert sorted(y) == ["ants"] * 6 + ["bees"] * 6


def test_split_cache_with_splits_is_refused_and_kept(cache_path):
    before = cache_path.read_bytes()
    with pytest.raises(CacheError, match=r"expected a cache without splits, got train, val"):
        split_cache(cache_path)
    assert cache_path.read_bytes() == before


def test_split_cache_overwrite_replaces_splits(cache_path):
    assert split_cache(cache_path, val=0, test=0.5, overwrite=True) == {"train": 30, "test": 30}
    with open_cache(cache_path) as cache:
        assert cache.list_splits() == ["train", "test"]


def test_split_cache_leaves_unlabelled_rows_without_split(make_cache):
    path = make_cache(splits=False)
    rewrite(path, "rows/label", "", slice(0, 20))
    assert split_cache(path, val=0.25) == {"train": 30, "val": 10}
    with open_cache(path) as cache:
        assert (cache.splits[:20] == "").all()
        assert (cache.splits[20:] != "").all()


def test_split_cache_keeps_groups_together(make_cache):
    groups = [f"g{i // 4}" for i in range(60)]
    path = make_cache(splits=False, groups=groups)
    split_cache(path, val=0.3)
    with open_cache(path) as cache:
        pairs = set(zip(cache.groups, cache.splits, strict=True))
    assert len(pairs) == 15
    assert {split for _, split in pairs} == {"train", "val"}


def test_split_cache_same_seed_is_the_same(make_cache):
    found = []
    for seed in (5, 5, 6):
        path = make_cache(splits=False)
        split_cache(path, seed=seed)
        with open_cache(path) as cache:
            found.append(cache.splits.tolist())
    assert found[0] == found[1] != found[2]


def test_split_cache_without_labels_is_refused(make_cache):
    path = make_cache(splits=False)
    rewrite(path, "rows/label", "")
    with pytest.raises(HeadError, match=r"got no labelled rows"):
        split_cache(path)


def test_fit_head_into_the_cache_is_refused_and_leaves_it(cache_path):
    before = cache_path.read_bytes()
    with pytest.raises(HeadError, match=r"expected a file of its own, got the cache"):
        fit_head(cache_path, cache_path, overwrite=True)
    assert cache_path.read_bytes() == before


def test_evaluate_without_val_and_test_says_what_is_asked_for(make_cache):
    path = make_cache(splits=None)
    head = fit_head(path)
    with pytest.raises(CacheError, match=r"expected a split val or test .*got no splits"):
        evaluate(head, path)


@pytest.mark.parametrize("C", [0, -1, float("nan"), float("inf")])
def test_fit_head_C_out_of_range_is_refused(cache_path, C):
    with pytest.raises(HeadError, match=r"C: expected a number above 0"):
        fit_head(cache_path, C=C)
