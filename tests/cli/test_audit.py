"""featx audit: what it prints, and its table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders import MakeCache, build_info, build_rows, write_vectors


def test_audit_prints_a_line_for_each_part(run_cli: Any, cache_path: Path) -> None:
    result = run_cli("audit", cache_path)
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0] == f"{cache_path}: 60 rows, 60 labelled, embedding tiny"
    parts = [
        "leaks", "groups", "duplicates", "two classes", "label errors", "outliers", "blank",
        "failures",
    ]  # fmt: skip
    assert [line[:13].strip() for line in lines[1:9]] == parts
    assert lines[5][14:] == "- (60 labelled rows are too few; 100 can be judged)"
    assert lines[7][14:].startswith("- (no image can be read")


def test_audit_as_json_with_table_and_page(
    run_cli: Any, photos: Path, photos_cache: Path, tmp_path: Path
) -> None:
    page, table = tmp_path / "audit.html", tmp_path / "review.csv"
    result = run_cli(
        "audit", photos_cache, "--source", photos, "-o", page, "--table", table, "--json"
    )
    assert result.code == 0, result.err
    told = json.loads(result.out)
    assert (told["n_rows"], told["path"], told["table"]) == (12, str(page), str(table))
    assert told["near_duplicates"] == []
    assert told["label_errors"] is None
    header = table.read_text(encoding="utf-8").splitlines()[0]
    assert header == "id,finding,given,suggested,score,other,keep,label"
    assert page.exists()


def test_audit_refuses_a_page_of_another_kind_first(run_cli: Any, cache_path: Path) -> None:
    result = run_cli("audit", cache_path, "-o", "audit.pdf")
    assert result.code == 1
    assert "expected a file that ends in" in result.err


def test_table_that_may_hold_labels_is_not_replaced(
    run_cli: Any, cache_path: Path, tmp_path: Path
) -> None:
    table = tmp_path / "review.csv"
    table.write_text("id,label\n1.jpg,ants\n", encoding="utf-8")
    run_cli("audit", cache_path, "--table", table).check_error("expected a new file")
    assert "ants" in table.read_text(encoding="utf-8")
    assert run_cli("audit", cache_path, "--table", table, "--overwrite").code == 0
    assert table.read_text(encoding="utf-8").startswith("id,finding")


def test_one_file_for_table_and_page_is_refused(
    run_cli: Any, cache_path: Path, tmp_path: Path
) -> None:
    page = tmp_path / "audit.html"
    result = run_cli("audit", cache_path, "-o", page, "--table", page)
    result.check_error("got one file for two outputs")
    assert not page.exists()


def test_cache_and_its_images_are_never_replaced(
    run_cli: Any, photos: Path, photos_cache: Path
) -> None:
    before = photos_cache.read_bytes()
    result = run_cli("audit", photos_cache, "--table", photos_cache, "--overwrite")
    result.check_error("got a file that the run reads")
    assert photos_cache.read_bytes() == before
    image = next(path for path in sorted(photos.rglob("*")) if path.suffix in (".jpg", ".png"))
    before = image.read_bytes()
    run_cli("audit", photos_cache, "-o", image).check_error("got another file")
    assert image.read_bytes() == before


def test_sheet_of_nothing_is_told_and_the_report_printed(
    run_cli: Any, make_cache: MakeCache, tmp_path: Path
) -> None:
    sheet = tmp_path / "audit.png"
    result = run_cli("audit", make_cache(n_train=20, n_val=5), "-o", sheet)
    assert result.code == 0
    assert "leaks         none" in result.out
    assert "written to" not in result.out
    assert "is not written: nothing was found" in result.err
    assert not sheet.exists()


@pytest.mark.parametrize("n_rows", [1, 2, 40])
def test_rows_without_vectors_are_accounted_for(run_cli: Any, tmp_path: Path, n_rows: int) -> None:
    rows = build_rows(["ants", "bees"] * (n_rows // 2) or ["ants"], [None] * n_rows)
    empty = {"tiny": np.full((n_rows, 8), np.nan, np.float32)}
    cache = write_vectors(tmp_path / "empty.h5", [build_info()], rows, empty)
    result = run_cli("audit", cache)
    assert result.code == 0
    assert f"{n_rows} without a vector" in result.out
    assert "outliers      - (no row has a vector)" in result.out
    assert f"{n_rows} row{'s' * (n_rows > 1)} went by the bytes alone" in result.out
