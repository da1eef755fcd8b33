"""What is there before a run, looked up by id and by digest."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from featx.cache.joined import open_cache
from featx.core.columns import Texts
from featx.core.digests import pack_digests
from featx.core.row_tables import ROW_KINDS
from featx.core.rows import Failure
from featx.extraction.inventory import (
    BaseIndex,
    Inventory,
    Reads,
    match_ids,
    observe_files,
)
from featx.images.content import Content
from featx.images.contents import NOWHERE
from featx.images.entries import as_columns
from tests.extraction.made_up import (
    OTHER,
    TARGET,
    Work,
    base,
    digest,
    entries,
    fail,
    inventory,
    manifest,
    row,
)

A, B, C = row("a.png", "aa"), row("b.png", "bb"), row("c.png", "cc")
BOTH = (TARGET, OTHER)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(inventory(), set(), id="nothing is there"),
        pytest.param(inventory(base([A, B])), {"aa", "bb"}, id="vectors in the cache"),
        pytest.param(inventory(done=Work([A])), {"aa"}, id="vectors in shards"),
        pytest.param(
            inventory(base([A, B], names=BOTH, without={OTHER: ["bb"]}), targets=BOTH),
            {"aa"},
            id="a vector in one of two targets is not enough",
        ),
        pytest.param(
            inventory(base([A, B], names=BOTH, without={OTHER: ["bb"]})),
            {"aa", "bb"},
            id="an embedding that is no target does not matter",
        ),
        pytest.param(inventory(base([A], names=[OTHER])), set(), id="vectors of another backbone"),
        pytest.param(
            inventory(base(failures=[fail("x.png", "xx")])), {"xx"}, id="failed before any network"
        ),
        pytest.param(
            inventory(base(failures=[fail("x.png", "xx", OTHER)])), set(), id="failed elsewhere"
        ),
        pytest.param(
            inventory(base([A], [fail("a.png", "aa", OTHER)], names=[TARGET]), targets=BOTH),
            {"aa"},
            id="a vector in one target, a failure in the other",
        ),
        pytest.param(
            inventory(base(failures=[fail("x.png", "xx")]), retry_failed=True),
            set(),
            id="failures to retry",
        ),
        pytest.param(
            inventory(base([A], [fail("a.png", "aa", OTHER)]), retry_failed=True),
            {"aa"},
            id="retry leaves vectors alone",
        ),
        pytest.param(inventory(done=Work(failures=[fail("x.png", "xx")])), {"xx"}, id="in shards"),
    ],
)
def test_inventory_skips_contents_that_need_no_Work(given: Inventory, expected: set[str]) -> None:
    skipped = given.build_skipped()
    words = {"aa", "bb", "cc", "xx"}
    assert {word for word in words if digest(word) in skipped} == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (inventory(base([A])), False),
        (inventory(base([A]), Work([A])), False),
        (inventory(base([A]), Work([B])), True),
        (inventory(base([A], names=[OTHER]), Work([A])), True),
    ],
)
def test_inventory_adds_vectors_if_shards_hold_what_the_cache_lacks(
    given: Inventory, expected: bool
) -> None:
    assert given.adds_vectors is expected


X = fail("x.png", "xx")
SOURCE = entries("a.png", "b.png", "x.png")


@pytest.mark.parametrize(
    ("there", "done", "options", "expected"),
    [
        pytest.param(base([A], [X]), Work(), {}, ["aa", "", "xx"], id="rows and failures"),
        pytest.param(base([A], [X]), Work(), {"rehash": True}, ["", "", ""], id="rehash"),
        pytest.param(base(), Work([A]), {"rehash": True}, ["aa", "", ""], id="rehash: shards"),
        pytest.param(
            base([A]), Work([B], [replace(A, digest=B.digest)]), {}, ["bb", "bb", ""],
            id="the unfinished run has read it later",
        ),
        pytest.param(
            base([replace(A, path="/elsewhere/a.png"), B]), Work(), {}, ["", "bb", ""],
            id="another path is another file",
        ),
        pytest.param(
            base([replace(A, mtime_ns=-1), B]), Work(), {}, ["", "bb", ""],
            id="changed too recently to tell",
        ),
        pytest.param(
            base([A], names=[OTHER]), Work(), {}, ["", "", ""],
            id="its content needs another embedding",
        ),
        pytest.param(
            base([B, A]), Work(), {}, ["aa", "bb", ""], id="the cache has another order",
        ),
        pytest.param(
            base([A], [X]), Work(), {"retry_failed": True}, ["aa", "", ""], id="to retry",
        ),
        pytest.param(
            base([A, B], [replace(X, path="/elsewhere/x.png")]), Work(), {}, ["aa", "bb", ""],
            id="a failure at another path",
        ),
    ],
)  # fmt: skip
def test_inventory_finds_what_was_read_before(
    there: BaseIndex, done: Work, options: dict[str, bool], expected: list[str]
) -> None:
    retry = options.get("retry_failed", False)
    given = inventory(there, done, source=SOURCE, retry_failed=retry)
    reads = given.find_reads(rehash=options.get("rehash", False))
    assert reads.is_usable.tolist() == [bool(word) for word in expected]
    found = given.describe_rows(reads.table, np.flatnonzero(reads.is_usable))
    assert [one.digest for one in found] == [digest(word) for word in expected if word]
    assert {(one.n_bytes, one.mtime_ns) for one in found} <= {(10, 7)}


@pytest.mark.parametrize(
    ("given", "word", "expected"),
    [
        pytest.param(inventory(base([A])), "aa", [], id="a vector, no failure"),
        pytest.param(inventory(base(failures=[fail("x", "xx")])), "xx", [""], id="lacks them all"),
        pytest.param(
            inventory(base(failures=[fail("x", "xx", TARGET)])), "xx", [TARGET], id="lacks one"
        ),
        pytest.param(
            inventory(base([A], names=[OTHER]), Work(failures=[fail("a.png", "aa")])),
            "aa",
            [TARGET],
            id="another network has it: it lacks the targets, not all",
        ),
        pytest.param(
            inventory(base([A], [fail("a.png", "aa", TARGET)])),
            "aa",
            [],
            id="a vector ends an old failure",
        ),
        pytest.param(
            inventory(base(failures=[fail("x", "xx", OTHER)]), Work([row("x", "xx")])),
            "xx",
            [OTHER],
            id="the failure of another embedding stays",
        ),
    ],
)
def test_inventory_lists_the_embeddings_that_a_content_lacks(
    given: Inventory, word: str, expected: list[str]
) -> None:
    found = given.list_failures(row("renamed.png", word, mtime_ns=99))
    assert [failure.embedding for failure in found] == expected
    # They are told of the file as it is now.
    assert {(one.id, one.path, one.mtime_ns) for one in found} <= {
        ("renamed.png", "/photos/renamed.png", 99)
    }


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (fail("x", "xx"), True),
        (fail("x", "xx", TARGET), True),
        (fail("x", "xx", OTHER), False),
    ],
)
def test_inventory_finds_the_failure_of_a_target_only(failure: Failure, expected: bool) -> None:
    given = inventory(base(failures=[failure]))
    assert (given.find_failure(row("x", "xx")) is not None) is expected


def locate(given: Inventory, embedding: str, words: list[str], origin: list[int]) -> list[int]:
    digests = pack_digests(map(digest, words))
    return [*map(int, given.locate(embedding, digests, np.array(origin, np.int64)))]


def test_inventory_locates_vectors_in_the_row_itself_then_in_shards_then_in_other_rows() -> None:
    copy = replace(B, id="d.png")
    given = inventory(base([A, B, copy], names=BOTH), Work([C, B]))
    assert locate(given, TARGET, ["bb", "bb", "bb"], [1, 2, -1]) == [1, 2, 3 + 1]
    assert locate(given, TARGET, ["aa", "cc", "xx", ""], [-1, 0, 0, -1]) == [0, 3, -1, -1]
    assert locate(given, OTHER, ["bb", "cc"], [-1, -1]) == [1, -1]  # shards hold targets only
    assert locate(given, "unknown", ["aa"], [0]) == [-1]
    assert locate(given, TARGET, [], []) == []


def test_inventory_locates_no_vector_in_a_row_that_lacks_it() -> None:
    given = inventory(base([A, B], without={TARGET: ["aa"]}))
    assert locate(given, TARGET, ["aa", "bb"], [0, 1]) == [-1, 1]


def test_base_index_of_a_cache_holds_rows_flags_and_readable_failures(cache_path: Path) -> None:
    with open_cache(cache_path) as cache:
        index = BaseIndex.from_cache(cache)
        assert index.rows["id"].to_list() == cache.ids.tolist()
        (name,) = cache.embeddings
        assert index.present[name].tolist() == cache.read_present(name).tolist()
    assert index.rows.names == tuple(ROW_KINDS)
    assert index.failures == ()


def test_base_index_of_no_cache_is_empty() -> None:
    index = BaseIndex.from_cache(None)
    assert (len(index.rows), index.failures, index.present) == (0, (), {})


@pytest.mark.parametrize(
    ("ids", "base_ids", "expected"),
    [
        ("abc", "abc", [0, 1, 2]),
        ("abcd", "abc", [0, 1, 2, -1]),
        ("ab", "abc", [0, 1]),
        ("acb", "abc", [0, 2, 1]),
        ("xabc", "abc", [-1, 0, 1, 2]),
        ("", "abc", []),
        ("ab", "", [-1, -1]),
    ],
)
def test_match_ids_finds_the_row_of_each_id(ids: str, base_ids: str, expected: list[int]) -> None:
    found = match_ids(Texts.from_list(ids), Texts.from_list(base_ids))
    assert found.tolist() == expected


def test_observe_files_looks_at_known_files_only(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def stat(content: Content) -> tuple[int, int]:
        looked.append(content.file)
        if content.file.endswith("b.png"):
            raise FileNotFoundError
        return 10, 7

    monkeypatch.setattr(Content, "stat", stat)
    contents = as_columns(manifest("a.png", "b.png", "new.png").entries).contents
    given = inventory(base([A, B]), source=entries("a.png", "b.png", "new.png"))
    reads = given.find_reads(rehash=False)
    states = observe_files(reads, contents)
    assert states["n_bytes"].tolist() == [10, NOWHERE, NOWHERE]
    assert states["mtime_ns"].tolist() == [7, NOWHERE, NOWHERE]
    assert looked == ["/photos/a.png", "/photos/b.png"]
    everything = Reads(table=reads.table[:2], is_usable=reads.is_usable[:2])
    assert observe_files(everything, contents[:2])["n_bytes"].tolist() == [10, NOWHERE]
