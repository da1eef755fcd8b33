"""Text of strangers: one printable line, of limited length, never a formula."""

import math
from typing import Any

import pytest

from featx.core.text import LIMIT, escape_text, guard_cell, shorten, show_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("Ameise ß 蟻.jpg", "Ameise ß 蟻.jpg"),
        ("C:\\photos", "C:\\photos"),
        ("\x1b[31mred\x07", "\\u001b[31mred\\u0007"),
        ("\x9b31m", "\\u009b31m"),
        ("a\r\nb\tc\u2028d", "a\\u000d\\u000ab\\u0009c\\u2028d"),
        ("gpj.\u202etxt\u2066", "gpj.\\u202etxt\\u2066"),
        ("a\udcffb\ud800c", "a\\xffb\\ud800c"),
        ("a\U000e0001b", "a\\U000e0001b"),
    ],
    ids=ascii,
)
def test_escape_text_writes_one_line_that_prints(text: str, expected: str) -> None:
    assert escape_text(text) == expected


@pytest.mark.parametrize("limit", [3, 4, 10, LIMIT])
def test_shorten_keeps_both_ends(limit: int) -> None:
    fits, long = "x" * limit, "a" + "x" * limit + "z"
    assert shorten(fits, limit) == fits
    assert len(shorten(long, limit)) == limit
    assert shorten(long, limit)[0] == "a"
    assert shorten(long, limit)[-1] == ("z" if limit > 3 else "…")


def test_show_text_is_bounded_also_if_everything_is_escaped() -> None:
    assert len(show_text("\x1b" * 4_000_000)) == LIMIT
    assert show_text("\x1b" * 4_000_000, 20).isprintable()


@pytest.mark.parametrize(
    "cell",
    [
        "=cmd",
        "+cmd",
        "-cmd",
        "@cmd",
        "\tcmd",
        "\rcmd",
        "\ncmd",
        " =cmd",
        "＝cmd",
        "-",
        "-1+1",
        "'=cmd",
    ],
)
def test_guard_cell_puts_a_quote_before_a_formula(cell: str) -> None:
    assert guard_cell(cell) == "'" + cell


@pytest.mark.parametrize("cell", ["", "ants", "a=b", "-1", "+1.5e-3", "-.5", -1, -1.5, None, True])
def test_guard_cell_leaves_other_texts_and_numbers(cell: Any) -> None:
    assert guard_cell(cell) == cell
    assert type(guard_cell(cell)) is type(cell)


def test_guard_cell_leaves_nan() -> None:
    cell: Any = guard_cell(math.nan)
    assert math.isnan(cell)
