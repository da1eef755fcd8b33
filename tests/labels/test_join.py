"""Labels of several caches as those of one."""

from __future__ import annotations

from featx.core.columns import Table
from featx.labels.element import Labels
from featx.labels.join import join_labels
from tests.labels.builders import (
    build_keys,
    build_labels,
    build_recorded,
    build_said,
    build_source,
    list_values,
)

FIRST, SECOND = build_keys(("a", "x"), ("b", "y")), build_keys(("c", "z"), ("d", "w"))
KEYS = Table.concat([FIRST, SECOND])


def test_join_labels_joins_sources() -> None:
    parts = [Labels.of_source(build_source(labels)) for labels in (["ants", ""], ["bees", "ants"])]
    joined = join_labels(parts, KEYS)
    assert joined.is_plain
    assert list_values(joined.held["label"]) == "ants - bees ants"


def test_join_labels_orders_statements_by_time_and_makes_one_occasion_of_one_run() -> None:
    source = build_source(["ants", "ants"])
    first = build_labels(FIRST, source, build_said(("a", "x", "1", 0), ("a", "x", "3", 2)))
    second = build_labels(SECOND, source, build_said(("c", "z", "2", 1), ("d", "w", "4", 2)))
    joined = join_labels([first, second], KEYS)
    assert list_values(joined.said["value"]) == "1 2 3 4"
    assert joined.said["occasion"].tolist() == [0, 1, 2, 2]
    assert list_values(joined.held["label"]) == "3 ants 2 4"


def test_join_labels_keeps_the_order_of_a_cache_whose_clock_went_back() -> None:
    said = build_said(("a", "x", "1", 0), ("a", "x", "2", 1))
    said = said.replace(time=said["time"][::-1].copy())
    part = build_labels(FIRST, build_source(["ants", "ants"]), said)
    joined = join_labels([part], FIRST)
    assert list_values(joined.held["label"]) == "2 ants"
    assert joined.said["occasion"].tolist() == [0, 1]


def test_join_labels_lays_recorded_splits_side_by_side() -> None:
    source = build_source(splits=["", ""])
    first = build_labels(FIRST, source, recorded=build_recorded(2, (0, [1, 2]), (1, [3, 3])))
    second = build_labels(SECOND, source, recorded=build_recorded(2, (1, [2, 255])))
    joined = join_labels([first, second], KEYS)
    assert joined.recorded.split.tolist() == [[1, 2, 255, 255], [3, 3, 2, 255]]
    assert joined.recorded.records["occasion"].tolist() == [0, 1]
    assert list_values(joined.held["split"]) == "test test val -"
