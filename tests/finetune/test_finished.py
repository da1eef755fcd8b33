"""A run that is resumed after its end does nothing, and says what it said before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from featx.core.errors import FeatxWarning, TuningError
from featx.finetune import tune as tune_module
from featx.finetune.paths import TuningPaths
from featx.finetune.report import TuningReport
from featx.fitting.fit import fit_head
from featx.heads.head import Head

from .doubles_scene import RECIPE, Scene, list_names, tune

ONE = replace(RECIPE, epochs=1)
DONE = r"tuned\.safetensors: the run is finished, and nothing is done again$"


@pytest.fixture
def finished(scene: Scene, weak_head: Head, tmp_path: Path) -> TuningReport:
    return tune(scene, tmp_path / "tuned.safetensors", head=weak_head, recipe=ONE)


@pytest.fixture
def no_training(finished: TuningReport, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if a training is built after the finished one."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a training was built")

    monkeypatch.setattr(tune_module, "build_training", refuse)


def read_all(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("overwrite", [False, True])
def test_finished_run_that_is_resumed_gives_its_report_again(
    scene: Scene, weak_head: Head, finished: TuningReport, no_training: None, overwrite: bool
) -> None:
    before = read_all(finished.path.parent)
    finished.path.with_name("tuned.safetensors.partial").mkdir()  # killed as it tidied up
    with pytest.warns(FeatxWarning, match=DONE):
        again = tune(
            scene, finished.path, head=weak_head, recipe=ONE, resume=True, overwrite=overwrite
        )
    assert again.history[1:] == finished.history[1:]
    assert replace(again, history=()) == replace(finished, history=())
    assert again.verdict == finished.verdict
    assert read_all(finished.path.parent) == before


def test_finished_run_whose_trunk_was_deleted_is_finished(
    scene: Scene, weak_head: Head, finished: TuningReport, no_training: None
) -> None:
    assert finished.trunk_path is not None
    finished.trunk_path.unlink()
    with pytest.warns(FeatxWarning, match=DONE):
        again = tune(scene, finished.path, head=weak_head, recipe=ONE, resume=True)
    assert again.trunk_path is None
    assert again.scores == finished.scores


def test_finished_run_of_another_plan_is_told_and_left(
    scene: Scene, weak_head: Head, finished: TuningReport, no_training: None
) -> None:
    before = read_all(finished.path.parent)
    balanced = fit_head(scene.cache, C=1.0, class_weight="balanced")
    same: dict[str, Any] = {"head": weak_head, "recipe": ONE, "resume": True}
    for changes, named in (
        ({"recipe": replace(ONE, lr=0.002)}, "lr"),
        ({"unfreeze": 1}, "blocks"),
        ({"split": "test"}, "comparison"),
        ({"head": balanced}, "class_weights, measure, head, comparison"),
    ):
        with pytest.raises(
            TuningError,
            match=rf"the finished run of the same plan, got one with another {named}\. Name",
        ):
            tune(scene, finished.path, **same | changes)
    assert read_all(finished.path.parent) == before


def test_weights_without_their_head_or_of_another_origin_are_told(
    scene: Scene, weak_head: Head, finished: TuningReport, no_training: None
) -> None:
    options: dict[str, Any] = {"head": weak_head, "recipe": ONE, "resume": True}
    finished.head_path.unlink()
    with pytest.raises(TuningError, match=r"got one without tuned\.joblib\."):
        tune(scene, finished.path, **options)
    finished.path.write_bytes(save({"weight": torch.zeros(2, 3)}))
    with pytest.raises(TuningError, match=r"got weights of another origin\."):
        tune(scene, finished.path, **options)


def test_resume_where_nothing_was_interrupted_begins_anew_and_says_so(
    scene: Scene, weak_head: Head, finished: TuningReport, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"head": weak_head, "recipe": ONE, "resume": True}
    (tmp_path / "other").mkdir()
    paths = TuningPaths.build(tmp_path / "other/tuned.safetensors", None)
    with pytest.warns(FeatxWarning) as caught:
        report = tune(scene, paths.output, trunk=finished.trunk_path, **options)
    assert [str(one.message) for one in caught] == [
        f"{paths.folder}: no unfinished run, so that training begins anew"
    ]
    assert report.scores == finished.scores
    assert list_names(tmp_path / "other") == ["tuned.joblib", "tuned.log.csv", "tuned.safetensors"]
