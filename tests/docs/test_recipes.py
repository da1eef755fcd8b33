"""The recipes of CONTRIBUTING.md, followed with the code that stands there."""

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

import featx
from featx.backbones import registry
from featx.heads import kinds
from featx.images.sources import read
from tests.test_architecture import FLOORS

TEXT = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def run_recipe(title: str) -> dict[str, Any]:
    """Run the code below a heading; return the names that it defines."""
    section = TEXT.split(f"### {title}\n")[1]
    code = re.search(r"```python\n(.*?)```", section, re.S)
    assert code
    names: dict[str, Any] = {"__name__": f"recipe of {title}"}
    exec(compile(textwrap.dedent(code.group(1)), title, "exec"), names)
    return names


def test_house_in_contributing_is_the_house_of_the_architecture_test() -> None:
    lines = re.findall(r"^\| (\d+) \| (.*?) \|", TEXT, re.M)
    floors = {int(level): re.findall(r"`(\w+)`", rooms) for level, rooms in lines}
    assert floors == {level: list(rooms) for level, rooms in enumerate(FLOORS)}


def test_recipe_add_a_backbone(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = run_recipe("Add a backbone")["TOY"]
    monkeypatch.setattr(registry, "ZOOS", (*registry.ZOOS, lambda: [toy]))
    registry._collect_zoos.cache_clear()
    try:
        assert "toy" in featx.list_backbones()
        report = featx.extract(
            photos, tmp_path / "toy.h5", backbone="toy", weights="random:0", progress=False
        )
    finally:
        registry._collect_zoos.cache_clear()
    assert report.dims == {"toy": 8}
    assert report.n_failures == 0


def test_recipe_add_a_kind_of_head(
    cache_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = run_recipe("Add a kind of head")["RIDGE"]
    monkeypatch.setattr(kinds, "KINDS", (*kinds.KINDS, kind))
    head = featx.fit_head(
        cache_path, tmp_path / "h.joblib", kind="plain-ridge", cv=3, progress=False
    )
    assert head.kind == "plain-ridge"
    assert head.params["alpha"] > 0
    scores = featx.evaluate(tmp_path / "h.joblib", cache_path)
    assert scores.accuracy == 1.0
    assert scores.log_loss is not None


def test_recipe_add_a_source(
    photos: Path, tiny_backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = photos / "some.txt"
    listing.write_text("train/ants/0.jpg\n\nval/bees/1.jpg\n")
    monkeypatch.setitem(read.SOURCES, ".txt", run_recipe("Add a source")["LIST"])
    report = featx.extract(listing, tmp_path / "list.h5", backbone=tiny_backbone, progress=False)
    assert report.n_rows == 2
    with featx.open_cache(tmp_path / "list.h5") as cache:
        assert list(cache.ids) == ["train/ants/0.jpg", "val/bees/1.jpg"]
