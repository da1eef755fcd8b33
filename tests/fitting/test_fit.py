"""Fitting heads on caches."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import featx
from featx.cache.joined import open_cache
from featx.core.errors import CacheError, FeatxWarning, HeadError
from featx.core.provenance import Origin
from featx.core.typing import Array
from featx.fitting.evaluate import evaluate
from featx.fitting.fit import fit_head, summarise_search
from featx.heads.classifier import HeadClassifier
from featx.heads.evaluate import Evaluation
from featx.heads.head import FittedOn, Head
from featx.heads.kinds import get_kind, list_kinds
from featx.heads.load import load_head
from featx.heads.search import Search
from tests.builders import MakeCache, MakeInfo, rewrite_values


def list_weights(head: Head) -> list[Array]:
    """List the numbers that decide what a head predicts."""
    return [head.estimator["classify"].coef_, head.estimator["scale"].mean_]


def get_held_out(head: Head) -> Evaluation:
    """Return the held-out scores of a head that has some."""
    assert head.cross_validation is not None
    return head.cross_validation.scores


def test_fit_head_does_not_use_rows_of_other_splits(cache_path: Path) -> None:
    first = fit_head(cache_path)
    rewrite_values(cache_path, "embeddings/tiny/vectors", 1e6, slice(40, 60))
    second = fit_head(cache_path)
    for one, other in zip(list_weights(first), list_weights(second), strict=True):
        np.testing.assert_array_equal(one, other)
    assert first.params == second.params
    assert first.cross_validation == second.cross_validation


def test_fit_head_says_what_it_was_fitted_on(cache_path: Path) -> None:
    head = fit_head(cache_path)
    assert head.fitted_on == FittedOn(cache=str(cache_path), split="train", n_rows=40)
    assert not head.fitted_on.fine_tuned
    assert head.origin == Origin(weights="random:0")
    assert head.classes.tolist() == ["ants", "bees"]
    with open_cache(cache_path) as cache:
        assert head.fingerprint == cache.get_info().fingerprint


def test_fit_head_cross_validates_within_its_rows(cache_path: Path) -> None:
    found = fit_head(cache_path, cv=4).cross_validation
    assert found is not None
    assert found.scores.n_rows == 40
    assert found.n_folds == 4
    assert found.scores.accuracy > 0.9
    assert len(found.strengths) == len(found.mean_scores)
    assert list(found.strengths) == sorted(found.strengths)


def test_fit_head_defaults_are_those_of_the_classifier() -> None:
    ours = inspect.signature(fit_head).parameters
    theirs = inspect.signature(HeadClassifier).parameters
    pairs = {"seed": "random_state"} | {name: name for name in ("C", "cv", "class_weight", "pca")}
    for name, other in pairs.items():
        assert ours[name].default == theirs[other].default
    # None takes the kind and the scaling of a former head, if there is one.
    assert ours["kind"].default is ours["scaling"].default is None


def test_summarise_search_scores_the_rows_that_lie_in_a_fold() -> None:
    classifier = HeadClassifier()
    classifier.classes_ = np.array(["ants", "bees"])
    shares = np.array([[0.9, 0.1], [0.2, 0.8], [0.2, 0.8], [np.nan] * 2, [np.nan] * 2])
    empty = np.array([], int)
    classifier.search_ = Search(
        kind="logreg",
        best=1.0,
        values=np.array([0.1, 1.0]),
        scores=np.array([[0.5, 0.25, 0.75], [1.0, 0.5, 0.0]]),
        losses=np.array([0.5, 0.4]),
        temperature=1.0,
        held_out=np.array([0, 1, 1, -1, -1]),
        held_out_probabilities=shares,
        folds=[(empty, empty)] * 3,
    )
    classifier.is_held_out_, classifier.n_features_in_ = True, 8
    y = np.array(["ants", "ants", "bees", "bees", "ants"], object)
    found = summarise_search(classifier, y, None)
    assert found is not None
    assert found.scores.confusion == ((1, 1), (0, 1))
    assert (found.n_folds, found.strengths, found.chosen) == (3, (0.1, 1.0), 1.0)
    assert found.stands_at_end
    assert found.mean_scores == (0.5, 0.5)
    assert found.scores.mean_score == pytest.approx((0.9 + 0.8 + 0.8) / 3)


def test_summarise_search_without_a_search_is_none() -> None:
    classifier = HeadClassifier(C=1.0)
    classifier.search_ = None
    assert summarise_search(classifier, np.array(["ants"], object), None) is None


def test_fit_head_without_splits_holds_every_row_out_once(make_cache: MakeCache) -> None:
    head = fit_head(make_cache(splits=False))
    assert head.fitted_on.split == "all"
    assert head.fitted_on.n_rows == get_held_out(head).n_rows == 60


def test_fit_head_held_out_scores_of_random_labels_are_at_chance(
    make_cache: MakeCache, make_info: MakeInfo
) -> None:
    path = make_cache(n_train=120, splits=False, infos=[make_info(dim=200)])
    labels = np.random.default_rng(1).choice(["x", "y"], 140).astype(object)
    rewrite_values(path, "labels/label", labels)
    head = fit_head(path)
    assert abs(get_held_out(head).accuracy - 0.5) < 0.15
    with pytest.warns(FeatxWarning, match=r"^140 of 140 rows were used to fit the head"):
        assert evaluate(fit_head(path, C=1.0), path, split="all").accuracy == 1


def test_fit_head_groups_are_kept_together_in_folds(
    make_cache: MakeCache, make_info: MakeInfo
) -> None:
    # Nearly one point per group, many times over, with labels by chance: parted groups are learnt.
    groups = [f"g{i // 5}" for i in range(100)]
    path = make_cache(n_train=100, n_val=0, groups=groups, splits=False, infos=[make_info(dim=50)])
    rng = np.random.default_rng(0)
    numbers = np.arange(100) // 5
    rewrite_values(path, "labels/label", rng.permutation(["x", "y"] * 10).astype(object)[numbers])
    vectors = rng.normal(size=(20, 50))[numbers] + 0.1 * rng.normal(size=(100, 50))
    rewrite_values(path, "embeddings/tiny/vectors", vectors)
    grouped = get_held_out(fit_head(path)).accuracy
    rewrite_values(path, "labels/group", "")
    parted = get_held_out(fit_head(path)).accuracy
    assert grouped < 0.9 < parted


def test_fit_head_split_named_uses_its_rows(cache_path: Path) -> None:
    assert fit_head(cache_path, split="val").fitted_on.n_rows == 20
    assert fit_head(cache_path, split="all").fitted_on.n_rows == 60


def test_fit_head_with_output_saves_it(cache_path: Path, tmp_path: Path) -> None:
    head = fit_head(cache_path, tmp_path / "head.joblib")
    np.testing.assert_array_equal(
        list_weights(load_head(tmp_path / "head.joblib"))[0], list_weights(head)[0]
    )


def test_fit_head_output_that_exists_is_refused_before_the_cache_is_read(tmp_path: Path) -> None:
    (tmp_path / "head.joblib").write_text("precious")
    with pytest.raises(HeadError, match=r"expected a new file"):
        fit_head(tmp_path / "no.h5", tmp_path / "head.joblib")
    assert (tmp_path / "head.joblib").read_text() == "precious"


def test_fit_head_of_the_same_head_again_leaves_the_file(cache_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "head.joblib"
    fit_head(cache_path, path)
    before = path.read_bytes(), path.stat().st_ino
    head = fit_head(cache_path, path)
    assert (path.read_bytes(), path.stat().st_ino) == before
    assert head.params == load_head(path).params


@pytest.mark.parametrize("options", [{"C": 7.0}, {"kind": "linear-svm"}, {"split": "all"}])
def test_fit_head_of_another_head_is_refused_and_keeps_the_file(
    cache_path: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    path = tmp_path / "head.joblib"
    fit_head(cache_path, path, C=1.0)
    before = path.read_bytes()
    with pytest.raises(HeadError, match=r"a new file, or one with the same content, got a file"):
        fit_head(cache_path, path, **{"C": 1.0, **options})
    assert path.read_bytes() == before


def test_fit_head_of_a_name_that_another_fit_has_taken_meanwhile_is_refused(
    cache_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two at once on one new name, one is done and one is refused."""
    path, fit = tmp_path / "head.joblib", HeadClassifier.fit

    def fit_late(self: HeadClassifier, *arguments: Any, **options: Any) -> HeadClassifier:
        monkeypatch.setattr(HeadClassifier, "fit", fit)
        fit_head(cache_path, path, C=0.01)
        return fit(self, *arguments, **options)

    monkeypatch.setattr(HeadClassifier, "fit", fit_late)
    with pytest.raises(HeadError, match=r"a new file, or one with the same content, got a file"):
        fit_head(cache_path, path, C=100.0)
    assert load_head(path).params == {"C": 0.01}
    assert sorted(one.name for one in tmp_path.iterdir()) == ["cache.h5", "head.joblib"]


def test_fit_head_overwrite_replaces_the_output(cache_path: Path, tmp_path: Path) -> None:
    (tmp_path / "head.joblib").write_text("old")
    head = fit_head(cache_path, tmp_path / "head.joblib", C=1.0, overwrite=True)
    assert load_head(tmp_path / "head.joblib").params == head.params


def test_fit_head_output_folder_missing_is_refused_before_the_cache_is_read(tmp_path: Path) -> None:
    with pytest.raises(HeadError, match=r"got none\. Run: mkdir -p"):
        fit_head(tmp_path / "no.h5", tmp_path / "no" / "head.joblib")


def test_fit_head_options_reach_the_classifier(cache_path: Path) -> None:
    head = fit_head(cache_path, kind="linear-svm", C=0.25, class_weight="balanced")
    classifier = head.estimator["classify"]
    assert (head.kind, head.params) == ("linear-svm", {"C": 0.25})
    assert (classifier.C, classifier.class_weight) == (0.25, "balanced")
    assert head.cross_validation is not None
    assert head.cross_validation.strengths == (0.25,)


def test_fit_head_on_an_open_cache_leaves_it_open(cache_path: Path) -> None:
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
def test_fit_head_without_two_classes_is_refused(
    cache_path: Path, labels: str, message: str
) -> None:
    rewrite_values(cache_path, "labels/label", labels)
    with pytest.raises(HeadError, match=message):
        fit_head(cache_path)


def test_fit_head_without_train_rows_says_so(cache_path: Path) -> None:
    rewrite_values(cache_path, "labels/split", "test")
    with pytest.raises(CacheError, match=r"expected rows in split 'train', got splits test"):
        fit_head(cache_path)


@pytest.mark.parametrize("kind", ["logreg", "linear-svm"])
def test_fit_head_of_one_row_per_class_is_fitted_without_folds(
    make_cache: MakeCache, kind: str
) -> None:
    path = make_cache(n_train=2, n_val=0, splits=False)
    with (
        pytest.warns(FeatxWarning, match=r"^too few rows for a cross-validation: C is not chosen"),
        pytest.warns(FeatxWarning, match=r"^unknown images cannot be told: "),
    ):
        head = fit_head(path, kind=kind)
    assert head.cross_validation is None
    assert head.fitted_on.n_rows == 2


@pytest.mark.parametrize(
    ("kind", "told"),
    [("logreg", "out: C is not chosen"), ("auto", "out: no kinds are compared, C is not chosen")],
)
def test_fit_head_of_classes_of_one_group_names_the_groups(
    make_cache: MakeCache, kind: str, told: str
) -> None:
    path = make_cache(n_train=20, n_val=0, splits=False)
    with featx.open_cache(path) as cache:
        groups = dict(zip(cache.ids.tolist(), cache.labels.tolist(), strict=True))
    featx.label_cache(path, groups, field="group")
    told = f"^each class lies in one group, so that none can be held {told}"
    with (
        pytest.warns(FeatxWarning, match=told),
        pytest.warns(FeatxWarning, match="^unknown images cannot be told"),
    ):
        fit_head(path, kind=kind)
    with pytest.raises(HeadError, match=r"2 classes, each in one group\. Extract images of other"):
        featx.compare_kinds(path, kinds=["nearest-mean"])


@pytest.mark.parametrize("options", [{"C": 0.0}, {"C": -1.0}, {"class_weight": "heavy"}])
def test_fit_head_with_bad_option_is_a_featx_error(
    cache_path: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(HeadError, match=next(iter(options))):
        fit_head(cache_path, **options)


def test_fit_head_unknown_kind_shows_nearest(cache_path: Path) -> None:
    with pytest.raises(HeadError, match=r"got 'logred'.*Nearest: logreg"):
        fit_head(cache_path, kind="logred")


def test_fit_head_of_several_without_name_lists_them(several: Path) -> None:
    with pytest.raises(CacheError, match=r"expected one of its embeddings \(tiny, tiny@conv\)"):
        fit_head(several)


def test_fit_head_into_the_cache_is_refused_and_leaves_it(cache_path: Path) -> None:
    before = cache_path.read_bytes()
    with pytest.raises(HeadError, match=r"expected a file of its own for the head, got the cache"):
        fit_head(cache_path, cache_path, overwrite=True)
    assert cache_path.read_bytes() == before


@pytest.mark.parametrize("C", [0, -1, float("nan"), float("inf")])
def test_fit_head_C_out_of_range_is_refused(cache_path: Path, C: float) -> None:
    with pytest.raises(HeadError, match=r"^C: expected a finite number above 0"):
        fit_head(cache_path, C=C)


@pytest.mark.parametrize("kind", list_kinds())
def test_fit_head_of_each_kind_is_saved_loaded_and_scored(
    cache_path: Path, tmp_path: Path, kind: str
) -> None:
    head = fit_head(cache_path, tmp_path / "head.joblib", kind=kind, cv=3)
    again = load_head(tmp_path / "head.joblib")
    assert again.kind == kind
    assert again.params == head.params == get_kind(kind).list_params(head_strength(head))
    with open_cache(cache_path) as cache:
        X = cache.read_vectors()
    np.testing.assert_array_equal(again.predict_proba(X), head.predict_proba(X))
    assert evaluate(again, cache_path).accuracy > 0.8


def head_strength(head: Head) -> float:
    """Return the strength of a head; 1 for a kind without one."""
    return next(iter(head.params.values()), 1.0)


def test_fit_head_on_rows_that_hardly_differ_is_loaded(cache_path: Path, tmp_path: Path) -> None:
    with open_cache(cache_path) as cache:
        X = cache.read_vectors() + 1e6
    rewrite_values(cache_path, "embeddings/tiny/vectors", X)
    fit_head(cache_path, tmp_path / "head.joblib", C=1.0)
    detector = load_head(tmp_path / "head.joblib").unknown
    assert detector is not None
    assert not detector.find_unknown(X[:40], 1e-6).any()


def test_fit_head_on_a_column_that_hides_the_others_tells_that_nothing_is_unknown(
    cache_path: Path,
) -> None:
    with open_cache(cache_path) as cache:
        X = cache.read_vectors()
    X[:, 3] = 1.7e9 + 1e5 * np.arange(len(X))
    rewrite_values(cache_path, "embeddings/tiny/vectors", X)
    with pytest.warns(FeatxWarning, match=r"^unknown images cannot be told: "):
        assert fit_head(cache_path, C=1.0).unknown is None


def test_fit_head_auto_keeps_the_name_of_the_kind_that_won(cache_path: Path) -> None:
    head = fit_head(cache_path, kind="auto", cv=3)
    assert head.kind in list_kinds()
    assert head.cross_validation is not None
    assert head.cross_validation.compared[0].kind == head.kind


def test_fit_head_twice_writes_the_same_bytes(cache_path: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        fit_head(cache_path, tmp_path / f"{name}.joblib", kind="linear-svm")
    first, second = (tmp_path / f"{name}.joblib" for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def test_fit_head_keeps_names_of_classes_as_they_are(make_cache: MakeCache, tmp_path: Path) -> None:
    names = ["10", "2", "ant", 'naïve, "x"']
    path = make_cache(n_train=80, n_val=0, splits=False)
    rewrite_values(path, "labels/label", np.array(names * 20, object))
    head = fit_head(path, tmp_path / "head.joblib", cv=3)
    assert head.classes.tolist() == names
    assert load_head(tmp_path / "head.joblib").classes.tolist() == names
    with open_cache(path) as cache:
        assert set(head.predict(cache.read_vectors()).tolist()) <= set(names)


def test_fit_head_tells_that_its_strength_is_an_end_of_what_was_tried(
    make_cache: MakeCache, make_info: MakeInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One thing that all channels share, and a class that differs by a thousandth of it.
    monkeypatch.setattr("featx.heads.nested.MAX_BEYOND", 0)
    path = make_cache(n_train=200, n_val=0, splits=False, infos=[make_info(dim=4)])
    rng = np.random.default_rng(0)
    with open_cache(path) as cache:
        codes = (cache.labels == "bees").astype(int)
    X = np.repeat(rng.normal(size=(200, 1)), 4, axis=1)
    X[:, 0] += 8e-4 * codes
    rewrite_values(path, "embeddings/tiny/vectors", X)
    with pytest.warns(FeatxWarning, match=r"^C .* is an end of what was tried, 1e-06 to .e\+04: "):
        fit_head(path, cv=3)
