"""A network that was really tuned: what it has learnt from follows it, and no score hides it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

import featx
from featx.backbones.load import load_backbone
from featx.backbones.metadata import read_learnt
from featx.core.learnt import join_digests, shorten_digests
from featx.finetune.report import TuningReport
from featx.finetune.result import list_learnt
from featx.fitting.fit import fit_head
from featx.heads.head import Head
from featx.heads.load import load_head

from .doubles_scene import Scene, extract_scene, read_scene

MakeScene = Callable[..., Scene]

pytestmark = pytest.mark.filterwarnings("ignore::featx.FeatxWarning")


def list_digests(cache: Path, split: str = "all") -> list[int]:
    with featx.open_cache(cache) as opened:
        rows = opened.select_rows(split)
        return shorten_digests(opened.digests[rows]).tolist()  # type: ignore[no-any-return]


@pytest.fixture
def tuned(tuned: TuningReport) -> Path:
    """Return the weights of a network that was tuned."""
    return tuned.path


@pytest.fixture
def cache(tuned: Path, scene: Scene, tmp_path: Path) -> Path:
    """Return a cache of the same images by these weights."""
    return extract_scene(scene.folder, tmp_path / "tuned.h5", backbone="lenet5", weights=str(tuned))


def test_tuned_weights_have_learnt_from_all_of_train_and_from_nothing_else(
    tuned: Path, scene: Scene
) -> None:
    assert read_learnt(tuned).tolist() == list_digests(scene.cache, "train")  # the holdout, too
    assert load_backbone("lenet5", weights=str(tuned)).learnt.tolist() == list_digests(
        scene.cache, "train"
    )
    assert load_head(tuned.with_suffix(".joblib")).seen.tolist() == read_learnt(tuned).tolist()
    with safe_open(tuned, framework="numpy") as file:
        assert sorted(file.metadata()) == ["featx", "featx-learnt", "format"]


def test_list_learnt_of_a_network_that_no_epoch_changed_is_as_before(
    scene: Scene, weak_head: Head
) -> None:
    data, backbone = read_scene(scene, head=weak_head), load_backbone("lenet5")
    assert list_learnt(backbone, data, 0).tolist() == []
    assert list_learnt(backbone, data, 1).tolist() == list_digests(scene.cache, "train")


def test_list_learnt_has_what_head_weights_and_cache_had_learnt_from(
    scene: Scene, weak_head: Head
) -> None:
    one, two, three = (np.array([number], np.uint64) for number in (1, 2, 3))
    head = replace(weak_head, seen=join_digests([weak_head.seen, one]))
    data = replace(read_scene(scene, head=head), learnt=two)
    backbone = replace(load_backbone("lenet5"), learnt=three)
    assert list_learnt(backbone, data, 0).tolist() == [2, 3]
    train = list_digests(scene.cache, "train")
    assert list_learnt(backbone, data, 1).tolist() == sorted([1, 2, 3, *train])


def test_no_command_prints_a_score_of_learnt_rows_as_one_of_new_rows(
    cache: Path, tmp_path: Path, run_cli: Any, tuned: Path
) -> None:
    head = tmp_path / "head.joblib"
    fitted = run_cli("fit-head", cache, "-o", head)
    assert fitted.out.splitlines()[1:] == [
        "held-out accuracy: - (the network learnt from 42 of 42 rows)"
    ]
    told = "42 of 42 rows were learnt from by the network: folds say nothing; score on val. C was"
    assert told in fitted.err
    found = json.loads(run_cli("fit-head", cache, "-o", head, "--json").out)
    assert (found["cross_validation"], found["fitted_on"]["n_learnt"]) == (None, 42)

    split = run_cli("split", cache, "--val", "0.3", "--seed", "5", "--overwrite")
    first = split.out.splitlines()[0]
    assert first == f"{cache}: train 48, val 21"  # 27 were in val and test
    assert "42 of 69 rows were learnt from by the network: they become train" in split.err

    scores = run_cli("evaluate", head, cache, "--split", "val")
    assert scores.err == ""
    assert "; 21 rows)" in scores.out.splitlines()[0]
    of_train = run_cli("evaluate", head, cache, "--split", "train").out.splitlines()
    assert "6 rows not learnt from" in of_train[0]
    assert of_train[2] == "of all 48 rows, too high: 42 of them were learnt from"

    advice = run_cli("advise", cache)
    assert advice.out.splitlines()[-1] == "Cannot tell."
    assert "held-out" not in advice.out

    shown = run_cli("info", cache).out
    assert "  its network has learnt from 42 of the rows\n" in shown
    assert "learnt     from 42 images\n" in run_cli("info", tuned).out
    held_out = "held out   accuracy: - (the network learnt from 42 of 42 rows)"
    assert held_out in run_cli("info", head).out
    assert "42 of 69 rows were learnt from by the network" in run_cli("predict", head, cache).err


def test_a_second_tuning_learns_from_both_and_is_compared_on_neither(
    cache: Path, scene: Scene, make_scene: MakeScene, tmp_path: Path
) -> None:
    # The second folder has images of its own for train, and those of the first for val and test.
    other = make_scene(seed=1)
    folder = shutil.copytree(other.folder / "train", tmp_path / "photos" / "train").parent
    shutil.copytree(scene.folder / "train", folder / "val")
    for label in ("checks", "rows", "columns"):
        shutil.copy(scene.folder / "val" / label / "00.png", folder / "val" / label / "new.png")
    with featx.open_cache(cache) as opened:
        weights = opened.get_info().provenance.origin.weights
    second = extract_scene(folder, tmp_path / "second.h5", backbone="lenet5", weights=weights)
    again = Scene(folder, second)
    head = fit_head(second, C=1.0)
    data = read_scene(again, head=replace(head, seen=head.seen[:0]))  # the cache knows by itself
    assert sorted(data.test.ids.tolist()) == [
        f"val/{label}/new.png" for label in ("checks", "columns", "rows")
    ]
    backbone = load_backbone("lenet5", weights=weights)
    assert set(list_learnt(backbone, data, 1).tolist()) == {
        *list_digests(scene.cache, "train"),
        *list_digests(second, "train"),
    }
