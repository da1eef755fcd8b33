"""featx explain."""

import json
from pathlib import Path
from typing import Any

import pytest

from featx.fitting.fit import fit_head


@pytest.fixture
def place(photos_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    fit_head("photos.h5", "head.joblib", C=1.0)
    (tmp_path / "bad.jpg").write_text("no image")
    return tmp_path


def test_table_accounts_for_every_image(place: Path, run_cli: Any) -> None:
    result = run_cli("explain", "head.joblib", "photos/val", "bad.jpg", "-o", "maps.html")
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0].split() == [
        *("path", "class", "probability", "logit", "mean", "bias", "strongest", "at", "error")
    ]
    assert len(lines) == 1 + 5 + 2
    assert lines[-2].startswith("5 images, 1 of them without a map. The maps are exact")
    assert lines[-1] == "written to maps.html"
    assert "Exact class maps" in (place / "maps.html").read_text(encoding="utf-8")


def test_classes_and_approximation(place: Path, run_cli: Any) -> None:
    line = ["explain", "head.joblib", "photos/val/bees/0.jpg", "--json"]
    found = json.loads(run_cli(*line, "--class", "ants", "--class", "bees").out)
    assert [one["label"] for one in found["maps"]] == ["ants", "bees"]
    for one in found["maps"]:
        assert one["mean"] + one["bias"] == pytest.approx(one["logit"], abs=1e-4)
    found = json.loads(run_cli(*line, "--top", "2", "--approximation", "grad-cam").out)
    assert found["method"] == "grad-cam"
    assert [one["bias"] for one in found["maps"]] == [None, None]


def test_unknown_class_is_refused_with_the_nearest(place: Path, run_cli: Any) -> None:
    result = run_cli("explain", "head.joblib", "photos/val", "--class", "ant")
    result.check_error("--class: expected classes of the head, got 'ant'", code=2)
    assert "ants" in result.err


def test_no_image_with_a_map_is_an_error(place: Path, run_cli: Any) -> None:
    assert run_cli("explain", "head.joblib", "bad.jpg").code == 1


def test_output_is_checked_before_the_network_runs(place: Path, run_cli: Any) -> None:
    run_cli("explain", "none.joblib", "bad.jpg", "-o", "maps.gif").check_error("got .gif")
