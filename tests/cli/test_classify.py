"""featx classify: what it prints, and what it refuses."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest


def test_table_names_each_image_once(photos: Path, run_cli: Any) -> None:
    files = [str(photos / "val/ants/0.jpg"), str(photos / "missing.jpg")]
    result = run_cli("classify", *files, "--backbone", "lenet5", "--top", "3")
    lines = result.out.splitlines()
    assert lines[0].split() == ["path", "score", "label"]
    assert lines[1].startswith(files[0])
    assert len(lines[2].split()) == len(lines[3].split()) == 2
    assert lines[4].endswith("No such file or directory")
    assert lines[5] == "lenet5, weights DEFAULT: 2 images, 1 without an answer"


def test_json_and_csv_hold_the_same(photos: Path, run_cli: Any) -> None:
    words = ["classify", str(photos / "val"), "--backbone", "lenet5", "--top", "2"]
    found = json.loads(run_cli(*words, "--json").out)
    assert (found["backbone"], found["n_rows"], found["n_failures"]) == ("lenet5", 4, 0)
    table = list(csv.DictReader(io.StringIO(run_cli(*words, "--csv").out)))
    assert [line["label_2"] for line in table] == [one["top"][1][0] for one in found["predictions"]]
    assert [line["true_label"] for line in table] == ["ants", "ants", "bees", "bees"]


def test_both_formats_are_refused(photos: Path, run_cli: Any) -> None:
    result = run_cli("classify", str(photos), "--csv", "--json")
    assert result.code == 2
    assert "--csv, --json: expected one of them" in result.err


def test_nothing_readable_is_a_failure(tmp_path: Path, run_cli: Any) -> None:
    result = run_cli("classify", str(tmp_path / "missing.jpg"), "--backbone", "lenet5")
    assert result.code == 1


@pytest.mark.parametrize("layer", ["classifier", "classifier.6", "classifier.6.weight"])
def test_extract_refuses_the_classifier_as_a_layer(
    photos: Path, tmp_path: Path, run_cli: Any, layer: str
) -> None:
    words = ["extract", str(photos), "-o", str(tmp_path / "c.h5"), "--backbone", "zfnet"]
    result = run_cli(*words, "--weights", "random:0", "--layers", layer)
    assert result.code == 2
    assert (
        f"--layers: expected a layer below the classifier of zfnet, which featx removes, got "
        f"'{layer}'. Pass --layers penultimate for the input of the classifier, or --layers "
        "logits for its output." in result.err
    )
    assert not (tmp_path / "c.h5").exists()
