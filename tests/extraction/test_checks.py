"""How many images may fail, and which sources belong to a cache."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from featx.cache.reader import Cache
from featx.core.columns import Texts
from featx.core.errors import CacheError, FeatxError, SourceError
from featx.core.rows import Row
from featx.extraction.checks import (
    FailureLimit,
    check_manifest,
    check_same_source,
    count_allowed,
    is_other_source,
)
from featx.images.content import InMemory
from featx.images.entries import Entry
from featx.images.manifest import Manifest
from tests.extraction.made_up import manifest


@pytest.mark.parametrize(
    ("text", "n_images", "expected"),
    [
        ("5%", 100, 5),
        ("5%", 19, 1),
        ("5%", 20, 1),
        ("5%", 21, 2),
        ("5%", 2, 1),
        ("0%", 2, 0),
        ("0.1%", 1000, 1),
        ("29%", 100, 29),
        ("100%", 7, 7),
        ("0%", 7, 0),
        (0, 7, 0),
        (3, 7, 3),
        ("12", 7, 12),
        (" 3 ", 7, 3),
    ],
)
def test_count_allowed_is_a_number_or_a_part_rounded_up(
    text: int | str, n_images: int, expected: int
) -> None:
    assert count_allowed(text, n_images) == expected


@pytest.mark.parametrize("text", ["", "%", "-1", "-5%", "101%", "5 %", "few", "1e3", 0.05, None])
def test_count_allowed_of_anything_else_is_refused(text: Any) -> None:
    with pytest.raises(FeatxError, match=r"^max_failures: expected a number such as 10, or a"):
        count_allowed(text, 100)


@pytest.mark.parametrize(
    ("n_allowed", "n_failed", "expected"),
    [(0, 0, False), (2, 2, False), (9, 5, False), (1, 2, True), (10, 10, True), (0, 1, True)],
)
def test_failure_limit_is_exceeded_by_more_or_all(
    n_allowed: int, n_failed: int, expected: bool
) -> None:
    assert (
        FailureLimit(source="photos", n_images=10, n_allowed=n_allowed).is_exceeded(n_failed)
        is expected
    )


class MadeUpCache(SimpleNamespace):
    def __len__(self) -> int:
        return len(self.ids)

    def read_column(self, name: str) -> Texts:
        assert name == "id"
        ids: Texts = self.ids
        return ids


def made_up_cache(source: str, *ids: str) -> Cache:
    return cast(Cache, MadeUpCache(path="c.h5", source=source, ids=Texts.from_list(ids)))


@pytest.mark.parametrize(
    ("cache", "expected"),
    [
        (made_up_cache("/photos", "a.png"), False),
        (made_up_cache("/photos", "x.png"), False),
        (made_up_cache("/moved", "a.png", "x.png"), False),
        (made_up_cache("/moved", "x.png"), True),
        (made_up_cache("/moved"), False),
    ],
)
def test_is_other_source_by_name_and_ids(cache: Cache, expected: bool) -> None:
    assert is_other_source(cache, manifest("a.png", "b.png")) is expected


def test_check_same_source_names_both() -> None:
    message = r"^c\.h5: expected the source that it was made from, /moved, got /photos, which has"
    with pytest.raises(CacheError, match=message):
        check_same_source(made_up_cache("/moved", "x.png"), manifest("a.png"))


def test_check_manifest_refuses_a_manifest_without_rows() -> None:
    with pytest.raises(SourceError, match=r"^/photos: expected at least one row, got none"):
        check_manifest(Manifest(source="/photos", entries=()))


def test_check_manifest_refuses_an_id_that_comes_twice() -> None:
    message = r"^/photos: expected each id once, got 'b\.png' 2 times\. Give each row an id"
    with pytest.raises(SourceError, match=message):
        check_manifest(manifest("a.png", "b.png", "b.png"))
    check_manifest(manifest("a.png", "b.png"))


def test_check_manifest_refuses_images_in_memory() -> None:
    """They have no digest: all rows would get the vector of one of them."""
    entry = Entry(Row(id="0", path="image 0"), InMemory(np.zeros((2, 2, 3), np.uint8)))
    message = r"^/photos, row '0': expected an image in a file, got an image in memory\. Save"
    with pytest.raises(SourceError, match=message):
        check_manifest(Manifest(source="/photos", entries=(*manifest("a.png").entries, entry)))
