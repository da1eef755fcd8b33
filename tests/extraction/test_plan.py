"""Which images need embedding, decided without reading or running anything."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from featx.cache.reader import Cache
from featx.core.errors import CacheError, FeatxError
from featx.core.typing import Count, VectorDtype
from featx.extraction.inventory import FileState, Inventory
from featx.extraction.plan import choose_storage, plan_extraction
from tests.builders import build_provenance
from tests.extraction.made_up import OTHER, TARGET, base, fail, inventory, manifest, row, work

SAME: FileState = (10, 7)
A, B = row("a.png", "aa"), row("b.png", "bb")
THERE = inventory(base([A, B]))


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
            inventory(base([A]), work([B])),
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
    plan = plan_extraction(manifest("a.png", "b.png"), given, states, max_failures=0)
    assert list(plan.unchanged) == unchanged
    assert [entry.row.id for entry in plan.todo] == todo
    assert plan.failures == ()


def test_plan_with_rehash_reads_what_the_unfinished_run_has_not_read() -> None:
    given = inventory(base([A]), work([B]))
    states = {"a.png": SAME, "b.png": SAME}
    plan = plan_extraction(manifest("a.png", "b.png"), given, states, max_failures=0, rehash=True)
    assert list(plan.unchanged) == ["b.png"]
    assert [entry.row.id for entry in plan.todo] == ["a.png"]


def test_plan_gives_unchanged_rows_their_digest_and_the_label_of_the_source() -> None:
    plan = plan_extraction(manifest("a.png"), THERE, {"a.png": SAME}, max_failures=0)
    found = plan.unchanged["a.png"]
    assert (found.digest, found.n_bytes, found.mtime_ns) == ("aa", 10, 7)
    assert (found.label, found.width) == ("ants", 0)  # the size is joined by content


@pytest.mark.parametrize(
    ("failure", "n_failures"),
    [(fail("x.png", "xx"), 1), (fail("x.png", "xx", TARGET), 1)],
)
def test_plan_counts_known_failures_of_unchanged_files(failure: Any, n_failures: int) -> None:
    given = inventory(base([A], [failure]))
    states = {"a.png": SAME, "x.png": SAME}
    plan = plan_extraction(manifest("a.png", "x.png"), given, states, max_failures="50%")
    assert [one.id for one in plan.failures] == ["x.png"] * n_failures
    assert (plan.limit.n_allowed, plan.limit.n_images) == (1, 2)
    assert plan.todo == ()


def test_plan_of_an_unknown_limit_is_refused() -> None:
    with pytest.raises(FeatxError, match=r"^max_failures: expected a number such as 10"):
        plan_extraction(manifest("a.png"), inventory(), {}, max_failures="few")


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
