"""What is there before a run, looked up by id and by digest."""

from dataclasses import replace

import pytest

from featx.cache.joined import open_cache
from featx.core.rows import Failure
from featx.extraction.inventory import IN_BASE, BaseIndex, Inventory, observe_files
from featx.images.content import Content
from featx.images.manifest import Entry
from tests.extraction.made_up import OTHER, TARGET, base, entries, fail, inventory, row, work

A, B, C = row("a.png", "aa"), row("b.png", "bb"), row("c.png", "cc")
BOTH = (TARGET, OTHER)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(inventory(), set(), id="nothing is there"),
        pytest.param(inventory(base([A, B])), {"aa", "bb"}, id="vectors in the cache"),
        pytest.param(inventory(done=work([A])), {"aa"}, id="vectors in shards"),
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
        pytest.param(inventory(done=work(failures=[fail("x.png", "xx")])), {"xx"}, id="in shards"),
    ],
)
def test_inventory_skips_contents_that_need_no_work(given: Inventory, expected: set[str]) -> None:
    assert given.skip_digests == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (inventory(base([A])), False),
        (inventory(base([A]), work([A])), False),
        (inventory(base([A]), work([B])), True),
        (inventory(base([A], names=[OTHER]), work([A])), True),
    ],
)
def test_inventory_adds_vectors_if_shards_hold_what_the_cache_lacks(
    given: Inventory, expected: bool
) -> None:
    assert given.adds_vectors is expected


READ_BEFORE = inventory(base([A], [fail("x.png", "xx")]))


@pytest.mark.parametrize(
    ("given", "entry", "rehash", "expected"),
    [
        pytest.param(READ_BEFORE, entries("a.png")[0], False, "aa", id="a row of the cache"),
        pytest.param(READ_BEFORE, entries("x.png")[0], False, "xx", id="a failure of the cache"),
        pytest.param(READ_BEFORE, entries("b.png")[0], False, None, id="a new file"),
        pytest.param(READ_BEFORE, entries("a.png")[0], True, None, id="rehash trusts no cache"),
        pytest.param(
            inventory(done=work([A])), entries("a.png")[0], True, "aa", id="rehash trusts shards"
        ),
        pytest.param(
            inventory(base([A]), work(repeats=[replace(A, digest="bb")], rows=[B])),
            entries("a.png")[0],
            False,
            "bb",
            id="the unfinished run has read it later",
        ),
        pytest.param(
            inventory(base([replace(A, path="/elsewhere/a.png")])),
            entries("a.png")[0],
            False,
            None,
            id="another path is another file",
        ),
        pytest.param(
            inventory(base([replace(A, mtime_ns=-1)])),
            entries("a.png")[0],
            False,
            None,
            id="changed too recently to tell",
        ),
        pytest.param(
            inventory(base([A], names=[OTHER])),
            entries("a.png")[0],
            False,
            None,
            id="its content needs another embedding",
        ),
        pytest.param(
            inventory(base(failures=[fail("x.png", "xx")]), retry_failed=True),
            entries("x.png")[0],
            False,
            None,
            id="a failure to retry",
        ),
    ],
)
def test_inventory_finds_what_was_read_before(
    given: Inventory, entry: Entry, rehash: bool, expected: str | None
) -> None:
    found = given.find_read(entry, rehash=rehash)
    assert (found.digest if found else None) == expected


@pytest.mark.parametrize(
    ("given", "digest", "expected"),
    [
        pytest.param(inventory(base([A])), "aa", [], id="a vector, no failure"),
        pytest.param(inventory(base(failures=[fail("x", "xx")])), "xx", [""], id="lacks them all"),
        pytest.param(
            inventory(base(failures=[fail("x", "xx", TARGET)])), "xx", [TARGET], id="lacks one"
        ),
        pytest.param(
            inventory(base([A], names=[OTHER]), work(failures=[fail("a.png", "aa")])),
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
            inventory(base(failures=[fail("x", "xx", OTHER)]), work([row("x", "xx")])),
            "xx",
            [OTHER],
            id="the failure of another embedding stays",
        ),
    ],
)
def test_inventory_lists_the_embeddings_that_a_content_lacks(
    given: Inventory, digest: str, expected: list[str]
) -> None:
    found = given.list_failures(row("renamed.png", digest, mtime_ns=99))
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


def test_inventory_locates_vectors_in_shards_first_then_in_the_cache() -> None:
    given = inventory(base([A, B], names=BOTH), work([C, B]))
    assert given.find_location(TARGET, "aa") == (IN_BASE, 0)
    assert given.find_location(TARGET, "bb") == (1, 1)
    assert given.find_location(OTHER, "bb") == (IN_BASE, 1)  # shards hold targets only
    assert given.find_location(TARGET, "xx") is None
    assert given.list_locations(TARGET, [C, A, row("x", "xx")]).tolist() == [
        [1, 0], [IN_BASE, 0], [IN_BASE, -1]
    ]  # fmt: skip
    assert given.list_locations(TARGET, []).shape == (0, 2)


def test_inventory_knows_the_size_of_every_content_with_a_vector() -> None:
    wide = replace(C, width=99)
    given = inventory(base([A]), work([wide]))
    assert given.find_size("aa") == (24, 20)
    assert given.find_size("cc") == (99, 20)


def test_inventory_lists_recorded_splits_by_id_and_digest() -> None:
    given = inventory(base([replace(A, split="val"), B]))
    assert given.list_splits() == {"a.png": "val", "aa": "val"}


def test_base_index_of_a_cache_holds_rows_indices_and_readable_failures(cache_path) -> None:  # type: ignore[no-untyped-def]
    with open_cache(cache_path) as cache:
        index = BaseIndex.from_cache(cache)
        assert list(index.rows.values()) == cache.rows
        (name,) = cache.embeddings
        assert index.indices == {name: {one.digest: i for i, one in enumerate(cache.rows)}}
    assert index.failures == ()


def test_base_index_of_no_cache_is_empty() -> None:
    assert BaseIndex.from_cache(None) == BaseIndex()


def test_observe_files_looks_at_known_files_only(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def stat(content: Content) -> tuple[int, int]:
        looked.append(content.file)
        if content.file.endswith("b.png"):
            raise FileNotFoundError
        return 10, 7

    monkeypatch.setattr(Content, "stat", stat)
    states = observe_files(
        inventory(base([A, B])), entries("a.png", "b.png", "new.png"), rehash=False
    )
    assert states == {"a.png": (10, 7)}
    assert looked == ["/photos/a.png", "/photos/b.png"]
