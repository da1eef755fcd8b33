"""The measurement of suggestions, on generated data and in its smallest form."""

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

SUGGEST = Path(__file__).parents[2] / "benchmarks" / "suggest.py"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Only one sample available")
def test_both_arms_are_measured_once_and_summed_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    table = tmp_path / "table.csv"

    def run(*words: Any) -> str:
        line = ["suggest.py", "--table", table, "--sets", "blobs", "--seeds", 2, *words]
        monkeypatch.setattr(sys, "argv", [str(word) for word in line])
        module = runpy.run_path(str(SUGGEST))
        monkeypatch.setitem(module["main"].__globals__, "BUDGETS", (10, 20))
        monkeypatch.setitem(module["main"].__globals__, "N_POOL", 200)
        module["main"]()
        return capsys.readouterr().out

    out = run()
    assert "blobs, logreg, suggest: area" in out
    before = table.read_text()
    assert len(before.splitlines()) == 1 + 2 * 2 * 2 * 2  # seeds, arms, heads, budgets
    assert run() == out
    assert table.read_text() == before
