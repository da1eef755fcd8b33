"""The measurement of heads, in its smallest forms."""

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

HEADS = Path(__file__).parents[2] / "benchmarks" / "heads.py"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a part; return the lines of its table."""

    def run_part(*words: object) -> list[dict[str, str]]:
        monkeypatch.setattr(sys, "argv", ["heads.py", *map(str, words)])
        runpy.run_path(str(HEADS), run_name="__main__")
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
        header, _, *table = [
            [cell.strip() for cell in line.strip("|").split("|")] for line in lines
        ]
        return [dict(zip(header, line, strict=True)) for line in table]

    return run_part


def test_solvers_reach_the_optimum_of_scikit_learn(run: Any) -> None:
    table = run("optimum", "--seeds", 1)
    assert [line["kind"] for line in table] == ["logreg", "linear-svm"]
    for line in table:
        assert int(line["problems"]) == 6
        assert int(line["scikit-learn converged"]) >= 4
        assert float(line["largest relative difference there"]) <= 1e-5
        assert float(line["equal predictions"]) >= 0.999


def test_scores_are_near_the_accuracy_where_classes_are_easy(run: Any) -> None:
    (line,) = run("calibration", "--tasks", 1, "--seeds", 1)
    assert abs(float(line["difference"])) <= 0.02


def test_time_grows_with_rows(run: Any) -> None:
    (line,) = run("growth", "--most", 3e6, "--kinds", "ridge")
    assert (line["grows"], line["rows"]) == ("rows", "500")


@pytest.mark.slow
def test_kinds_splits_and_the_search_of_scikit_learn(run: Any, make_cache: Any) -> None:
    cache = make_cache(splits=False)
    (line,) = run("kinds", "--cache", cache, "--test", cache, "--rows", 40, "--kinds", "ridge")
    assert float(line["test accuracy"]) > 0.9
    *_, line = run("auto", "--cache", cache, "--splits", 2)
    assert line["split"] == "mean"
    ours, other, ratio = run("cv", "--cache", cache, "--test", cache, "--rounds", 1)
    assert (ours[""], other[""], ratio[""]) == ("featx", "scikit-learn", "ratio")
