"""What the updated cache contains, decided without reading or writing anything."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from featx.core.rows import Failure, Row
from featx.extraction.assemble import CacheContent, assemble, list_infos
from featx.extraction.inventory import FileState, Inventory
from featx.extraction.plan import plan_extraction
from featx.images.manifest import Entry, Manifest
from tests.builders import build_info
from tests.extraction.made_up import OTHER, TARGET, base, entries, fail, inventory, row, work

A, B, C = row("a.png", "aa"), row("b.png", "bb"), row("c.png", "cc")
BOTH = inventory(base([A, B]))
STATE: FileState = (10, 7)


def assemble_source(
    source: Sequence[Entry],
    given: Inventory,
    *,
    unread: Sequence[Failure] = (),
    names: Sequence[str] = (TARGET,),
    prune: bool = False,
) -> CacheContent:
    """Assemble after a run in which no known file had changed."""
    states = {entry.row.id: STATE for entry in source}
    plan = plan_extraction(
        Manifest(source="/photos", entries=tuple(source)), given, states, max_failures="100%"
    )
    return assemble(
        plan,
        given,
        source,
        [build_info(name) for name in names],
        unread={failure.id: failure for failure in unread},
        prune=prune,
    )


def list_ids(content: CacheContent) -> list[str]:
    return [one.id for one in content.rows]


@pytest.mark.parametrize(
    ("names", "given", "prune", "ids", "n_removed"),
    [
        pytest.param(["a.png", "b.png"], BOTH, False, ["a.png", "b.png"], 0, id="same"),
        pytest.param(["b.png", "a.png"], BOTH, False, ["b.png", "a.png"], 0, id="source's order"),
        pytest.param(
            ["c.png", "a.png"], inventory(base([A]), work([C])),
            False, ["c.png", "a.png"], 0, id="a new file",
        ),
        pytest.param(["b.png"], BOTH, False, ["b.png", "a.png"], 1, id="gone: kept, last"),
        pytest.param(["b.png"], BOTH, True, ["b.png"], 1, id="gone: pruned"),
        pytest.param(
            ["new.png", "b.png"], inventory(base([A, B]), work(repeats=[row("new.png", "aa")])),
            False, ["new.png", "b.png"], 0, id="renamed is not gone",
        ),
        pytest.param(
            ["b.png"], inventory(base([A, B]), work(repeats=[row("b.png", "aa")])),
            True, ["b.png"], 1, id="moved onto another",
        ),
    ],
)  # fmt: skip
def test_assemble_lists_the_rows_of_the_source_then_those_that_are_gone(
    names: list[str], given: Inventory, prune: bool, ids: list[str], n_removed: int
) -> None:
    content = assemble_source(entries(*names), given, prune=prune)
    assert list_ids(content) == ids
    assert content.n_removed == n_removed
    assert (content.failures, content.n_failed) == ([], 0)


def test_assemble_joins_digest_size_and_state_by_content() -> None:
    wide = replace(C, width=99)
    (found,) = assemble_source(entries("c.png"), inventory(done=work([wide]))).rows
    assert found == replace(wide, label="ants")


def test_assemble_leaves_out_a_row_without_any_vector() -> None:
    given = inventory(done=work([A], failures=[fail("x.png", "xx")]))
    content = assemble_source(entries("a.png", "x.png"), given)
    assert list_ids(content) == ["a.png"]
    assert [(one.id, one.embedding) for one in content.failures] == [("x.png", "")]
    assert content.n_failed == 1


def test_assemble_keeps_a_row_that_another_embedding_has() -> None:
    given = inventory(base([A], names=[OTHER]), work(failures=[fail("a.png", "aa")]))
    content = assemble_source(entries("a.png"), given, names=[OTHER, TARGET])
    assert list_ids(content) == ["a.png"]
    assert [(one.id, one.embedding) for one in content.failures] == [("a.png", TARGET)]
    assert content.n_failed == 1


def test_assemble_counts_failures_of_targets_only() -> None:
    given = inventory(base([A], [fail("a.png", "aa", OTHER)], names=[TARGET]))
    content = assemble_source(entries("a.png"), given, names=[TARGET, OTHER])
    assert [one.embedding for one in content.failures] == [OTHER]
    assert content.n_failed == 0


def test_assemble_file_that_could_not_be_read_is_a_failure_and_no_row() -> None:
    gone = Failure(id="a.png", path="/photos/a.png", digest="", stage="read", reason="No such file")
    content = assemble_source(entries("a.png", "b.png"), inventory(base([A, B])), unread=[gone])
    assert list_ids(content) == ["b.png"]
    assert content.failures == [gone]
    assert (content.n_failed, content.n_removed) == (1, 0)


RECORDED = base([replace(A, split="train"), replace(B, split="val"), C])


@pytest.mark.parametrize(
    ("source", "done", "expected"),
    [
        pytest.param(entries("a.png", "b.png", "c.png"), (), ["train", "val", None], id="kept"),
        pytest.param(
            entries("a.png", "new.png"), [row("new.png", "bb")], ["train", "val"], id="by content"
        ),
        pytest.param(
            entries("a.png", "b.png", split="test"),
            (),
            ["test", "test"],
            id="the source's own",
        ),
        pytest.param(
            (*entries("a.png", split="test"), *entries("b.png")),
            (),
            ["test", None],
            id="a source with some splits says which rows have none",
        ),
    ],
)
def test_assemble_keeps_recorded_splits_where_the_source_has_none(
    source: Sequence[Entry], done: Sequence[Row], expected: list[str | None]
) -> None:
    content = assemble_source(source, inventory(RECORDED, work(repeats=done)), prune=True)
    assert [one.split for one in content.rows] == expected


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
