"""Which images need embedding, decided without reading or running anything."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from featx.cache.reader import Cache
from featx.core.errors import CacheError, FeatxError
from featx.core.typing import Count, VectorDtype
from featx.extraction.inventory import Inventory
from featx.extraction.plan import Plan, choose_storage, plan_extraction
from featx.images.manifest import Manifest
from tests.builders import build_provenance
from tests.extraction.made_up import (
    OTHER,
    TARGET,
    FileState,
    Work,
    base,
    digest,
    entries,
    fail,
    inventory,
    manifest,
    observe,
    row,
)

SAME: FileState = (10, 7)
A, B = row("a.png", "aa"), row("b.png", "bb")
THERE = inventory(base([A, B]))


def plan_files(
    source: Manifest,
    given: Inventory,
    states: Mapping[str, FileState],
    *,
    max_failures: int | str = 0,
    rehash: bool = False,
) -> Plan:
    """Plan an extraction of files in these states."""
    reads = given.find_reads(rehash=rehash)
    found = observe(given, states)
    return plan_extraction(source, given, reads, found, max_failures=max_failures)


def list_unchanged(plan: Plan, given: Inventory) -> list[str]:
    return [*given.source["id"][plan.reads.is_usable]]


@pytest.mark.parametrize(
    ("given", "states", "unchanged", "todo"),
    [
        pytest.param(inventory(), {}, [], ["a.png", "b.png"], id="first run"),
        pytest.param(THERE, {"a.png": SAME, "b.png": SAME}, ["a.png", "b.png"], [], id="no change"),
        pytest.param(THERE, {"a.png": SAME, "b.png": (11, 7)}, ["a.png"], ["b.png"], id="size"),
        pytest.param(THERE, {"a.png": SAME, "b.png": (10, 8)}, ["a.png"], ["b.png"], id="time"),
        pytest.param(THERE, {"b.png": SAME}, ["b.png"], ["a.png"], id="missing now"),
        pytest.param(
            inventory(base([A, B], names=[OTHER])),
            {"a.png": SAME, "b.png": SAME},
            [],
            ["a.png", "b.png"],
            id="another backbone",
        ),
        pytest.param(
            inventory(base([A]), Work([B])),
            {"a.png": SAME, "b.png": SAME},
            ["a.png", "b.png"],
            [],
            id="the rest was done by an unfinished run",
        ),
    ],
)
def test_plan_parts_unchanged_files_from_those_to_read(
    given: Inventory, states: dict[str, FileState], unchanged: list[str], todo: list[str]
) -> None:
    plan = plan_files(manifest("a.png", "b.png"), given, states)
    assert list_unchanged(plan, given) == unchanged
    assert [entry.row.id for entry in plan.todo] == todo
    assert plan.failures == ()


def test_plan_with_rehash_reads_what_the_unfinished_run_has_not_read() -> None:
    given = inventory(base([A]), Work([B]))
    states = {"a.png": SAME, "b.png": SAME}
    plan = plan_files(manifest("a.png", "b.png"), given, states, rehash=True)
    assert list_unchanged(plan, given) == ["b.png"]
    assert [entry.row.id for entry in plan.todo] == ["a.png"]


def test_plan_gives_unchanged_rows_their_digest() -> None:
    given = inventory(base([A]), source=entries("a.png"))
    plan = plan_files(manifest("a.png"), given, {"a.png": SAME})
    (found,) = given.describe_rows(plan.reads.table, np.array([0]))
    assert (found.digest, found.n_bytes, found.mtime_ns) == (digest("aa"), 10, 7)


@pytest.mark.parametrize(
    ("failure", "n_failures"),
    [(fail("x.png", "xx"), 1), (fail("x.png", "xx", TARGET), 1)],
)
def test_plan_counts_known_failures_of_unchanged_files(failure: Any, n_failures: int) -> None:
    given = inventory(base([A], [failure]), source=entries("a.png", "x.png"))
    states = {"a.png": SAME, "x.png": SAME}
    plan = plan_files(manifest("a.png", "x.png"), given, states, max_failures="50%")
    assert [one.id for one in plan.failures] == ["x.png"] * n_failures
    assert (plan.limit.n_allowed, plan.limit.n_images) == (1, 2)
    assert len(plan.todo) == 0


def test_plan_of_an_unknown_limit_is_refused() -> None:
    with pytest.raises(FeatxError, match=r"^max_failures: expected a number such as 10"):
        plan_files(manifest("a.png", "b.png"), inventory(), {}, max_failures="few")


# --- choose_storage


def made_up_cache(dtype: str = "float16", batch_size: int = 4) -> Cache:
    """A cache with one embedding, as far as `choose_storage` looks at it."""
    info = SimpleNamespace(provenance=build_provenance(batch_size=batch_size))
    return cast(
        Cache,
        SimpleNamespace(
            path="c.h5",
            embeddings=(TARGET,),
            get_info=lambda name: info,
            get_dtype=lambda name: dtype,
        ),
    )


@pytest.mark.parametrize(
    ("cache", "names", "dtype", "batch_size", "expected"),
    [
        pytest.param(None, [TARGET], None, "auto", ("float32", "auto"), id="defaults"),
        pytest.param(None, [TARGET], "float16", 3, ("float16", 3), id="as requested"),
        pytest.param(made_up_cache(), [OTHER], None, 3, ("float32", 3), id="beside another"),
        pytest.param(made_up_cache(), [TARGET], None, "auto", ("float16", 4), id="as it was begun"),
        pytest.param(made_up_cache(), [TARGET], "float16", 4, ("float16", 4), id="the same"),
        pytest.param(made_up_cache(), [OTHER, TARGET], None, "auto", ("float16", 4), id="new"),
        pytest.param(
            made_up_cache(), [TARGET, OTHER], None, "auto", ("float16", 4), id="grows along"
        ),
    ],
)
def test_choose_storage_keeps_what_an_embedding_was_begun_with(
    cache: Cache | None,
    names: list[str],
    dtype: VectorDtype | None,
    batch_size: Count,
    expected: tuple[VectorDtype, Count],
) -> None:
    assert choose_storage(cache, names, dtype, batch_size) == expected


@pytest.mark.parametrize(
    ("dtype", "batch_size", "message"),
    [
        ("float32", "auto", r"^c\.h5, embedding tiny: expected dtype float16, .* got float32\."),
        (None, 8, r"^c\.h5, embedding tiny: expected batch_size 4, .* got 8\. .*overwrite=True"),
    ],
)
def test_choose_storage_of_others_is_refused(
    dtype: VectorDtype | None, batch_size: Count, message: str
) -> None:
    with pytest.raises(CacheError, match=message):
        choose_storage(made_up_cache(), [TARGET], dtype, batch_size)
