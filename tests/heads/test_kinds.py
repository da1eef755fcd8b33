"""The registry of kinds: every kind keeps what its value promises."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from featx.core.errors import HeadError
from featx.core.typing import Float32Array, StrArray
from featx.heads.coordinates import Coordinates
from featx.heads.kinds import (
    KINDS,
    HeadKind,
    check_kind,
    check_strength,
    get_kind,
    list_kinds,
)
from featx.heads.learners import Task
from featx.heads.linear import fold_linear

EACH_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def draw() -> tuple[Float32Array, StrArray]:
    """Draw rows about one centre per class, and their labels."""
    rng = np.random.default_rng(0)
    codes = np.arange(60) % 3
    X = rng.normal(size=(60, 5)) + 3 * rng.normal(size=(3, 5))[codes]
    return X.astype(np.float32), np.array(["ants", "bees", "cats"], dtype=object)[codes]


def build_task(class_weight: Any = None) -> Task:
    """Build a task of the drawn rows."""
    X, y = draw()
    return Task(
        X=X,
        coordinates=Coordinates.find(X, X.mean(axis=0), X.std(axis=0)),
        codes=np.unique(y, return_inverse=True)[1],
        n_classes=3,
        class_weight=class_weight,
        parts=[],
    )


@EACH_KIND
def test_kind_builds_a_classifier_that_keeps_its_promises(kind: HeadKind) -> None:
    X, y = draw()
    class_weight = "balanced" if kind.takes_weights else None
    strength = kind.round_strength(0.5 if kind.largest == 1 else 2.0)
    classifier = kind.build(strength, class_weight, build_task(class_weight))  # type: ignore[arg-type]
    params = classifier.get_params()
    if kind.strength_name in params:
        assert params[kind.strength_name] == strength
    fitted = make_pipeline(StandardScaler(), classifier).fit(X, y)
    assert np.mean(fitted.predict(X) == y) > 0.9
    if kind.is_linear:
        weight, bias = fold_linear(fitted)
        found = X @ weight.T + bias
        np.testing.assert_allclose(found, fitted.decision_function(X), rtol=1e-3, atol=1e-3)
    else:
        with pytest.raises(HeadError, match=r"a linear classifier"):
            fold_linear(fitted)


def test_ridge_names_its_strength_as_the_other_linear_kinds_do() -> None:
    assert get_kind("ridge").build(0.25, None, build_task()).alpha == 2


@EACH_KIND
def test_kind_grid_goes_from_strong_to_weak_and_holds_the_default(kind: HeadKind) -> None:
    steps = np.sign(np.diff(kind.grid))
    assert len(set(steps.tolist())) <= 1
    exponent = np.log10(kind.default_strength)
    assert min(kind.grid) <= exponent <= max(kind.grid)
    assert 10 ** max(kind.grid) <= kind.largest
    assert kind.loss is None or kind.learn is None


@EACH_KIND
def test_kind_builds_a_new_classifier_each_time(kind: HeadKind) -> None:
    assert kind.build(1.0, None, build_task()) is not kind.build(1.0, None, build_task())


def test_list_params_are_named_as_the_classifier_names_them() -> None:
    assert get_kind("logreg").list_params(0.1) == {"C": 0.1}
    assert get_kind("knn").list_params(10.000001) == {"n_neighbors": 10}
    assert get_kind("nearest-mean").list_params(1.0) == {}


def test_kinds_have_names_of_their_own() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    assert list_kinds() == sorted(kind.name for kind in KINDS)


@EACH_KIND
def test_get_kind_returns_the_kind_of_that_name(kind: HeadKind) -> None:
    assert get_kind(kind.name) is kind


def test_get_kind_unknown_shows_all_and_the_nearest() -> None:
    with pytest.raises(HeadError) as caught:
        get_kind("logreg2")
    assert str(caught.value) == (
        "kind: expected one of auto, knn, lda, linear-svm, logreg, nearest-mean, rbf-svm, ridge, "
        "got 'logreg2'. Nearest: logreg."
    )


@pytest.mark.parametrize("strength", [0, -1.0, float("nan"), float("inf")])
def test_check_strength_refuses_what_no_classifier_takes(strength: float) -> None:
    with pytest.raises(HeadError, match=r"^C: expected a finite number above 0, got "):
        check_strength(KINDS[0], strength)


@pytest.mark.parametrize("strength", [1e-300, 1, 1e300])
def test_check_strength_accepts_any_number_above_0(strength: float) -> None:
    check_strength(KINDS[0], strength)


def test_kinds_are_listed_without_scikit_learn() -> None:
    code = (
        "import sys\nfrom featx.heads.kinds import list_kinds\nlist_kinds()\n"
        "print('sklearn' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("False False\n", "")


def test_a_kind_without_a_strength_promises_no_search() -> None:
    with pytest.raises(HeadError, match="which has no strength") as caught:
        check_kind("nearest-mean", None, 5)
    assert "cross-validation" not in str(caught.value)
