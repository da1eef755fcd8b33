"""The learning curve: each row is scored once by heads that have not seen it; units stay whole."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

import featx
from featx.core.errors import FeatxWarning, HeadError
from featx.core.typing import Array, IntArray
from featx.fitting.learning_curve import SHARES, count_part, draw_curve, order_rows
from featx.heads.intervals import estimate_interval
from tests.builders import MakeCache, mark_learnt


def make_clusters(n_rows: int, n_classes: int = 3, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    codes = np.arange(n_rows) % n_classes
    X = rng.normal(size=(n_rows, 16)) + 1.5 * np.eye(n_classes, 16)[codes]
    return X.astype(np.float32), np.array([f"c{code}" for code in codes])


def test_draw_curve_rises_with_rows_and_scores_each_row() -> None:
    X, y = make_clusters(600)
    curve = draw_curve(X, y, None, seed=0, subject="rows")
    points = curve.points
    assert [round(point.rows_per_class) for point in points] == [20, 40, 80, 160]
    assert points[-1].accuracy > points[0].accuracy
    assert (curve.majority_accuracy, curve.n_classes) == (200 / 600, 3)
    for point in points:
        n_right = round(600 * point.accuracy)
        interval = estimate_interval(np.arange(600) < n_right, n_folds=5, n_dims=16)
        assert point.accuracy_ci95 == pytest.approx(interval)
    assert (points[0].step, points[0].step_ci95) == (None, None)
    for before, point in itertools.pairwise(points):
        assert point.step is not None
        assert point.step_ci95 is not None
        assert point.step == pytest.approx(point.accuracy - before.accuracy)
        assert point.step_ci95[0] < point.step < point.step_ci95[1]
    assert curve == draw_curve(X, y, None, seed=0, subject="rows")


def test_draw_curve_leaves_out_parts_that_lack_a_class() -> None:
    X, y = make_clusters(15)
    curve = draw_curve(X, y, None, seed=0, subject="rows")
    assert 1 <= len(curve.points) < len(SHARES)


def test_draw_curve_counts_a_class_of_one_row_as_wrong() -> None:
    X, y = make_clusters(40, n_classes=2)
    y[0] = "rare"
    curve = draw_curve(X, y, None, seed=0, subject="rows")
    assert curve.points[-1].accuracy <= 39 / 40


def test_draw_curve_of_a_fold_with_one_class_to_learn_predicts_it() -> None:
    # All of bee is one group: where it is held out, there is one class, and it counts as wrong.
    X, y = make_clusters(100, n_classes=1)
    y = np.where(np.arange(100) < 90, "ant", "bee")
    units = np.append(np.repeat(np.arange(30), 3), np.full(10, 30))
    curve = draw_curve(X, y, units, seed=0, subject="rows")
    assert curve.points[-1].accuracy <= 0.9
    assert not curve.is_chance  # of one class that can be held out, nobody can tell


@pytest.mark.parametrize(
    ("units", "told"),
    [
        (None, "expected labelled rows of at least 2 classes"),
        (np.repeat([0, 1], 10), "2 classes, each in one group. Extract images of other groups"),
    ],
    ids=["rows", "groups"],
)
def test_draw_curve_of_classes_that_cannot_be_held_out_is_refused(
    units: IntArray | None, told: str
) -> None:
    X, y = make_clusters(20, n_classes=1)
    y = np.arange(20).astype(str) if units is None else np.repeat(["ant", "bee"], 10)
    with pytest.raises(HeadError, match=told):
        draw_curve(X, y, units, seed=0, subject="rows")


def test_draw_curve_of_no_rows_says_so() -> None:
    with pytest.raises(HeadError, match="got no labelled row with a vector"):
        draw_curve(np.empty((0, 4)), np.empty(0, "U3"), None, seed=0, subject="rows")


@pytest.mark.parametrize("size", [1, 2, 7])
def test_order_rows_begins_with_whole_units_and_all_classes(size: int) -> None:
    units = np.random.default_rng(0).permutation(np.repeat(np.arange(60), size))
    codes = (units % 3 == 0).astype(np.int64)
    order = order_rows(codes, units, seed=0)
    assert sorted(order.tolist()) == list(range(60 * size))
    for share in SHARES:
        part = order[: count_part(share, order, units)]
        assert share * len(units) - 1 <= len(part) <= share * len(units) + size
        assert not set(units[part]) & set(np.delete(units, part))
        assert codes[part].mean() == pytest.approx(1 / 3, abs=0.1)


def test_draw_curve_of_one_class_is_refused() -> None:
    X, y = make_clusters(30, n_classes=1)
    with pytest.raises(HeadError, match=r"rows: expected labelled rows of at least 2 classes"):
        draw_curve(X, y, None, seed=0, subject="rows")


def test_draw_curve_keeps_groups_together() -> None:
    X, y = make_clusters(300)
    groups = np.repeat(np.arange(100), 3)
    with patch("featx.fitting.learning_curve.HeadClassifier.fit", autospec=True) as fit:
        fit.side_effect = StopIteration
        with pytest.raises(StopIteration):
            draw_curve(X, y, groups, seed=0, subject="rows")
    fitted = set(fit.call_args.args[3].tolist())
    assert len(fitted) == 80  # the other fifth of the groups is held out whole
    assert len(fit.call_args.args[1]) == 240


def test_draw_curve_of_very_few_rows_has_no_point_twice() -> None:
    X, y = make_clusters(8, n_classes=2)
    points = draw_curve(X, y, None, seed=0, subject="rows").points
    sizes = [point.rows_per_class for point in points]
    assert sizes == sorted(set(sizes))


# ---- of a cache


def test_curve_is_that_of_advise(cache_path: Path) -> None:
    curve = featx.measure_learning_curve(cache_path)
    assert curve.points == featx.advise(cache_path).curve
    assert curve.n_rows == 40
    found = json.loads(json.dumps(curve.to_dict()))
    assert (found["is_chance"], found["n_rows"]) == (curve.is_chance, 40)
    assert found["points"][-1]["accuracy"] == curve.points[-1].accuracy


def test_curve_reads_the_split_that_is_asked_for(cache_path: Path) -> None:
    with featx.open_cache(cache_path) as cache:
        n_val = len(cache.select_rows("val", labelled=True))
    assert featx.measure_learning_curve(cache_path, split="val").n_rows == n_val


def test_rows_that_are_left_out_are_said(make_cache: MakeCache) -> None:
    path = mark_learnt(make_cache(n_train=200), slice(0, 120))
    with pytest.warns(FeatxWarning, match=r"of 200 rows, 120 that the network has learnt from"):
        assert featx.measure_learning_curve(path).n_rows == 80
    with (
        patch("featx.fitting.curve_rows.MAX_ROWS", 50),
        pytest.warns(FeatxWarning, match=r"and 30 at random were left out"),
    ):
        assert featx.measure_learning_curve(path).n_rows == 50


def test_rows_that_were_all_learnt_from_have_no_curve(cache_path: Path) -> None:
    mark_learnt(cache_path, slice(0, 40))
    with pytest.raises(HeadError, match=r"split train: .*40 of 40 that it has learnt from"):
        featx.measure_learning_curve(cache_path)
