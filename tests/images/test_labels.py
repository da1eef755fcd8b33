"""Labels that look the same are the same, and labels that nearly do are told."""

import unicodedata

import pytest

from featx.images.labels import clean_label, list_label_notes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ants", "ants"),
        ("42", "42"),
        ("", None),
        (" \t", None),
        ("\u200b", None),
        ("  ants\n", "ants"),
        ("\ufeffants", "ants"),
        ("ants\u200b", "ants"),
        ("polar  bear", "polar bear"),
        ("polar\u00a0bear", "polar bear"),
        ("polar\u3000bear", "polar bear"),
        (unicodedata.normalize("NFD", "café"), "caf\u00e9"),
        (unicodedata.normalize("NFD", "각"), "\uac01"),
        ("red\nants", "red\\u000aants"),
        ("a\\b", "a\\\\b"),
        ("a\udcffb", "a\\xffb"),
        ("می\u200cخواهم", "می\\u200cخواهم"),
    ],
    ids=ascii,
)
def test_clean_label_gives_one_form(text: str, expected: str | None) -> None:
    assert clean_label(text) == expected


@pytest.mark.parametrize(
    ("labels", "note"),
    [
        (["Cat", "cat"], "labels differ only by case: 'Cat' (1 row) and 'cat' (1 row)."),
        (["1", "1.0"], "labels differ only by the form of a number: '1' "),
        (["class01", "class1"], "labels differ only by the form of a number: "),
        (["+1", "1"], "labels differ only by the form of a number: "),
        (["007", "7"], "labels differ only by the form of a number: "),
        (["polar bear", "polar_bear"], "labels differ only by blanks, hyphens or underscores: "),
        (["polar-bear", "Polar Bear"], "labels differ only by case, signs and characters"),
        (["\uff11", "1"], "labels differ only by characters that look alike: "),
        (["c\u0430t", "cat"], "labels differ only by characters that look alike: "),
        (["cat", "cat copy"], "labels differ only by the mark of a copy: 'cat' "),
        (["cat", "cat - Copy (2)"], "labels differ only by the mark of a copy: 'cat' "),
        (["cat", "cat (1)"], "labels differ only by the mark of a copy: 'cat' "),
        (["NA", "cat"], "'NA' (1 row): featx reads such labels as names of classes."),
        (["nan", "N/A", "cat"], "'N/A' (1 row) and 'nan' (1 row): featx reads"),
        (["0.0", "1.0"], "'0.0' (1 row) and '1.0' (1 row): labels that are decimals."),
    ],
    ids=ascii,
)
def test_list_label_notes_tells_labels_that_are_doubtful(labels: list[str], note: str) -> None:
    (found,) = list_label_notes(dict.fromkeys(labels, 1))
    assert found.startswith(note)


@pytest.mark.parametrize(
    "labels",
    [
        [],
        ["cat", "dog"],
        ["0", "1", "10"],
        ["-1", "1"],
        ["unknown", "other"],
        ["0.5", "1.5"],
        ["a1", "a2"],
        ["v1.0", "v1"],
        ["a10", "a1"],
        ["1.05", "1.5"],
        ["0", "00a"],
        ["x-1", "x-11"],
        ["nation", "nancy"],
        ["copy", "original"],
        ["red (1)", "red (2)"],
        ["photocopy", "photo"],
        ["AMS (1988)", "AMS (1990) early"],
    ],
    ids=str,
)
def test_list_label_notes_says_nothing_about_clear_labels(labels: list[str]) -> None:
    assert list_label_notes(dict.fromkeys(labels, 1)) == []


def test_list_label_notes_of_many_pairs_is_one_short_line() -> None:
    labels = [form.format(n) for n in range(500) for form in ("class{}", "Class{}")]
    (note,) = list_label_notes(dict.fromkeys(labels, 2))
    assert note.count(";") == 5
    assert "and 495 more" in note
    assert len(note) < 400
