"""Rows, failures, and the names of splits."""

import pytest

from featx.core.rows import SPLIT_NAMES, Failure, Row, parse_split
from featx.core.typing import Split, list_choices


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("train", "train"),
        ("training", "train"),
        (" Train\n", "train"),
        ("VAL", "val"),
        ("valid", "val"),
        ("validation", "val"),
        ("dev", "val"),
        ("test", "test"),
        ("trains", None),
        ("ants", None),
        ("all", None),
        ("", None),
        (None, None),
    ],
)
def test_parse_split_of_a_name(text: str | None, split: str | None) -> None:
    assert parse_split(text) == split


def test_split_names_lead_to_all_splits_and_no_others() -> None:
    assert set(SPLIT_NAMES.values()) == set(list_choices(Split))


def test_row_that_was_not_read_says_so() -> None:
    row = Row(id="a", path="/a")
    assert (row.label, row.split, row.group) == (None, None, None)
    assert (row.digest, row.width, row.height, row.n_bytes, row.mtime_ns) == ("", 0, 0, -1, -1)


def test_failure_without_embedding_lacks_all() -> None:
    failure = Failure(id="a", path="/a", digest="", stage="read", reason="gone")
    assert (failure.embedding, failure.n_bytes, failure.mtime_ns) == ("", -1, -1)
