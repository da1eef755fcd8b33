"""A source and a cache of it, compared in everything that both say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.cache.joined import open_cache
from featx.cache.label_writer import write_splits
from featx.core.rows import Failure, Row
from featx.core.typing import Split
from featx.extraction.agreement import Agreement, compare_source
from featx.images.content import InMemory
from featx.images.entries import Entry
from featx.images.manifest import Manifest
from tests.builders import build_info, build_rows, write_vectors

LABELS = ["a", "b", "a", "b"]
SPLITS: list[Split | None] = ["train", "train", "val", "val"]
GROUPS = ["g", "g", "h", "h"]


def build_manifest(rows: Sequence[Row]) -> Manifest:
    return Manifest(source="photos", entries=tuple(Entry(row, InMemory(None)) for row in rows))


@pytest.fixture
def rows() -> list[Row]:
    return build_rows(LABELS, SPLITS, GROUPS)


@pytest.fixture
def cache(rows: list[Row], tmp_path: Path) -> Path:
    failure = Failure(id="f.jpg", path="/f.jpg", digest="", stage="decode", reason="broken")
    return write_vectors(
        tmp_path / "c.h5", [build_info()], rows, {"tiny": np.ones((4, 8))}, failures=[failure]
    )


def compare(cache: Path, rows: Sequence[Row]) -> Agreement:
    with open_cache(cache) as opened:
        return compare_source(build_manifest(rows), opened)


def test_source_that_says_the_same_agrees(cache: Path, rows: list[Row]) -> None:
    assert compare(cache, rows[::-1]) == Agreement(n_common=4, n_new=0, disagreements=())


@pytest.mark.parametrize(
    ("field", "value", "column", "text"),
    [
        ("label", "z", "labels", "labels for 2 of 4 rows, such as {} ('z', in the cache 'a')"),
        ("label", None, "labels", "labels for 2 of 4 rows, such as {} (none, in the cache 'a')"),
        ("split", "val", "splits", "splits for 1 of 4 rows, such as {} ('val', in the cache "
         "'train')"),
        ("group", "z", "groups", "groups for 2 of 4 rows, such as {} ('z', in the cache 'g')"),
    ],
)  # fmt: skip
def test_source_that_says_something_else_is_told(
    cache: Path, rows: list[Row], field: str, value: Any, column: str, text: str
) -> None:
    changed = [replace(row, **{field: value}) if n % 2 == 0 else row for n, row in enumerate(rows)]
    found = compare(cache, changed)
    (one,) = found.disagreements
    assert one.column == column
    assert one.describe(found.n_common) == f"other {text.format(rows[0].id)}"


@pytest.mark.parametrize("field", ["label", "split", "group"])
def test_source_that_says_nothing_of_a_column_agrees(
    cache: Path, rows: list[Row], field: str
) -> None:
    nothing: dict[str, Any] = {field: None}
    silent = [replace(row, **nothing) for row in rows]
    assert compare(cache, silent).disagreements == ()


def test_source_that_labels_what_the_cache_has_no_label_of_is_told(
    tmp_path: Path, rows: list[Row]
) -> None:
    plain = [replace(row, label=None) for row in rows]
    path = write_vectors(tmp_path / "p.h5", [build_info()], plain, {"tiny": np.ones((4, 8))})
    (one,) = compare(path, rows).disagreements
    assert (one.column, one.n_rows, one.in_source, one.in_cache) == ("labels", 4, "a", "")


def test_images_that_only_the_source_has_are_counted_without_those_that_failed(
    cache: Path, rows: list[Row]
) -> None:
    others = [replace(rows[0], id=name) for name in ("f.jpg", "new/1.jpg", "new/2.jpg")]
    found = compare(cache, [*rows[:2], *others])
    assert (found.n_common, found.n_new) == (2, 2)
    with open_cache(cache) as opened:
        text = found.describe_new(build_manifest([*rows, *others]), opened)
    assert text.startswith("2 of 7 images of photos are not in ")


def test_source_is_compared_with_what_it_said_and_not_with_what_people_say(
    cache: Path, rows: list[Row]
) -> None:
    write_splits(cache, ["val", "val", "train", "train"])
    with open_cache(cache) as opened:
        assert opened.splits.tolist() == ["val", "val", "train", "train"]
    assert compare(cache, rows).disagreements == ()
