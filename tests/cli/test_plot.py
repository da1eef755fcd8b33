"""featx plot: one line says what was drawn, and wrong words are wrong usage."""

import json
from pathlib import Path
from typing import Any

import pytest

from featx.fitting.fit import fit_head


def test_plot_writes_a_figure_and_says_its_rows(
    run_cli: Any, cache_path: Path, tmp_path: Path
) -> None:
    head, output = tmp_path / "head.joblib", tmp_path / "confusion.svg"
    fit_head(cache_path, head, C=1.0)
    result = run_cli("plot", "confusion", head, cache_path, "-o", output, "--normalize")
    assert result.code == 0
    assert result.out.startswith(f"{output}: ")
    assert "rows, accuracy" in result.out
    assert output.exists()
    result = run_cli("plot", "CALIBRATION", head, cache_path, "-o", output, "--json")
    found = json.loads(result.out)
    assert found["kind"] == "calibration"
    assert sum(one["n_rows"] for one in found["bins"]) == found["n_rows"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["map", "c.h5", "-o", "a.svg", "--normalize"], "--normalize: expected a figure that it"),
        (["pie", "c.h5", "-o", "a.svg"], "kind: expected confusion"),
        (["confusion", "c.h5", "-o", "a.svg"], "inputs: expected HEAD CACHE for confusion"),
    ],
    ids=["option", "kind", "inputs"],
)
def test_wrong_words_are_wrong_usage(run_cli: Any, words: list[str], message: str) -> None:
    run_cli("plot", *words).check_error(message, code=2)


@pytest.mark.parametrize("kind", ["calibration", "confusion"])
def test_exchanged_head_and_cache_are_told_as_a_command(
    kind: str, run_cli: Any, cache_path: Path, tmp_path: Path
) -> None:
    head = tmp_path / "head.joblib"
    fit_head(cache_path, head, C=1.0)
    result = run_cli("plot", kind, cache_path, head, "-o", tmp_path / "a.svg")
    result.check_error(f"Exchange the two: featx plot {kind} {head} {cache_path}.", code=2)
