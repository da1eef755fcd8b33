"""What the report says, and the files of a result read back."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from featx.backbones.backbone import Backbone
from featx.backbones.load import load_backbone
from featx.backbones.metadata import WeightsMetadata
from featx.backbones.state_dict import digest_weights, read_state_dict
from featx.finetune.cut import cut_backbone
from featx.finetune.log import Epoch
from featx.finetune.paths import TuningPaths
from featx.finetune.report import TuningReport
from featx.finetune.result import build_linear_layer, save_weights
from featx.heads.compare import PairedScores, compare_predictions
from featx.heads.head import Head

from .doubles_scene import Scene, decide

EPOCH = Epoch(
    epoch=0,
    train_loss=float("nan"),
    holdout_loss=1.0,
    holdout_accuracy=0.5,
    holdout_balanced_accuracy=0.5,
    lr=0.0,
    seconds=0.0,
    images_per_s=0.0,
)


def build_report(scores: PairedScores, **changes: Any) -> TuningReport:
    fields: dict[str, Any] = {
        "path": Path("tuned.safetensors"),
        "head_path": Path("tuned.joblib"),
        "log_path": Path("tuned.log.csv"),
        "backbone": "lenet5",
        "blocks": ("f6",),
        "n_train": 34,
        "n_holdout": 8,
        "schedule": "2 epochs",
        "history": (),
        "best_epoch": 0,
        "n_epochs": 10,
        "stopped": "",
        "is_cut_short": False,
        "split": "val",
        "scores": scores,
        "advice": None,
        "trunk_path": None,
        "trunk_excess": "",
        "trunk_s": 0.0,
        "train_s": 0.0,
    }
    return TuningReport(**fields | changes)


@pytest.mark.parametrize(
    ("n_mended", "n_spoilt", "begin", "use"),
    [
        (
            40,
            2,
            "Tuning helped: +19.0 points of accuracy on 200 val images",
            "Use tuned.safetensors with",
        ),
        (
            2,
            40,
            "Tuning made the accuracy worse: -19.0 points of accuracy on 200 val images",
            "Stay with the frozen head: ",
        ),
        (6, 4, "Tuning did not help for certain: +1.0 points of", "Stay with the frozen head: "),
        (4, 6, "Tuning did not help for certain: -1.0 points", "Stay with the frozen head: "),
        (0, 0, "Tuning did not help for certain: +0.0 points", "Stay with the frozen head: "),
    ],
)
def test_verdict_recommends_the_tuned_pair_only_if_it_is_surely_better(
    n_mended: int, n_spoilt: int, begin: str, use: str
) -> None:
    y = np.array(["a"] * 200)
    first, second = y.copy(), y.copy()
    first[:n_mended] = "b"
    second[n_mended : n_mended + n_spoilt] = "b"
    report = build_report(compare_predictions(y, first, second))
    assert report.verdict.startswith(begin)
    assert use in report.verdict
    low, high = report.scores.gain_ci95
    assert f"(95 % interval {100 * low:+.1f} to {100 * high:+.1f}, p = " in report.verdict
    assert report.to_dict()["verdict"] == report.verdict


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        (
            {},
            "the network is unchanged, and you may delete tuned.safetensors, tuned.joblib and "
            "tuned.log.csv.",
        ),
        ({"best_epoch": 2}, "you may delete tuned.safetensors, tuned.joblib and tuned.log.csv."),
        (
            {"best_epoch": 2, "trunk_path": Path("tuned.trunk.h5")},
            "you may delete tuned.safetensors, tuned.joblib, tuned.log.csv and tuned.trunk.h5.",
        ),
    ],
)
def test_verdict_names_the_files_that_are_of_no_use(changes: dict[str, Any], end: str) -> None:
    y = np.array(["a"] * 100)
    assert build_report(compare_predictions(y, y, y), **changes).verdict.endswith(end)


@pytest.mark.parametrize(
    ("interval", "p_value", "begin"),
    [
        ((0.0, 0.1), 0.01, "Tuning did not help for certain"),
        ((0.001, 0.1), 0.01, "Tuning helped"),
        ((0.001, 0.1), 0.06, "Tuning did not help for certain"),
        ((-0.1, 0.0), 0.01, "Tuning did not help for certain"),
        ((-0.1, -0.001), 0.01, "Tuning made the accuracy worse"),
    ],
)
def test_verdict_goes_by_the_interval_and_by_the_test(
    interval: tuple[float, float], p_value: float, begin: str
) -> None:
    y = np.array(["a"] * 100)
    scores = replace(
        compare_predictions(y, y, y), gain=sum(interval) / 2, gain_ci95=interval, p_value=p_value
    )
    assert build_report(scores).verdict.startswith(begin)


def test_report_is_json() -> None:
    y = np.array(["a"] * 20)
    report = build_report(compare_predictions(y, y, y), history=(EPOCH,))
    read = json.loads(json.dumps(report.to_dict(), default=str))
    assert read["verdict"] == report.verdict
    assert read["scores"]["is_better"] is False
    assert read["history"][0]["epoch"] == 0
    assert read["path"] == "tuned.safetensors"


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "squeezenet1_1"])
def test_save_weights_of_other_families_are_read_back(name: str, tmp_path: Path) -> None:
    import torchvision

    backbone = load_backbone(name, weights="random:0", size=64)
    cut = cut_backbone(backbone, 1)
    with torch.no_grad():
        for parameter in cut.top.parameters():
            parameter.mul_(1.5)
    classifier = torch.nn.Linear(backbone.dims["penultimate"], 4)
    path = tmp_path / "tuned.safetensors"
    metadata = WeightsMetadata(backbone=name, preprocess_from="IMAGENET1K_V1", size=64)
    learnt = np.arange(3, dtype=np.uint64)
    save_weights(path, cut.network, classifier, metadata, learnt=learnt, overwrite=False)
    again = load_backbone(name, weights=str(path))
    assert again.weights_digest == digest_weights(cut.network) != backbone.weights_digest
    assert again.origin.size == 64
    assert again.learnt.tolist() == [0, 1, 2]
    if name != "squeezenet1_1":  # torchvision's classifier is a convolution there
        network = getattr(torchvision.models, name)(num_classes=4)
        network.load_state_dict(read_state_dict(path))
        (last,) = [part for part in network.modules() if isinstance(part, torch.nn.Linear)]
        assert torch.equal(last.weight, classifier.weight)


def test_build_linear_layer_has_the_decision_function_of_the_head(
    scene: Scene, weak_head: Head
) -> None:
    X, _ = scene.read("val")
    layer = build_linear_layer(weak_head.estimator)
    expected = decide(weak_head.estimator, X)
    np.testing.assert_allclose(
        layer(torch.from_numpy(X)).detach(), expected, atol=1e-5 * np.abs(expected).max()
    )


def build_scores(first: tuple[int, int], second: tuple[int, int], **options: Any) -> PairedScores:
    """Compare predictions of 50 cats and 500 dogs, of which so many are right."""
    y = np.repeat(["cat", "dog"], [50, 500])
    right = [
        np.concatenate([np.arange(50) < cats, np.arange(500) < dogs])
        for cats, dogs in (first, second)
    ]
    return compare_predictions(y, *(np.where(part, y, "none") for part in right), **options)


def test_verdict_of_a_balanced_head_is_spoken_by_balanced_accuracy() -> None:
    counts = (42, 330), (9, 488)
    by_rows = build_report(build_scores(*counts), best_epoch=3)
    balanced = build_report(build_scores(*counts, measure="balanced_accuracy"), best_epoch=3)
    assert by_rows.verdict.startswith("Tuning helped: +22.7 points of accuracy on 550 val images")
    assert balanced.verdict.startswith(
        "Tuning made the balanced accuracy worse: -17.2 points of balanced accuracy on 550 val"
    )
    for report in (by_rows, balanced):  # whichever the measure is, who loses is named
        assert "It loses on class 'cat': recall 0.840 before, 0.180 after." in report.verdict
    assert balanced.to_dict()["scores"]["measure"] == "balanced_accuracy"


def test_verdict_names_the_three_classes_that_lose_most() -> None:
    labels = np.repeat([f"c{number}" for number in range(5)], 100)
    left = np.tile(np.arange(100), 5)
    second = np.where(left < np.repeat([50, 90, 10, 100, 30], 100), labels, "none")
    verdict = build_report(compare_predictions(labels, labels, second)).verdict
    assert (
        "It loses on classes 'c2': recall 1.000 before, 0.100 after; 'c4': recall 1.000 before, "
        "0.300 after; 'c0': recall 1.000 before, 0.500 after; and 1 more. Stay"
    ) in verdict


def test_verdict_of_a_training_that_was_cut_short_says_that_nothing_is_known() -> None:
    epochs = tuple(replace(EPOCH, epoch=number) for number in range(6))
    y = np.array(["a"] * 100)
    cut = {"history": epochs, "is_cut_short": True, "stopped": "the loss was not finite"}
    report = build_report(compare_predictions(y, y, y), **cut)
    assert report.verdict.startswith(
        "Whether tuning helps is not known: it was stopped after 5 of 10 epochs, before the "
        "learning rate had come down, with +0.0 points of accuracy on 100 val images"
    )
    assert "did not help" not in report.verdict
    better = build_report(build_scores((20, 200), (45, 450)), **cut)
    assert better.verdict.startswith("Tuning helped")


def test_report_is_built_again_from_its_record(tmp_path: Path) -> None:
    paths = TuningPaths.build(tmp_path / "moved.safetensors", None)
    scores = build_scores((20, 200), (45, 450), measure="balanced_accuracy")
    history = (EPOCH, replace(EPOCH, epoch=1, train_loss=0.5))
    report = build_report(scores, history=history, trunk_excess="no space")
    record = json.loads(json.dumps(report.to_record(), allow_nan=False))
    again = TuningReport.from_record(record, json.loads(json.dumps(scores.to_dict())), paths)
    assert math.isnan(again.history[0].train_loss)
    assert again.history[1:] == report.history[1:]
    moved: dict[str, Any] = {"path": paths.output, "head_path": paths.head, "log_path": paths.log}
    assert replace(again, history=()) == replace(report, **moved, history=())
    for wrong in ({"n_train": "34"}, {"more": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            TuningReport.from_record(record | wrong, scores.to_dict(), paths)


def test_save_weights_says_whose_tensors_they_are(lenet: Backbone, tmp_path: Path) -> None:
    # transformers and accelerate refuse a file without it.
    metadata = WeightsMetadata(backbone="lenet5", preprocess_from=None, size=None)
    network, path = lenet.module.network, tmp_path / "t.safetensors"
    options: dict[str, Any] = {"learnt": np.empty(0, np.uint64), "overwrite": True}
    save_weights(path, network, torch.nn.Linear(84, 2), metadata, **options)
    with safe_open(path, "pt") as opened:
        assert opened.metadata()["format"] == "pt"
