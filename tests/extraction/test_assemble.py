"""What the updated cache contains, decided without reading or writing anything."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from featx.core.row_tables import list_rows
from featx.core.rows import Failure, Row
from featx.extraction.assemble import CacheContent, assemble, list_infos
from featx.extraction.inventory import BaseIndex
from featx.extraction.plan import plan_extraction
from featx.images.entries import Entry
from featx.images.manifest import Manifest
from featx.labels.element import NOTHING_SAID
from featx.labels.record import record_split
from tests.builders import build_info
from tests.extraction.made_up import (
    OTHER,
    TARGET,
    FileState,
    Work,
    base,
    entries,
    fail,
    inventory,
    observe,
    row,
)

A, B, C = row("a.png", "aa"), row("b.png", "bb"), row("c.png", "cc")
STATE: FileState = (10, 7)


def assemble_source(
    source: Sequence[Entry],
    there: BaseIndex | None = None,
    done: Work | None = None,
    *,
    unread: Sequence[Failure] = (),
    names: Sequence[str] = (TARGET,),
    targets: Sequence[str] = (TARGET,),
    prune: bool = False,
) -> CacheContent:
    """Assemble after a run in which no known file had changed."""
    given = inventory(there, done, source=source, targets=targets)
    states = observe(given, {entry.row.id: STATE for entry in source})
    plan = plan_extraction(
        Manifest(source="/photos", entries=source),
        given,
        given.find_reads(rehash=False),
        states,
        max_failures="100%",
    )
    return assemble(
        plan,
        given,
        [build_info(name) for name in names],
        unread={failure.id: failure for failure in unread},
        prune=prune,
    )


def list_ids(content: CacheContent) -> list[str]:
    return [*content.rows["id"]]


BOTH = base([A, B])


@pytest.mark.parametrize(
    ("names", "there", "done", "prune", "ids", "origin", "changed", "n_removed"),
    [
        pytest.param("ab", BOTH, Work(), False, "ab", [0, 1], [], 0, id="same"),
        pytest.param("ba", BOTH, Work(), False, "ab", [0, 1], [], 0, id="another order: stays"),
        pytest.param("ca", base([A]), Work([C]), False, "ac", [0, -1], [], 0, id="new: behind"),
        pytest.param("b", BOTH, Work(), False, "ab", [0, 1], [], 1, id="gone: stays"),
        pytest.param("b", BOTH, Work(), True, "b", [1], [], 1, id="gone: pruned"),
        pytest.param(
            "nb", BOTH, Work(repeats=[row("n.png", "aa")]), False, "nb", [0, 1], [0], 0,
            id="renamed: the same row",
        ),
        pytest.param(
            "nmb", BOTH, Work(repeats=[row("n.png", "aa"), row("m.png", "aa")]), False,
            "nbm", [0, 1, -1], [0], 0, id="renamed and copied",
        ),
        pytest.param(
            "n", base([A, replace(B, digest=A.digest)]), Work(repeats=[row("n.png", "aa")]), False,
            "n", [0], [], 0, id="two copies renamed to one",
        ),
        pytest.param(
            "b", BOTH, Work(repeats=[row("b.png", "aa")]), True, "b", [1], [], 1,
            id="moved onto another",
        ),
        pytest.param(
            "ab", BOTH, Work([replace(C, id="b.png", path="/photos/b.png")]), False,
            "ab", [0, 1], [1], 0, id="changed",
        ),
    ],
)  # fmt: skip
def test_assemble_keeps_the_rows_where_they_are_and_adds_new_ones_behind(
    names: str,
    there: BaseIndex,
    done: Work,
    prune: bool,
    ids: str,
    origin: list[int],
    changed: list[int],
    n_removed: int,
) -> None:
    content = assemble_source(entries(*(f"{n}.png" for n in names)), there, done, prune=prune)
    assert list_ids(content) == [f"{name}.png" for name in ids]
    assert content.origin.tolist() == origin
    assert content.changed.tolist() == changed
    assert content.keeps_all == ((content.origin >= 0).sum() == len(there.rows))
    assert content.n_removed == n_removed
    assert (content.failures, content.n_failed) == ([], 0)


def test_assemble_joins_digest_size_and_state_by_content() -> None:
    wide = replace(C, width=99)
    content = assemble_source(entries("c.png"), done=Work([wide]))
    assert list_rows(content.rows) == [replace(wide, label="ants")]
    assert content.places[TARGET].tolist() == [0]  # the first content of the shards


def test_assemble_leaves_out_a_row_without_any_vector() -> None:
    done = Work([A], failures=[fail("x.png", "xx")])
    content = assemble_source(entries("a.png", "x.png"), done=done)
    assert list_ids(content) == ["a.png"]
    assert [(one.id, one.embedding) for one in content.failures] == [("x.png", "")]
    assert content.n_failed == 1


def test_assemble_keeps_a_row_that_another_embedding_has() -> None:
    content = assemble_source(
        entries("a.png"),
        base([A], names=[OTHER]),
        Work(failures=[fail("a.png", "aa")]),
        names=[OTHER, TARGET],
    )
    assert list_ids(content) == ["a.png"]
    assert [(one.id, one.embedding) for one in content.failures] == [("a.png", TARGET)]
    assert content.n_failed == 1
    assert {name: rows.tolist() for name, rows in content.places.items()} == {
        OTHER: [0],
        TARGET: [-1],
    }


def test_assemble_counts_failures_of_targets_only() -> None:
    there = base([A], [fail("a.png", "aa", OTHER)], names=[TARGET])
    content = assemble_source(entries("a.png"), there, names=[TARGET, OTHER])
    assert [one.embedding for one in content.failures] == [OTHER]
    assert content.n_failed == 0


def test_assemble_file_that_could_not_be_read_is_a_failure_and_no_row() -> None:
    gone = Failure(id="a.png", path="/photos/a.png", digest="", stage="read", reason="No such file")
    content = assemble_source(entries("a.png", "b.png"), BOTH, unread=[gone])
    assert list_ids(content) == ["b.png"]
    assert content.failures == [gone]
    assert (content.n_failed, content.n_removed, content.keeps_all) == (1, 0, False)


def record(there: BaseIndex, *codes: int) -> BaseIndex:
    """Record a split of the rows of a cache."""
    assert there.labels is not None
    split = np.array(codes, np.uint8)
    labels = record_split(there.labels, there.rows, split, author="ada", note="", time=0)
    return replace(there, labels=labels)


RECORDED = record(base([A, B, C]), 1, 2, NOTHING_SAID)


@pytest.mark.parametrize(
    ("source", "done", "expected"),
    [
        pytest.param(entries("a.png", "b.png", "c.png"), [], ["train", "val", ""], id="kept"),
        pytest.param(
            entries("a.png", "new.png"), [row("new.png", "bb")], ["train", "val"], id="by content"
        ),
        pytest.param(
            (*entries("a.png", "b.png", split="test"), *entries("c.png", split="test")),
            [],
            ["train", "val", "test"],
            id="though the source says another",
        ),
        pytest.param(
            (*entries("a.png"), *entries("new.png", split="test")),
            [row("new.png", "dd")],
            ["train", "test"],
            id="new rows as the source says",
        ),
    ],
)
def test_assemble_keeps_recorded_splits(
    source: Sequence[Entry], done: list[Row], expected: list[str]
) -> None:
    new = [one for one in done if one.digest not in {A.digest, B.digest, C.digest}]
    work = Work(new, repeats=[one for one in done if one not in new])
    content = assemble_source(source, RECORDED, work, prune=True)
    assert content.labels.held["split"].to_list() == expected
    assert content.labels.source["split"] == content.rows["split"]


def test_assemble_takes_a_new_label_and_remembers_the_split_of_a_row_that_it_drops() -> None:
    content = assemble_source(
        tuple(replace(one, row=replace(one.row, label="bees")) for one in entries("a.png")),
        RECORDED,
        prune=True,
    )
    assert content.labels.held["label"].to_list() == ["bees"]
    assert content.labels.said["value"].to_list() == ["val"]  # of b.png, which is dropped


# --- list_infos


def test_list_infos_of_a_new_embedding_says_how_much_was_embedded() -> None:
    (found,) = list_infos({}, [build_info(TARGET)], 12)
    assert found.provenance.n_embedded == 12
    assert found.provenance.updates == ()


@pytest.mark.parametrize(("n_embedded", "updates"), [(0, []), (3, [3])])
def test_list_infos_of_a_known_embedding_appends_an_update_if_vectors_were_added(
    n_embedded: int, updates: list[int]
) -> None:
    old = build_info(TARGET)
    (found,) = list_infos({TARGET: old}, [build_info(TARGET)], n_embedded)
    assert [one.n_embedded for one in found.provenance.updates] == updates
    assert replace(found.provenance, updates=()) == old.provenance


def test_list_infos_keeps_the_embeddings_that_are_there_first() -> None:
    found = list_infos({OTHER: build_info(OTHER)}, [build_info(TARGET)], 1)
    assert [info.name for info in found] == [OTHER, TARGET]
