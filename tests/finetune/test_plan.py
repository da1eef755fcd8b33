"""The decisions of a fine-tuning: blocks, device, identity, and the place of the trunk's output."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from featx.backbones.backbone import Backbone
from featx.core.errors import TuningError
from featx.finetune.advise import Advice
from featx.finetune.cut import cut_backbone
from featx.finetune.measured import MEASURED, Spread
from featx.finetune.plan import (
    TuningNetwork,
    build_identity,
    check_effect,
    choose_n_blocks,
    choose_train_device,
    plan_tuning,
)
from featx.finetune.recipe import Recipe
from featx.finetune.space import FreeSpace
from featx.finetune.trunk import TrunkRun
from featx.fitting.fit import fit_head
from featx.heads.head import Head

from .doubles_scene import RECIPE, Scene, build_request, read_scene


def build_advice(n_blocks: int) -> Advice:
    return Advice(
        unfreeze=n_blocks,
        curve=(),
        majority_accuracy=0.5,
        is_chance=False,
        gain_top=Spread(0.0, 0.0, 0.0),
        gain_more=Spread(0.0, 0.0, 0.0),
        reasons=("It knows enough.", "It was measured."),
        measured=MEASURED,
    )


@pytest.mark.parametrize(
    ("unfreeze", "advice", "expected"), [(3, None, 3), (0, None, 0), ("auto", build_advice(5), 5)]
)
def test_choose_n_blocks(unfreeze: int | str, advice: Advice | None, expected: int) -> None:
    assert choose_n_blocks(unfreeze, advice, "c.h5") == expected


def test_choose_n_blocks_of_another_word_is_refused() -> None:
    with pytest.raises(
        TuningError, match=r"^unfreeze: expected a number of blocks or auto, got 'two'\. .*=1\.$"
    ):
        choose_n_blocks("two", None, "c.h5")


def test_choose_n_blocks_by_the_advice_to_stay_frozen_gives_its_reasons() -> None:
    with pytest.raises(
        TuningError, match=r"^c\.h5: .* stay frozen\. It knows .* measured\. Pass unfreeze=1 to"
    ):
        choose_n_blocks("auto", build_advice(0), "c.h5")


def test_train_device_is_one() -> None:
    assert choose_train_device("cpu", Recipe()) == "cpu"
    assert choose_train_device("cpu", Recipe(precision="fp32")) == "cpu"


def test_train_device_of_all_gpus_is_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featx.finetune.plan.choose_device", lambda device: device)
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr("featx.finetune.plan.check_precision", lambda *words: asked.append(words))
    assert choose_train_device("cuda", Recipe(precision="bf16")) == "cuda:0"
    assert choose_train_device("cuda:3", Recipe()) == "cuda:3"
    assert asked == [("bf16", "torch", "cuda:0")]


def test_train_device_without_a_gpu_refuses_bf16() -> None:
    with pytest.raises(TuningError, match=r"^precision: expected fp32, .*, got bf16 on cpu\."):
        choose_train_device("cpu", Recipe(precision="bf16"))


@pytest.fixture
def network(lenet: Backbone, scene: Scene, weak_head: Head) -> TuningNetwork:
    data, cut = read_scene(scene, head=weak_head), cut_backbone(lenet, 2)
    run = TrunkRun(
        trunk=cut.trunk,
        source="photos",
        entries=data.entries,
        digests=tuple(data.train.digests.tolist()),
        options=build_request(scene, Path("t.safetensors")).options,
        precision="fp32",
        decode="exact",
        seed=0,
    )
    return TuningNetwork(backbone=lenet, cut=cut, run=run, advice=None)


@pytest.mark.parametrize(
    ("limit", "views", "excess"),
    [
        pytest.param(FreeSpace(1 << 40, 1 << 40), 0, "", id="plenty"),
        pytest.param(0, 0, "max_trunk_gb is 0.00 GB", id="no file"),
        pytest.param(67_200, 0, "", id="at the limit"),
        pytest.param(67_200, 1, "max_trunk_gb is", id="two views"),
        pytest.param(FreeSpace(0, 1 << 40), 0, "half of the free memory", id="memory"),
        pytest.param(FreeSpace(1 << 40, 0), 0, "half of the free disk", id="disk"),
    ],
)
def test_plan_keeps_the_output_of_the_trunk_if_there_is_space(
    scene: Scene,
    weak_head: Head,
    network: TuningNetwork,
    limit: int | FreeSpace,
    views: int,
    excess: str,
) -> None:
    # 42 images with maps of 16 x 5 x 5 numbers of 4 bytes: 67,200 bytes for a view.
    recipe = replace(RECIPE, views=views)
    request = build_request(scene, Path("t.safetensors"), recipe=recipe)
    data = read_scene(scene, head=weak_head)
    plan = plan_tuning(request, data, network, device="cpu", limit=limit)
    assert excess in plan.trunk_excess
    assert plan.trunk_path == (None if excess else Path("t.trunk.h5"))
    assert bool(plan.trunk_excess) is bool(excess)
    assert plan.device == "cpu"
    assert plan.identity.blocks == ("f6", "c5")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, []),
        ({"recipe": replace(RECIPE, lr=0.5)}, ["lr"]),
        ({"recipe": replace(RECIPE, seed=1)}, ["holdout", "seed"]),
    ],
)
def test_identity_changes_with_what_decides_the_result(
    lenet: Backbone, scene: Scene, weak_head: Head, changes: dict[str, Any], named: list[str]
) -> None:
    cut = cut_backbone(lenet, 2)
    first = build_identity(lenet, cut, read_scene(scene, head=weak_head), RECIPE)
    recipe = changes.get("recipe", RECIPE)
    data = read_scene(scene, head=weak_head, **changes)
    other = build_identity(lenet, cut, data, recipe)
    # The head that training begins with lacks the holdout: another holdout, another head.
    assert [name for name in first.list_differences(other) if name != "head"] == named
    assert ("head" in first.list_differences(other)) is ("holdout" in named)


def test_identity_names_images_labels_blocks_and_head(
    lenet: Backbone, scene: Scene, weak_head: Head
) -> None:
    data, cut = read_scene(scene, head=weak_head), cut_backbone(lenet, 2)
    first = build_identity(lenet, cut, data, RECIPE)
    train, examples = data.train, data.examples
    other = replace(
        data,
        train=replace(train, digests=train.digests[::-1]),
        examples=replace(examples, y=examples.y[::-1]),
        start=data.head.estimator,
    )
    differing = first.list_differences(build_identity(lenet, cut_backbone(lenet, 1), other, RECIPE))
    assert differing == ["blocks", "images", "labels", "head"]


@pytest.mark.parametrize(
    ("numbers", "n_blocks", "message"),
    [
        ({"views": 4}, 2, r"^views: expected at most 3, because .* got 4\. Pass views=3, or more"),
        ({"lr_decay": 0.5}, 1, r"^lr_decay: expected several blocks, .* got one block\. Leave"),
    ],
)
def test_numbers_that_can_do_nothing_are_refused(
    numbers: dict[str, Any], n_blocks: int, message: str
) -> None:
    with pytest.raises(TuningError, match=message):
        check_effect(Recipe(**numbers), n_blocks=n_blocks, n_epochs=3)
    check_effect(Recipe(**numbers), n_blocks=2, n_epochs=4)


def test_identity_has_the_measure_and_the_class_weights_of_the_head(
    lenet: Backbone, scene: Scene
) -> None:
    cut = cut_backbone(lenet, 2)
    found = {}
    for class_weight in (None, "balanced", {"rows": 2.0}):
        data = read_scene(scene, head=fit_head(scene.cache, C=1e-4, class_weight=class_weight))
        found[str(class_weight)] = build_identity(lenet, cut, data, RECIPE)
    plain, balanced, weighed = found.values()
    assert (plain.measure, plain.class_weights) == ("accuracy", ())
    # As many images of each class are learnt from, but for one.
    assert balanced.measure == weighed.measure == "balanced_accuracy"
    assert balanced.class_weights == pytest.approx((1, 1, 1), abs=0.1)
    assert weighed.class_weights == pytest.approx((0.75, 0.75, 1.5), abs=0.1)
    assert plain.list_differences(weighed) == ["class_weights", "measure", "head"]
