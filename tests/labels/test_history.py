"""The history of labels as a reader sees it."""

from __future__ import annotations

from featx.labels.history import HeldBy, count_by_author, list_row_statements, list_statements
from tests.labels.builders import (
    build_keys,
    build_labels,
    build_recorded,
    build_said,
    build_source,
)

KEYS = build_keys(("a", "x"), ("b", "y"), ("c", "x"))
LABELS = build_labels(
    KEYS,
    build_source(["ants", "", "ants"]),
    build_said(
        ("a", "x", "wasps", 0, "unsure"),
        ("b", "y", "flies", 2, "sure", "label", "bob"),
        ("gone", "w", "bees", 3),
        ("c", "x", "", 4, "withdrawn"),
    ),
    build_recorded(3, (1, [1, 255, 0])),
)


def test_list_statements_is_everything_in_order() -> None:
    statements = list_statements(LABELS)
    assert [(one.id, one.field, one.value, one.author) for one in statements] == [
        ("a", "label", "wasps", "ada"),
        ("", "split", "", "split"),
        ("b", "label", "flies", "bob"),
        ("gone", "label", "bees", "ada"),
        ("c", "label", "", "ada"),
    ]
    assert (statements[1].n_rows, statements[1].note) == (2, "val=0.2")
    assert statements[0].time == "1970-01-01T00:00:01.000+00:00"


def test_list_row_statements_has_those_of_its_copies() -> None:
    statements = list_row_statements(LABELS, KEYS, 2)
    assert [(one.id, one.value, one.kind) for one in statements] == [
        ("a", "wasps", "unsure"),
        ("c", "", "sure"),
        ("c", "", "withdrawn"),
    ]
    assert [one.value for one in list_row_statements(LABELS, KEYS, 1)] == ["flies"]


def test_count_by_author_counts_rows_of_what_holds() -> None:
    assert count_by_author(LABELS, KEYS) == [
        HeldBy(field="label", author=None, n_rows=1, n_unsure=0),
        HeldBy(field="label", author="ada", n_rows=1, n_unsure=1),
        HeldBy(field="label", author="bob", n_rows=1, n_unsure=0),
        HeldBy(field="split", author="split", n_rows=2, n_unsure=0),
    ]
