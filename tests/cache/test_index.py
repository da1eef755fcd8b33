"""Unfinished work is indexed by digest and by id, and has a plan."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from featx.cache.index import WorkIndex, WorkPlan
from featx.core.digests import pack_digests
from featx.core.row_tables import READ_KINDS, build_table, list_values
from featx.core.rows import Failure, Row
from tests.builders import build_fingerprint


def digest(word: str) -> str:
    return word * 32


A = Row(id="a", path="/a", digest=digest("aa"), width=4, height=3, n_bytes=7, mtime_ns=8)
B = Row(id="b", path="/b", digest=digest("bb"), width=5, height=6, n_bytes=1, mtime_ns=2)
C = replace(A, id="c", path="/c", digest=digest("cc"), width=1)
BROKEN = Failure(
    id="x", path="/x", digest=digest("ee"), stage="decode", reason="broken", n_bytes=9, mtime_ns=10
)
UNREAD = Failure(id="y", path="/y", digest="", stage="read", reason="gone")
SOURCE = [Row(id=name, path=f"/{name}") for name in "xbacy"]
"""Rows of the source, in its order."""


def add(
    index: WorkIndex,
    shard: int,
    rows: Sequence[Row] = (),
    repeats: Sequence[Row] = (),
    failures: Sequence[Failure] = (),
) -> None:
    index.add(shard, build_table(rows, READ_KINDS), build_table(repeats, READ_KINDS), failures)


def build_index() -> WorkIndex:
    return WorkIndex(build_table(SOURCE, READ_KINDS))


def list_reads(index: WorkIndex) -> dict[str, tuple[str, int, int]]:
    """List digest, size and time of the files that were read, by id."""
    columns = (list_values(index.reads, name) for name in ("digest", "n_bytes", "mtime_ns"))
    reads = zip((row.id for row in SOURCE), *columns, strict=True)
    return {name: (found, n_bytes, time) for name, found, n_bytes, time in reads if found}


def find(index: WorkIndex, *words: str) -> list[tuple[int, int, int, int] | None]:
    """Find shard, row, width and height of contents."""
    places = index.find(pack_digests(map(digest, words))).tolist()
    names = ("shard", "row", "width", "height")
    return [
        tuple(int(index.contents[name][place]) for name in names) if place >= 0 else None  # type: ignore[misc]
        for place in places
    ]


def test_index_locates_contents_by_shard_and_position() -> None:
    index = build_index()
    add(index, 3, [A, B])
    assert find(index, "bb", "cc") == [(3, 1, 5, 6), None]
    add(index, 5, [C])
    assert find(index, "aa", "bb", "cc") == [(3, 0, 4, 3), (3, 1, 5, 6), (5, 0, 1, 3)]
    assert index.n_contents == 3
    assert list_reads(index) == {
        "a": (digest("aa"), 7, 8), "b": (digest("bb"), 1, 2), "c": (digest("cc"), 7, 8)
    }  # fmt: skip
    assert index.failures == {}


def test_index_knows_repeats_by_id_alone() -> None:
    index = build_index()
    add(index, 1, [], [replace(A, id="c", path="/c")])
    assert list_reads(index) == {"c": (digest("aa"), 7, 8)}
    assert (index.n_contents, find(index, "aa")) == (0, [None])


def test_index_keeps_the_contents_of_files_that_the_source_lacks_or_has_elsewhere() -> None:
    index = build_index()
    add(index, 1, [replace(A, id="gone"), replace(B, path="/elsewhere/b")])
    assert list_reads(index) == {}
    assert find(index, "aa", "bb") == [(1, 0, 4, 3), (1, 1, 5, 6)]


def test_index_holds_more_contents_than_the_source_has_rows() -> None:
    index = build_index()
    for shard in range(3):
        digests = [f"{shard}{number}" * 32 for number in range(4)]
        add(index, shard, [replace(A, digest=one) for one in digests])
    assert index.n_contents == 12
    assert find(index, "00", "13", "23") == [(0, 0, 4, 3), (1, 3, 4, 3), (2, 3, 4, 3)]


def test_index_keeps_failures_by_digest_and_embedding() -> None:
    late = replace(BROKEN, stage="embed", embedding="tiny")
    index = build_index()
    add(index, 1, failures=[BROKEN])
    add(index, 2, failures=[late, UNREAD])
    assert index.failures == {digest("ee"): {"": BROKEN, "tiny": late}}
    assert list_reads(index) == {"x": (digest("ee"), 9, 10)}


def test_index_of_two_runs_are_apart() -> None:
    first, second = build_index(), build_index()
    add(first, 1, [A], failures=[BROKEN])
    assert (second.n_contents, second.failures, list_reads(second)) == (0, {}, {})


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
