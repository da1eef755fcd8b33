"""featx audit: what it prints, and its table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def test_audit_prints_a_line_for_each_part(run_cli: Any, cache_path: Path) -> None:
    result = run_cli("audit", cache_path)
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0] == f"{cache_path}: 60 rows, 60 labelled, embedding tiny"
    parts = ["leaks", "duplicates", "two classes", "label errors", "outliers", "blank", "failures"]
    assert [line[:13].strip() for line in lines[1:8]] == parts
    assert lines[4][14:] == "- (60 labelled rows are too few; 100 can be judged)"
    assert lines[6][14:].startswith("- (no image can be read")


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
