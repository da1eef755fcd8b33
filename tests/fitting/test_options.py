"""Options of fitting and splitting: the whole range of each is tried before anything is read."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.core.errors import CacheError, FeatxError, HeadError
from featx.fitting.evaluate import evaluate
from featx.fitting.fit import fit_head
from featx.fitting.split import split_cache
from featx.heads.classifier import HeadClassifier
from featx.heads.splits import MAX_SEED, check_fractions, check_seed

BAD: list[tuple[str, list[Any]]] = [
    ("seed", [-1, MAX_SEED + 1, 2**64, math.nan, math.inf, 1.5, "0", None, True]),
    ("cv", [-1, 0, 1, 2.5, math.nan, math.inf, "five", "", None, True]),
    ("C", [0, -0.0, -1, math.nan, math.inf, -math.inf, "ten", "", True]),
    ("kind", ["", "Logreg", "svm", "logreg ", 1, math.nan]),
    ("class_weight", ["", "Balanced", 1.0, math.nan, {"ants": math.nan}, {"ants": 0}]),
    ("scaling", ["", "Standard", "minmax", 1]),
    ("repeats", [0, -1, 1.5, math.nan, "ten", True, 1001]),
    ("pca", [0, -1, 1.5, math.nan, "ten", True]),
]


@pytest.mark.parametrize(
    ("name", "value"),
    [pytest.param(name, value, id=f"{name}-{value!r}") for name, values in BAD for value in values],
)
def test_fit_head_option_out_of_its_range_is_refused_before_the_cache_is_opened(
    name: str, value: Any, tmp_path: Path
) -> None:
    with pytest.raises(HeadError) as caught:
        fit_head(tmp_path / "there is none.h5", tmp_path / "head.joblib", **{name: value})
    assert caught.value.subject == name
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 0),
        ("seed", MAX_SEED),
        ("seed", np.int64(3)),
        ("cv", 3),
        ("repeats", np.int64(2)),
        ("C", 1e-9),
        ("C", np.float32(1)),
        ("class_weight", {"ants": 1e-6, "bees": 1e6}),
        ("class_weight", {"ants": 1e-6}),
    ],
    ids=str,
)
def test_classifier_takes_both_ends_of_the_range(name: str, value: Any) -> None:
    rng = np.random.default_rng(0)
    y = np.repeat(["ants", "bees"], 20)
    X = rng.normal(size=(40, 4)) + 3 * (y == "ants")[:, None]
    options = {"random_state" if name == "seed" else name: value}
    fitted = HeadClassifier(**{"C": 1.0, **options}).fit(X, y)
    assert np.isfinite(fitted.predict_proba(X)).all()


@pytest.mark.parametrize(
    "class_weight", [{"Cats": 5.0}, {"ants": 1.0, "bees": 1.0, "Ants": 50.0}], ids=str
)
def test_fit_head_weight_of_a_class_that_is_none_is_refused(
    cache_path: Path, class_weight: dict[str, float]
) -> None:
    with pytest.raises(
        HeadError, match=r"^class_weight: expected classes among .*, got (Cat|Ant)s"
    ):
        fit_head(cache_path, class_weight=class_weight)


@pytest.mark.parametrize("split", ["", "tran", "Train", "everything"])
def test_split_that_is_none_is_refused(cache_path: Path, split: str) -> None:
    head = fit_head(cache_path, C=1.0)
    with pytest.raises(FeatxError, match=r"expected .*train"):
        fit_head(cache_path, split=split)
    if split:
        with pytest.raises(CacheError):
            evaluate(head, cache_path, split=split)


@pytest.mark.parametrize("seed", [0, 1, MAX_SEED, np.uint32(7)], ids=str)
def test_check_seed_takes_both_ends(seed: Any) -> None:
    check_seed(seed)


@pytest.mark.parametrize(
    ("val", "test"),
    [
        (0, 0),
        (1, 0),
        (0, 1),
        (-0.1, 0.2),
        (0.2, -0.1),
        (0.5, 0.5),
        (math.nan, 0),
        (0.2, math.nan),
        (math.inf, 0),
        ("0.2", 0),
        (True, 0),
    ],
    ids=str,
)
def test_fractions_out_of_their_range_are_refused(val: Any, test: Any, cache_path: Path) -> None:
    with pytest.raises(HeadError, match=r"^val, test: expected fractions of at least 0"):
        check_fractions(val, test)
    with pytest.raises(HeadError, match=r"^val, test: expected fractions of at least 0"):
        split_cache(cache_path, val=val, test=test, overwrite=True)


@pytest.mark.parametrize(("val", "test"), [(1e-9, 0), (0, 0.5), (0.999, 0), (0.4, 0.4)], ids=str)
def test_fractions_within_their_range_are_taken(val: float, test: float) -> None:
    check_fractions(val, test)
