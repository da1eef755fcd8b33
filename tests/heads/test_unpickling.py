"""Pickles from strangers: nothing in them runs, and what is read is what joblib reads."""

from __future__ import annotations

import builtins
import copyreg
import functools
import io
import operator
import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler
from sklearn.svm import SVC, LinearSVC

from featx.core.errors import HeadError
from featx.core.typing import Array
from featx.heads.allowed import ESTIMATORS, RefusedTypeError
from featx.heads.head_file import FORMAT_VERSION
from featx.heads.load import load_head
from featx.heads.unpickling import MAX_DEPTH, MAX_OPERATIONS, check_values, read_pickle

RECONSTRUCT = np.array([None]).__reduce__()[0]

START = {"format": "featx-head", "format_version": FORMAT_VERSION}


class Call:
    """An object whose pickle calls a function when a standard unpickler reads it."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


class Stateful(Call):
    """An object whose pickle also gives a state to what the call returns."""

    def __init__(self, state: Any, function: Any, *arguments: Any) -> None:
        super().__init__(function, *arguments)
        self.state = state

    def __reduce__(self) -> Any:
        return (*self.call, self.state)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """Return the path of a file that a payload writes if it runs."""
    return tmp_path / "ran"


def read_operations(path: Path, operations: bytes) -> Any:
    path.write_bytes(operations)
    return read_pickle(path).content


# --- what a pickle calls

PAYLOADS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "os.system": (f"{os.system.__module__}.system", lambda at: Call(os.system, f"touch {at}")),
    "subprocess.run": ("subprocess.run", lambda at: Call(subprocess.run, ["touch", at])),
    "subprocess.Popen": ("subprocess.Popen", lambda at: Call(subprocess.Popen, ["touch", at])),
    "eval": ("builtins.eval", lambda at: Call(eval, f"open({at!r}, 'w')")),
    "exec": ("builtins.exec", lambda at: Call(exec, f"open({at!r}, 'w')")),
    "open": (f"{open.__module__}.open", lambda at: Call(open, at, "w")),
    "getattr": ("builtins.getattr", lambda at: Call(getattr, Call(Path, at), "touch")),
    "import": ("builtins.__import__", lambda _: Call(builtins.__import__, "antigravity")),
    "partial": (
        "functools.partial",
        lambda at: Call(functools.partial, os.system, f"touch {at}"),
    ),
    "methodcaller": (
        "operator.methodcaller",
        lambda at: Call(operator.methodcaller, "touch", at),
    ),
    "numpy.load": ("numpy.load", lambda at: Call(np.load, at, None, True)),
    "joblib.load": ("joblib.numpy_pickle.load", lambda at: Call(joblib.load, at)),
    "pickle.loads": ("_?pickle.loads", lambda _: Call(pickle.loads, b"\x80\x04K\x01.")),
    "reconstructor": (
        "copyreg._reconstructor",
        lambda _: Call(copyreg._reconstructor, dict, object, None),  # type: ignore[attr-defined]
    ),
    "class with arguments": ("pathlib.", lambda at: Call(Path, at)),
    "FunctionTransformer": (
        "sklearn.preprocessing._function_transformer.FunctionTransformer",
        lambda _: FunctionTransformer(np.log),
    ),
}

PLACES: dict[str, Callable[[Any], Any]] = {
    "alone": lambda payload: payload,
    "field": lambda payload: {**START, "params": payload},
    "attribute": lambda payload: {**START, "estimator": set_attribute(payload)},
    "object array": lambda payload: {**START, "seen": hide_in_array(payload)},
    "array of an estimator": lambda payload: {
        **START,
        "estimator": set_attribute(hide_in_array(payload)),
    },
    "state of an array": lambda payload: Stateful(
        (1, (1,), np.dtype(object), False, [payload]), RECONSTRUCT, np.ndarray, (0,), b"b"
    ),
}


def set_attribute(value: Any) -> LogisticRegression:
    classifier = LogisticRegression()
    classifier.coef_ = value
    return classifier


def hide_in_array(value: Any) -> Array:
    array = np.empty(2, object)
    array[1] = value
    return array


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", PAYLOADS)
def test_load_head_with_a_payload_is_refused_by_name_and_runs_nothing(
    tmp_path: Path, marker: Path, name: str, place: str
) -> None:
    expected, build = PAYLOADS[name]
    path = tmp_path / "head.joblib"
    joblib.dump(PLACES[place](build(str(marker))), path)
    with pytest.raises(RefusedTypeError, match=rf"^{expected}"):
        read_pickle(path)
    with pytest.raises(
        HeadError, match=rf"head\.joblib: expected types that a featx head has, got {expected}"
    ):
        load_head(path)
    assert not marker.exists()


def test_payload_would_have_run_in_joblib(tmp_path: Path, marker: Path) -> None:
    joblib.dump({**START, "seen": hide_in_array(Call(Path.touch, marker))}, tmp_path / "h.joblib")
    with pytest.raises(RefusedTypeError, match=r"pathlib.*Path.touch|builtins.getattr"):
        read_pickle(tmp_path / "h.joblib")
    assert not marker.exists()
    joblib.load(tmp_path / "h.joblib")
    assert marker.exists()


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        (b"\x80\x02cposix\nsystem\n(S'touch ran'\ntR.", "posix.system"),
        (b"\x80\x02(S'touch ran'\niposix\nsystem\n.", "the operation STRING"),
        (b"\x80\x02(iposix\nsystem\n.", "the operation INST"),
        (b"\x80\x02(K\x01o.", "the operation OBJ"),
        (b"\x80\x02\x82\x01.", "the operation EXT1"),
        (b"\x80\x02\x83\x01\x00.", "the operation EXT2"),
        (b"\x80\x02\x84\x01\x00\x00\x00.", "the operation EXT4"),
        (b"\x80\x02Psome id\n.", "the operation PERSID"),
        (b"\x80\x02K\x01Q.", "the operation BINPERSID"),
        (b"\x80\x04)}\x92.", "the operation NEWOBJ_EX"),
        (b"\x80\x05\x97.", "the operation NEXT_BUFFER"),
        (b"\x80\x05\x96\x01\x00\x00\x00\x00\x00\x00\x00a.", "the operation BYTEARRAY8"),
        (b"\x80\x04\x8f.", "the operation EMPTY_SET"),
        (b"\x80\x02K\x012.", "the operation DUP"),
        (b"\x80\x02L12345678901234567890L\n.", "the operation LONG"),
        (b"\x80\x02\x8a\x09" + 9 * b"\x7f" + b".", "more than 64 bits"),
        # sklearn.linear_model as a module, numpy.dtype as a value, a class as a value
        (b"\x80\x04\x8c\x0csklearn.base\x8c\x05clone\x93.", "sklearn.base.clone"),
        (b"\x80\x04\x8c\x0bsklearn.svm\x8c\x07SVC.fit\x93.", r"sklearn.svm.SVC.fit"),
        (b"\x80\x04\x8c\x0csklearn.evil\x8c\x03SVC\x93.", r"sklearn.evil.SVC"),
        (b"\x80\x04\x8c\x0fsklearn.svmevil\x8c\x03SVC\x93.", r"sklearn.svmevil.SVC"),
        (b"\x80\x04\x8c\x0bsklearn.svm\x8c\x03SVC\x93.", "a value of the type _Name"),
        (b"\x80\x04\x8c\x0bsklearn.svm\x8c\x03SVC\x93)R.", "a call that no head has"),
        (b"\x80\x04\x8c\x0bsklearn.svm\x8c\x03SVC\x93K\x01\x85\x81.", "an object with arguments"),
        (b"\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93)\x81.", "an object of ndarray"),
        (b"\x80\x04\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02V8\x85R.", "a dtype that no head has"),
        (b"\x80\x04\x8c\x05numpy\x8c\x05dtype\x93\x8c\x03f,O\x85R.", "a dtype that no head has"),
        (b"\x80\x04\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02U0\x85R.", "a dtype that no head has"),
        (b"\x80\x04\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02f4\x85R)b.", "a dtype of another state"),
        (b"\x80\x04\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02f4\x85R.", "a value of the type Float32"),
        (b"\x80\x04}K\x01b.", "a state of what has none"),
        (b"\x80\x04}]K\x01s.", "a key of another type"),
        (b"\x80\x04]}K\x01K\x02s.", "."),
        (b"\x80\x04}K\x01a.", "appended to what is no list"),
        (b"\x80\x04]K\x01K\x02s.", "items of what is no dict"),
        (b"\x80\x04C\x01a.", "a value of the type bytes"),
        (b"\x80\x04K\x01K\x02.", "."),
        (b"\x80\x04.", "."),
        (b"\x80\x04h\x05.", "."),
        (b"\x80\x04e.", "."),
        (b"\x80\x04\x85.", "a tuple of too few values"),
        (b"\x80\x04]", "."),
        (b"", "no pickle"),
        (b"hello", "no pickle"),
        (b"\x80\x04\x8d" + b"\xff" * 7 + b"\x0fab.", "."),
        (b"\x80\x04\x8e" + b"\xff" * 7 + b"\x0fab.", "."),
        (b"\x80\x04B\xff\xff\xff\x7fab.", "."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_read_pickle_refuses_operations_that_no_head_has(
    tmp_path: Path, operations: bytes, expected: str
) -> None:
    with pytest.raises((ValueError, TypeError, LookupError), match=expected):
        read_operations(tmp_path / "head.joblib", operations)


def test_read_pickle_calls_no_method_of_a_class_on_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("called")

    joblib.dump(LogisticRegression().fit([[0.0], [1.0]], [0, 1]), tmp_path / "head.joblib")
    for name in ("__setstate__", "__init__", "__setattr__", "__reduce__"):
        monkeypatch.setattr(LogisticRegression, name, refuse, raising=False)
    assert read_pickle(tmp_path / "head.joblib").content.coef_.shape == (1, 1)


@pytest.mark.parametrize("name", ["predict", "fit", "__class__", "decision_function", "__doc__"])
def test_read_pickle_refuses_an_attribute_in_the_place_of_a_method(
    tmp_path: Path, name: str
) -> None:
    classifier = LogisticRegression()
    vars(classifier)[name] = 1
    joblib.dump(classifier, tmp_path / "head.joblib")
    with pytest.raises(TypeError, match=rf"an attribute '{name}' in the place of a method"):
        read_pickle(tmp_path / "head.joblib")


def test_read_pickle_refuses_a_state_that_is_no_dict(tmp_path: Path) -> None:
    operations = b"\x80\x04\x8c\x0bsklearn.svm\x8c\x03SVC\x93)\x81K\x01b."
    with pytest.raises(TypeError):
        read_operations(tmp_path / "head.joblib", operations)


# --- values that no reader comes to the end of


def test_read_pickle_refuses_values_that_are_held_too_often(tmp_path: Path) -> None:
    laughs: Any = ["ha"]
    for _ in range(20):
        laughs = [laughs] * 10
    joblib.dump(laughs, tmp_path / "head.joblib")
    assert (tmp_path / "head.joblib").stat().st_size < 2_000
    with pytest.raises(ValueError, match=r"more than 2,000,000 values"):
        read_pickle(tmp_path / "head.joblib")


def test_read_pickle_refuses_a_list_that_holds_itself(tmp_path: Path) -> None:
    endless: list[Any] = []
    endless.append(endless)
    joblib.dump(endless, tmp_path / "head.joblib")
    with pytest.raises(ValueError, match=rf"nest deeper than {MAX_DEPTH}"):
        read_pickle(tmp_path / "head.joblib")


@pytest.mark.parametrize("n_levels", [MAX_DEPTH, 100_000])
def test_read_pickle_refuses_deep_nesting(tmp_path: Path, n_levels: int) -> None:
    operations = b"\x80\x04" + b"]" * (n_levels + 1) + b"a" * n_levels + b"."
    with pytest.raises(ValueError, match=rf"nest deeper than {MAX_DEPTH}"):
        read_operations(tmp_path / "head.joblib", operations)


def test_read_pickle_refuses_more_operations_than_any_head_has(tmp_path: Path) -> None:
    operations = b"\x80\x04]" + b"\x94" * (MAX_OPERATIONS + 1) + b"."
    with pytest.raises(ValueError, match=r"more than 500,000 operations"):
        read_operations(tmp_path / "head.joblib", operations)


def test_check_values_takes_what_a_head_has() -> None:
    check_values({"a": [1, 2.0, None, True, ("x", np.float32(1), np.zeros(3))]})


@pytest.mark.parametrize("value", [b"bytes", {1}, object(), print, len, int, Path(), 1j])
def test_check_values_refuses_any_other_type(value: Any) -> None:
    with pytest.raises(ValueError, match=r"a value of the type "):
        check_values({"a": [value]})


# --- every cut and every changed byte of a real head


def write_small(path: Path) -> bytes:
    X = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)
    y = np.array(["a", "b"], object)[np.arange(12) % 2]
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    joblib.dump({**START, "classes": ["a", "b"], "estimator": pipeline}, path)
    return path.read_bytes()


def test_read_pickle_of_a_file_that_is_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "head.joblib"
    data = write_small(path)
    for end in range(0, len(data) - 1, 7):
        path.write_bytes(data[:end])
        with pytest.raises((ValueError, TypeError, LookupError)):
            read_pickle(path)


def test_read_pickle_of_changed_bytes_raises_no_other_error(tmp_path: Path) -> None:
    path = tmp_path / "head.joblib"
    data = write_small(path)
    rng = np.random.default_rng(0)
    n_refused = 0
    for _ in range(1_000):
        changed = bytearray(data)
        for position in rng.integers(0, len(data), rng.integers(1, 4)):
            changed[position] = rng.integers(0, 256)
        path.write_bytes(changed)
        try:
            read_pickle(path)
        except (ValueError, TypeError, LookupError, AttributeError):
            n_refused += 1
    assert n_refused > 300


# --- what joblib reads, this reads

X = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
Y = np.array(["10", "2", "ant", 'naïve, "x"'], object)[np.arange(60) % 4]

PIPELINES: dict[str, list[Any]] = {
    "logreg": [StandardScaler(), LogisticRegression()],
    "linear-svm": [Normalizer(), StandardScaler(), LinearSVC()],
    "rbf-svm": [StandardScaler(), SVC()],
    "nystroem": [StandardScaler(), Nystroem(n_components=10), LinearSVC()],
    "ridge": [StandardScaler(), PCA(3, whiten=True), RidgeClassifier()],
    "lda": [LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")],
    "knn": [Normalizer(), KNeighborsClassifier(algorithm="brute")],
    "nearest-mean": [LinearDiscriminantAnalysis(solver="lsqr", shrinkage=1.0)],
}


def fit(name: str) -> Pipeline:
    return make_pipeline(*PIPELINES[name]).fit(X, Y)


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_read_pickle_of_an_estimator_predicts_as_it_did(
    tmp_path: Path, name: str, protocol: int
) -> None:
    pipeline = fit(name)
    joblib.dump(pipeline, tmp_path / "head.joblib", protocol=protocol)
    found = read_pickle(tmp_path / "head.joblib")
    assert found.absent == []
    assert len(found.sklearn_versions) == 1
    np.testing.assert_array_equal(found.content.predict(X), pipeline.predict(X))
    assert found.content.get_params().keys() == pipeline.get_params().keys()


def test_every_class_on_the_list_is_used_by_a_kind(tmp_path: Path) -> None:
    used = {"Pipeline", "LabelBinarizer"}  # RidgeClassifier holds a LabelBinarizer
    used |= {type(step).__name__ for steps in PIPELINES.values() for step in steps}
    used.add("OneVsRestClassifier")
    several = OneVsRestClassifier(LogisticRegression()).fit(X, Y[:, None] == np.unique(Y)[:3])
    joblib.dump(several, tmp_path / "several.joblib")
    found = read_pickle(tmp_path / "several.joblib").content
    np.testing.assert_array_equal(found.predict_proba(X), several.predict_proba(X))
    joblib.dump(Ridge().fit(X, X[:, 0]), tmp_path / "ridge.joblib")
    assert isinstance(read_pickle(tmp_path / "ridge.joblib").content, Ridge)
    assert used | {"Ridge"} == set(ESTIMATORS)


def test_read_pickle_of_a_class_that_is_gone_leaves_a_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joblib.dump(fit("ridge"), tmp_path / "head.joblib")
    monkeypatch.setattr("featx.heads.unpickling.import_estimator", lambda name: None)
    found = read_pickle(tmp_path / "head.joblib")
    assert "RidgeClassifier" in found.absent


def test_read_pickle_needs_no_bytes_behind_the_end(tmp_path: Path) -> None:
    stream = io.BytesIO()
    joblib.dump([1], stream)
    assert read_operations(tmp_path / "head.joblib", stream.getvalue() + b"rest") == [1]
