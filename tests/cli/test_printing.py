"""What commands print: one function for lines, one for tables, one for JSON."""

import json
import re
from pathlib import Path

import pytest

import featx.cli
from featx.cli.printing import measure_table, print_json, print_table, print_text

FOLDER = Path(featx.cli.__file__).parent
PRINTERS = {"printing.py", "streams.py", "terminal.py", "settings.py"}
HOSTILE = "a\x1b[31mnt\u202e\n"


def test_commands_print_what_strangers_wrote_through_functions_that_escape_it() -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.py")}
    printing = {
        name
        for name, text in texts.items()
        if re.search(r"(?<![\w.])print\(", text.partition("def ")[2])
    }
    assert printing
    assert printing - PRINTERS == set()


def test_print_text_escapes_but_keeps_lines(capsys: pytest.CaptureFixture[str]) -> None:
    print_text(HOSTILE + "two")
    print_text()
    assert capsys.readouterr().out == "a\\u001b[31mnt\\u202e\ntwo\n\n"


def test_print_table_escapes_cells(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["class", "rows"], [[HOSTILE, 1]])
    assert capsys.readouterr().out.splitlines()[1] == "a\\u001b[31mnt\\u202e\\u000a     1"


def test_print_json_holds_texts_as_they_are_without_printing_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_json({"label": HOSTILE, "path": Path("é.jpg"), "gone": float("nan"), "odd": "\udcff"})
    out = capsys.readouterr().out
    assert out.isascii() is False
    assert all(line.isprintable() for line in out.splitlines())
    assert json.loads(out) == {"label": HOSTILE, "path": "é.jpg", "gone": None, "odd": "\udcff"}


def test_measure_table_counts_columns_and_gaps() -> None:
    assert measure_table(["class", "rows"], [["ants", 1], ["beetle", 12]]) == 6 + 2 + 4
