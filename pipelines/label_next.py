"""Which images to label next: the loop suggest, label, fit, beside random choice.

The labels of ants and bees are hidden, and each arm asks for a batch of them at a time: one arm by
`featx.suggest`, the other at random. Both are scored on val, whose labels nobody spends. Where the
script looks up a hidden label, you look at an image.

Run it with ``python pipelines/label_next.py``; it takes about half a minute on two cores.
"""

from __future__ import annotations

import csv
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Literal

from shared import build_parser, check_there

import featx


def read_truth(cache: Path) -> dict[str, str]:
    """Read the labels of all train rows by their ids."""
    with featx.open_cache(cache) as opened:
        rows = opened.select_rows("train", labelled=True)
        return dict(zip(opened.ids[rows], opened.labels[rows], strict=True))


def fill_in(table: Path, truth: dict[str, str]) -> None:
    """Fill in the column label of a table, as a person does in a spreadsheet program."""
    with table.open(newline="", encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    for line in lines:
        line["label"] = truth[line["id"]]
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def run_arm(
    cache: Path, truth: dict[str, str], strategy: Literal["auto", "random"], batches: list[int]
) -> list[float]:
    """Spend all batches; return the accuracy on val after each of them."""
    featx.label_cache(cache, dict.fromkeys(truth, ""), author="hidden")
    accuracies: list[float] = []
    heads: list[featx.Head] = []
    for number, n_rows in enumerate(batches):
        head = heads[-1] if heads else None
        previous = heads[-3] if len(heads) > 2 else None
        found = featx.suggest(
            cache, head, n_rows, strategy=strategy, previous=previous, progress=False
        )
        if strategy == "auto" and found.gain is not None:
            print(f"  {found.gain.verdict}")
        table = cache.with_name(f"{strategy}-{number}.csv")
        found.write(table)
        fill_in(table, truth)
        featx.label_cache(cache, table, author="ada")
        heads.append(featx.fit_head(cache, progress=False))
        scores = featx.evaluate(heads[-1], cache, split="val")
        accuracies.append(scores.accuracy)
        n_labels = heads[-1].fitted_on.n_rows
        print(f"  {n_labels:4d} labels, {found.strategy:9s}: val accuracy {scores.accuracy:.3f}")
    return accuracies


def main() -> None:
    """Extract once, then label by suggestion and at random."""
    parser = build_parser(__doc__)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--weights", help="default: the file for the backbone in --data")
    parser.add_argument("--batches", type=int, nargs="+", default=[10, 10, 20, 40, 40, 40])
    arguments = parser.parse_args()
    photos = check_there(arguments.data / "data" / "hymenoptera_data")
    weights = arguments.weights
    if weights is None:
        found = sorted((arguments.data / "weights").glob(f"{arguments.backbone}-*"))
        weights = str(found[0]) if found else "DEFAULT"
    warnings.simplefilter("ignore", featx.FeatxWarning)
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "photos.h5"
        featx.extract(photos, cache, backbone=arguments.backbone, weights=weights)
        truth = read_truth(cache)
        accuracies = {}
        arms: tuple[Literal["auto", "random"], ...] = ("auto", "random")
        for strategy in arms:
            own = cache.with_name(f"{strategy}.h5")
            shutil.copy(cache, own)
            print("random choice:" if strategy == "random" else "featx.suggest:")
            accuracies[strategy] = run_arm(own, truth, strategy, arguments.batches)
    means = {name: sum(values) / len(values) for name, values in accuracies.items()}
    print(f"mean accuracy: suggested {means['auto']:.3f}, random {means['random']:.3f}")


if __name__ == "__main__":
    main()
