"""Measure the gain of fine-tuning on CIFAR-10, by the number of labelled images.

For each number of training images per class and each seed, a frozen head, a network with its top
block tuned and networks with more blocks tuned are compared on the same test images. A seed draws
other training images, and is the seed of the recipe too. Of one seed, the images of a small number
are among those of a larger one.

    python pipelines/fine_tune_cifar.py --work /tmp/cifar --table docs/how_to/fine_tuning.csv \
        --sizes 50 200 1000 --seeds 0 1 2
    python pipelines/fine_tune_cifar.py --plot docs/how_to/fine_tuning.png \
        --table docs/how_to/fine_tuning.csv
"""

from __future__ import annotations

import argparse
import csv
import random
import tarfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from itertools import product
from pathlib import Path
from statistics import mean

from shared import build_parser, check_there

import featx

SIZE = 96
"""Pixels per side of an image: three times those of CIFAR-10."""

LARGE = 2000
LARGE_C = 10**-2.5
"""Regularisation of heads with more than `LARGE` images per class: the search finds this value for
500 to 2,000 of them. With 50,000 images, the search takes half an hour on two cores."""

BACKBONE = "mobilenet_v2"
WEIGHTS = "mobilenet_v2-imagenet-backbone.pth"


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to train.

    Attributes
    ----------
    name : str
        Name in the table and the plot.
    unfreeze : int or "auto"
        Number of blocks to train; ``"auto"`` is the number that `featx.advise` chooses.
    views : int
        Number of augmented views of each image.
    epochs : int, optional
        Number of epochs. Default: that of the recipe.
    """

    name: str
    unfreeze: int | str
    views: int = 0
    epochs: int | None = None


WAYS = (
    Way(name="top block", unfreeze=1),
    Way(name="5 blocks", unfreeze=5),
    Way(name="5 blocks, 4 views", unfreeze=5, views=4, epochs=16),
    Way(name="9 blocks", unfreeze=9),
    Way(name="auto", unfreeze="auto"),
)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the table.

    Attributes
    ----------
    per_class : int
        Number of training images per class.
    way : str
        Name of the way to train.
    seed : int
        Seed of the images that are drawn, and of the recipe.
    frozen, accuracy : float
        Accuracies of the frozen head and of the tuned model.
    gain, gain_low, gain_high : float
        Gain in accuracy with its 95 % interval.
    best_epoch : int
        Number of the epoch whose weights were kept.
    trunk_s, train_s, whole_s : float
        Seconds for the trunk, for the epochs, and in all.
    """

    per_class: int
    way: str
    seed: int
    frozen: float
    accuracy: float
    gain: float
    gain_low: float
    gain_high: float
    best_epoch: int
    trunk_s: float
    train_s: float
    whole_s: float


def main() -> None:
    """Measure the table, and draw it."""
    parser = build_parser(__doc__)
    parser.add_argument("--work", type=Path, help="folder for images and caches, a few GB")
    parser.add_argument("--table", type=Path, required=True, help="CSV to extend, or to draw")
    parser.add_argument("--plot", type=Path, help="draw the table to this file (needs matplotlib)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 200, 1000, 5000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--n-test", type=int, default=1000, metavar="N",
                        help="test images per class, at most 1000")  # fmt: skip
    parser.add_argument("--ways", nargs="+", default=["top block", "5 blocks"], metavar="WAY",
                        choices=[way.name for way in WAYS])  # fmt: skip
    arguments = parser.parse_args()
    if arguments.work:
        measure(arguments)
    if arguments.plot:
        draw(read_lines(arguments.table), arguments.plot)


def measure(arguments: argparse.Namespace) -> None:
    """Train in each way with each number of images, and write each line at once."""
    arguments.work.mkdir(parents=True, exist_ok=True)
    images = unpack(arguments.data, arguments.work)
    is_new = not arguments.table.exists()
    with arguments.table.open("a", newline="", encoding="utf-8") as stream:
        names = [field.name for field in fields(Line)]
        writer = csv.DictWriter(stream, names, lineterminator="\n")
        if is_new:
            writer.writeheader()
        ways = [way for way in WAYS if way.name in arguments.ways]
        for seed, per_class in product(arguments.seeds, sorted(arguments.sizes)):
            for way in ways:
                line = run(arguments, images, per_class, way, seed=seed)
                writer.writerow({name: _round(value) for name, value in asdict(line).items()})
                stream.flush()
                print(line, flush=True)


def unpack(data: Path, work: Path) -> Path:
    """Unpack both tars into ``train/CLASS`` and ``test/CLASS``, unless that is done."""
    folder = work / "images"
    for split in ("train", "test"):
        if not (folder / split).is_dir():
            with tarfile.open(check_there(data / f"data/cifar10-{split}.tar")) as archive:
                archive.extractall(folder / f".{split}", filter="data")
            (folder / f".{split}").rename(folder / split)
    return folder


def list_images(
    images: Path, per_class: int, n_test: int, seed: int
) -> Iterator[tuple[str, str, str]]:
    """Yield path, label and split of the images to train on, and of test images."""
    for split in ("train", "test"):
        for folder in sorted((images / split).iterdir()):
            files = sorted(folder.iterdir())
            if split == "train":
                random.Random(f"{folder.name} {seed}").shuffle(files)
            files = files[: per_class if split == "train" else n_test]
            yield from ((str(file), folder.name, split) for file in files)


def run(
    arguments: argparse.Namespace, images: Path, per_class: int, way: Way, *, seed: int
) -> Line:
    """Extract, fit a head, tune and compare."""
    data, work = arguments.data, arguments.work
    table = work / f"{per_class}-{seed}.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        lines = list_images(images, per_class, arguments.n_test, seed)
        csv.writer(stream).writerows([("path", "label", "split"), *lines])
    cache, head = work / "cifar.h5", work / f"{per_class}-{seed}.joblib"
    weights = check_there(data / "weights" / WEIGHTS)
    featx.extract(table, cache, backbone=BACKBONE, weights=str(weights), size=SIZE, prune=True)
    if not head.exists():
        featx.fit_head(cache, head, C="auto" if per_class <= LARGE else LARGE_C)
    start = time.perf_counter()
    report = featx.fine_tune(
        table,
        cache,
        work / "tuned.safetensors",
        head=head,
        unfreeze=way.unfreeze,
        recipe=featx.Recipe(views=way.views, epochs=way.epochs, seed=seed),
        trunk=work / f"trunk-{way.unfreeze}.h5",
        overwrite=True,
    )
    scores = report.scores
    low, high = scores.gain_ci95
    return Line(
        per_class=per_class,
        way=way.name,
        seed=seed,
        frozen=scores.first,
        accuracy=scores.second,
        gain=scores.gain,
        gain_low=low,
        gain_high=high,
        best_epoch=report.best_epoch,
        trunk_s=report.trunk_s,
        train_s=report.train_s,
        whole_s=time.perf_counter() - start,
    )


def _round(value: object) -> object:
    return round(value, 4) if isinstance(value, float) else value


def read_lines(table: Path) -> list[Line]:
    """Read the table that `measure` wrote."""
    with table.open(newline="", encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    kinds = {"per_class": int, "way": str, "seed": int, "best_epoch": int}
    return [Line(**{k: kinds.get(k, float)(v) for k, v in line.items()}) for line in lines]


def draw(lines: list[Line], path: Path) -> None:
    """Plot the mean accuracy, and its range over seeds, by the number of training images."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    sizes = sorted({line.per_class for line in lines})
    curves = {"frozen head": [(line.per_class, line.frozen) for line in lines]}
    for way in WAYS:
        curves[way.name] = [(x.per_class, x.accuracy) for x in lines if x.way == way.name]
    colours = ("0.45", "#c8553d", "#2a6f97", "#588157", "#7b5ea7", "#d4a017")
    for (name, points), colour in zip(curves.items(), colours, strict=True):
        by_size = {size: [y for x, y in points if x == size] for size in sizes}
        found = {size: values for size, values in by_size.items() if values}
        if found:
            means = [mean(values) for values in found.values()]
            low = [one - min(values) for one, values in zip(means, found.values(), strict=True)]
            high = [max(values) - one for one, values in zip(means, found.values(), strict=True)]
            style = "o-" if len(found) > 1 else "D"
            x = list(found)
            axes.errorbar(x, means, (low, high), fmt=style, color=colour, label=name, capsize=2)
    axes.set(xscale="log", xlabel="training images per class", ylabel="accuracy on test images")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.set_title(f"CIFAR-10, {BACKBONE} at {SIZE} pixels")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
