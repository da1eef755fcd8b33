"""Closed vocabularies."""

from typing import Any

import pytest

from featx.core.errors import DecodeError, FeatxError
from featx.core.typing import (
    Decode,
    EngineName,
    Interpolation,
    OptimizerName,
    Precision,
    Split,
    Stage,
    TrainPrecision,
    VectorDtype,
    check_choice,
    find_choice,
    list_choices,
)


@pytest.mark.parametrize(
    ("vocabulary", "words"),
    [
        (EngineName, "auto torch openvino"),
        (Precision, "fp32 bf16 fp16"),
        (Decode, "exact fast"),
        (VectorDtype, "float32 float16"),
        (Split, "train val test"),
        (Stage, "read decode preprocess embed"),
        (Interpolation, "nearest bilinear bicubic"),
        (OptimizerName, "adamw adam sgd"),
        (TrainPrecision, "fp32 bf16"),
    ],
)
def test_list_choices_are_in_order(vocabulary: Any, words: str) -> None:
    assert list_choices(vocabulary) == tuple(words.split())


@pytest.mark.parametrize("value", ["fp32", "bf16", "fp16"])
def test_check_choice_takes_a_word(value: str) -> None:
    check_choice("precision", value, Precision)


@pytest.mark.parametrize("value", ["fp64", "", None, 32, "FP32"])
def test_check_choice_refuses_another_value(value: object) -> None:
    with pytest.raises(FeatxError) as caught:
        check_choice("precision", value, Precision)
    assert caught.value.subject == "precision"
    assert caught.value.expected == "fp32, bf16 or fp16"
    assert caught.value.got == repr(value)


def test_check_choice_raises_the_given_error_with_the_nearest_word() -> None:
    with pytest.raises(DecodeError, match=r"expected exact or fast, got 'fats'\. Nearest: fast\."):
        check_choice("decode", "fats", Decode, error=DecodeError)


@pytest.mark.parametrize("value", ["fp32", "FP32", " Fp32 "])
def test_find_choice_takes_a_word_in_any_case(value: str) -> None:
    assert find_choice("precision", value, list_choices(Precision)) == "fp32"


def test_find_choice_without_a_near_word_says_what_to_do() -> None:
    with pytest.raises(FeatxError, match=r"^decode: expected exact or fast, got 'x'\. Choose one"):
        find_choice("decode", "x", list_choices(Decode))


def test_find_choice_of_one_word_names_it() -> None:
    with pytest.raises(FeatxError, match=r"^class_weight: expected balanced, got 'x'\."):
        find_choice("class_weight", "x", ["balanced"])
