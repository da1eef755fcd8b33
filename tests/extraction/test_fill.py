"""Output of the network goes to the shards, and failures are counted."""

from collections.abc import Generator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from featx.cache.shards import Shards
from featx.core.errors import FeatxWarning
from featx.core.rows import Failure
from featx.embedding.batching import EmbeddedBatch
from featx.extraction.checks import FailureLimit
from featx.extraction.fill import Filled, embed_missing
from featx.extraction.plan import Plan
from featx.images.entries import as_columns
from tests.extraction.made_up import fail, inventory


class RecordingShards(SimpleNamespace):
    """Keeps how many failures each batch brought, and how often work became durable."""

    def append(self, rows: Any, vectors: Any, *, repeats: Any, failures: Sequence[Failure]) -> None:
        self.appended.append(len(failures))

    def seal_when_due(self, seconds: float) -> None:
        pass

    def seal(self) -> None:
        self.n_sealed += 1


def fill(batches: Sequence[Sequence[Failure]], n_allowed: int) -> tuple[Filled, RecordingShards]:
    """Run batches that bring nothing but failures."""

    def run() -> Generator[EmbeddedBatch]:
        for failures in batches:
            yield EmbeddedBatch(rows=(), vectors={}, failures=tuple(failures))

    nothing = inventory(source=())
    plan = Plan(
        reads=nothing.find_reads(rehash=False),
        todo=as_columns(()),
        failures=(),
        limit=FailureLimit(source="p", n_images=100, n_allowed=n_allowed),
    )
    shards = RecordingShards(appended=[], n_sealed=0)
    filled = embed_missing(plan, run(), cast(Shards, shards), {}, shard_seconds=9)
    return filled, shards


BATCHES = [[fail("a", "a"), fail("b", "")], [fail("c", "c")], [fail("d", "d")]]


def test_embed_missing_within_the_limit_says_nothing() -> None:
    filled, shards = fill(BATCHES, n_allowed=4)
    assert [one.id for one in filled.failures] == ["a", "b", "c", "d"]
    assert list(filled.unread) == ["b"]
    assert (shards.appended, shards.n_sealed) == ([2, 1, 1], 1)


def test_embed_missing_beyond_the_limit_says_so_once_and_goes_on() -> None:
    with pytest.warns(FeatxWarning, match=r"^more images failed than the 1 that may") as warned:
        filled, shards = fill(BATCHES, n_allowed=1)
    assert len(warned) == 1
    assert len(filled.failures) == 4
    assert shards.appended == [2, 1, 1]


def test_embed_missing_ends_at_once_if_failures_are_beyond_listing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("featx.extraction.fill.MAX_LISTED", 2)
    with pytest.warns(FeatxWarning):
        filled, shards = fill(BATCHES, n_allowed=1)
    assert (shards.appended, shards.n_sealed) == ([2, 1], 1)
    assert filled.is_hopeless(FailureLimit(source="p", n_images=100, n_allowed=1))
    assert not filled.is_hopeless(FailureLimit(source="p", n_images=100, n_allowed=3))
