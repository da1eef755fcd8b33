"""Time an epoch with the output of the trunk kept, and one with the trunk run, by turns.

Beside the measured ratio stands the ratio that the FLOPs predict: the trunk once and the unfrozen
part three times (a backward pass costs twice a forward pass), against the unfrozen part alone.

    python benchmarks/trunk_cache.py --rounds 3

On a machine with a GPU, ``--device cuda`` measures there, in bf16 if the GPU supports it.
"""

from __future__ import annotations

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
    """A network, and the part of it that is unfrozen.

    Attributes
    ----------
    backbone : str
        Name of the backbone.
    unfreeze : int
        Number of unfrozen blocks.
    what : str
        Name of the unfrozen part in the table.
    """

    backbone: str
    unfreeze: int
    what: str


CASES = (
    Case("mobilenet_v2", 1, "features.18"),
    Case("mobilenet_v2", 5, "features.14 and up"),
    Case("resnet50", 1, "last bottleneck"),
)


def main() -> None:
    """Measure all cases in each round."""
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
                # The order changes from round to round.
                order = (None, 0) if number % 2 else (0, None)
                epochs = {
                    limit: run(case, table, cache, max_trunk_gb=limit, device=arguments.device)
                    for limit in order
                }
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
    """Write distinct images, with two labels and two splits."""
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
    case: Case, table: Path, cache: Path, *, max_trunk_gb: int | None, device: str
) -> featx.Epoch:
    """Train one epoch; return its line of the log."""
    report = featx.fine_tune(
        table,
        cache,
        cache.with_name("tuned.safetensors"),
        unfreeze=case.unfreeze,
        recipe=featx.Recipe(epochs=1, lr=1e-4),
        trunk=cache.with_suffix(f".trunk-{case.unfreeze}.h5"),
        max_trunk_gb=max_trunk_gb,
        overwrite=True,
        device=device,
        progress=False,
    )
    assert (report.trunk_path is None) == (max_trunk_gb == 0)
    return report.history[1]


def predict_ratio(case: Case, weights: str) -> float:
    """Compute the ratio of FLOPs: with the trunk run in each epoch, to the unfrozen part alone."""
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
