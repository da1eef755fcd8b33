"""What the report says, and the files of a result read back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from featx.backbones.load import load_backbone
from featx.backbones.metadata import WeightsMetadata
from featx.backbones.state_dict import digest_weights, read_state_dict
from featx.finetune.cut import cut_backbone
from featx.finetune.log import Epoch, write_log
from featx.finetune.report import TuningReport
from featx.finetune.result import build_linear_layer, save_weights
from featx.heads.compare import PairedScores, compare_predictions
from featx.heads.head import Head

from .doubles_scene import Scene, decide


def build_report(scores: PairedScores, **changes: Any) -> TuningReport:
    fields: dict[str, Any] = {
        "path": Path("tuned.safetensors"),
        "head_path": Path("tuned.joblib"),
        "log_path": Path("tuned.log.csv"),
        "backbone": "lenet5",
        "blocks": ("f6",),
        "n_train": 34,
        "n_holdout": 8,
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
    epoch = Epoch(
        epoch=0,
        train_loss=float("nan"),
        holdout_loss=1.0,
        holdout_accuracy=0.5,
        holdout_balanced_accuracy=0.5,
        lr=0.0,
        seconds=0.0,
        images_per_s=0.0,
    )
    report = build_report(compare_predictions(y, y, y), history=(epoch,))
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


def test_write_log_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("before")
    write_log(path, [], overwrite=True)
    assert path.read_text() == (
        "epoch,train_loss,holdout_loss,holdout_accuracy,holdout_balanced_accuracy,lr,seconds,"
        "images_per_s\n"
    )
