"""One call draws each kind of figure from files, and says which inputs and options it takes."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import featx
from featx.core.errors import FeatxError, MissingExtraError
from featx.core.typing import PlotKind, list_choices
from featx.finetune.log import write_log
from featx.report.plot import DRAWERS, INPUTS, OPTIONS, plot
from tests.report.test_plot_curves import build_epoch


@pytest.fixture
def files(cache_path: Path, tmp_path: Path) -> dict[str, Path]:
    featx.fit_head(cache_path, tmp_path / "head.joblib", C=1.0)
    write_log(tmp_path / "a.log.csv", [build_epoch(0), build_epoch(1)], overwrite=False)
    names = {"HEAD": "head.joblib", "LOG": "a.log.csv"}
    return {"CACHE": cache_path} | {word: tmp_path / name for word, name in names.items()}


def test_every_kind_is_drawn(files: dict[str, Path], tmp_path: Path) -> None:
    assert tuple(DRAWERS) == tuple(INPUTS) == tuple(OPTIONS) == list_choices(PlotKind)
    for kind, words in INPUTS.items():
        drawn = plot(kind, [files[word] for word in words], tmp_path / f"{kind}.svg")
        found = json.loads(json.dumps(drawn.to_dict()))
        assert (found["path"], found["kind"]) == (str(tmp_path / f"{kind}.svg"), kind)
        text = (tmp_path / f"{kind}.svg").read_text(encoding="utf-8")
        assert drawn.title.split("; ")[0] in text


def test_options_reach_the_figure(files: dict[str, Path], tmp_path: Path) -> None:
    output = tmp_path / "a.svg"
    drawn = plot("map", [files["CACHE"]], output, split="val", method="tsne", seed=None)
    with featx.open_cache(files["CACHE"]) as cache:
        n_val = len(cache.select("val"))
    assert drawn.title == f"t-SNE of {n_val} rows"
    drawn = plot("confusion", [files["HEAD"], files["CACHE"]], output, normalize=True)
    assert drawn.values["n_rows"] == n_val
    assert "1.00" in output.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("kind", "words", "options", "message"),
    [
        (
            "confusion",
            ["CACHE"],
            {},
            r"^inputs: expected HEAD CACHE for confusion, got .*cache\.h5\.",
        ),
        ("map", [], {}, r"^inputs: expected CACHE for map, got none"),
        ("log", ["LOG", "LOG"], {}, r"^inputs: expected LOG for log, got"),
        ("log", ["LOG"], {"seed": 1}, r"^seed: .* changes \(curve, map\), got log\. Leave it out"),
        ("pie", ["CACHE"], {}, r"^kind: expected confusion, .*, got 'pie'"),
    ],
    ids=["no head", "nothing", "two logs", "option", "kind"],
)
def test_what_a_figure_does_not_take_is_refused(
    files: dict[str, Path], tmp_path: Path, kind: Any, words: list[str], options: Any, message: str
) -> None:
    with pytest.raises(FeatxError, match=message):
        plot(kind, [files[word] for word in words], tmp_path / "a.svg", **options)
    assert not (tmp_path / "a.svg").exists()


def test_wrong_output_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(FeatxError, match=r"ends in \.png"):
        plot("map", [tmp_path / "missing.h5"], tmp_path / "a.gif")


def test_missing_matplotlib_is_told_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install matplotlib \(the extra plot of"):
        plot("map", [tmp_path / "missing.h5"], tmp_path / "a.svg")
