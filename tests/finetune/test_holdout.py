"""Which images a network learns from, and which tell when to stop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from featx.core.errors import FeatxError, TuningError
from featx.core.typing import Array, IntArray
from featx.finetune import holdout as holdout_module
from featx.finetune.holdout import LabelledRows, check_every_class, hold_out


def build_rows(
    labels: Sequence[str] | Array, *, groups: Array | None = None, digests: Array | None = None
) -> LabelledRows:
    n_rows = len(labels)
    return LabelledRows(
        rows=np.arange(n_rows),
        ids=np.arange(n_rows).astype(str).astype(object),
        labels=np.asarray(labels, object),
        groups=np.full(n_rows, "", object) if groups is None else groups,
        digests=np.arange(n_rows).astype(str) if digests is None else digests,
    )


def divide(
    labels: Sequence[str] | Array,
    *,
    groups: Array | None = None,
    digests: Array | None = None,
    seed: int = 0,
) -> tuple[IntArray, IntArray]:
    return hold_out(build_rows(labels, groups=groups, digests=digests), seed, "c.h5")


@pytest.mark.parametrize(
    ("n_classes", "n_each"), [(200, 8), (300, 3), (5, 2), (2, 20), (3, 14), (10, 150)]
)
def test_hold_out_has_some_of_each_class(n_classes: int, n_each: int) -> None:
    labels = np.repeat([f"c{number}" for number in range(n_classes)], n_each)
    learnt, holdout = divide(labels)
    assert sorted([*learnt, *holdout]) == list(range(len(labels)))
    assert len(np.unique(labels[learnt])) == len(np.unique(labels[holdout])) == n_classes
    share = 0.2 if len(labels) < 1000 else 0.1  # a tenth of few rows tells too little
    assert len(holdout) == max(n_classes, round(share * len(labels)))


def test_hold_out_of_many_rows_is_a_tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.repeat(["a", "b", "c"], 14)
    assert len(divide(labels)[1]) == 8
    monkeypatch.setattr(holdout_module, "FEW_ROWS", 42)
    assert len(divide(labels)[1]) == 4


def test_hold_out_beside_classes_of_one_row_is_no_larger() -> None:
    labels = np.array([*np.repeat(np.arange(40), 3), *range(100, 200)]).astype(str)
    learnt, holdout = divide(labels)
    assert len(holdout) == round(0.2 * 220)
    assert set(np.flatnonzero(np.arange(220) >= 120)) <= set(learnt)  # the only row is learnt


def test_hold_out_keeps_groups_together() -> None:
    groups = np.repeat([f"g{number}" for number in range(30)], 4)
    learnt, holdout = divide(["a", "b"] * 60, groups=groups)
    assert len(holdout) == 24
    assert set(groups[holdout]).isdisjoint(groups[learnt])


def test_hold_out_keeps_copies_of_an_image_together() -> None:
    digests = np.array([f"d{number % 30}" for number in range(60)])
    learnt, holdout = divide(["a", "b"] * 30, digests=digests)
    assert sorted([*learnt, *holdout]) == list(range(60))
    assert len(holdout) == 12
    assert set(digests[holdout]).isdisjoint(digests[learnt])


def test_hold_out_keeps_groups_and_copies_together() -> None:
    groups = np.array([f"g{number // 3}" if number < 45 else "" for number in range(60)])
    digests = np.array([f"d{number % 55}" for number in range(60)])
    learnt, holdout = divide(["a", "b"] * 30, groups=groups, digests=digests)
    assert sorted([*learnt, *holdout]) == list(range(60))
    assert set(digests[holdout]).isdisjoint(digests[learnt])
    assert set(groups[holdout]) & set(groups[learnt]) <= {"", "g0", "g1"}  # copies of another group


def test_hold_out_of_another_seed_is_another() -> None:
    labels = np.repeat(["a", "b", "c"], 14)
    first, again, other = (divide(labels, seed=seed)[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)


def test_hold_out_with_a_seed_out_of_range_is_refused() -> None:
    with pytest.raises(FeatxError, match=r"^seed: expected"):
        divide(["a", "b"] * 20, seed=5_000_000_000)


def test_hold_out_of_too_few_rows_is_refused() -> None:
    with pytest.raises(
        TuningError,
        match=r"^c\.h5, split train: .*got 3 images of 3 classes\. Label more",
    ):
        divide(["a", "b", "c"])


def test_every_class_is_left_to_learn_from() -> None:
    classes = np.array(["a", "b"], object)
    check_every_class(np.array(["b", "a", "b"], object), classes, "c.h5")
    with pytest.raises(TuningError, match=r"rows of each class outside .*, got none of 'b'"):
        check_every_class(np.array(["a", "a"], object), classes, "c.h5")


def test_select_takes_all_columns() -> None:
    rows = build_rows(["a", "b", "c"]).select(np.array([False, True, True]))
    assert len(rows) == 2
    for column in (rows.ids, rows.digests):
        assert column.tolist() == ["1", "2"]
    assert (rows.rows.tolist(), rows.labels.tolist()) == ([1, 2], ["b", "c"])
