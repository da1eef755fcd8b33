"""What makes embeddings comparable."""

from dataclasses import fields, replace

import pytest

from featx.core.errors import FingerprintError
from featx.core.fingerprint import Fingerprint, check_comparable

FINGERPRINT = Fingerprint(
    backbone="resnet50",
    weights_digest="ab" * 32,
    layer="penultimate",
    preprocess="resize 256 bilinear antialiased, crop 224",
    decoder="pillow",
    precision="fp32",
    dim=2048,
)
NAMES = [field.name for field in fields(Fingerprint)]


def change(name):
    return replace(FINGERPRINT, **{name: 512 if name == "dim" else "another"})


def test_fingerprint_from_its_json_is_equal():
    assert Fingerprint.from_json(FINGERPRINT.to_json()) == FINGERPRINT


def test_fingerprint_digest_is_stable():
    # Caches and heads of older versions hold this: a change needs a new format version.
    assert FINGERPRINT.digest == "16c7b2de4b5c"


@pytest.mark.parametrize("name", NAMES)
def test_fingerprint_with_one_other_field_has_another_digest(name):
    assert change(name).digest != FINGERPRINT.digest


@pytest.mark.parametrize("name", NAMES)
def test_fingerprint_lists_the_field_that_differs(name):
    assert FINGERPRINT.list_differences(change(name)) == [name]


def test_check_comparable_of_equals_passes():
    check_comparable(FINGERPRINT, replace(FINGERPRINT), subject="photos.h5", remedy="Again.")


@pytest.mark.parametrize("name", NAMES)
def test_check_comparable_names_field_with_both_values(name):
    other = change(name)
    expected, got = getattr(FINGERPRINT, name), getattr(other, name)
    message = rf"^photos\.h5: expected {name} {expected}, got {name} {got}\. Again\.$"
    with pytest.raises(FingerprintError, match=message):
        check_comparable(FINGERPRINT, other, subject="photos.h5", remedy="Again.")


def test_check_comparable_names_all_fields_that_differ():
    other = replace(FINGERPRINT, backbone="resnet18", dim=512)
    with pytest.raises(
        FingerprintError,
        match=r"expected backbone resnet50, dim 2048, got backbone resnet18, dim 512",
    ):
        check_comparable(FINGERPRINT, other, subject="photos.h5", remedy="Again.")
