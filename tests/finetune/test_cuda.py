"""Fine-tuning on a CUDA GPU: what it learns works on a CPU, and fp32 is float32 there too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import featx
from featx.core.typing import TrainPrecision
from featx.finetune.report import TuningReport
from featx.fitting.evaluate import evaluate
from featx.fitting.fit import fit_head

from .doubles_scene import RECIPE, Scene, extract_scene, tune

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:.*were learnt from by the network"),
]

DEVICE = "cuda:0"
MakeScene = Callable[..., Scene]


def run(
    scene: Scene, folder: Path, device: str, precision: TrainPrecision, **options: object
) -> TuningReport:
    folder.mkdir()
    recipe = replace(RECIPE, epochs=4, precision=precision)
    head = fit_head(scene.cache, C=1e-4)
    return tune(
        scene, folder / "tuned.safetensors", head=head, recipe=recipe, device=device, **options
    )


# Lines of the history that are compared: before the first step, and after each epoch. On a CPU,
# noise of 1e-7 in the output of each convolution of mini changes the loss by 6e-5 after one epoch
# and by 4e-3 after three; noise of 3e-4, about that of TF32, changes it by 0.1 after one. The loss
# of lenet5 changes by 2e-7.
LINES = {"lenet5": 5, "mini": 2}


@pytest.mark.parametrize("changes", [{}, {"max_trunk_gb": 0.0}])
@pytest.mark.parametrize("backbone", ["lenet5", "mini"])
def test_fine_tune_on_cuda_in_fp32_takes_the_steps_of_the_cpu(
    make_scene: MakeScene, tmp_path: Path, backbone: str, changes: dict[str, object]
) -> None:
    scene = make_scene(backbone=backbone)
    on_cpu = run(scene, tmp_path / "cpu", "cpu", "fp32", **changes)
    on_cuda = run(scene, tmp_path / "cuda", DEVICE, "fp32", **changes)
    assert len(on_cuda.history) == len(on_cpu.history) == 5
    for number in range(LINES[backbone]):
        line, expected = on_cuda.history[number], on_cpu.history[number]
        assert line.holdout_loss == pytest.approx(expected.holdout_loss, rel=2e-3)
        np.testing.assert_allclose(line.train_loss, expected.train_loss, rtol=2e-3)


def test_fine_tune_on_cuda_learns_and_its_outputs_work_on_a_cpu(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    scene = make_scene()
    report = run(scene, tmp_path / "cuda", DEVICE, "bf16")
    assert report.history[-1].train_loss < report.history[1].train_loss
    for device in ("cpu", DEVICE):
        cache = extract_scene(
            scene.folder,
            tmp_path / f"{device[:3]}.h5",
            backbone="lenet5",
            weights=str(report.path),
            device=device,
        )
        assert evaluate(report.head_path, cache).accuracy == pytest.approx(report.scores.second)
        labels = [one.label for one in featx.predict(report.head_path, cache)]
        assert len(set(labels)) == 3


def test_fine_tune_on_cuda_twice_gives_equal_weights(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(backbone="mini")
    digests = []
    for name in ("one", "two"):
        report = run(scene, tmp_path / name, DEVICE, "fp32")
        backbone = featx.load_backbone("mini", weights=str(report.path))
        digests.append(backbone.weights_digest)
    assert digests[0] == digests[1]
