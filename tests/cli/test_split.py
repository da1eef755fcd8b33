"""featx split: a line per class, and new rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from featx.cli.info import MAX_CLASSES
from featx.cli.split import sort_by_rarity
from tests.builders import MakeCache, rewrite_values


def test_split_prints_a_line_per_class(make_cache: MakeCache, run_cli: Any) -> None:
    result = run_cli("split", make_cache(splits=False), "--val", "0.2", "--test", "0.1")
    first, _, *table = result.out.splitlines()
    assert first.endswith("cache.h5: train 42, val 12, test 6")
    assert [line.split() for line in table] == [
        ["class", "train", "val", "test", "all"],
        ["ants", "21", "6", "3", "30"],
        ["bees", "21", "6", "3", "30"],
        ["all", "42", "12", "6", "60"],
    ]


def test_split_prints_runs_of_numbers(make_cache: MakeCache, run_cli: Any) -> None:
    path = make_cache(splits=False)
    rewrite_values(path, "labels/label", [str(row) for row in range(60)])
    result = run_cli("split", path, "--val", "0.2")
    assert result.err.startswith("featx: the labels look like numbers: each split takes its share")
    lines = [line.split() for line in result.out.splitlines()[2:]]
    assert lines[0] == ["numbers", "train", "val", "all"]
    assert lines[1][:3] == ["0", "to", "5"]
    assert lines[-1] == ["all", "48", "12", "60"]


def test_split_of_new_rows_leaves_the_others(cache_path: Path, run_cli: Any) -> None:
    rewrite_values(cache_path, "labels/split", "", slice(30, 40))
    refused = run_cli("split", cache_path)
    assert refused.code == 1
    assert refused.err.strip().endswith("or --new to split only the 10 rows without one.")
    result = run_cli("split", cache_path, "--new", "--json")
    found = json.loads(result.out)
    assert found["n_dealt"] == 10
    assert found["splits"] == {"train": 36, "val": 24}
    assert found["counts"]["ants"] == {"train": 18, "val": 12}
    assert result.err == "featx: 10 rows got a split, and 50 kept theirs\n"


def test_fit_head_tells_how_to_split_new_rows(
    cache_path: Path, run_cli: Any, tmp_path: Path
) -> None:
    rewrite_values(cache_path, "labels/split", "", slice(30, 40))
    result = run_cli("fit-head", cache_path, "-o", tmp_path / "new.joblib")
    assert result.err.strip().endswith(
        "10 labelled rows have no split, and were left out. Split them with featx split cache --new"
    )


@pytest.mark.parametrize("n_classes", [MAX_CLASSES, MAX_CLASSES + 1])
def test_split_of_many_classes_begins_with_the_rarest(n_classes: int) -> None:
    counts = {f"c{n:02}": {"train": 100 - n, "val": 30 - n} for n in range(n_classes)}
    first = next(iter(sort_by_rarity(counts)))
    assert first == ("c00" if n_classes == MAX_CLASSES else f"c{n_classes - 1:02}")
