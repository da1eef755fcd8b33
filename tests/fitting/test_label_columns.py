"""Further columns of a cache: recorded as labels are, for targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import featx
from featx.core.errors import CacheError, SourceError
from featx.fitting.label import label_cache
from featx.fitting.label_field import clean_field
from featx.labels.changes import LabelChange
from tests.builders import MakeCache

FIRST, SECOND = "bees/000.jpg", "ants/001.jpg"


def read(path: Any, name: str) -> dict[str, str]:
    with featx.open_cache(path) as cache:
        values = cache.read_column(name).to_list()
        return {key: value for key, value in zip(cache.ids, values, strict=True) if value}


def test_a_further_column_is_recorded_and_read(cache_path: Path) -> None:
    report = label_cache(
        cache_path,
        {FIRST: 2.5, SECOND: np.float64(0.1), "ants/003.jpg": 3.0},
        field="price",
        author="ada",
    )
    assert report.n_new == 3
    assert report.changes[0] == LabelChange(field="price", before="", after="2.5", n_rows=1)
    assert read(cache_path, "price") == {FIRST: "2.5", SECOND: "0.1", "ants/003.jpg": "3"}
    with featx.open_cache(cache_path) as cache:
        assert cache.columns == ("price",)
        assert cache.read_column("price", 1, 2).to_list() == ["0.1"]
        assert cache.labels[0] == "bees"
        assert [one.field for one in cache.read_history(FIRST)] == ["price"]
    featx.verify_cache(cache_path)


def test_the_same_call_again_changes_nothing_and_another_value_holds(cache_path: Path) -> None:
    label_cache(cache_path, {FIRST: 2.5}, field="price", author="ada")
    before = cache_path.read_bytes()
    assert label_cache(cache_path, {FIRST: 2.5}, field="price", author="ada").n_known == 1
    assert cache_path.read_bytes() == before
    report = label_cache(cache_path, {FIRST: 4}, field="price", author="ada")
    assert report.changes == (LabelChange(field="price", before="2.5", after="4", n_rows=1),)
    with pytest.warns(featx.FeatxWarning, match="another person was sure"):
        label_cache(cache_path, {FIRST: 5}, field="price", author="bob")
    label_cache(cache_path, {FIRST: None}, field="price", author="bob")
    assert read(cache_path, "price") == {}


def test_several_columns_do_not_touch_each_other(cache_path: Path) -> None:
    label_cache(cache_path, {FIRST: "yes"}, field="red")
    label_cache(cache_path, {FIRST: "no", SECOND: "yes"}, field="Big ones")
    assert read(cache_path, "red") == {FIRST: "yes"}
    assert read(cache_path, "Big ones") == {FIRST: "no", SECOND: "yes"}


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_table_gives_a_column_by_its_name(cache_path: Path, tmp_path: Path, suffix: str) -> None:
    table = tmp_path / f"prices.{suffix}"
    if suffix == "csv":
        table.write_text(f"id,label,Price\n{FIRST},x,1.25\n{SECOND},y,\n")
    elif suffix == "jsonl":
        table.write_text(
            f'{{"id": "{FIRST}", "Price": 1.25}}\n{{"id": "{SECOND}", "Price": null}}\n'
        )
    else:
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.table({"id": [FIRST, SECOND], "Price": [1.25, None]}), table)
    with pytest.warns(featx.FeatxWarning, match="1 line without a price: they say nothing"):
        label_cache(cache_path, table, field="price")
    assert read(cache_path, "price") == {FIRST: "1.25"}


def test_a_table_without_the_column_is_told(cache_path: Path, tmp_path: Path) -> None:
    table = tmp_path / "prices.csv"
    table.write_text(f"id,label\n{FIRST},x\n")
    with pytest.raises(SourceError, match="expected a column price, got id, label"):
        label_cache(cache_path, table, field="price")


def test_caches_that_are_read_as_one_share_what_was_said_of_an_image(
    make_cache: MakeCache, tmp_path: Path
) -> None:
    path = make_cache("one.h5")
    label_cache(path, {FIRST: 2.5}, field="price")
    merged = tmp_path / "merged.h5"
    featx.merge_caches([path], merged)
    assert read(merged, "price") == {FIRST: "2.5"}
    label_cache([path], {SECOND: 1.5}, field="price")
    assert read([path], "price") == {FIRST: "2.5", SECOND: "1.5"}


def test_a_column_that_nobody_recorded_is_told(cache_path: Path) -> None:
    with (
        featx.open_cache(cache_path) as cache,
        pytest.raises(CacheError, match="a recorded column price, got no recorded columns"),
    ):
        cache.read_column("price")


@pytest.mark.parametrize(
    "name", ["", "path", "Digest", "kind", "value", "lable", "Groups", "x" * 201, 3], ids=repr
)
def test_names_that_mean_something_else_are_refused(name: Any) -> None:
    with pytest.raises(SourceError, match="field: expected label, split, group"):
        clean_field(name)


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [("LABEL", "label"), (" price  in EUR ", "price in EUR"), ("größe", "größe"), ("y", "y")],
)
def test_names_have_one_form(name: str, cleaned: str) -> None:
    assert clean_field(name) == cleaned
