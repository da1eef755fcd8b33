"""featx suggest."""

import json
from pathlib import Path
from typing import Any

import pytest

from featx.fitting.fit import fit_head
from featx.fitting.label import label_cache
from tests.builders import MakeCache

pytestmark = pytest.mark.filterwarnings("ignore::featx.core.errors.FeatxWarning")


@pytest.fixture
def unlabelled(cache_path: Path) -> Path:
    """A cache of 40 train rows, of which 4 are labelled, and 20 val rows."""
    names = [f"{'ants' if n % 2 else 'bees'}/{n:03}.jpg" for n in range(4, 40)]
    label_cache(cache_path, dict.fromkeys(names, ""), author="ada")
    return cache_path


def test_rows_are_listed_with_the_account_of_all(unlabelled: Path, run_cli: Any) -> None:
    result = run_cli("suggest", unlabelled, "-n", 25)
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0].split() == ["id", "score", "why"]
    assert "… 5 more" in lines
    assert lines[-1].endswith(
        ": 25 typical rows (4 labels of 2 classes, fewer than 8 per class or 64 in all) of 36 that "
        "may be labelled next; 60 rows in all, 24 labelled"
    )


def test_table_is_written_once(unlabelled: Path, run_cli: Any, tmp_path: Path) -> None:
    table = tmp_path / "next.csv"
    result = run_cli("suggest", unlabelled, "-n", 3, "-o", table)
    assert result.out.splitlines()[-1] == (
        f"{table}: fill in the column label, then run: featx label CACHE {table}"
    )
    assert len(table.read_text().splitlines()) == 4
    run_cli("suggest", unlabelled, "-n", 4, "-o", table).check_error("--overwrite")
    assert run_cli("suggest", unlabelled, "-n", 4, "-o", table, "--overwrite").code == 0
    assert run_cli("label", unlabelled, table, "--dry-run").code == 0


def test_random_rows_are_for_val(unlabelled: Path, run_cli: Any) -> None:
    result = run_cli("suggest", unlabelled, "-n", 2, "--strategy", "random", "--json")
    found = json.loads(result.out)
    assert [one["split"] for one in found["suggestions"]] == ["val", "val"]
    assert [one["score"] for one in found["suggestions"]] == [None, None]


def test_earlier_head_tells_whether_to_go_on(
    unlabelled: Path, run_cli: Any, tmp_path: Path
) -> None:
    fit_head(unlabelled, tmp_path / "1.joblib", C=1e-6)
    label_cache(unlabelled, {"bees/004.jpg": "bees", "ants/005.jpg": "ants"}, author="ada")
    fit_head(unlabelled, tmp_path / "3.joblib", C=1.0)
    words = ["--head", tmp_path / "3.joblib", "--previous", tmp_path / "1.joblib"]
    result = run_cli("suggest", unlabelled, "-n", 2, *words)
    assert "the last 2 labels changed the accuracy by" in result.out
    run_cli("suggest", unlabelled, *words[2:]).check_error("--head", code=2)


@pytest.mark.parametrize("name", ["sheet.txt", "no/sheet.png"])
def test_sheet_that_cannot_be_written_is_refused_first(
    unlabelled: Path, run_cli: Any, tmp_path: Path, name: str
) -> None:
    table = tmp_path / "next.csv"
    words = ["-o", table, "--sheet", tmp_path / name]
    assert run_cli("suggest", unlabelled, "-n", 2, *words).code == 1
    assert not table.exists()


def test_cache_and_heads_are_never_replaced(
    unlabelled: Path, run_cli: Any, make_cache: MakeCache, tmp_path: Path
) -> None:
    head = tmp_path / "head.joblib"
    assert run_cli("fit-head", make_cache("labelled.h5"), "-o", head).code == 0
    for read in (unlabelled, head):
        before = read.read_bytes()
        result = run_cli("suggest", unlabelled, "--head", head, "-o", read, "--overwrite")
        result.check_error("got a file that the run reads")
        assert read.read_bytes() == before


def test_one_file_for_table_and_sheet_is_refused(
    unlabelled: Path, run_cli: Any, tmp_path: Path
) -> None:
    page = tmp_path / "next.html"
    result = run_cli("suggest", unlabelled, "-o", page, "--sheet", page)
    result.check_error("got one file for two outputs")
    assert not page.exists()
