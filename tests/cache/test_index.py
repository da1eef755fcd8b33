"""Unfinished work is indexed by digest and by id, and has a plan."""

from dataclasses import replace
from typing import Any

import pytest

from featx.cache.index import Location, WorkIndex, WorkPlan
from featx.core.rows import Failure, Row
from tests.builders import build_fingerprint

A = Row(id="a", path="/a", label="ants", digest="aa", width=4, height=3, n_bytes=7, mtime_ns=8)
B = Row(id="b", path="/b", digest="bb", width=5, height=6)
BROKEN = Failure(
    id="x", path="/x", digest="xx", stage="decode", reason="broken", n_bytes=9, mtime_ns=10
)
UNREAD = Failure(id="y", path="/y", digest="", stage="read", reason="gone")


def test_index_locates_rows_by_shard_and_position() -> None:
    index = WorkIndex()
    index.add(3, [A, B], [], [])
    index.add(5, [replace(A, id="c", digest="cc", width=1)], [], [])
    assert index.locations == {"aa": Location(3, 0), "bb": Location(3, 1), "cc": Location(5, 0)}
    assert index.sizes == {"aa": (4, 3), "bb": (5, 6), "cc": (1, 3)}
    assert index.rows == {"a": A, "b": B, "c": replace(A, id="c", digest="cc", width=1)}
    assert index.failures == {}


def test_index_knows_repeats_by_id_alone() -> None:
    index = WorkIndex()
    index.add(1, [], [replace(A, id="again")], [])
    assert index.rows == {"again": replace(A, id="again")}
    assert (index.locations, index.sizes) == ({}, {})


def test_index_keeps_failures_by_digest_and_embedding() -> None:
    late = replace(BROKEN, stage="embed", embedding="tiny")
    index = WorkIndex()
    index.add(1, [], [], [BROKEN])
    index.add(2, [], [], [late, UNREAD])
    assert index.failures == {"xx": {"": BROKEN, "tiny": late}}
    assert index.rows == {"x": Row(id="x", path="/x", digest="xx", n_bytes=9, mtime_ns=10)}


def test_index_of_two_runs_are_apart() -> None:
    first = WorkIndex()
    first.add(1, [A], [], [BROKEN])
    assert WorkIndex() == WorkIndex(locations={}, sizes={}, rows={}, failures={})


PLAN = WorkPlan(
    embeddings={"a": build_fingerprint(), "b": build_fingerprint(preprocess={"resize": 256})},
    dtype="float32",
    batch_size=4,
)


def test_plan_from_its_json_is_equal() -> None:
    assert WorkPlan.from_json(PLAN.to_json()) == PLAN


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"embeddings": {"b": PLAN.embeddings["b"]}}, "unfinished work on b"),
        (
            {"embeddings": {"d": PLAN.embeddings["b"], "c": PLAN.embeddings["b"]}},
            "unfinished work on c, d",
        ),
        (
            {"embeddings": {**PLAN.embeddings, "a": build_fingerprint(layer="y")}},
            "another layer of a: y",
        ),
        (
            {"embeddings": {**PLAN.embeddings, "b": build_fingerprint(preprocess={"resize": 9})}},
            "another preprocess.resize of b: 9",
        ),
        (
            {"embeddings": {**PLAN.embeddings, "b": build_fingerprint(preprocess={})}},
            "another preprocess.resize of b: -",
        ),
        ({"dtype": "float16"}, "dtype float16 in place of float32"),
        ({"batch_size": 8}, "batch_size 8 in place of 4"),
        ({"dtype": "float16", "batch_size": 8}, "dtype float16 in place of float32"),
    ],
)
def test_plan_describes_the_first_difference(changes: dict[str, Any], difference: str) -> None:
    assert PLAN.describe_difference(replace(PLAN, **changes)) == difference
