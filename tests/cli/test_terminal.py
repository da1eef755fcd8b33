"""Tables fit the terminal, and are plain text elsewhere."""

import io
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from featx.cli import printing
from featx.cli.table import TextTable
from featx.cli.terminal import choose_cut_width, fit_text, print_fitting

LONG = "photos/2021/expedition to the north/ants/plot 17/0001.jpg"
REASON = "expected an image in a format that featx reads, got a page of HTML: look into the file"


def show(width: int, header: Any, lines: Any, cut: Any = ()) -> list[str]:
    """Print a table on a terminal of some width, and return its lines."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True, highlight=False, no_color=True)
    print_fitting(TextTable.build(header, lines, cut), console)
    text = stream.getvalue().replace("\x1b[1m", "").replace("\x1b[0m", "")
    return [line.rstrip() for line in text.splitlines()]


@pytest.mark.parametrize("width", [40, 60, 80, 120, 300])
def test_table_is_no_wider_than_the_terminal(width: int) -> None:
    lines = [[LONG, "ants", 0.5, REASON], ["a.jpg", "a class with a long name", 1.0, ""]]
    shown = show(width, ["path", "label", "score", "error"], lines, ["path"])
    assert max(map(cell_len, shown)) <= width
    if width >= 80:
        assert any("01.jpg" in line for line in shown)


def test_table_cuts_the_middle_of_paths_and_wraps_other_texts() -> None:
    shown = show(80, ["path", "error"], [[LONG, REASON]], ["path"])
    first = shown[2]
    assert "…" in first
    assert first.startswith("photos/2021/")
    assert "0001.jpg" in first
    words = " ".join(line[line.index("  ") :] if line is first else line for line in shown[2:])
    assert " ".join(words.split()) == REASON


def test_table_that_fits_is_shown_whole() -> None:
    assert show(80, ["class", "rows"], [["ants", 3], ["bees", 12]]) == [
        "class   rows",
        "────────────",
        "ants       3",
        "bees      12",
    ]


def test_table_takes_texts_as_they_are() -> None:
    shown = show(80, ["class"], [["[red]ants[/red]"], ["two\nlines\x1b[31m"]])
    assert shown[2:] == ["[red]ants[/red]", "two\\u000alines\\u001b[31m"]


@pytest.mark.parametrize("width", [20, 33, 57, 58, 100])
def test_fit_text_keeps_both_ends_within_the_width(width: int) -> None:
    text = fit_text(LONG, width)
    assert len(text) == min(width, len(LONG))
    assert text[0] == "p"
    assert text.endswith("1.jpg")


def test_fit_text_counts_wide_letters_twice() -> None:
    text = fit_text("図" * 30 + ".jpg", 21)
    assert cell_len(text) <= 21
    assert text.endswith(".jpg")


def test_choose_cut_width_shares_what_other_columns_leave() -> None:
    table = TextTable.build(["path", "id", "score"], [[LONG, LONG, 0.5]], ["path", "id"])
    assert choose_cut_width(table, 100) == (100 - len("0.500") - 3 * 2) // 2
    assert choose_cut_width(table, 10) == 20


def test_print_table_off_a_terminal_is_plain_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    printing.print_table(["path", "score"], [[LONG * 3, 0.25]], cut=["path"])
    assert capsys.readouterr().out.splitlines() == [
        f"path{' ' * (len(LONG) * 3 - 4)}  score",
        f"{LONG * 3}  0.250",
    ]


def test_few_long_paths_do_not_widen_all_lines() -> None:
    paths = ["ants/1.jpg"] * 99 + [LONG * 3]
    table = TextTable.build(["path", "score"], [[path, 0.25] for path in paths], ["path"])
    lines = table.format().splitlines()
    assert lines[1] == "ants/1.jpg  0.250"
    assert lines[-1] == f"{LONG * 3}  0.250"


def test_print_table_on_a_terminal_fits_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "dumb")  # for which rich takes 80 columns
    printing.print_table(["path", "score"], [[LONG, 0.25]], cut=["path"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 60
    assert "0001.jpg" in lines[-1]
