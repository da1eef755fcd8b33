"""Which images are learnt from, and which say when to stop."""

import numpy as np
import pytest

from featx.core.errors import FeatxError, TuningError
from featx.finetune.task import _hold_out


def hold_out(labels, groups=None, digests=None, seed=0):
    digests = np.arange(len(labels)).astype(str) if digests is None else digests
    return _hold_out(np.asarray(labels), groups, np.asarray(digests), seed, "c.h5")


@pytest.mark.parametrize(("n_classes", "n_each"), [(200, 8), (300, 3), (5, 2), (2, 20)])
def test_hold_out_of_many_classes_has_some_of_each(n_classes, n_each):
    labels = np.repeat([f"c{number}" for number in range(n_classes)], n_each)
    train, holdout = hold_out(labels)
    assert sorted([*train, *holdout]) == list(range(len(labels)))
    assert len(np.unique(labels[train])) == len(np.unique(labels[holdout])) == n_classes
    share = 0.2 if len(labels) < 1000 else 0.1
    assert len(holdout) == max(n_classes, round(share * len(labels)))


def test_hold_out_beside_classes_of_one_row_is_no_larger():
    labels = np.array([*np.repeat(np.arange(40), 3), *range(100, 200)]).astype(str)
    train, holdout = hold_out(labels)
    assert len(holdout) == round(0.2 * 220)
    assert set(np.flatnonzero(np.arange(220) >= 120)) <= set(train)  # the only one is learnt


def test_hold_out_does_not_part_groups():
    groups = np.repeat([f"g{number}" for number in range(30)], 4)
    train, holdout = hold_out(["a", "b"] * 60, groups=groups)
    assert len(holdout) == 24
    assert set(groups[holdout]).isdisjoint(groups[train])


def test_hold_out_with_a_seed_that_is_none_says_so():
    with pytest.raises(FeatxError, match=r"^seed: expected"):
        hold_out(["a", "b"] * 20, seed=5_000_000_000)


def test_hold_out_does_not_part_copies_of_an_image():
    digests = np.array([f"d{number % 30}" for number in range(60)])
    train, holdout = hold_out(["a", "b"] * 30, digests=digests)
    assert sorted([*train, *holdout]) == list(range(60))
    assert len(holdout) == 12
    assert set(digests[holdout]).isdisjoint(digests[train])


def test_hold_out_of_too_few_rows_is_refused():
    with pytest.raises(
        TuningError, match=r"^c\.h5, split train: .*got 3 of 3 classes\. Label more"
    ):
        hold_out(["a", "b", "c"])
