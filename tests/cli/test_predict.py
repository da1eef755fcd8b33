"""CSV tables of predictions: no cell is a formula, and no cell speaks to the terminal."""

import csv
import io
from typing import Any

import pytest

from featx.prediction.answers import Prediction

PREDICTIONS = [
    Prediction(path="=cmd|' /C calc'!A0/1.jpg", id="@x", label="-1", top=(("-1", 0.5),), score=0.5),
    Prediction(path="2.jpg", id="+a", true_label="\x1b[31mred", error="-- unreadable"),
]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, run_cli: Any) -> list[dict[str, str]]:
    """The CSV table of the predictions above."""
    monkeypatch.setattr("featx.cli.targets.load_if_head", lambda _: None)
    monkeypatch.setattr("featx.prediction.predict.iter_predictions", lambda *_, **__: PREDICTIONS)
    result = run_cli("predict", "head.joblib", "photos", "--csv")
    return list(csv.DictReader(io.StringIO(result.out)))


def test_csv_guards_what_a_spreadsheet_would_run(lines: list[dict[str, str]]) -> None:
    assert [line["path"] for line in lines] == ["'=cmd|' /C calc'!A0/1.jpg", "2.jpg"]
    assert [line["id"] for line in lines] == ["'@x", "'+a"]
    assert lines[1]["error"] == "'-- unreadable"


def test_csv_leaves_numbers_and_escapes_what_does_not_print(lines: list[dict[str, str]]) -> None:
    assert (lines[0]["label"], lines[0]["score"]) == ("-1", "0.5")
    assert lines[1]["true_label"] == "\\u001b[31mred"


def test_table_marks_unknown_images_sets_and_abstaining(
    monkeypatch: pytest.MonkeyPatch, run_cli: Any
) -> None:
    found = [
        Prediction(
            path="1.jpg", label="ant", score=0.9, top=(("ant", 0.9),), unknown=True, label_set=()
        ),
        Prediction(
            path="2.jpg",
            score=0.6,
            top=(("ant", 0.6),),
            unknown=False,
            label_set=("ant", "bee"),
            abstained="score 0.6 is below 0.7",
        ),
    ]
    monkeypatch.setattr("featx.cli.targets.load_if_head", lambda _: None)
    monkeypatch.setattr("featx.prediction.predict.iter_predictions", lambda *_, **__: found)
    lines = run_cli("predict", "head.joblib", "photos").out.splitlines()
    assert lines[0].split() == ["path", "label", "score", "unknown", "label", "set", "abstained"]
    assert lines[1].split() == ["1.jpg", "ant", "0.900", "unknown", "(empty)", "-"]
    assert lines[2].split() == [
        "2.jpg",
        "-",
        "0.600",
        "ant;bee",
        "score",
        "0.6",
        "is",
        "below",
        "0.7",
    ]
    table = list(
        csv.DictReader(io.StringIO(run_cli("predict", "head.joblib", "photos", "--csv").out))
    )
    assert [line["unknown"] for line in table] == ["true", "false"]
    assert [line["label"] for line in table] == ["ant", ""]
    assert [line["label_set"] for line in table] == ["", "ant;bee"]
