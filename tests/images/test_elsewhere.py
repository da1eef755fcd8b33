"""Paths that mean nothing here are told by their form."""

import pytest

from featx.images.elsewhere import describe_elsewhere, read_file_address


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("s3://bucket/1.jpg", "an address"),
        ("s3:/bucket/1.jpg", "an address"),
        ("HTTPS://example.org/1.jpg", "an address"),
        ("data:image/png;base64,AAAA", "an image inside the text (a data URI)"),
        ("~/1.jpg", "a path with ~ for a home folder"),
        ("${HOME}/1.jpg", "a path with a variable"),
        ("%USERPROFILE%/1.jpg", "a path with a variable"),
        ("C:/photos/1.jpg", "a path of a drive of Windows"),
        ("d:\\photos\\1.jpg", "a path of a drive of Windows"),
        ("\\\\server\\share\\1.jpg", "a path of a network of Windows"),
        ("photos\\1.jpg", "a path with backslashes, as on Windows"),
        ("photos/*.jpg", "a pattern"),
    ],
)
def test_describe_elsewhere_names_the_form(path: str, what: str) -> None:
    told = describe_elsewhere(path)
    assert told is not None
    assert told[0] == what


@pytest.mark.parametrize(
    "path", ["1.jpg", "/photos/1.jpg", "../a b/1.jpg", "a:b.jpg", "é/100%.jpg"]
)
def test_describe_elsewhere_of_a_plain_path_is_none(path: str) -> None:
    assert describe_elsewhere(path) is None


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("file:///photos/my%20cat.jpg", "/photos/my cat.jpg"),
        ("file://localhost/photos/1.jpg", "/photos/1.jpg"),
        ("file:/photos/1.jpg", "/photos/1.jpg"),
        ("FILE:///1.jpg", "/1.jpg"),
        ("file://server/photos/1.jpg", "file://server/photos/1.jpg"),
        ("file:1.jpg", "file:1.jpg"),
        ("photos/my%20cat.jpg", "photos/my%20cat.jpg"),
    ],
)
def test_read_file_address(address: str, path: str) -> None:
    assert read_file_address(address) == path
