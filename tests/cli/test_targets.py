"""Heads for several classes and for numbers on the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.cache.joined import open_cache
from featx.fitting.label import label_cache
from tests.builders import build_info, build_rows, write_vectors

N_ROWS = 60


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with labels such as ``a;b``, and a table with a number and a flag for each row."""
    monkeypatch.chdir(tmp_path)
    vectors = np.random.default_rng(0).normal(size=(N_ROWS, 8)).astype(np.float32)
    labels = [
        ";".join([name for name, value in zip("ab", row, strict=False) if value > 0]) or ";"
        for row in vectors
    ]
    splits: list[Any] = ["val" if row % 3 == 0 else "train" for row in range(N_ROWS)]
    rows = build_rows(labels, splits)
    lines = [
        [row.id, f"{10 + 3 * one[0] + one[0] ** 2 / 3:.4f}", str(int(one[1] > 0))]
        for row, one in zip(rows, vectors, strict=True)
    ]
    with Path("table.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["id", "price", "red"], *lines])
    return write_vectors(Path("photos.h5"), [build_info()], rows, {"tiny": vectors})


def test_a_number_from_table_to_prediction(photos: Path, run_cli: Any) -> None:
    said = run_cli("label", photos, "table.csv", "--field", "price")
    assert said.out.splitlines() == ["photos.h5: 60 new statements, 60 rows changed"]
    fitted = run_cli("fit-head", photos, "-o", "head.joblib", "--target", "price")
    assert "ridge, C " in fitted.out
    assert "the number price, 40 rows (split train)" in fitted.out
    assert "held-out R2: 0.9" in fitted.out
    scored = run_cli("evaluate", "head.joblib", photos)
    assert scored.err == ""
    assert scored.out.splitlines()[0].split() == ["rows", "20"]
    assert "always the median" in scored.out
    table = run_cli("predict", "head.joblib", photos, "--csv").out.splitlines()
    assert table[0] == "path,id,true_label,split,value,unknown,error"
    assert len(table) == 1 + N_ROWS
    assert "predicts   the number price" in run_cli("info", "head.joblib").out


def test_repeats_of_a_number_and_of_several_classes(photos: Path, run_cli: Any) -> None:
    run_cli("label", photos, "table.csv", "--field", "price")
    words = ("fit-head", photos, "--repeats", "3", "-o")
    said = run_cli(*words, "price.joblib", "--target", "price").out
    assert ", dealt 3 times: 0." in said.split("held-out R2: ")[1].splitlines()[0]
    found = json.loads(run_cli(*words, "tags.joblib", "--several", "--json").out)
    assert len(found["held_out"]["repeats"]) == 3


def test_several_classes_from_labels_to_prediction(photos: Path, run_cli: Any) -> None:
    fitted = run_cli("fit-head", photos, "-o", "head.joblib", "--several")
    assert "logreg, C " in fitted.out
    assert "several of 2 classes (label), 40 rows (split train)" in fitted.out
    assert "held-out macro average precision: 0.9" in fitted.out
    scored = json.loads(run_cli("evaluate", "head.joblib", photos, "--json").out)
    assert [one["label"] for one in scored["per_class"]] == ["a", "b"]
    assert run_cli("evaluate", "head.joblib", photos).out.splitlines()[5].split()[:2] == [
        "class",
        "rows",
    ]
    found = json.loads(run_cli("predict", "head.joblib", photos, "--json").out)["predictions"]
    assert {tuple(one["labels"]) for one in found} >= {(), ("a",), ("b",), ("a", "b")}
    assert {one["unknown"] for one in found} == {False}
    table = run_cli("predict", "head.joblib", photos, "--csv", "--top", "2").out.splitlines()
    assert table[0] == "path,id,true_label,split,labels,label,score,label_2,score_2,unknown,error"
    assert {row["labels"] for row in csv.DictReader(table)} >= {";", "a", "a;b"}


def test_a_column_per_class(photos: Path, run_cli: Any) -> None:
    run_cli("label", photos, "table.csv", "--field", "red")
    with open_cache(photos) as cache:
        ids = cache.ids.tolist()
    label_cache(photos, {key: number % 2 for number, key in enumerate(ids)}, field="big")
    fitted = run_cli(
        "fit-head", photos, "-o", "head.joblib", "--target", "red", "--target", "big", "--json"
    )
    target = json.loads(fitted.out)["target"]
    assert (target["kind"], target["columns"], target["classes"]) == (
        "several",
        ["red", "big"],
        ["red", "big"],
    )


@pytest.mark.parametrize(
    ("options", "expected", "code"),
    [
        (["--target", "prize"], "expected a recorded column prize, got price", 1),
        (["--target", "price", "--kind", "linear-svm"], "--kind: expected no such option", 2),
        (["--target", "label"], "column label: expected a finite number in each cell", 1),
    ],
    ids=["name", "kind", "text"],
)
def test_wrong_targets_are_told_in_one_line(
    photos: Path, run_cli: Any, options: list[str], expected: str, code: int
) -> None:
    run_cli("label", photos, "table.csv", "--field", "price")
    result = run_cli("fit-head", photos, "-o", "head.joblib", *options)
    result.check_error(expected, code)
