"""The table of classes by splits that `featx info` prints, and what it says of a wrong path."""

from pathlib import Path
from typing import Any

import pytest

from featx.cli.info import MAX_CLASSES, format_said, info, print_counts, sort_key
from featx.core.errors import FeatxError


def show(capsys: pytest.CaptureFixture[str], counts: dict[str, dict[str, int]]) -> list[list[str]]:
    print_counts(counts)
    return [line.split("  ") for line in capsys.readouterr().out.splitlines()]


def clean(lines: list[list[str]]) -> list[list[str]]:
    return [[word.strip() for word in line if word.strip()] for line in lines]


def test_counts_show_rows_without_split_and_without_label(
    capsys: pytest.CaptureFixture[str],
) -> None:
    counts = {"ants": {"train": 3, "": 1}, "": {"val": 2}}
    assert clean(show(capsys, counts)) == [
        ["class", "train", "val", "no split", "all"],
        ["ants", "3", "0", "1", "4"],
        ["(no label)", "0", "2", "0", "2"],
        ["all", "3", "2", "1", "6"],
    ]


def test_counts_without_splits_are_one_column(capsys: pytest.CaptureFixture[str]) -> None:
    assert clean(show(capsys, {"ants": {"": 3}})) == [["class", "rows"], ["ants", "3"]]


def test_counts_of_many_classes_are_summed(capsys: pytest.CaptureFixture[str]) -> None:
    counts = {f"c{number}": {"train": 2, "val": 1} for number in range(65)}
    lines = clean(show(capsys, counts))
    assert len(lines) == 1 + MAX_CLASSES + 2
    assert lines[-2] == ["… 45 more, together", "90", "45", "135"]
    assert lines[-1] == ["all", "130", "65", "195"]


def test_classes_that_are_numbers_are_in_their_order() -> None:
    assert sorted(["10", "", "2", "b", "a"], key=sort_key) == ["2", "10", "a", "b", ""]


def test_said_is_one_line_for_each_column() -> None:
    said: list[dict[str, Any]] = [
        {"field": "label", "author": None, "n_rows": 380, "n_unsure": 0},
        {"field": "label", "author": "ada", "n_rows": 12, "n_unsure": 3},
        {"field": "split", "author": "bob", "n_rows": 398, "n_unsure": 0},
    ]
    assert format_said(said) == [
        "labels  380 by the source, 12 by ada (3 unsure)",
        "splits  398 by bob",
    ]


def test_info_on_an_interrupted_extraction_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "new.h5.partial").mkdir()
    with pytest.raises(FeatxError) as caught:
        info([tmp_path / "new.h5"])
    assert caught.value.got == f"only unfinished work in {tmp_path}/new.h5.partial"
    assert (
        caught.value.remedy == f"Go on with it: featx.extract(SOURCE, output='{tmp_path}/new.h5')."
    )
