"""Checks of a fine-tuning: the split to compare on, and labels that the head knows."""

import numpy as np
import pytest

from featx.core.errors import TuningError
from featx.finetune.checks import check_labels, choose_split


@pytest.mark.parametrize(
    ("asked", "have", "expected"),
    [
        (None, ["train", "val", "test"], "val"),
        (None, ["train", "test"], "test"),
        (None, ["train", "val"], "val"),
        ("test", ["train", "val", "test"], "test"),
        ("test", ["train", "val"], "test"),  # the cache says that it has none
    ],
)
def test_choose_split_takes_val_before_test(
    asked: str | None, have: list[str], expected: str
) -> None:
    assert choose_split(asked, have, subject="c.h5") == expected


@pytest.mark.parametrize("asked", ["train", "all", "tset"])
def test_choose_split_other_than_val_or_test_is_refused(asked: str) -> None:
    with pytest.raises(
        TuningError, match=rf"^split: expected val or test.*got '{asked}'\. Pass split='val'\.$"
    ):
        choose_split(asked, ["train", "val"], subject="c.h5")


@pytest.mark.parametrize(
    ("have", "got"), [([], "no splits"), (["train"], "train"), (["val", "test"], "val, test")]
)
def test_choose_split_of_a_cache_that_lacks_one_says_how_to_record_it(
    have: list[str], got: str
) -> None:
    with pytest.raises(
        TuningError, match=rf"^c\.h5: expected a split train.*got {got}\. .*split_cache"
    ):
        choose_split(None, have, subject="c.h5")


def test_check_labels_names_one_that_the_head_does_not_know() -> None:
    classes = np.array(["a", "b"], object)
    check_labels(np.array(["b", "b"], object), classes, "c.h5")
    with pytest.raises(TuningError, match=r"labels that the head knows, got 'c'\. Fit"):
        check_labels(np.array(["d", "a", "c"], object), classes, "c.h5")
