"""Records become columns and records again."""

import pytest

from featx.core.digests import pack_digests, unpack_digests
from featx.core.row_tables import (
    FAILURE_KINDS,
    READ_KINDS,
    ROW_KINDS,
    UNKNOWN,
    build_table,
    list_failures,
    list_rows,
)
from featx.core.rows import Failure, Row

ROWS = [
    Row(id="a", path="/a", label="ants", split="val", group="g", digest="0f" * 32, width=3,
        height=2, n_bytes=10, mtime_ns=7),
    Row(id="b", path="/b"),
]  # fmt: skip
FAILURES = [Failure(id="a", path="/a", digest="", stage="read", reason="no", embedding="tiny")]


def test_rows_and_failures_survive_the_way_through_a_table() -> None:
    assert list_rows(build_table(ROWS, ROW_KINDS)) == ROWS
    assert list_failures(build_table(FAILURES, FAILURE_KINDS)) == FAILURES
    assert list_rows(build_table([], ROW_KINDS)) == []


def test_columns_that_a_table_lacks_have_their_defaults() -> None:
    (found, _) = list_rows(build_table(ROWS, READ_KINDS))
    assert (found.label, found.group, found.digest) == (None, None, "0f" * 32)


@pytest.mark.parametrize("text", ["0f", "zz" * 32])
def test_pack_digests_refuses_what_is_no_digest(text: str) -> None:
    with pytest.raises(ValueError, match="hexa"):
        pack_digests(["0f" * 32, text])


def test_digests_survive_as_bytes() -> None:
    texts = ["0f" * 32, "", "a0" * 32]
    assert unpack_digests(pack_digests(texts)) == texts


def test_tables_have_the_fields_of_the_records() -> None:
    assert set(ROW_KINDS) == set(Row.__slots__)
    assert set(FAILURE_KINDS) == set(Failure.__slots__)
    assert set(UNKNOWN) < set(ROW_KINDS)
