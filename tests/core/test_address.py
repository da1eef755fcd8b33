"""Addresses are told from paths, and hide what is secret."""

from pathlib import Path
from typing import Any

import pytest

from featx.core import address
from featx.core.address import (
    Address,
    find_address,
    list_paths,
    name_location,
    note_copy,
    show_locations,
)


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
    address = Address("https://host/a/train.tar?version=2")
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
        ("https://host/get?id=7&token=ab", "https://host/get?id=7"),
        ("https://host/a.jpg?id=" + "a" * 65, "https://host/a.jpg?hidden=1337386f310f463d"),
        ("https://host/a.jpg?code=S3CRET&id=7", "https://host/a.jpg?id=7&hidden=336793998fcb657a"),
        ("https://host/a.jpg?id=7;code=S3CRET", "https://host/a.jpg?id=7&hidden=336793998fcb657a"),
        ("https://host/a.jpg?Policy=abc&hash=ff", "https://host/a.jpg?hidden=2866307b8e4232d0"),
        ("https://host/a.jpg#code=S3CRET", "https://host/a.jpg?hidden=336793998fcb657a"),
        ("s3://bucket/what?#now&then.jpg", "s3://bucket/what?#now&then.jpg"),
        ("sftp://me@host/a@b.tar", "sftp://host/a@b.tar"),
        ("abfs://photos@host/x.h5", "abfs://photos@host/x.h5"),
        ("ABFSS://me:secret@host/x.h5", "ABFSS://host/x.h5"),
        ("wasb://photos@host/x.h5?sig=ab", "wasb://photos@host/x.h5"),
    ],
)
def test_address_as_text_hides_what_is_secret(text: str, shown: str) -> None:
    assert str(Address(text)) == shown
    assert show_locations(f"{shown}: damaged") == f"{shown}: damaged"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:p@ss@host/a.tar: damaged", "https://host/a.tar: damaged"),
        ("http:/me:secret@host/a.h5?sig=1", "http://host/a.h5"),
        (
            "got 'https://host/a?token=ab', and https://b:c@d/e.",
            "got 'https://host/a', and https://d/e.",
        ),
        ("s3:/bucket/parts, split val", "s3://bucket/parts, split val"),
        ("photos/a@b.jpg: damaged", "photos/a@b.jpg: damaged"),
        ("at noon:/me@home.jpg", "at noon:/me@home.jpg"),
    ],
)
def test_show_locations_hides_what_is_secret_in_a_sentence(text: str, shown: str) -> None:
    assert show_locations(text) == shown


def test_show_locations_names_the_address_of_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "_copies", {})
    note_copy(Path("/store/1/a.h5"), Address("s3://bucket/a.h5"))
    assert show_locations("in /store/1/a.h5: /user") == "in s3://bucket/a.h5: /user"
    assert show_locations("rm -r /store/1/a.h5.partial") == "rm -r /store/1/a.h5.partial"
    assert name_location(Path("/store/1/a.h5")) == "s3://bucket/a.h5"
    assert name_location(Path("s3://bucket/b.h5")) == "s3://bucket/b.h5"
    assert name_location("photos.h5") == "photos.h5"


@pytest.mark.parametrize("given", ["odd+1://b/a.h5", Path("a.h5")])
def test_list_paths_keeps_each_as_it_is_given(given: Any) -> None:
    assert list_paths(given) == list_paths((given,)) == [given]
    assert list_paths(iter([given, "b.h5"])) == [given, "b.h5"]
