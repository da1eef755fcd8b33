"""What a person says: which rows are meant, and what changes."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featx.core.columns import Categories, Table, Texts
from featx.core.errors import SourceError
from featx.labels.changes import LabelChange
from featx.labels.statements import LabelConflict, find_rows, find_texts, say
from tests.labels.builders import build_keys, build_labels, build_said, build_source, list_values

ROWS = [("a", "x"), ("b", "y"), ("c", "x")]
KEYS = build_keys(*ROWS)


def hash_content(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


X = hash_content("x")


def build_given(*lines: Any) -> Table:
    """Build what a person says: key and value; then, if given, kind and author."""
    full = [(key, value, *(rest or ("sure", "bob"))) for key, value, *rest in lines]
    columns = [list(column) for column in zip(*full, strict=True)] if full else [[]] * 4
    keys, values, kinds, authors = columns
    return Table(
        {
            "key": Texts.from_list(keys),
            "line": np.arange(2, 2 + len(keys)),
            "field": Categories.fill("label", len(keys)),
            "value": Categories.from_list(values),
            "kind": Categories.from_list(kinds),
            "author": Categories.from_list(authors),
        }
    )


def say_all(*lines: Any, said: Any = ()) -> Any:
    labels = build_labels(KEYS, build_source(["ants", "bees", "ants"]), build_said(*said))
    return say_again(labels, *lines)


def say_again(labels: Any, *lines: Any) -> Any:
    given = build_given(*lines)
    rows = find_rows(given["key"], KEYS)
    return say(labels, KEYS, given, rows=rows, time=5000, subject="t.csv")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param(["b", "a"], [(0, 1), (1, 0)], id="ids"),
        pytest.param([X], [(0, 0), (0, 2)], id="digest of two rows"),
        pytest.param(["b", "b"], [(0, 1), (1, 1)], id="twice"),
        pytest.param(["b", X, X, "no"], [(0, 1), (1, 0), (1, 2), (2, 0), (2, 2)], id="all kinds"),
        pytest.param(["no", "ff" * 32, ""], [], id="none"),
    ],
)
def test_find_rows_finds_ids_and_digests(given: Any, expected: Any) -> None:
    lines, rows = find_rows(Texts.from_list(given), KEYS)
    assert sorted(zip(lines.tolist(), rows.tolist(), strict=True)) == expected


def test_find_texts_finds_the_first_row_of_a_text() -> None:
    column = Texts.from_list(["a", "b", "a"])
    assert find_texts(Texts.from_list(["b", "x", "a", "b"]), column).tolist() == [1, -1, 0, 1]


def test_say_adds_statements_about_the_images_of_the_rows() -> None:
    saying = say_all(("b", "wasps"), (X, "flies", "unsure", "eve"), said=[("b", "y", "bees")])
    said = saying.labels.said
    assert list_values(said["id"]) == "b b a c"
    assert list_values(said["value"]) == "bees wasps flies flies"
    assert list_values(said["kind"]) == "sure sure unsure unsure"
    assert list_values(said["author"]) == "ada bob eve eve"
    assert said["occasion"].tolist() == [0, 1, 1, 1]
    assert said["time"].tolist() == [1000, 5000, 5000, 5000]
    assert (said["digest"] == KEYS["digest"][[1, 1, 0, 2]]).all()
    assert list_values(saying.labels.held["label"]) == "flies wasps flies"
    assert saying.n_new == 3


def test_say_counts_what_changes_copies_of_an_image_too() -> None:
    assert say_all(("a", "wasps"), ("b", "bees")).changes == (
        LabelChange(field="label", before="ants", after="wasps", n_rows=2),
    )


def test_say_names_what_has_no_row() -> None:
    assert say_all(("a", "x"), ("no", "x")).is_unmatched.tolist() == [False, True]


def test_say_of_what_was_said_before_adds_nothing() -> None:
    lines = ("a", "wasps"), ("b", "", "withdrawn", "bob")
    first = say_all(*lines)
    again = say_again(first.labels, *lines)
    assert (first.n_new, again.n_new, again.n_known) == (2, 0, 2)
    assert again.labels is first.labels
    assert again.changes == ()


@pytest.mark.parametrize(
    ("said", "lines", "expected", "n_new"),
    [
        pytest.param([], "ada:AA bob:BB", "BB", 2, id="two persons"),
        pytest.param(["ada:AA", "bob:BB"], "ada:AA bob:BB", "BB", 0, id="the same table"),
        pytest.param(["bob:BB"], "ada:AA bob:BB", "BB", 2, id="the last line was said before"),
        pytest.param(["bob:BB", "ada:AA"], "ada:AA bob:BB", "BB", 1, id="in another order"),
        pytest.param(["ada:AA"], "ada:AA bob:BB", "BB", 1, id="the first line was said before"),
        pytest.param(["ada:AA", "bob:BB"], "ada:AA", "AA", 1, id="somebody spoke since"),
        pytest.param(["ada:AA", "ada:BB"], "ada:AA", "AA", 1, id="the person spoke since"),
        pytest.param(
            ["ada:AA", "bob:-"], "ada:AA bob:-", "bees", 0, id="withdrawn, the same table"
        ),
        pytest.param(["bob:-"], "ada:AA bob:-", "bees", 2, id="withdrawn before"),
        pytest.param(["ada:-", "bob:BB"], "ada:-", "bees", 1, id="withdrawn again"),
    ],
)
def test_say_of_several_persons_adds_what_makes_the_last_line_hold(
    said: list[str], lines: str, expected: str, n_new: int
) -> None:
    labels = build_labels(KEYS, build_source(["ants", "bees", "ants"]))
    for one in said:
        labels = say_again(labels, *write_lines(one)).labels
    saying = say_again(labels, *write_lines(lines))
    assert (saying.labels.held["label"][1], saying.n_new) == (expected, n_new)


def write_lines(lines: str) -> list[Any]:
    """Write lines about the row b as AUTHOR:VALUE; the value ``-`` withdraws."""
    pairs = [line.split(":") for line in lines.split()]
    return [
        ("b", "" if value == "-" else value, "withdrawn" if value == "-" else "sure", author)
        for author, value in pairs
    ]


LINES = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", X]),
        st.sampled_from(["", "AA", "BB"]),
        st.sampled_from(["sure", "unsure", "withdrawn"]),
        st.sampled_from(["ada", "bob", "eve"]),
    ),
    max_size=5,
)


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(tables=st.lists(LINES, min_size=1, max_size=4))
def test_say_of_any_table_twice_adds_nothing_the_second_time(tables: Any) -> None:
    labels = build_labels(KEYS, build_source(["ants", "bees", "ants"]))
    for lines in tables:
        try:
            labels = say_again(labels, *lines).labels
        except SourceError:  # one person says two things
            continue
        again = say_again(labels, *lines)
        assert (again.n_new, again.changes) == (0, ())
        # The last line about a row holds.
        for row, (key, content) in enumerate(ROWS):
            about = [line for line in lines if line[0] in (key, hash_content(content))]
            if about and about[-1] not in about[:-1]:
                _, value, kind, _ = about[-1]
                expected = ["ants", "bees", "ants"][row] if kind == "withdrawn" else value
                assert labels.held["label"][row] == expected


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(("a", "x", "flies", 0, "sure", "label", "bob"), id="another value"),
        pytest.param(("a", "x", "wasps", 0, "unsure", "label", "bob"), id="less surely"),
        pytest.param(("a", "x", "wasps", 0, "sure", "label", "eve"), id="by somebody else"),
        pytest.param(("a", "y", "wasps", 0, "sure", "label", "bob"), id="of another image"),
    ],
)
def test_say_of_what_was_said_otherwise_adds_a_statement(before: Any) -> None:
    assert say_all(("a", "wasps"), said=[before]).n_new == 1


def test_say_twice_in_one_table_is_one_statement() -> None:
    assert say_all(("a", "wasps"), (X, "wasps")).n_new == 2


def test_say_of_one_person_in_two_ways_is_refused() -> None:
    with pytest.raises(SourceError) as caught:
        say_all(("b", "x"), ("a", "wasps"), (X, "flies"))
    assert caught.value.subject == "t.csv, a"
    assert caught.value.got == "'wasps' (sure) in line 3 and 'flies' (sure) in line 4"


def test_say_names_rows_of_which_another_person_was_sure() -> None:
    said = [
        ("a", "x", "wasps"),
        ("b", "y", "flies", 0, "unsure"),
        ("c", "x", "bees"),
    ]
    saying = say_all(("a", "flies"), ("b", "bees"), ("c", "bees"), said=said)
    assert saying.conflicts == (
        LabelConflict(
            id="a",
            field="label",
            before="wasps",
            before_author="ada",
            after="flies",
            after_author="bob",
        ),
    )


def test_say_of_two_persons_in_one_table_is_a_conflict_and_the_later_line_holds() -> None:
    saying = say_all(("b", "wasps", "sure", "eve"), ("b", "flies", "sure", "bob"))
    (conflict,) = saying.conflicts
    assert (conflict.before_author, conflict.after_author) == ("eve", "bob")
    assert saying.labels.held["label"][1] == "flies"


@pytest.mark.parametrize(
    ("said", "lines", "expected"),
    [
        pytest.param("ada:AA", "bob:-", [("AA", "bees")], id="withdrawn"),
        pytest.param("ada:bees", "bob:-", [], id="withdrawn, and the source says the same"),
        pytest.param("", "ada:AA bob:-", [("AA", "bees")], id="withdrawn in the same table"),
        pytest.param("ada:AA bob:BB", "ada:AA bob:BB", [("AA", "BB")], id="the same table again"),
        pytest.param("", "ada:- bob:BB", [("bees", "BB")], id="after it was withdrawn"),
    ],
)
def test_say_names_the_value_that_holds_after_a_conflict(
    said: str, lines: str, expected: Any
) -> None:
    labels = build_labels(KEYS, build_source(["ants", "bees", "ants"]))
    saying = say_again(say_again(labels, *write_lines(said)).labels, *write_lines(lines))
    assert [(one.before, one.after) for one in saying.conflicts] == expected
