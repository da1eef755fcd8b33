"""featx search and featx montage."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from featx.cli.montage import read_ids


def test_search_prints_rows_and_accounts_for_all(
    run_cli: Any, photos: Path, photos_cache: Path
) -> None:
    done = run_cli(
        "search", photos_cache, "val/ants/0.jpg", photos / "val/bees/0.jpg", "--top", "2",
        "--split", "train",
    )  # fmt: skip
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == "val/ants/0.jpg"
    assert lines[1].split() == ["score", "id", "label", "split"]
    assert lines[2].split()[1:] == [lines[2].split()[1], "ants", "train"]
    assert "embedding tests-tiny: 8 rows searched, 4 not in the split or the label" in lines[-1]


def test_search_as_json_with_a_sheet(run_cli: Any, photos_cache: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "found.png"
    done = run_cli("search", photos_cache, "val/ants/0.jpg", "--json", "-o", sheet)
    told = json.loads(done.out)
    assert told["path"] == str(sheet)
    assert len(told["queries"][0]["found"]) == 10
    with Image.open(sheet) as image:
        assert image.width > 1000


def test_search_refuses_a_sheet_of_another_kind_before_it_searches(
    run_cli: Any, photos_cache: Path
) -> None:
    done = run_cli("search", photos_cache, "val/ants/0.jpg", "-o", "found.pdf")
    done.check_error("expected a file that ends in .html, .png")


def test_search_never_replaces_its_query(run_cli: Any, photos: Path, photos_cache: Path) -> None:
    query = photos / "val/bees/0.jpg"
    before = query.read_bytes()
    done = run_cli("search", photos_cache, query, "-o", query)
    done.check_error("expected no file, or a page or sheet that featx wrote, got another file")
    assert query.read_bytes() == before


def test_search_names_flags(run_cli: Any, photos_cache: Path) -> None:
    run_cli("search", photos_cache, "val/ants/77.jpg").check_error("which is neither")


@pytest.mark.parametrize("text", ["val/ants/0.jpg\n\ntrain/bees/1.jpg\n",
                                  "score,id\n0.5,val/ants/0.jpg\n0.4,train/bees/1.jpg\n"],
                         ids=["lines", "table"])  # fmt: skip
def test_montage_reads_ids_from_a_file_or_standard_input(
    text: str, run_cli: Any, photos_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ids.txt").write_text(text)
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    for file in (tmp_path / "ids.txt", "-"):
        done = run_cli("montage", photos_cache, "-o", tmp_path / "m.html", "--ids", file)
        assert done.out.endswith("m.html: 2 of 12 rows\n")


def test_montage_by_class(run_cli: Any, photos: Path, tmp_path: Path) -> None:
    done = run_cli("montage", photos, "-o", tmp_path / "m.png", "--per-class", "1")
    assert done.out.endswith("m.png: 2 of 12 rows of 2 classes\n")
    done = run_cli("montage", photos, "-o", tmp_path / "m.png", "--json")
    assert json.loads(done.out) == {
        "path": str(tmp_path / "m.png"), "n_rows": 12, "n_shown": 12, "n_missing": 0, "n_classes": 2
    }  # fmt: skip


def test_montage_of_ids_that_are_not_there(
    run_cli: Any, photos_cache: Path, tmp_path: Path
) -> None:
    done = run_cli("montage", photos_cache, "-o", tmp_path / "m.png", "--ids", tmp_path / "none")
    done.check_error("none")


@pytest.mark.parametrize("sign", [",", ";", "\t"], ids=["comma", "semicolon", "tab"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_ids_are_read_as_featx_and_excel_write_them(
    tmp_path: Path, sign: str, encoding: str
) -> None:
    table = tmp_path / "ids.csv"
    lines = ["label,id", "ants,'=1+1/a.jpg", ",'quoted.jpg", ",-1"]
    table.write_text("\n".join(lines).replace(",", sign), encoding=encoding)
    assert read_ids(str(table)) == ["=1+1/a.jpg", "'quoted.jpg", "-1"]


def test_ids_that_are_no_text_are_refused(run_cli: Any, photos_cache: Path, tmp_path: Path) -> None:
    (tmp_path / "ids").write_bytes(b"abc" * 100 + b"\x81")
    done = run_cli("montage", photos_cache, "-o", tmp_path / "m.png", "--ids", tmp_path / "ids")
    done.check_error("expected UTF-8 text")
