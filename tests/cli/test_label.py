"""featx label: what it prints, and what it says of a wrong table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

TABLE = "id,label\nbees/000.jpg,ants\nants/001.jpg,ants\nnowhere.jpg,ants\n"


@pytest.fixture
def table(cache_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(cache_path.parent)
    path = Path("labels.csv")
    path.write_text(TABLE)
    return path


def test_label_prints_what_changes_and_names_what_has_no_row(table: Path, run_cli: Any) -> None:
    result = run_cli("label", "cache.h5", table, "--dry-run")
    assert [line.split() for line in result.out.splitlines()[:2]] == [
        ["column", "before", "after", "rows"],
        ["label", "bees", "ants", "1"],
    ]
    last = "cache.h5: 2 new statements, 1 row changed"
    assert result.out.splitlines()[-1] == f"{last}; nothing was written"
    assert result.err == "featx: 1 line without a row in cache.h5: 'nowhere.jpg'\n"
    result = run_cli("label", "cache.h5", table, "--author", "ada")
    assert result.out.splitlines()[-1] == last
    result = run_cli("label", "cache.h5", table, "--author", "ada")
    told = "cache.h5: 0 new statements, 2 known before, 0 rows changed; nothing was written"
    assert result.out.splitlines() == [told]


def test_info_says_whose_word_holds(table: Path, run_cli: Any) -> None:
    run_cli("label", "cache.h5", table, "--author", "ada", "--kind", "Unsure")
    lines = run_cli("info", "cache.h5").out.splitlines()
    assert "labels  58 by the source, 2 by ada (2 unsure)" in lines
    said = json.loads(run_cli("info", "cache.h5", "--json").out)["said"]
    assert said[1] == {"field": "label", "author": "ada", "n_rows": 2, "n_unsure": 2}


def test_label_hints_in_flags(table: Path, run_cli: Any) -> None:
    table.write_text("id,label,split\nbees/000.jpg,,val\n")
    err = run_cli("label", "cache.h5", table).err
    assert "Pass --remove-empty to take the label of these rows away" in err
    assert "columns passed over: 'split'. Pass --field NAME to record one of them" in err
    assert run_cli("label", "cache.h5", table, "--field", "split").code == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,label\nx,ants\n", "labels.csv: expected ids, paths or digests of rows of cache.h5"),
        ("name,label\nx,ants\n", "labels.csv: expected a column id, digest or path"),
        (
            "id,label\nants/001.jpg,a\nants/001.jpg,b\n",
            "got 'a' (sure) in line 2 and 'b' (sure) in line 3",
        ),
    ],
)
def test_label_of_a_wrong_table_is_an_error_in_one_line(
    table: Path, run_cli: Any, text: str, message: str
) -> None:
    table.write_text(text)
    run_cli("label", "cache.h5", table).check_error(message)


def test_split_prints_and_records_the_author(make_cache: Any, run_cli: Any) -> None:
    path = make_cache(splits=False)
    assert run_cli("split", path, "--author", "ada").code == 0
    assert "splits  60 by ada" in run_cli("info", path).out.splitlines()
