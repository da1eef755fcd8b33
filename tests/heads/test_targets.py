"""What a head predicts, read from cells of text."""

from __future__ import annotations

import numpy as np
import pytest

from featx.core.errors import HeadError
from featx.heads.targets import Target, find_learnable, read_flags, read_numbers, split_classes


def test_classes_of_one_cell_are_split_and_counted_once() -> None:
    flags, classes = split_classes(["b;a", " a ;; a", ";", "naïve, x"])
    assert classes == ("a", "b", "naïve, x")
    assert flags.tolist() == [
        [True, True, False],
        [True, False, False],
        [False, False, False],
        [False, False, True],
    ]


def test_flags_are_read_in_the_words_that_tables_have() -> None:
    assert (
        read_flags(["1", "True", "YES", "0", "False", "no"], "red").tolist()
        == [True] * 3 + [False] * 3
    )
    with pytest.raises(HeadError, match=r"column red: .* got '2' and 'x' in 2 rows"):
        read_flags(["1", "x", "2"], "red")


def test_numbers_are_read_as_float64() -> None:
    assert read_numbers(["1", "-2.5e-3", "007"], "price").tolist() == [1.0, -0.0025, 7.0]
    with pytest.raises(HeadError, match="column price: expected a finite number in each cell"):
        read_numbers(["1", "nan"], "price")


def test_classes_that_all_rows_or_one_row_have_cannot_be_learnt() -> None:
    flags = np.array([[1, 1, 0, 1], [1, 0, 0, 1], [1, 0, 0, 0], [1, 0, 0, 0]], bool)
    assert find_learnable(flags).tolist() == [False, False, False, True]


def test_a_target_is_the_same_after_plain_values() -> None:
    target = Target(kind="several", columns=("t",), classes=("a", "b"), thresholds=(0.5, 0.25))
    assert Target.from_dict(target.to_dict()) == target
    number = Target(kind="number", columns=("t",), mean=1.5, median=1.0)
    assert Target.from_dict(number.to_dict()) == number
