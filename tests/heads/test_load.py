"""Heads that are read: whole ones, damaged ones, and those of another scikit-learn."""

from __future__ import annotations

import bz2
import gzip
import lzma
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.pipeline import Pipeline

from featx.core.errors import FeatxWarning, HeadError
from featx.heads.head import Head
from featx.heads.kinds import list_kinds
from featx.heads.load import load_head
from featx.heads.matrix import find_matrix

from .heads import build_embedding, build_head

OWN = sklearn.__version__


@contextmanager
def stamped(monkeypatch: pytest.MonkeyPatch, version: str) -> Iterator[None]:
    """Let scikit-learn stamp another version on the estimators that are written."""
    with monkeypatch.context() as patch:
        patch.setattr("sklearn.base.__version__", version)
        yield


def save_changed(head: Head, path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Save a head, and change the content of its file as joblib reads it."""
    head.save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = joblib.load(path)
    change(content)
    joblib.dump(content, path)


# --- what is saved is loaded


@pytest.mark.parametrize("kind", list_kinds())
@pytest.mark.parametrize(("scaling", "pca"), [("standard", None), ("l2", 3)])
def test_load_head_of_each_kind_is_the_same(
    tmp_path: Path, kind: str, scaling: str, pca: int | None
) -> None:
    head, X = build_head(kind=kind, scaling=scaling, pca=pca)
    head = replace(head, temperature=0.7)
    head.save(tmp_path / "head.joblib")
    loaded = load_head(tmp_path / "head.joblib")
    for name in Head.__dataclass_fields__:
        if name not in ("estimator", "seen"):
            assert getattr(loaded, name) == getattr(head, name)
    np.testing.assert_array_equal(loaded.seen, head.seen, strict=True)
    np.testing.assert_array_equal(loaded.predict_proba(X), head.predict_proba(X))
    np.testing.assert_array_equal(loaded.predict(X), head.predict(X))
    np.testing.assert_array_equal(
        joblib.load(tmp_path / "head.joblib")["estimator"].predict(X), head.estimator.predict(X)
    )


@pytest.mark.parametrize("kind", list_kinds())
def test_load_head_keeps_names_and_order_of_classes(tmp_path: Path, kind: str) -> None:
    labels = ("ant", "2", 'naïve, "x"', "10")
    head, X = build_head(labels, kind)
    head.save(tmp_path / "head.joblib")
    loaded = load_head(tmp_path / "head.joblib")
    assert loaded.classes.tolist() == ["10", "2", "ant", 'naïve, "x"']
    assert loaded.predict(X).tolist() == head.predict(X).tolist()
    assert (loaded.predict(X) == np.array(labels)[np.arange(60) % 4]).mean() > 0.9
    assert joblib.load(tmp_path / "head.joblib")["classes"] == loaded.classes.tolist()


@pytest.mark.parametrize("kind", list_kinds())
def test_head_fitted_and_saved_twice_has_the_same_bytes(tmp_path: Path, kind: str) -> None:
    for name in ("a", "b"):
        build_head(kind=kind)[0].save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_head_file_has_versions_and_no_types_of_featx(tmp_path: Path) -> None:
    build_head()[0].save(tmp_path / "head.joblib")
    content = joblib.load(tmp_path / "head.joblib")
    assert content["versions"].keys() == {"featx", "numpy", "python", "scikit-learn"}
    assert content["versions"]["scikit-learn"] == OWN
    assert b"featx.heads" not in (tmp_path / "head.joblib").read_bytes()


@pytest.mark.parametrize("kind", ["logreg", "linear-svm", "ridge", "lda", "nearest-mean"])
@pytest.mark.parametrize("labels", [("a", "b"), ("2", "10", "ants")], ids=len)
def test_head_file_has_the_matrix_of_a_linear_head(
    tmp_path: Path, kind: str, labels: tuple[str, ...]
) -> None:
    head, X = build_head(labels, kind)
    head.save(tmp_path / "head.joblib")
    content = joblib.load(tmp_path / "head.joblib")
    matrix = content["matrix"]
    assert matrix["weight"].dtype == matrix["bias"].dtype == np.float64
    scores = X @ matrix["weight"].T + matrix["bias"]
    np.testing.assert_allclose(scores, head.score_classes(X), rtol=1e-4, atol=1e-4)
    assert np.array(content["classes"])[scores.argmax(axis=1)].tolist() == head.predict(X).tolist()


# --- another scikit-learn


def test_load_head_of_this_scikit_learn_says_nothing(tmp_path: Path) -> None:
    build_head()[0].save(tmp_path / "head.joblib")
    load_head(tmp_path / "head.joblib")  # a warning would be an error


@pytest.mark.parametrize("kind", list_kinds())
def test_load_head_of_another_scikit_learn_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    with stamped(monkeypatch, "1.5.2"):
        head, X = build_head(kind=kind)
        head.save(tmp_path / "head.joblib")
    with pytest.warns(FeatxWarning) as caught:
        loaded = load_head(tmp_path / "head.joblib")
    path = tmp_path / "head.joblib"
    assert [str(one.message) for one in caught] == [
        f"{path}: fitted with scikit-learn 1.5.2, this is {OWN}"
    ]
    np.testing.assert_array_equal(loaded.predict_proba(X), head.predict_proba(X))


def test_load_head_of_a_pipeline_without_newer_parameters_is_used_as_it_is(tmp_path: Path) -> None:
    head, X = build_head(kind="knn")
    path = tmp_path / "head.joblib"
    save_changed(head, path, lambda content: vars(content["estimator"]).pop("transform_input"))
    np.testing.assert_array_equal(load_head(path).predict_proba(X), head.predict_proba(X))


def remove_an_attribute(content: dict[str, Any]) -> None:
    del vars(content["estimator"][0])["with_mean"]


def put_another_step(content: dict[str, Any]) -> None:
    content["estimator"].steps[0] = ("scale", "nothing")


def put_a_memory(content: dict[str, Any]) -> None:
    content["estimator"].memory = "/tmp/pickles"


def put_a_list(content: dict[str, Any]) -> None:
    content["estimator"] = [1, 2]


def put_other_classes(content: dict[str, Any]) -> None:
    content["estimator"][-1].classes_ = np.array(["a", "b", "c"], object)


def put_other_shapes(content: dict[str, Any]) -> None:
    content["estimator"][-1].coef_ = np.zeros((3, 7))


DAMAGES = [
    remove_an_attribute,
    put_another_step,
    put_a_memory,
    put_a_list,
    put_other_classes,
    put_other_shapes,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_load_head_whose_estimator_fails_uses_its_matrix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Any
) -> None:
    with stamped(monkeypatch, "1.5.2"):
        head, X = build_head()
        save_changed(head, tmp_path / "head.joblib", damage)
    with pytest.warns(FeatxWarning) as caught:
        loaded = load_head(tmp_path / "head.joblib")
    (message,) = [str(one.message) for one in caught]
    assert f"head.joblib: fitted with scikit-learn 1.5.2, this is {OWN}; its matrix is used" in (
        message
    )
    assert loaded.classes.tolist() == head.classes.tolist()
    np.testing.assert_allclose(loaded.predict_proba(X), head.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize("scaling", ["standard", "l2", "none"])
def test_load_head_by_its_matrix_has_the_same_scores(tmp_path: Path, scaling: str) -> None:
    head, X = build_head(kind="ridge", scaling=scaling, pca=3)
    save_changed(head, tmp_path / "head.joblib", put_a_list)
    with pytest.warns(FeatxWarning, match=rf"its estimator fails in scikit-learn {OWN}; its mat"):
        loaded = load_head(tmp_path / "head.joblib")
    assert isinstance(loaded.estimator, Pipeline)
    np.testing.assert_allclose(loaded.score_classes(X), head.score_classes(X), atol=1e-5)
    loaded.save(tmp_path / "again.joblib")
    again = load_head(tmp_path / "again.joblib")
    np.testing.assert_array_equal(again.score_classes(X), loaded.score_classes(X))


@pytest.mark.parametrize("kind", ["rbf-svm", "knn"])
def test_load_head_that_is_not_linear_and_fails_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    with stamped(monkeypatch, "1.5.2"):
        save_changed(build_head(kind=kind)[0], tmp_path / "head.joblib", remove_an_attribute)
    with pytest.raises(
        HeadError,
        match=rf"head\.joblib: expected a head that scikit-learn {OWN} can use, got one fitted "
        rf"with scikit-learn 1\.5\.2, this is {OWN} \(AttributeError: .*with_mean.*\)\. Fit it "
        r"again, or install scikit-learn 1\.5\.$",
    ):
        load_head(tmp_path / "head.joblib")


def test_load_head_whose_class_is_gone_uses_its_matrix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, X = build_head()
    head.save(tmp_path / "head.joblib")
    monkeypatch.setattr("featx.heads.unpickling.import_estimator", lambda _: None)
    with pytest.warns(FeatxWarning, match=r"its matrix is used .* \(no Pipeline there\)"):
        loaded = load_head(tmp_path / "head.joblib")
    np.testing.assert_allclose(loaded.score_classes(X), head.score_classes(X), atol=1e-5)


@pytest.mark.parametrize(
    "matrix",
    [
        {},
        {"weight": 1, "bias": 2, "is_normalised": False},
        {"weight": np.zeros((3, 9)), "bias": np.zeros(3), "is_normalised": False},
        {"weight": np.zeros((2, 4)), "bias": np.zeros(3), "is_normalised": False},
        {"weight": np.full((3, 4), np.nan), "bias": np.zeros(3), "is_normalised": False},
    ],
    ids=repr,
)
def test_load_head_whose_matrix_fails_as_well_is_refused(tmp_path: Path, matrix: Any) -> None:
    def damage(content: dict[str, Any]) -> None:
        content["matrix"] = matrix
        put_a_list(content)

    save_changed(build_head()[0], tmp_path / "head.joblib", damage)
    with pytest.raises(HeadError, match=r"head\.joblib: expected a whole head, got one with "):
        load_head(tmp_path / "head.joblib")


def test_find_matrix_of_a_kernel_is_none() -> None:
    assert find_matrix(build_head(kind="rbf-svm")[0].estimator) is None


# --- estimators that would make C code read what is not theirs


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("rbf-svm", "_n_support", np.array([10, 10, 40_000], np.int32)),
        ("rbf-svm", "_n_support", np.array([-5, 30, 35], np.int32)),
        ("rbf-svm", "_dual_coef_", np.zeros((1, 2))),
        ("rbf-svm", "_intercept_", np.zeros(1)),
        ("rbf-svm", "_probA", np.zeros(1)),
        ("rbf-svm", "support_", np.zeros(1, np.int32)),
        ("rbf-svm", "kernel", "precomputed"),
        ("rbf-svm", "_sparse", True),
        ("rbf-svm", "n_features_in_", 9),
        ("rbf-svm", "support_vectors_", np.zeros((1, 1))),
        ("knn", "_y", np.full(60, 10_000)),
        ("knn", "_y", np.full(60, -10_000)),
        ("knn", "_y", np.zeros(3, int)),
        ("knn", "_y", np.zeros(60)),
        ("knn", "n_neighbors", 10_000),
        ("knn", "n_jobs", 1_000),
        ("knn", "effective_metric_", "euclidean"),
        ("knn", "effective_metric_params_", {"p": 3}),
        ("knn", "_fit_method", "kd_tree"),
        ("knn", "_fit_X", np.zeros((2, 4), np.float32)),
    ],
)
def test_load_head_compares_arrays_before_c_code_reads_them(
    tmp_path: Path, kind: str, name: str, value: Any
) -> None:
    def damage(content: dict[str, Any]) -> None:
        setattr(content["estimator"][-1], name, value)

    save_changed(build_head(kind=kind)[0], tmp_path / "head.joblib", damage)
    with pytest.raises(HeadError, match=r"expected a head that .* can use, got one that fails"):
        load_head(tmp_path / "head.joblib")


# --- fields

READ = asdict(build_embedding())


@pytest.mark.parametrize(
    "change",
    [
        {"surplus": 1},
        {"kind": 5},
        {"params": {"C": "1"}},
        {"params": None},
        {"options": [1]},
        {"options": {"class_weight": Pipeline([])}},
        {"versions": {"scikit-learn": 1.5}},
        {"temperature": 0.0},
        {"temperature": float("nan")},
        {"temperature": "hot"},
        {"classes": ["a", 1]},
        {"classes": None},
        {"seen": [1, 2]},
        {"seen": np.array([2, 1], np.uint64)},
        {"seen": np.array([1.5])},
        {"embeddings": None},
        {"embeddings": []},
        {"embeddings": [None]},
        {"embeddings": [{"name": "tiny", "fingerprint": {"dim": 4}, "origin": {"weights": "w"}}]},
        {"embeddings": [READ | {"origin": {}}]},
        {"embeddings": [READ | {"origin": {"weights": 1}}]},
        {"embeddings": [READ | {"name": 1}]},
        {"embeddings": [READ | {"surplus": 1}]},
        {"fitted_on": {"cache": "c.h5"}},
        {"cross_validation": {"n_folds": 5}},
        {"cross_validation": 1},
    ],
    ids=str,
)
def test_load_head_with_other_fields_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "head.joblib"
    save_changed(build_head()[0], path, lambda content: content.update(change))
    with pytest.raises(HeadError, match=r"expected a whole head, got one whose fields do not fit"):
        load_head(path)


def test_load_head_of_the_format_before_asks_to_fit_again(tmp_path: Path) -> None:
    path = tmp_path / "head.joblib"
    save_changed(build_head()[0], path, lambda content: content.update(format_version=3))
    with pytest.raises(HeadError, match=r"expected head format 4, got 3\. Fit one with "):
        load_head(path)


COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "lz4": lambda _: b"\x04\x22\x4d\x18rest",
}


@pytest.mark.parametrize("name", COMPRESSED)
def test_load_head_of_a_compressed_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "head.joblib"
    build_head()[0].save(path)
    path.write_bytes(COMPRESSED[name](path.read_bytes()))
    with pytest.raises(HeadError, match=rf"got a file that is compressed \({name}\), which featx"):
        load_head(path)
