"""Label errors of data whose truth is known: generated, and hymenoptera with flipped labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import featx
from featx.analytics.label_errors import LabelErrors, LabelledRows, find_label_errors
from featx.heads.classifier import HeadClassifier


def build(X: Any, codes: Any, **changes: Any) -> LabelledRows:
    """Build labelled rows; the numbers of the rows begin at 1,000."""
    fields: dict[str, Any] = {
        "numbers": np.arange(len(codes)) + 1000,
        "X": X.astype(np.float32),
        "labels": np.array([f"class {code}" for code in codes], object),
        "units": None,
        "learnt": np.zeros(len(codes), bool),
    }
    return LabelledRows(**(fields | changes))


def draw(seed: int, n_rows: int = 200, n_classes: int = 2, apart: float = 3.0) -> Any:
    rng = np.random.default_rng(seed)
    codes = np.arange(n_rows) % n_classes
    return rng.normal(size=(n_rows, 8)) + apart * np.eye(n_classes, 8)[codes], codes


def test_flipped_labels_are_listed_first_with_the_right_class() -> None:
    X, codes = draw(0, apart=6.0)
    flipped = np.arange(5, 200, 20)
    given = codes.copy()
    given[flipped] = 1 - given[flipped]
    found = find_label_errors(build(X, given))
    assert isinstance(found, LabelErrors)
    assert found.is_evident
    assert set(found.rows[: len(flipped)] - 1000) == set(flipped)
    assert found.n_wrong_ci95[0] <= len(flipped) <= found.n_wrong_ci95[1]
    assert found.rate_ci95[0] < 0.05 < found.rate_ci95[1]
    assert (found.suggested[: len(flipped)] != found.labels[: len(flipped)]).all()
    assert (np.diff(found.scores) <= 0).all()
    assert found.n_judged == 200


@pytest.mark.parametrize("apart", [1.5, 3.0])
def test_clean_data_has_no_alarm(apart: float) -> None:
    for seed in range(1, 4):
        X, codes = draw(seed, apart=apart)
        found = find_label_errors(build(X, codes))
        assert isinstance(found, LabelErrors)
        assert found.n_listed <= 2  # 1 %
        assert found.rate_ci95[0] < 0.01


def test_random_labels_are_no_list_of_errors() -> None:
    X, codes = draw(0, n_classes=4)
    found = find_label_errors(build(X, np.random.default_rng(0).permutation(codes)))
    assert isinstance(found, LabelErrors)
    assert found.n_listed == len(found.rows) == 0
    assert found.rate_ci95[1] > 0.1


def test_bound_holds_for_errors_between_classes_that_look_alike() -> None:
    rng = np.random.default_rng(0)
    third = np.arange(300) % 3 == 2
    X = rng.normal(size=(300, 16))
    X[third, 0] += 8
    found = find_label_errors(build(X, np.where(third, 2, rng.integers(0, 2, 300))))
    assert isinstance(found, LabelErrors)
    assert found.rate_ci95[1] >= 0.33  # half the labels of two classes of three


def test_what_cannot_be_judged_says_why() -> None:
    X, codes = draw(0)
    assert find_label_errors(build(X[:60], codes[:60])) == (
        "60 labelled rows are too few; 100 can be judged"
    )
    one = find_label_errors(build(X, np.zeros(200, int)))
    assert one == "fewer than 2 classes have images of 5 units"
    learnt = find_label_errors(build(X, codes, learnt=np.ones(200, bool)))
    assert learnt == "too few rows are new to the network"


def test_classes_of_few_units_are_not_judged() -> None:
    X, codes = draw(0)
    codes = codes.copy()
    codes[:4] = 2
    found = find_label_errors(build(X, codes))
    assert isinstance(found, LabelErrors)
    assert found.n_judged == 196
    assert found.classes.tolist() == ["class 0", "class 1"]
    units = np.arange(200)
    units[:10] = 0  # ten rows of one unit
    codes[:10] = 2
    found = find_label_errors(build(X, codes, units=units))
    assert isinstance(found, LabelErrors)
    assert found.n_judged == 190


@pytest.mark.slow
@pytest.mark.shared
def test_flipped_labels_of_hymenoptera_come_first(shared: Path, tmp_path: Path) -> None:
    cache = tmp_path / "hymenoptera.h5"
    weights = shared / "weights/mobilenet_v2-imagenet-backbone.pth"
    featx.extract(
        shared / "data/hymenoptera_data", cache, backbone="mobilenet_v2", weights=str(weights)
    )
    with featx.open_cache(cache) as opened:
        X, labels = opened.read_arrays()
    codes = (labels == "bees").astype(np.int64)
    clean = find_label_errors(build(X, codes))
    assert isinstance(clean, LabelErrors)
    assert clean.n_listed <= 0.01 * len(codes)
    for seed in range(3):
        wrong = np.random.default_rng(seed).choice(len(codes), 20, replace=False)
        given = codes.copy()
        given[wrong] = 1 - given[wrong]
        found = find_label_errors(build(X, given))
        assert isinstance(found, LabelErrors)
        is_wrong = np.isin(found.rows - 1000, wrong)
        right = np.cumsum(is_wrong)
        precision = right / np.arange(1, len(right) + 1)
        assert precision[right >= 14].max() >= 0.8  # at a recall of 0.7
        assert found.n_wrong_ci95[0] <= right[found.n_listed - 1] <= found.n_wrong_ci95[1]


def test_many_classes_are_judged_without_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    codes = np.arange(1040) % 130
    X = 6 * rng.normal(size=(130, 16))[codes] + rng.normal(size=(1040, 16))
    given = codes.copy()
    given[::47] = (given[::47] + 1) % 130
    fitted = []

    class Watched(HeadClassifier):
        def __init__(self, kind: Any, **options: Any) -> None:
            fitted.append(kind)
            super().__init__(kind, **options)

    monkeypatch.setattr("featx.analytics.label_errors.HeadClassifier", Watched)
    found = find_label_errors(build(X, given))
    assert isinstance(found, LabelErrors)
    assert fitted == ["logreg", "lda"]
    assert set(np.arange(0, 1040, 47) + 1000) <= set(found.rows.tolist())
    assert found.n_wrong_ci95[0] <= 23 <= found.n_wrong_ci95[1]
