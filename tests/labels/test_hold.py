"""What holds: tables of rows and statements, and the same by brute force."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featx.labels.element import NOTHING_SAID
from featx.labels.hold import BY_SOURCE, hold_field
from tests.labels.builders import (
    build_keys,
    build_labels,
    build_recorded,
    build_said,
    build_source,
    list_values,
)

A, B, C = ("a", "x"), ("b", "y"), ("c", "z")


@pytest.mark.parametrize(
    ("rows", "said", "expected"),
    [
        pytest.param([A, B], [], "ants bees", id="nothing is said"),
        pytest.param([A, B], [("a", "x", "wasps")], "wasps bees", id="of a row"),
        pytest.param([A, B], [("a", "x", "")], "- bees", id="that it has no label"),
        pytest.param(
            [A, B], [("a", "x", "wasps", 0), ("a", "x", "flies", 1)], "flies bees", id="the later"
        ),
        pytest.param(
            [A, B],
            [("a", "x", "flies", 1), ("a", "x", "wasps", 0)],
            "flies bees",
            id="the later by its occasion, not by its line",
        ),
        pytest.param(
            [A, B],
            [("a", "x", "wasps", 0), ("a", "x", "", 1, "withdrawn")],
            "ants bees",
            id="withdrawn",
        ),
        pytest.param(
            [A, B],
            [("a", "x", "", 0, "withdrawn"), ("a", "x", "wasps", 1)],
            "wasps bees",
            id="said again after it was withdrawn",
        ),
        pytest.param(
            [("new", "x"), B], [("a", "x", "wasps")], "wasps bees", id="of an image that was moved"
        ),
        pytest.param([A, ("copy", "x")], [("a", "x", "wasps")], "wasps wasps", id="of its copy"),
        pytest.param(
            [A, ("copy", "x")],
            [("copy", "x", "flies", 0), ("a", "x", "wasps", 1)],
            "wasps flies",
            id="of a copy itself, though earlier",
        ),
        pytest.param(
            [("a", "edited"), B], [("a", "x", "wasps")], "wasps bees", id="before it was edited"
        ),
        pytest.param(
            [("a", "y"), ("b", "x")],
            [("a", "x", "wasps")],
            "ants wasps",
            id="of one of two images that changed places",
        ),
        pytest.param(
            [("a", "y"), ("b", "x")],
            [("a", "x", "wasps", 1), ("b", "y", "flies", 0)],
            "flies wasps",
            id="of both",
        ),
        pytest.param([("a", ""), ("b", "")], [("a", "", "wasps")], "wasps bees", id="no digest"),
        pytest.param(
            [("a", ""), ("b", "")], [("a", "x", "wasps")], "wasps bees", id="no digest any more"
        ),
        pytest.param([A, B], [("a", "", "wasps")], "wasps bees", id="no digest then"),
        pytest.param([A, B], [("c", "z", "wasps")], "ants bees", id="of a row that is gone"),
        pytest.param(
            [A, B], [("a", "x", "val", 0, "sure", "split")], "ants bees", id="of another column"
        ),
        pytest.param(
            [A, B],
            [("a", "x", "7", 0, "sure", "target:age")],
            "ants bees",
            id="of a later column",
        ),
    ],
)
def test_hold_lays_what_was_said_over_the_source(rows: Any, said: Any, expected: str) -> None:
    labels = build_labels(build_keys(*rows), build_source(["ants", "bees"]), build_said(*said))
    assert list_values(labels.held["label"]) == expected
    assert list_values(labels.source["label"]) == "ants bees"


@pytest.mark.parametrize(
    ("recorded", "said", "expected"),
    [
        pytest.param([], [], "train - test", id="nothing"),
        pytest.param([(0, [2, 1, 0])], [], "val train -", id="one"),
        pytest.param([(0, [2, 255, 0])], [], "val - -", id="nothing said of a row"),
        pytest.param([(0, [2, 1, 1]), (1, [3, 255, 3])], [], "test train test", id="two"),
        pytest.param([(1, [2, 1, 1])], [("a", "x", "test", 0)], "val train train", id="after"),
        pytest.param([(0, [2, 1, 1])], [("a", "x", "test", 1)], "test train train", id="before"),
        pytest.param(
            [(0, [2, 1, 1])], [("a", "x", "", 1, "withdrawn")], "train train train", id="withdrawn"
        ),
    ],
)
def test_hold_lets_the_later_of_a_recorded_split_and_a_statement_win(
    recorded: Any, said: Any, expected: str
) -> None:
    said = [(*one, *(0, "sure")[len(one) - 3 :], "split") for one in said]
    labels = build_labels(
        build_keys(A, B, C),
        build_source(splits=["train", "", "test"]),
        build_said(*said),
        build_recorded(3, *recorded),
    )
    assert list_values(labels.held["split"]) == expected


def test_hold_field_says_whose_word_holds() -> None:
    keys = build_keys(A, B, C)
    said = build_said(("a", "x", "val", 1, "sure", "split"), ("a", "x", "wasps"))
    labels = build_labels(
        keys, build_source(["ants"] * 3), said, build_recorded(3, (0, [1, 255, 1]))
    )
    assert hold_field("split", labels, keys).by.tolist() == [0, BY_SOURCE, -2]
    assert hold_field("label", labels, keys).by.tolist() == [1, BY_SOURCE, BY_SOURCE]


def test_hold_keeps_the_codes_that_texts_had() -> None:
    keys = build_keys(A, B, C)
    first = build_labels(keys, build_source(["ants", "bees", "ants"]), build_said(("b", "y", "x")))
    again = build_labels(keys, first.source, build_said(("b", "y", "x"), ("c", "z", "new", 1)))
    assert first.held["label"].names.to_list() == ["", "ants", "bees", "x"]
    assert again.held["label"].names.to_list() == ["", "ants", "bees", "x", "new"]


# --- by brute force

IDS, CONTENTS = "abc", ["", "x", "y", "z"]
ROWS = st.lists(
    st.tuples(st.sampled_from(IDS), st.sampled_from(CONTENTS)), unique_by=lambda row: row[0]
)
SAID = st.lists(
    st.tuples(
        st.sampled_from(IDS),
        st.sampled_from(CONTENTS),
        st.sampled_from(["", "train", "val", "test"]),
        st.integers(0, 3),
        st.sampled_from(["sure", "unsure", "withdrawn"]),
        st.just("split"),
    ),
    max_size=6,
)
CODES = st.lists(st.sampled_from([0, 1, 2, 3, NOTHING_SAID]), min_size=3, max_size=3)


def find_value(row: Any, rows: Any, said: Any, recorded: Any, number: int) -> Any:
    """Say what holds for a row, in plain words; None for what the source says."""
    key, content = row
    ordered = sorted(said, key=lambda one: one[3])
    contents = {content for _, content in rows if content}
    both = [one for one in ordered if content and one[:2] == (key, content)]
    same = [one for one in ordered if content and one[1] == content]
    edited = [one for one in ordered if one[0] == key and one[1] not in contents]
    found = next((part[-1] for part in (both, same, edited) if part), None)
    since, value = -1, None
    for occasion, codes in recorded:
        if codes[number] != NOTHING_SAID:
            since, value = occasion, ("", "train", "val", "test")[codes[number]]
    if found is None or found[3] <= since:
        return value
    return None if found[4] == "withdrawn" else found[2]


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(rows=ROWS, said=SAID, splits=st.lists(CODES, max_size=2))
def test_hold_equals_a_reading_row_by_row(rows: Any, said: Any, splits: Any) -> None:
    recorded = [(2 * number, codes[: len(rows)]) for number, codes in enumerate(splits)]
    keys = build_keys(*rows)
    source = build_source(splits=["train"] * len(rows))
    labels = build_labels(keys, source, build_said(*said), build_recorded(len(rows), *recorded))
    expected = [find_value(row, rows, said, recorded, number) for number, row in enumerate(rows)]
    assert labels.held["split"].to_list() == ["train" if one is None else one for one in expected]
