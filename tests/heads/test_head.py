"""Heads on the disk."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from scipy.special import softmax

from featx.core.errors import HeadError
from featx.heads.calibration import score_classes
from featx.heads.classifier import HeadClassifier
from featx.heads.kinds import list_kinds
from featx.heads.linear import build_linear, fold_linear
from featx.heads.load import load_head
from featx.heads.unknown import UnknownDetector

from .heads import build_head


def test_head_file_is_read_by_plain_joblib_without_featx(tmp_path: Path) -> None:
    head, _ = build_head()
    head.save(tmp_path / "head.joblib")
    code = (
        "import sys; sys.modules['featx'] = None; import joblib, numpy as np\n"
        f"content = joblib.load({str(tmp_path / 'head.joblib')!r})\n"
        "X = 5 * np.eye(4)[[0, 2]]\n"
        "(read,) = content['embeddings']\n"
        "print(content['format'], read['fingerprint']['backbone'], content['kind'])\n"
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
    with pytest.raises(HeadError, match=r"expected head format 4, got 99"):
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


def test_head_save_of_what_cannot_be_read_again_is_refused_and_leaves_no_file(
    tmp_path: Path,
) -> None:
    head, X = build_head()
    codes = np.arange(60) % 3
    detector = UnknownDetector.fit(X, codes)
    assert detector is not None
    unknown = replace(detector, means=np.full_like(detector.means, np.inf))
    for broken in (replace(head, unknown=unknown), replace(head, temperature=np.nan)):
        with pytest.raises(HeadError, match=r"expected a head that can be read again, got one wh"):
            broken.save(tmp_path / "head.joblib")
    assert not list(tmp_path.iterdir())


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
    np.testing.assert_array_equal(
        score_classes(again, X), score_classes(head.estimator, X), strict=True
    )


@pytest.mark.parametrize("kind", list_kinds())
def test_head_refit_on_other_rows_leaves_the_head_as_it_is(kind: str) -> None:
    head, X = build_head(kind=kind)
    before = head.score_classes(X)
    other = head.refit(10 * X[::2], np.array(["x", "y"])[np.arange(30) % 2])
    assert other.classes_.tolist() == ["x", "y"]
    np.testing.assert_allclose(other["scale"].mean_, 10 * X[::2].mean(axis=0), rtol=1e-5)
    assert head.classes.tolist() == ["10", "2", "ants"]
    np.testing.assert_array_equal(head.score_classes(X), before)


def test_head_refit_keeps_its_parameter_and_its_options() -> None:
    head, X = build_head()
    y = np.array(["2", "10", "ants"])[np.arange(60) % 3]
    options: dict[str, Any] = {"class_weight": {"ants": 5.0}, "scaling": "l2", "pca": 3}
    again = replace(head, params={"C": 0.01}, options=options).refit(X, y)
    expected = HeadClassifier(C=0.01, **options).fit(X, y).pipeline_
    np.testing.assert_array_equal(again["classify"].coef_, expected["classify"].coef_)
    assert [*again.named_steps] == ["scale", "reduce", "classify"]


def test_head_refit_works_in_float32() -> None:
    head, X = build_head()
    wide, narrow = (head.refit(X.astype(dtype), np.arange(60) % 2) for dtype in ("f8", "f4"))
    np.testing.assert_array_equal(wide["classify"].coef_, narrow["classify"].coef_)


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


@pytest.mark.parametrize("class_weight", [None, "balanced", {"ants": 2.0}], ids=str)
@pytest.mark.parametrize("kind", list_kinds())
def test_head_measure_is_that_of_its_search(kind: str, class_weight: Any) -> None:
    head = replace(build_head(kind=kind)[0], options={"class_weight": class_weight})
    assert head.class_weight == class_weight
    assert head.measure == ("accuracy" if class_weight is None else "balanced_accuracy")


def test_head_of_a_weighted_estimator_without_options_has_its_weights() -> None:
    head, _ = build_head()
    head.estimator.set_params(classify__class_weight="balanced")
    assert head.class_weight == "balanced"


def test_head_made_by_fine_tuning_is_fitted_again_with_its_class_weights() -> None:
    head, X = build_head()
    y = np.array(["2", "10", "ants"])[np.minimum(np.arange(60) % 7, 2)]
    weight, bias = fold_linear(head.estimator)
    tuned = replace(
        head,
        estimator=build_linear(weight, bias, head.classes),
        fitted_on=replace(head.fitted_on, fine_tuned=True),
        options={"class_weight": "balanced"},
    )
    assert tuned.measure == "balanced_accuracy"
    np.testing.assert_allclose(tuned.score_classes(X), head.score_classes(X), atol=1e-5)
    expected = HeadClassifier(class_weight="balanced").fit(X, y).pipeline_
    np.testing.assert_array_equal(tuned.refit(X, y)["classify"].coef_, expected["classify"].coef_)


@pytest.mark.parametrize("kind", list_kinds())
@pytest.mark.parametrize("labels", [("a", "b"), ("2", "10", "ants")], ids=len)
def test_head_probabilities_are_the_softmax_of_scores_over_the_temperature(
    kind: str, labels: tuple[str, ...]
) -> None:
    head, X = build_head(labels, kind)
    scores = head.score_classes(X)
    assert scores.shape == (60, len(labels))
    expected = softmax(scores / 2.5, axis=1)
    probabilities = replace(head, temperature=2.5).predict_proba(X)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-12)
    np.testing.assert_array_equal(head.predict(X), head.classes[probabilities.argmax(axis=1)])


def test_head_whose_estimator_fails_says_what_to_do() -> None:
    head, X = build_head()
    del head.estimator["scale"].with_mean
    other = replace(head, versions={"scikit-learn": "1.5.2"})
    with pytest.raises(
        HeadError,
        match=r"^head: expected an estimator that the installed scikit-learn can use, got "
        r"AttributeError: .*with_mean.*\. Fit the head again, or install the scikit-learn that "
        r"fitted it: scikit-learn 1\.5\.$",
    ):
        other.predict(X)
