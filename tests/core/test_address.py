"""Addresses are told from paths, and hide what is secret."""

from pathlib import Path
from typing import Any

import pytest

from featx.core.address import Address, find_address


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("s3://bucket/photos", "s3://bucket/photos"),
        (Path("s3://bucket/photos"), "s3://bucket/photos"),
        (Path("HTTPS://example.org/a.tar"), "HTTPS://example.org/a.tar"),
        ("memory://photos", "memory://photos"),
        ("odd+1://x", "odd+1://x"),
        (Address("s3://b"), "s3://b"),
    ],
)
def test_find_address_of_an_address_is_its_text(place: Any, text: str) -> None:
    assert find_address(place) == Address(text)


@pytest.mark.parametrize(
    "place",
    [
        "photos",
        "/photos/1.jpg",
        "file:///photos",
        "C:/photos",
        "C:\\photos",
        "c://photos",
        Path("photo:/1.jpg"),
        "s3:/bucket",
        "data:image/png;base64,AA//",
        "s3://",
        "",
        b"s3://bucket",
        None,
        3,
    ],
)
def test_find_address_of_anything_else_is_none(place: Any) -> None:
    assert find_address(place) is None


def test_address_has_the_parts_of_a_path() -> None:
    address = Address("s3://bucket/photos/train.tar")
    assert (address.name, address.stem, address.suffix) == ("train.tar", "train", ".tar")
    assert address.parent == Address("s3://bucket/photos")
    assert address.parent / "a b/1.jpg" == Address("s3://bucket/photos/a b/1.jpg")
    assert (address.scheme, address.host) == ("s3", "bucket")
    assert Address("s3://bucket/odd.tar/").suffix == ""


def test_address_of_http_has_a_query_that_is_no_part_of_its_name() -> None:
    address = Address("https://host/a/train.tar?version=2#x")
    assert (address.name, address.suffix) == ("train.tar", ".tar")
    assert address.parent / "b.csv" == Address("https://host/a/b.csv")
    assert str(address) == address.text
    assert Address("s3://bucket/what?.tar").name == "what?.tar"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:secret@host/a.tar", "https://host/a.tar"),
        ("https://host/a.tar?X-Amz-Date=1&X-Amz-Signature=ab", "https://host/a.tar"),
        ("https://host/a.tar?sv=1&sig=ab%3D", "https://host/a.tar"),
        ("https://host/a.jpg?id=7&size=large", "https://host/a.jpg?id=7&size=large"),
        ("sftp://me@host/a@b.tar", "sftp://host/a@b.tar"),
    ],
)
def test_address_as_text_hides_what_is_secret(text: str, shown: str) -> None:
    assert str(Address(text)) == shown
