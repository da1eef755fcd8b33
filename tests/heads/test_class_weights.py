"""Weights of classes: their range at both ends, their labels, and what solvers take."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from featx.core.errors import HeadError
from featx.heads.class_weights import (
    MAX_WEIGHT,
    MIN_WEIGHT,
    ClassWeight,
    check_class_weight,
    weigh_classes,
    weigh_codes,
)

CLASSES = np.array(["ant", "bee", "cat"])


@pytest.mark.parametrize(
    "class_weight", ["heavy", "", 2.0, 0, True, ["ant"], ("balanced",)], ids=repr
)
def test_check_class_weight_refuses_other_forms(class_weight: Any) -> None:
    with pytest.raises(HeadError, match=r"^class_weight: expected None, 'balanced' or a dict"):
        check_class_weight(class_weight)


def test_check_class_weight_refuses_an_array() -> None:
    with pytest.raises(HeadError, match=r"^class_weight: expected None, 'balanced' or a dict"):
        check_class_weight(np.array([1.0, 2.0]))


@pytest.mark.parametrize("class_weight", [None, "balanced", {"ant": 2.0}, {"ant": 1}, {}], ids=str)
def test_check_class_weight_accepts_rules_and_weights(class_weight: Any) -> None:
    check_class_weight(class_weight)
    check_class_weight(class_weight, CLASSES)


@pytest.mark.parametrize(
    ("weight", "shown"),
    [
        (math.nan, "nan"),
        (np.float32("nan"), "nan"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (0, "0"),
        (-0.0, "-0"),
        (-1, "-1"),
        (MIN_WEIGHT / 2, "5e-07"),
        (MAX_WEIGHT * 2, "2e\\+06"),
        (5e-324, "4.94066e-324"),
        (1e308, "1e\\+308"),
        (True, "True"),
        (np.True_, "np.True_"),
        ("2", "'2'"),
        (None, "None"),
        (2j, "2j"),
        ([1.0], r"\[1.0\]"),
        ("balanced", "'balanced'"),
    ],
    ids=str,
)
def test_check_class_weight_refuses_what_is_no_weight(weight: Any, shown: str) -> None:
    for classes in (None, CLASSES):
        with pytest.raises(
            HeadError, match=rf"^class_weight: expected numbers above 0, .* got {shown} for ant\."
        ):
            check_class_weight({"bee": 1.0, "ant": weight}, classes)


@pytest.mark.parametrize(
    "weight",
    [MIN_WEIGHT, 0.5, 1, 2.0, Fraction(1, 3), np.float32(3), np.int64(3), MAX_WEIGHT],
    ids=str,
)
def test_check_class_weight_accepts_both_ends_and_all_numbers(weight: Any) -> None:
    check_class_weight({"ant": weight}, CLASSES)
    classes, codes = CLASSES, np.array([0, 0, 1, 2])
    assert np.isfinite(weigh_classes({"ant": weight}, classes, codes)).all()


@pytest.mark.parametrize(
    ("class_weight", "reason"),
    [
        ({"Ant": 5}, "got Ant. Nearest: ant, cat."),
        ({"ant": 1, "bee": 1, "cat": 1, "Ant": 50}, "got Ant. Nearest: ant, cat."),
        ({"ant": 1, "dog": 1, "cow": 2}, "got dog and cow. No known name is similar."),
        ({0: 1.0}, "got 0, which is no text. No known name is similar."),
        ({None: 1.0}, "got None, which is no text. No known name is similar."),
    ],
    ids=str,
)
def test_check_class_weight_names_labels_that_are_no_classes(
    class_weight: Any, reason: str
) -> None:
    check_class_weight(class_weight)  # the classes are not known yet
    with pytest.raises(HeadError) as caught:
        check_class_weight(class_weight, CLASSES)
    expected = "classes among ant, bee, cat and numbers above 0"
    assert str(caught.value) == f"class_weight: expected {expected}, {reason}"


def test_check_class_weight_names_some_of_many_classes() -> None:
    classes = np.array([f"class{number:03}" for number in range(1000)])
    with pytest.raises(HeadError) as caught:
        check_class_weight({"class1000": 2.0}, classes)
    assert "class009, 990 more and numbers above 0" in caught.value.expected
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("classes", [[0, 1], [False, True], [0.0, 1.0]], ids=str)
def test_check_class_weight_takes_labels_that_are_no_texts(classes: list[Any]) -> None:
    check_class_weight({classes[0]: 2.0}, np.array(classes))
    with pytest.raises(HeadError, match=r"got 2\. "):
        check_class_weight({2: 2.0}, np.array(classes))


@pytest.mark.parametrize(
    ("class_weight", "expected"),
    [
        (None, None),
        ("balanced", "balanced"),
        ({"rare": 20.0, "usual": 2.0}, {0: 20.0, 1: 2.0}),
        ({"rare": 20.0}, {0: 20.0, 1: 1.0}),
        ({"usual": 0.5}, {0: 1.0, 1: 0.5}),
        ({}, {0: 1.0, 1: 1.0}),
    ],
    ids=str,
)
def test_weigh_codes_goes_by_the_order_of_the_classes(
    class_weight: ClassWeight, expected: ClassWeight
) -> None:
    assert weigh_codes(class_weight, np.array(["rare", "usual"])) == expected


@pytest.mark.parametrize("class_weight", ["balanced", {"b": 4.0, "c": 0.5}], ids=str)
def test_weigh_classes_are_those_of_scikit_learn_with_a_mean_of_one(class_weight: Any) -> None:
    classes, codes = np.array(["a", "b", "c"]), np.repeat([0, 1, 2], [50, 4, 6])
    found = weigh_classes(class_weight, classes, codes)
    full = {"a": 1.0} | class_weight if isinstance(class_weight, dict) else class_weight
    expected = compute_class_weight(full, classes=classes, y=classes[codes])
    np.testing.assert_allclose(found / found[0], expected / expected[0])
    assert found[codes].mean() == pytest.approx(1)


def test_weigh_classes_of_a_class_without_rows_is_finite() -> None:
    found = weigh_classes("balanced", np.array(["a", "b", "c"]), np.array([0, 0, 0, 2]))
    assert np.isfinite(found).all()
    assert found[2] == pytest.approx(3 * found[0])
