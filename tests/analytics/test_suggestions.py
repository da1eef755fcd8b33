"""The table of suggestions: columns, guarded cells, files that are not replaced."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from featx.analytics.suggestions import COLUMNS, Suggestions
from featx.core.errors import CacheError

FOUND = Suggestions(
    rows=np.array([4, 2]),
    ids=np.array(["a.jpg", "=b.jpg"], object),
    paths=np.array(["/images/a.jpg", "/images/=b.jpg"], object),
    scores=np.array([0.75, np.nan]),
    reasons=("ants 0.60 or bees 0.35", "=1+1 0.50 or bees 0.40"),
    strategy="uncertain",
    because="64 labels",
    split="train",
    n_labels=64,
    n_classes=2,
    n_rows=5,
    n_labelled=1,
    n_held_out=1,
    n_without_vector=0,
    n_alike=0,
    n_open=3,
    n_considered=3,
)


def test_table_has_its_columns_and_no_formulas(tmp_path: Path) -> None:
    FOUND.write(tmp_path / "next.csv")
    with (tmp_path / "next.csv").open(newline="", encoding="utf-8") as stream:
        header, *lines = csv.reader(stream)
    assert tuple(header) == COLUMNS
    assert lines == [
        ["a.jpg", "/images/a.jpg", "", "train", "0.7500", "ants 0.60 or bees 0.35"],
        ["", "/images/=b.jpg", "", "train", "", "'=1+1 0.50 or bees 0.40"],
    ]


def test_table_that_a_person_filled_in_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "next.csv"
    FOUND.write(path)
    FOUND.write(path)  # the same content
    path.write_text(path.read_text().replace("jpg,,train", "jpg,ants,train"))
    with pytest.raises(CacheError, match="overwrite=True"):
        FOUND.write(path)
    assert "ants,train" in path.read_text()
    FOUND.write(path, overwrite=True)
    assert "ants,train" not in path.read_text()


def test_dictionary_has_all_but_arrays() -> None:
    record = FOUND.to_dict()
    assert record["n_open"] == 3
    assert record["labelling_gain"] is None
    assert [one["score"] for one in record["suggestions"]] == [0.75, None]
    assert len(replace(FOUND, rows=np.array([1]))) == 1
