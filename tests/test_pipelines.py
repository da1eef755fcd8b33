"""The pipelines run as a user runs them."""

import csv
import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

PIPELINES = Path(__file__).parents[1] / "pipelines"
BENCHMARKS = PIPELINES.parent / "benchmarks"


def run(*words: Any, **options: Any) -> Any:
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_own_classifier_takes_the_digits_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(PIPELINES)
    runpy.run_path(str(PIPELINES / "own_classifier.py"))["write_digits"](tmp_path)
    paths = [*tmp_path.glob("[0-9]/*.png")]
    assert len(paths) == 1797
    with Image.open(tmp_path / "0" / "0000.png") as image:
        assert image.size == (8, 8)


@pytest.mark.slow
@pytest.mark.shared
def test_memory_does_not_grow_with_rows(shared: Path) -> None:
    done = run(BENCHMARKS / "cost.py", "--data", shared, "--rounds", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["growth_mb"] <= 200


@pytest.mark.slow
@pytest.mark.shared
def test_hymenoptera_ends_in_predictions(shared: Path) -> None:
    done = run(PIPELINES / "hymenoptera.py", "--data", shared)
    assert done.returncode == 0, done.stderr
    assert "val accuracy 0.9" in done.stdout


@pytest.mark.slow
@pytest.mark.shared
def test_label_next_ends_in_means_of_both_arms(shared: Path) -> None:
    done = run(PIPELINES / "label_next.py", "--data", shared, "--batches", 10, 10, 20, 20)
    assert done.returncode == 0, done.stderr
    assert "cannot tell: the last" in done.stdout
    assert "mean accuracy: suggested 0.9" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "n_runs", "shown"),
    [
        ("optimizers --unfreeze 1", 9, "| sgd over adam | "),
        ("blocks --blocks 0 1 2", 2, "| 0 (frozen head) | "),
    ],
    ids=["optimizers", "blocks"],
)
def test_compare_tuning_ends_in_a_table_and_goes_on_where_it_was(
    photos: Path, tmp_path: Path, words: str, n_runs: int, shown: str
) -> None:
    what, *others = words.split()
    command = [PIPELINES / "compare_tuning.py", what, photos, "--work", tmp_path / "work", *others]
    command += ["--backbone", "mini", "--epochs", 1, "--seeds", 0]
    done = run(*command)
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout
    assert "cannot tell" in done.stdout
    with (tmp_path / f"work/{what}.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == n_runs
    assert {line["n_test"] for line in lines} == {"4"}
    again = run(*command)
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout


@pytest.mark.parametrize(
    "name", ["hymenoptera.py", "compare_backbones.py", "label_next.py", "own_classifier.py"]
)
def test_pipeline_without_photos_says_what_to_pass(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(PIPELINES)
    monkeypatch.setattr(sys, "argv", [name, "--data", str(tmp_path)])
    with pytest.raises(SystemExit, match="Pass --data DIR"):
        runpy.run_path(str(PIPELINES / name), run_name="__main__")


@pytest.mark.slow
@pytest.mark.shared
def test_pretrain_mini_twice_or_resumed_gives_the_same_curve(shared: Path, tmp_path: Path) -> None:
    words = [PIPELINES / "pretrain_mini.py", "--model", "mini", "--data", shared]
    words += ["--limit", 1000, "--holdout", 200, "--epochs", 1]
    curves = []
    for name in ("first", "second"):
        done = run(*words, "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
        lines = (tmp_path / name / "mini.csv").read_text().splitlines()
        curves.append([line.rsplit(",", 1)[0] for line in lines])  # without the seconds
    assert curves[0] == curves[1]
    assert len(curves[0]) == 2
