"""The registry of kinds: every kind keeps what its value promises."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from featx.core.errors import HeadError
from featx.core.typing import Float32Array, StrArray
from featx.heads.kinds import (
    KINDS,
    HeadKind,
    check_strength,
    get_kind,
    list_kinds,
)
from featx.heads.linear import fold_linear

EACH_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def draw() -> tuple[Float32Array, StrArray]:
    """Draw rows about one centre per class, and their labels."""
    rng = np.random.default_rng(0)
    codes = np.arange(60) % 3
    X = rng.normal(size=(60, 5)) + 3 * rng.normal(size=(3, 5))[codes]
    return X.astype(np.float32), np.array(["ants", "bees", "cats"], dtype=object)[codes]


@EACH_KIND
def test_kind_builds_a_classifier_that_keeps_its_promises(kind: HeadKind) -> None:
    X, y = draw()
    classifier = kind.build(0.5, "balanced")
    params = classifier.get_params()
    assert params[kind.strength_name] == 0.5
    assert params["class_weight"] == "balanced"
    assert kind.warm_starts == ("warm_start" in params)
    fitted = make_pipeline(StandardScaler(), classifier).fit(X, y)
    assert np.mean(fitted.predict(X) == y) > 0.9
    assert hasattr(fitted, "predict_proba") == kind.has_probabilities
    if kind.is_linear:
        weight, bias = fold_linear(fitted)
        found = X @ weight.T + bias
        np.testing.assert_allclose(found, fitted.decision_function(X), rtol=1e-3, atol=1e-3)
    else:
        with pytest.raises(HeadError, match=r"a linear classifier"):
            fold_linear(fitted)


@pytest.mark.parametrize("name", list_kinds())
def test_kind_grid_is_ascending_and_holds_the_default_strength(name: str) -> None:
    kind = get_kind(name)
    assert 10 ** kind.grid[0] <= kind.default_strength <= 10 ** kind.grid[-1]
    # The search tries values halfway between the grid's: it expects whole decades.
    np.testing.assert_array_equal(np.diff(kind.grid), 1)


@pytest.mark.parametrize(
    ("name", "low", "high", "default"), [("logreg", -6, 0, 0.01), ("linear-svm", -7, -1, 0.01)]
)
def test_kind_grid_is_the_one_that_was_measured(
    name: str, low: float, high: float, default: float
) -> None:
    kind = get_kind(name)
    assert (kind.grid[0], kind.grid[-1], kind.default_strength) == (low, high, default)


@EACH_KIND
def test_kind_builds_a_new_classifier_each_time(kind: HeadKind) -> None:
    assert kind.build(1.0, None) is not kind.build(1.0, None)


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
        "kind: expected one of linear-svm, logreg, got 'logreg2'. Nearest: logreg."
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
