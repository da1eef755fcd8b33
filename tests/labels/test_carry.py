"""What people said goes with the images into an updated cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from featx.labels.carry import carry_over
from featx.labels.element import Labels
from tests.labels.builders import (
    build_keys,
    build_labels,
    build_recorded,
    build_said,
    build_source,
    list_values,
)

OLD = [("a", "x"), ("b", "y"), ("c", "z")]
SPLITS = build_recorded(3, (0, [1, 2, 3]))


def carry(
    rows: Any, origin: Any, *, said: Any = (), recorded: Any = SPLITS, splits: Any = ()
) -> Any:
    base_keys, keys = build_keys(*OLD), build_keys(*rows)
    base = build_labels(base_keys, build_source(["ants"] * 3), build_said(*said), recorded)
    source = build_source(["ants"] * len(rows), splits)
    origin = np.array(origin, np.int64)
    return carry_over(base, source, origin=origin, base_keys=base_keys, keys=keys)


@pytest.mark.parametrize(
    ("rows", "origin", "expected"),
    [
        pytest.param(OLD, [0, 1, 2], "train val test", id="the same rows"),
        pytest.param([*OLD, ("d", "w")], [0, 1, 2, -1], "train val test -", id="a new image"),
        pytest.param([*OLD, ("d", "y")], [0, 1, 2, -1], "train val test val", id="a copy"),
        pytest.param([("n", "x"), *OLD[1:]], [0, 1, 2], "train val test", id="a moved image"),
        pytest.param([*OLD[1:], ("n", "x")], [1, 2, -1], "val test train", id="moved to the end"),
        pytest.param([("a", "w"), *OLD[1:]], [0, 1, 2], "train val test", id="an edited image"),
        pytest.param(
            [("a", "y"), ("b", "x"), OLD[2]],
            [0, 1, 2],
            "val train test",
            id="two in turn",
        ),
        pytest.param([OLD[2], OLD[0]], [2, 0], "test train", id="one dropped"),
        pytest.param([("a", ""), ("d", "")], [0, -1], "train -", id="no digests"),
    ],
)
def test_carry_over_lets_a_recorded_split_follow_the_image(
    rows: Any, origin: Any, expected: str
) -> None:
    assert list_values(carry(rows, origin).held["split"]) == expected


def test_carry_over_prefers_what_was_said_to_a_new_source() -> None:
    said = [("a", "x", "wasps"), ("b", "y", "test", 1, "sure", "split")]
    carried = carry(OLD, [0, 1, 2], said=said, splits=["val", "val", "val"])
    assert list_values(carried.held["label"]) == "wasps ants ants"
    assert list_values(carried.held["split"]) == "train test test"
    assert list_values(carried.source["split"]) == "val val val"


def test_carry_over_remembers_the_split_of_a_row_that_is_dropped_and_comes_back() -> None:
    dropped = carry(OLD[:1], [0])
    assert list_values(dropped.held["split"]) == "train"
    assert [*zip(dropped.said["id"], dropped.said["value"], strict=True)] == [
        ("b", "val"),
        ("c", "test"),
    ]
    keys = build_keys(*OLD)
    back = carry_over(
        dropped,
        build_source(["ants"] * 3),
        origin=np.array([0, -1, -1]),
        base_keys=build_keys(OLD[0]),
        keys=keys,
    )
    assert list_values(back.held["split"]) == "train val test"
    assert set(back.said["author"]) == {"split"}


def test_carry_over_writes_no_statement_for_a_row_whose_image_was_moved() -> None:
    assert len(carry([*OLD[1:], ("n", "x")], [1, 2, -1]).said) == 0


def test_carry_over_drops_no_statement() -> None:
    carried = carry(OLD[:1], [0], said=[("b", "y", "wasps")], recorded=None)
    assert list_values(carried.said["value"]) == "wasps"
    assert list_values(carried.held["label"]) == "ants"


def test_carry_over_keeps_the_codes_of_the_source() -> None:
    base = Labels.of_source(build_source(["bees", "ants", "bees"]))
    keys = build_keys(*OLD)
    source = build_source(["ants", "ants", "wasps"])
    carried = carry_over(base, source, origin=np.arange(3), base_keys=keys, keys=keys)
    assert carried.source["label"].names.to_list() == ["", "bees", "ants", "wasps"]
    assert list_values(carried.held["label"]) == "ants ants wasps"


def test_carry_over_of_no_cache_is_what_the_source_says() -> None:
    keys = build_keys(*OLD)
    labels = carry_over(
        None,
        build_source(["ants", "", "bees"]),
        origin=np.full(3, -1),
        base_keys=build_keys(),
        keys=keys,
    )
    assert labels.is_plain
    assert list_values(labels.held["label"]) == "ants - bees"
