"""Names become one line of text, and different names stay different."""

import pytest

from featx.images.names import escape_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", ""),
        ("ants/1.jpg", "ants/1.jpg"),
        ("Ameise ß 蟻.jpg", "Ameise ß 蟻.jpg"),
        ("a\nb", "a\\u000ab"),
        ("a\\nb", "a\\\\nb"),
        ("a\udcffb", "a\\xffb"),
        ("caf\udcc3\udca9", "café"),  # as Python carries it under an ASCII locale
        ("caf\udcc3\udca9\udcff", "café\\xff"),
        ("a\ud800b", "a\\ud800b"),
        ("a\u202eb", "a\\u202eb"),
        ("a\U000e0001b", "a\\U000e0001b"),
    ],
    ids=ascii,
)
def test_escape_name_writes_one_line(name: str, expected: str) -> None:
    assert escape_name(name) == expected


def test_escape_name_keeps_different_names_apart() -> None:
    names = [
        "a\nb",
        "a\\nb",
        "a\\u000ab",
        "a\udcffb",
        "a\\xffb",
        "a\u00ffb",
        "a\\\nb",
        "a\U000e0001b",
    ]
    escaped = [escape_name(name) for name in names]
    assert len(set(escaped)) == len(names)
    assert all(name.isprintable() and name.encode() for name in escaped)
