"""What makes embeddings comparable."""

from dataclasses import replace
from typing import Any

import pytest

from featx.core.errors import FingerprintError
from featx.core.fingerprint import Fingerprint, check_comparable

FINGERPRINT = Fingerprint(
    backbone="resnet50",
    weights_digest="ab" * 32,
    layer="penultimate",
    preprocess={"kind": "image-classification/1", "resize": 256, "crop": 224},
    decoder="pillow-exact/1",
    precision="fp32",
    dim=2048,
)
NAMES = list(FINGERPRINT.list_fields())


def change(name: str) -> Fingerprint:
    field, _, key = name.partition(".")
    value: Any = 512 if name == "dim" else "another"
    changes: dict[str, Any] = {field: {**FINGERPRINT.preprocess, key: value} if key else value}
    return replace(FINGERPRINT, **changes)


def test_fingerprint_from_its_json_is_equal() -> None:
    assert Fingerprint.from_json(FINGERPRINT.to_json()) == FINGERPRINT


def test_fingerprint_digest_is_stable() -> None:
    # Caches and heads of older versions hold this: a change needs a new format version.
    assert FINGERPRINT.digest == "5d4765aaded5"


@pytest.mark.parametrize("name", NAMES)
def test_fingerprint_with_one_other_field_has_another_digest(name: str) -> None:
    assert change(name).digest != FINGERPRINT.digest


@pytest.mark.parametrize("name", NAMES)
def test_fingerprint_lists_the_field_that_differs(name: str) -> None:
    assert FINGERPRINT.list_differences(change(name)) == [name]


def test_check_comparable_of_equals_passes() -> None:
    check_comparable(FINGERPRINT, replace(FINGERPRINT), subject="photos.h5", remedy="Again.")


@pytest.mark.parametrize("name", NAMES)
def test_check_comparable_names_field_with_both_values(name: str) -> None:
    other = change(name)
    expected, got = (str(one.list_fields()[name]) for one in (FINGERPRINT, other))
    if name == "weights_digest":
        expected, got = expected[:12], got[:12]
    word = {"weights_digest": "weights"}.get(name, name.split(".")[-1])
    message = rf"^photos\.h5: expected {word} {expected}, got {word} {got}\. Again\.$"
    with pytest.raises(FingerprintError, match=message):
        check_comparable(FINGERPRINT, other, subject="photos.h5", remedy="Again.")


def test_check_comparable_of_other_backbones_names_nothing_else() -> None:
    other = replace(
        FINGERPRINT,
        backbone="resnet18",
        dim=512,
        weights_digest="cd" * 32,
        preprocess={"kind": "x"},
    )
    with pytest.raises(FingerprintError) as caught:
        check_comparable(
            FINGERPRINT, other, subject="p.h5", remedy="Again.", because="as the head was fitted on"
        )
    assert str(caught.value) == (
        "p.h5: expected backbone resnet50, as the head was fitted on, got backbone resnet18. Again."
    )


def test_check_comparable_counts_the_differences_that_it_does_not_name() -> None:
    other = replace(
        FINGERPRINT,
        weights_digest="cd" * 32,
        preprocess={"kind": "image-classification/1", "resize": 300, "crop": 299},
        precision="bf16",
    )
    with pytest.raises(FingerprintError) as caught:
        check_comparable(FINGERPRINT, other, subject="p.h5", remedy="Again.")
    assert caught.value.got == "weights cdcdcdcdcdcd, resize 300, crop 299, and 1 more"


def test_describe_is_one_line_without_long_numbers() -> None:
    assert FINGERPRINT.describe() == (
        "resnet50 penultimate, weights abababababab, resize 256, crop 224, pillow-exact/1, fp32"
    )
