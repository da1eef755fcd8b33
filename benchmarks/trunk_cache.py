"""One epoch with the trunk's output kept against one without, in one run, by turns.

Beside the times stands what the FLOPs predict: the trunk's forwards and the unfrozen part three
times over (backwards costs twice what forwards does), against the unfrozen part alone.

    python benchmarks/trunk_cache.py --rounds 3

On a machine with a GPU, ``--device cuda`` measures it there, in bf16 where the GPU has that.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from photos import write_photos
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import featx
from featx.finetune.cut import cut_backbone

sys.path.insert(0, str(Path(__file__).parents[1] / "pipelines"))
from shared import build_parser

MOBILENET = "weights/mobilenet_v2-imagenet-backbone.pth"


@dataclass(frozen=True)
class Case:
    """A network, and how much of it is unfrozen."""

    backbone: str
    unfreeze: int
    what: str


CASES = (
    Case("mobilenet_v2", 1, "features.18"),
    Case("mobilenet_v2", 5, "features.14 and up"),
    Case("resnet50", 1, "last bottleneck"),
)


def main() -> None:
    """Measure every case in every round."""
    parser = build_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    ratios: dict[Case, list[float]] = {case: [] for case in CASES}
    print(
        "network       unfrozen            kept (images/s)  run  ratio  by FLOPs  loss differs by"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = write_table(arguments.data / "data", folder, arguments.images)
        for number in range(arguments.rounds):
            for case in CASES:
                weights = "random:0"
                if case.backbone == "mobilenet_v2" and (arguments.data / MOBILENET).exists():
                    weights = str(arguments.data / MOBILENET)
                cache = folder / f"{case.backbone}.h5"
                if not cache.exists():
                    featx.extract(table, cache, backbone=case.backbone, weights=weights)
                # By turns, the one first that was last before.
                order = (None, 0) if number % 2 else (0, None)
                epochs = {limit: run(case, table, cache, limit, arguments) for limit in order}
                kept, live = epochs[None], epochs[0]
                ratios[case].append(live.seconds / kept.seconds)
                print(
                    f"{case.backbone:<13} {case.what:<19} {kept.images_per_s:15.0f} "
                    f"{live.images_per_s:5.0f} {ratios[case][-1]:6.1f} "
                    f"{predict_ratio(case, weights):9.1f} "
                    f"{abs(kept.train_loss - live.train_loss):16.1e}",
                    flush=True,
                )
    print("\nmedian ratios")
    for case, values in ratios.items():
        print(f"{case.backbone:<13} {case.what:<19} {statistics.median(values):6.1f}")


def write_table(data: Path, folder: Path, n_images: int) -> Path:
    """Write distinct photos, with two labels and two splits drawn at random."""
    write_photos(data, folder / "photos", n_images)
    table = folder / "photos.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "split"])
        for number, path in enumerate(sorted((folder / "photos" / "a").iterdir())):
            split = "train" if number % 10 else "val"
            writer.writerow([path, "even" if number % 2 else "odd", split])
    return table


def run(
    case: Case, table: Path, cache: Path, limit: int | None, arguments: argparse.Namespace
) -> featx.Epoch:
    """Train one epoch, and return its line of the log."""
    report = featx.fine_tune(
        table,
        cache,
        cache.with_name("tuned.safetensors"),
        unfreeze=case.unfreeze,
        recipe=featx.Recipe(epochs=1, lr=1e-4),
        trunk=cache.with_suffix(f".trunk-{case.unfreeze}.h5"),
        max_trunk_gb=limit,
        overwrite=True,
        device=arguments.device,
        progress=False,
    )
    assert (report.trunk_path is None) == (limit == 0)
    return report.history[1]


def predict_ratio(case: Case, weights: str) -> float:
    """Say how many times as much is computed where the trunk is run in each epoch."""
    backbone = featx.load_backbone(case.backbone, weights=weights)
    cut = cut_backbone(backbone, case.unfreeze)
    example = torch.from_numpy(backbone.preprocess.build_example()[None])
    with torch.inference_mode():
        n_trunk = _count_flops(cut.trunk.module, backbone.preprocess.normalise(example))
        n_top = _count_flops(cut.top, torch.zeros(1, *cut.shape))
    return (n_trunk + 3 * n_top) / (3 * n_top)


def _count_flops(module: nn.Module, batch: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        module(batch)
    return int(counter.get_total_flops())


if __name__ == "__main__":
    main()
