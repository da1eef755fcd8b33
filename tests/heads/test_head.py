"""Heads on the disk."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from threadpoolctl import threadpool_info

from featx.core.errors import HeadError
from featx.core.learnt import shorten_digests
from featx.core.provenance import Origin
from featx.core.typing import Float32Array
from featx.heads.classifier import HeadClassifier
from featx.heads.evaluate import CrossValidation, score_predictions
from featx.heads.head import FittedOn, Head
from featx.heads.kinds import list_kinds
from featx.heads.linear import build_linear, fold_linear
from featx.heads.load import load_head
from tests.builders import build_fingerprint

DIGESTS = np.array(["0a" * 32, "", "ff" * 32])
FINGERPRINT = build_fingerprint(dim=4)


def build_head(
    labels: tuple[str, ...] = ("2", "10", "ants"), kind: str = "logreg"
) -> tuple[Head, Float32Array]:
    """Build a head on generated rows; return it with them."""
    rng = np.random.default_rng(0)
    codes = np.arange(60) % len(labels)
    X = (rng.normal(size=(60, 4)) + 3 * codes[:, None]).astype(np.float32)
    y = np.array(labels)[codes]
    head = Head(
        estimator=HeadClassifier(kind, C=1.0).fit(X, y).pipeline_,
        kind=kind,
        params={"C": 1.0},
        fingerprint=FINGERPRINT,
        origin=Origin(weights="random:0"),
        fitted_on=FittedOn(cache="c.h5", split="train", n_rows=60),
        cross_validation=CrossValidation(
            scores=score_predictions(y, y[::-1], classes=np.array(sorted(labels))),
            n_folds=5,
            strengths=(0.1, 1.0),
            mean_scores=(0.25, 0.5),
        ),
        seen=np.unique(shorten_digests(DIGESTS)),
    )
    return head, X


@pytest.mark.parametrize("kind", list_kinds())
def test_head_saved_and_loaded_is_the_same(tmp_path: Path, kind: str) -> None:
    head, X = build_head(kind=kind)
    head.save(tmp_path / "head.joblib")
    loaded = load_head(tmp_path / "head.joblib")
    for name in ("kind", "params", "fingerprint", "origin", "fitted_on", "cross_validation"):
        assert getattr(loaded, name) == getattr(head, name)
    assert loaded.classes.tolist() == head.classes.tolist() == ["10", "2", "ants"]
    np.testing.assert_array_equal(loaded.seen, head.seen)
    np.testing.assert_array_equal(loaded.predict(X), head.predict(X))
    np.testing.assert_array_equal(loaded.score_classes(X), head.score_classes(X))


def test_head_file_is_read_by_plain_joblib_without_featx(tmp_path: Path) -> None:
    head, _ = build_head()
    head.save(tmp_path / "head.joblib")
    code = (
        "import sys; sys.modules['featx'] = None; import joblib, numpy as np\n"
        f"content = joblib.load({str(tmp_path / 'head.joblib')!r})\n"
        "X = np.array([[0.0] * 4, [6.0] * 4])\n"
        "print(content['format'], content['fingerprint']['backbone'], content['kind'])\n"
        "print(*content['estimator'].predict(X))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["featx-head tiny logreg", "2 ants"]


@pytest.mark.parametrize("content", [b"", b"no pickle at all", b"\x80\x04]"])
def test_load_head_of_garbage_is_refused(tmp_path: Path, content: Any) -> None:
    (tmp_path / "head.joblib").write_bytes(content)
    with pytest.raises(
        HeadError, match=r"head.joblib: expected a head that featx wrote, got a file that "
    ):
        load_head(tmp_path / "head.joblib")


def test_load_head_of_a_cache_says_so(tmp_path: Path) -> None:
    (tmp_path / "photos.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(HeadError, match=r"got a cache\. Fit a head on it: featx\.fit_head\("):
        load_head(tmp_path / "photos.h5")


@pytest.mark.parametrize("content", [[1, 2], {"format": "other"}, {}, "text", np.zeros(3)])
def test_load_head_of_another_pickle_is_refused(tmp_path: Path, content: Any) -> None:
    joblib.dump(content, tmp_path / "head.joblib")
    with pytest.raises(
        HeadError, match=r"expected a head that featx wrote, got a pickle of another kind "
    ):
        load_head(tmp_path / "head.joblib")


def test_load_head_of_another_version_is_refused_naming_both(tmp_path: Path) -> None:
    head, _ = build_head()
    head.save(tmp_path / "head.joblib")
    content = joblib.load(tmp_path / "head.joblib")
    joblib.dump(content | {"format_version": 99}, tmp_path / "head.joblib")
    with pytest.raises(HeadError, match=r"expected head format 3, got 99"):
        load_head(tmp_path / "head.joblib")


def test_load_head_missing_file_says_how_to_fit_one(tmp_path: Path) -> None:
    with pytest.raises(HeadError, match=r"got no such file\. Fit one with featx.fit_head"):
        load_head(tmp_path / "head.joblib")


def test_load_head_that_may_not_be_read_does_not_ask_for_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.core.recognise.find_obstacle", lambda _: "Permission denied")
    with pytest.raises(HeadError, match=r"\(Permission denied\)\. Change the permissions of the"):
        load_head(tmp_path / "locked" / "h.joblib")


def test_head_save_in_missing_folder_is_refused(tmp_path: Path) -> None:
    head, _ = build_head()
    with pytest.raises(HeadError, match=r"got none\. Run: mkdir -p"):
        head.save(tmp_path / "no" / "head.joblib")


def test_head_save_on_a_folder_is_refused(tmp_path: Path) -> None:
    head, _ = build_head()
    with pytest.raises(HeadError, match=r"expected the path of a file, got a folder"):
        head.save(tmp_path)


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt("disk full")])
def test_head_save_that_fails_keeps_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    head, _ = build_head()
    (tmp_path / "head.joblib").write_text("old")

    def write_bytes(path: Path, data: bytes) -> None:
        path.write_text("half")
        raise error

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    expected = HeadError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected, match=r"disk full"):
        head.save(tmp_path / "head.joblib", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["head.joblib"]
    assert (tmp_path / "head.joblib").read_text() == "old"


def test_head_save_of_the_same_head_again_leaves_the_file(tmp_path: Path) -> None:
    path = tmp_path / "head.joblib"
    build_head()[0].save(path)
    before = path.read_bytes(), path.stat().st_ino
    build_head()[0].save(path)
    assert (path.read_bytes(), path.stat().st_ino) == before


def test_head_save_of_another_head_is_refused_and_keeps_the_file(tmp_path: Path) -> None:
    path = tmp_path / "head.joblib"
    head, _ = build_head()
    head.save(path)
    before = path.read_bytes()
    with pytest.raises(HeadError, match=r"a new file, or one with the same content, got a file"):
        replace(head, params={"C": 7.0}).save(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("shape", [(3, 5), (4,), (2, 2, 4)])
def test_head_predict_of_wrong_shape_names_both(shape: tuple[int, ...]) -> None:
    head, _ = build_head()
    with pytest.raises(
        HeadError, match=r"X: expected an array of shape \(n_rows, 4\), got one of shape"
    ):
        head.predict(np.zeros(shape))


def test_head_scores_of_two_classes_by_svm_have_two_columns() -> None:
    head, X = build_head(labels=("a", "b"), kind="linear-svm")
    scores = head.score_classes(X)
    assert scores.shape == (60, 2)
    assert not scores[:, 0].any()
    np.testing.assert_array_equal(head.classes[scores.argmax(axis=1)], head.predict(X))


@pytest.mark.parametrize("kind", list_kinds())
def test_head_refit_on_its_own_rows_gives_the_same(kind: str) -> None:
    head, X = build_head(kind=kind)
    again = head.refit(X, np.array(["2", "10", "ants"])[np.arange(60) % 3])
    assert again is not head.estimator
    for name in ("coef_", "intercept_"):
        np.testing.assert_array_equal(
            getattr(again["classify"], name), getattr(head.estimator["classify"], name)
        )


@pytest.mark.parametrize("kind", list_kinds())
def test_head_refit_on_other_rows_leaves_the_head_as_it_is(kind: str) -> None:
    head, X = build_head(kind=kind)
    before = head.score_classes(X)
    other = head.refit(10 * X[::2], np.array(["x", "y"])[np.arange(30) % 2])
    assert other.classes_.tolist() == ["x", "y"]
    np.testing.assert_allclose(other["scale"].mean_, 10 * X[::2].mean(axis=0), rtol=1e-5)
    assert other.get_params()["classify__C"] == head.params["C"]
    assert head.classes.tolist() == ["10", "2", "ants"]
    np.testing.assert_array_equal(head.score_classes(X), before)


def test_head_refit_keeps_its_c_and_class_weight() -> None:
    head, X = build_head()
    y = np.array(["2", "10", "ants"])[np.arange(60) % 3]
    head.estimator.set_params(classify__C=0.01, classify__class_weight={"ants": 5.0})
    again = head.refit(X, y)
    expected = HeadClassifier(C=0.01, class_weight={"ants": 5.0}).fit(X, y).pipeline_
    np.testing.assert_array_equal(again["classify"].coef_, expected["classify"].coef_)


def test_head_refit_works_in_float32_and_without_warnings(recwarn: pytest.WarningsRecorder) -> None:
    head, X = build_head()
    head.estimator.set_params(classify__max_iter=1)
    again = head.refit(X.astype(np.float64), np.arange(60) % 2)
    assert again["classify"].coef_.dtype == np.float32
    assert list(recwarn) == []


def test_head_refit_runs_in_one_thread_of_each_library() -> None:
    n_threads: set[int] = set()

    def record(X: Float32Array) -> Float32Array:
        n_threads.update(library["num_threads"] for library in threadpool_info())
        return X

    head, X = build_head()
    steps = [("record", FunctionTransformer(record)), *head.estimator.steps]
    # clone() copies a function by reference: the new estimator records too.
    replace(head, estimator=Pipeline(steps)).refit(X, np.arange(60) % 2)
    assert n_threads == {1}


def test_head_refit_of_wrong_shape_is_refused() -> None:
    head, _ = build_head()
    with pytest.raises(
        HeadError, match=r"X: expected an array of shape \(n_rows, 4\), got one of shape \(3, 5\)"
    ):
        head.refit(np.zeros((3, 5)), np.array(["a", "b", "a"]))


def test_head_find_seen_finds_known_digests_and_their_copies() -> None:
    head, _ = build_head()
    found = head.find_seen(np.array(["0a" * 32, "0b" * 32, "", "ff" * 32, "ff" * 32]))
    assert found.tolist() == [True, False, False, True, True]


def test_head_repr_leaves_bulk_out() -> None:
    head, _ = build_head()
    assert "seen" not in repr(head)
    assert "fingerprint" in repr(head)


def test_head_save_over_a_file_is_refused(tmp_path: Path) -> None:
    head, _ = build_head()
    (tmp_path / "head.joblib").write_text("precious")
    with pytest.raises(HeadError, match=r"expected a new file, got a file that exists"):
        head.save(tmp_path / "head.joblib")
    assert (tmp_path / "head.joblib").read_text() == "precious"


@pytest.mark.parametrize(
    "change",
    [
        {"params": None},
        {"surplus": 1},
        {"fingerprint": {"dim": 4}},
        {"origin": {}},
        {"fitted_on": {"cache": "c.h5"}},
        {"cross_validation": {"n_folds": 5}},
    ],
    ids=str,
)
def test_load_head_with_other_fields_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "head.joblib"
    build_head()[0].save(path)
    content = joblib.load(path) | change
    if change == {"params": None}:
        del content["params"]
    joblib.dump(content, path)
    with pytest.raises(HeadError, match=r"expected a whole head"):
        load_head(path)


@pytest.mark.parametrize("class_weight", [None, "balanced", {"ants": 2.0}], ids=str)
@pytest.mark.parametrize("kind", list_kinds())
def test_head_measure_is_that_of_its_search(kind: str, class_weight: Any) -> None:
    head, _ = build_head(kind=kind)
    head.estimator.set_params(classify__class_weight=class_weight)
    assert head.class_weight == class_weight
    assert head.measure == ("accuracy" if class_weight is None else "balanced_accuracy")


def test_head_made_by_fine_tuning_is_fitted_again_with_its_class_weights() -> None:
    head, X = build_head()
    y = np.array(["2", "10", "ants"])[np.minimum(np.arange(60) % 7, 2)]
    weight, bias = fold_linear(head.estimator)
    estimator = build_linear(weight, bias, head.classes, class_weight="balanced")
    tuned = replace(head, estimator=estimator, fitted_on=replace(head.fitted_on, fine_tuned=True))
    assert tuned.measure == "balanced_accuracy"
    np.testing.assert_allclose(tuned.score_classes(X), head.score_classes(X), atol=1e-5)
    expected = HeadClassifier(class_weight="balanced").fit(X, y).pipeline_
    np.testing.assert_array_equal(tuned.refit(X, y)["classify"].coef_, expected["classify"].coef_)
