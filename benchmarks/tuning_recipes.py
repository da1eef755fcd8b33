"""Compare recipes of fine-tuning on several data sets, over seeds.

The trunk runs once over each data set; each training then runs the top blocks alone, through
`featx.finetune.train.Training`. A seed draws other images, another holdout and another order.
Recipes are scored on images of the training data that are neither learnt from nor held out, never
on val or test. Each result becomes a line of the table at once, and a line that is there is not
measured again.

    python benchmarks/tuning_recipes.py --work DIR --table DIR/recipes.csv \
        --sets cifar-25 cifar-200 digits-25 ants-195 dogs-660 --trials default before e10 lr20

A set is a name and a number: images per class of CIFAR-10 or of the digits of scikit-learn; ants
and bees, four fifths of their train images; or 600 dogs and 60 cats of CIFAR-10. A trial is
``default``, ``before`` (the recipe before this study), or parts of `PARTS` with numbers:
``e10-b32`` is ten epochs in batches of 32. ``--summary`` writes means and ranges over seeds.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import sys
import tempfile
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold

import featx
from featx.backbones.backbone import Backbone
from featx.backbones.load import load_backbone
from featx.cache.joined import open_cache
from featx.core.typing import Array, BoolArray, Float32Array, IntArray
from featx.finetune import holdout as holding
from featx.finetune.checkpoint import TrainingIdentity
from featx.finetune.cut import cut_backbone
from featx.finetune.holdout import LabelledRows, hold_out
from featx.finetune.recipe import Recipe
from featx.finetune.result import build_linear_layer
from featx.finetune.train import Examples, Training, TrainingRequest
from featx.images.manifest import Manifest
from featx.images.sources.read import read_manifest

sys.path.insert(0, str(Path(__file__).parents[1] / "pipelines"))
from shared import build_parser, check_there

WEIGHTS = {
    "mobilenet_v2": "mobilenet_v2-imagenet-backbone.pth",
    "squeezenet1_1": "squeezenet1_1-imagenet.pth",
}
N_POOL, N_SCORED, N_SCORED_OF_TWO = 2000, 250, 500
"""Numbers of images per class of CIFAR-10: the first are drawn from, the next ones are scored."""

DOG, CAT = 5, 3
DOGS_PER_CAT = 10

PARTS = {
    "lr": ("lr", 1e-4),
    "e": ("epochs", 1),
    "b": ("train_batch_size", 1),
    "w": ("warmup", 0.01),
    "d": ("lr_decay", 0.1),
    "ls": ("label_smoothing", 0.01),
    "s": ("least_steps", 1),
    "h": ("share", 0.01),
}
"""Letters of a trial: a number of a recipe, and its unit."""


@dataclass(frozen=True, kw_only=True)
class Trial(Recipe):
    """A recipe with rules that `Recipe` does not have.

    Attributes
    ----------
    least_steps : int
        Smallest number of steps.
    least_warmup : int
        Smallest number of steps of the warm-up.
    share : float
        Share that is held out of fewer than 4,000 images; 0 for that of featx.
    """

    least_steps: int = 0
    least_warmup: int = 0
    share: float = 0.0

    def count_epochs(self, n_images: int) -> int:
        """Count the epochs of a training."""
        if not self.least_steps:
            return super().count_epochs(n_images)
        return max(10, -(-self.least_steps // self.count_steps(n_images)))

    def count_warmup(self, n_steps: int) -> int:
        """Count the steps in which the learning rates rise."""
        return max(self.least_warmup, super().count_warmup(n_steps))


BEFORE = Trial(epochs=10, least_warmup=50, share=0.1)
PATIENCE_BEFORE = 5


def read_trial(name: str) -> Trial:
    """Read the name of a trial."""
    if name == "before":
        return BEFORE
    values: dict[str, float] = {}
    for part in name.split("-") if name != "default" else ():
        letters = part.rstrip("0123456789")
        field, unit = PARTS[letters]
        values[field] = unit * int(part[len(letters) :])
    return Trial(**values)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the table: one training.

    Attributes
    ----------
    backbone, blocks, data, trial, seed
        What was trained. The other attributes tell the numbers of images to learn from, of the
        holdout, and to score on; the epochs, and the seconds of training; the accuracies of the
        frozen head, of the last epoch and of the model that is kept, with its epoch; and the
        images of the holdout that the last epoch gained and lost.
    """

    backbone: str
    blocks: int
    data: str
    trial: str
    seed: int
    n_learnt: int
    n_holdout: int
    n_scored: int
    epochs: int
    train_s: float
    frozen: float
    last: float
    kept: float
    kept_epoch: int
    gained: int
    lost: int


@dataclass(frozen=True, kw_only=True)
class Data:
    """A data set whose trunk has run.

    Attributes
    ----------
    backbone : Backbone
        The whole network.
    maps, vectors : ndarray of float32
        Output of the trunk, and of the whole network.
    y : ndarray of int
        Class codes.
    numbers : ndarray of int
        Number of each image in its class.
    """

    backbone: Backbone
    maps: Float32Array
    vectors: Float32Array
    y: IntArray
    numbers: IntArray


@dataclass(frozen=True)
class KeptMaps:
    """The output of the trunk, in memory."""

    maps: Float32Array

    def iter_batches(self, order: IntArray, batch_size: int, view: int) -> Generator[Float32Array]:
        """Yield the feature maps of images; there is one view."""
        del view
        for start in range(0, len(order), batch_size):
            yield self.maps[order[start : start + batch_size]]


class WatchedTraining(Training):
    """A training that remembers what each epoch says of the holdout, and its weights."""

    def __init__(self, request: TrainingRequest) -> None:
        super().__init__(request)
        self.weights: list[dict[str, torch.Tensor]] = []
        self.correct: list[BoolArray] = []

    def _finish_epoch(self, train_loss: float) -> None:
        super()._finish_epoch(train_loss)
        self.weights.append(self._copy_weights())
        holdout = self.request.examples.holdout
        found = self.predict(holdout).argmax(1).numpy()
        self.correct.append(found == self.request.examples.y[holdout])


def list_cifar(data: Path) -> Manifest:
    """List the images of CIFAR-10 that are drawn from, and those that are scored."""
    manifest = read_manifest(check_there(data / "data/cifar10-train.tar"))
    n_images = N_POOL + N_SCORED_OF_TWO
    chosen = [entry for entry in manifest.entries if int(Path(entry.row.id).stem) < n_images]
    return Manifest(source=manifest.source, entries=tuple(chosen))


def list_digits(work: Path) -> Manifest:
    """Write the digits of scikit-learn as images of 8 x 8 pixels, and list them."""
    folder = work / "digits"
    if not folder.exists():
        images, y = load_digits(return_X_y=True)
        for number, (image, label) in enumerate(zip(images.reshape(-1, 8, 8), y, strict=True)):
            path = folder / str(label) / f"{number:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((image * 15.9).astype(np.uint8)).save(path)
    return read_manifest(folder)


def list_ants(data: Path) -> Manifest:
    """List the train images of ants and bees."""
    return read_manifest(check_there(data / "data/hymenoptera_data/train"))


SIZES = {"cifar": 96, "digits": 96, "ants": None}
"""Pixels per side as the network sees them, by source; None for those of the weights."""


def open_data(source: str, arguments: argparse.Namespace) -> Data:
    """Run a network and its trunk over a data set, or read what an earlier run kept."""
    name, work = arguments.backbone, arguments.work
    weights = check_there(arguments.data / "weights" / WEIGHTS[name])
    backbone = load_backbone(name, weights=str(weights), size=SIZES[source])
    trunk = cut_backbone(backbone, arguments.blocks).trunk
    if source == "digits":
        manifest = list_digits(work)
    else:
        manifest = (list_cifar if source == "cifar" else list_ants)(arguments.data)
    outputs = []
    for stem, network in ((f"-{arguments.blocks}", trunk), ("", backbone)):
        path = work / f"{source}-{name}{stem}.h5"
        if not path.exists():
            featx.extract(manifest, path, backbone=network, embedding="output")
        with open_cache(path) as cache:
            (embedding,) = cache.embeddings
            rows = np.arange(len(cache.ids))
            outputs.append(np.asarray(cache.read_vectors(embedding, rows), np.float32))
            labels, ids = cache.labels, cache.ids.tolist()
    return Data(
        backbone=backbone,
        maps=outputs[0],
        vectors=outputs[1],
        y=np.unique(labels, return_inverse=True)[1],
        numbers=np.array([int("0" + "".join(filter(str.isdigit, Path(one).stem))) for one in ids]),
    )


def draw(name: str, data: Data, seed: int) -> tuple[IntArray, IntArray, IntArray]:
    """Draw images to learn from and images to score; return them, and class codes of all."""
    rng = np.random.default_rng(seed)
    source, size = name.split("-")
    if source == "ants":
        folds = StratifiedKFold(5, shuffle=True, random_state=seed // 5)
        train, scored = list(folds.split(data.y, data.y))[seed % 5]
        return train, scored, data.y
    if source == "digits":
        order = rng.permutation(len(data.y))
        per_class = [order[data.y[order] == code] for code in range(10)]
        parts = ([rows[: int(size)] for rows in per_class], [rows[100:] for rows in per_class])
        train, scored = (np.sort(np.concatenate(part)) for part in parts)
        return train, scored, data.y
    is_pool = data.numbers < N_POOL
    counts = dict.fromkeys(range(10), int(size))
    y, n_scored = data.y, N_SCORED
    if source == "dogs":
        counts = {DOG: 600, CAT: 600 // DOGS_PER_CAT}
        y, n_scored = (data.y == DOG).astype(int), N_SCORED_OF_TWO
    drawn = [
        rng.choice(np.flatnonzero(is_pool & (data.y == code)), count, replace=False)
        for code, count in counts.items()
    ]
    is_scored = ~is_pool & (data.numbers < N_POOL + n_scored) & np.isin(data.y, list(counts))
    return np.sort(np.concatenate(drawn)), np.flatnonzero(is_scored), y


def compute_score(name: str, correct: BoolArray, y: IntArray) -> float:
    """Compute the accuracy; of dogs and cats ten to one, as they are drawn."""
    if name.startswith("dogs"):
        dogs, cats = correct[y == 1].mean(), correct[y == 0].mean()
        return float((DOGS_PER_CAT * dogs + cats) / (DOGS_PER_CAT + 1))
    return float(correct.mean())


def find_strength(path: Path, name: str, X: Array, y: Array) -> float:
    """Search C on the images of the first seed, and remember it."""
    known: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
    if name not in known:
        known[name] = float(featx.HeadClassifier(random_state=0, progress=False).fit(X, y).C_)
        path.write_text(json.dumps(known))
    return known[name]


def measure(name: str, data: Data, arguments: argparse.Namespace, *, seed: int, trial: str) -> Line:
    """Train by one recipe with one seed, and score the network."""
    recipe = replace(read_trial(trial), seed=seed)
    train, scored, y = draw(name, data, seed)
    labels, keys = y.astype(str), np.array([f"{row:06}" for row in train])
    rows = LabelledRows(
        rows=train, ids=keys, labels=labels[train], groups=np.full(len(train), ""), digests=keys
    )
    if recipe.share:  # before this study, a fifth below 1,000 images, else a tenth
        holding.HOLDOUT_OF_FEW = 0.2 if trial == "before" and len(train) < 1000 else recipe.share
    learnt, holdout = hold_out(rows, seed, name)
    holding.HOLDOUT_OF_FEW = 0.2
    strengths = arguments.work / "strengths.json"
    C = find_strength(strengths, f"{name}-{arguments.backbone}", data.vectors[train], y[train])
    whole, start = (
        featx.HeadClassifier(C=C, progress=False).fit(data.vectors[chosen], y[chosen])
        for chosen in (train, train[learnt])
    )
    codes = np.searchsorted(whole.classes_, y)
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
        training = WatchedTraining(
            TrainingRequest(
                # Training changes a network in place: each one has a copy of its own.
                cut=cut_backbone(data.backbone, arguments.blocks),
                classifier=build_linear_layer(start.pipeline_),
                features=KeptMaps(data.maps),
                examples=Examples(
                    train=train[learnt], holdout=train[holdout], y=codes, units=np.arange(len(y))
                ),
                identity=build_identity(recipe),
                device="cpu",
                folder=Path(folder),
            )
        )
        training.learner.set_parts(1)
        training.run(progress=False)

    def score(epoch: int) -> float:
        training.learner.load_state_dict(training.weights[epoch])
        found = training.predict(scored).argmax(1).numpy() == codes[scored]
        return compute_score(name, found, codes[scored])

    frozen = compute_score(name, whole.predict(data.vectors[scored]) == y[scored], codes[scored])
    n_epochs, kept = len(training.weights) - 1, training.best_epoch
    if trial == "before":
        kept = choose_before(training)
    last = score(n_epochs)
    gained = training.correct[-1].astype(int) - training.correct[0]
    return Line(
        backbone=arguments.backbone,
        blocks=arguments.blocks,
        data=name,
        trial=trial,
        seed=seed,
        n_learnt=len(learnt),
        n_holdout=len(holdout),
        n_scored=len(scored),
        epochs=n_epochs,
        train_s=round(sum(epoch.seconds for epoch in training.history), 1),
        frozen=round(frozen, 4),
        last=round(last, 4),
        kept=round(last if kept == n_epochs else score(kept) if kept else frozen, 4),
        kept_epoch=kept,
        gained=int((gained > 0).sum()),
        lost=int((gained < 0).sum()),
    )


def build_identity(recipe: Recipe) -> TrainingIdentity:
    """Build the identity of a training that is never resumed."""
    return TrainingIdentity(
        backbone="",
        weights="",
        preprocessing={},
        blocks=(),
        classes=(),
        images="",
        labels="",
        holdout="",
        head="",
        measure="accuracy",
        class_weights=(),
        recipe=recipe,
    )


def choose_before(training: WatchedTraining) -> int:
    """Choose the epoch as featx did before this study: the best until patience ended."""
    best, best_rank = 0, (False, 0.0, 0.0)
    for epoch, correct in zip(training.history, training.correct, strict=True):
        gains = correct.astype(int) - training.correct[0]
        is_sure = gains.sum() > np.abs(gains).sum() ** 0.5
        rank = (bool(is_sure), epoch.holdout_accuracy, -epoch.holdout_loss)
        if epoch.epoch == 0 or rank > best_rank:
            best, best_rank = epoch.epoch, rank
        elif epoch.epoch - best >= PATIENCE_BEFORE:
            break
    return best if best_rank[0] else 0


def read_lines(path: Path) -> list[Line]:
    """Read the table."""
    if not path.exists():
        return []
    kinds: dict[str, Callable[[str], object]] = {"int": int, "float": float, "str": str}
    with path.open(newline="", encoding="utf-8") as stream:
        return [
            Line(**{one.name: kinds[str(one.type)](line[one.name]) for one in fields(Line)})  # type: ignore[arg-type]
            for line in csv.DictReader(stream)
        ]


def write_summary(lines: Sequence[Line], path: Path) -> None:
    """Write means and ranges over seeds: gains in points, and the share of errors removed."""

    def key(line: Line) -> tuple[str, int, str, int, str]:
        name, size = line.data.split("-")
        return line.backbone, line.blocks, name, int(size), line.trial

    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        columns = ["backbone", "blocks", "data", "trial", "n_seeds", "n_scored", "epochs"]
        columns += ["train_s", "frozen", "n_kept"]
        ranges = [f"{what}{end}" for what in ("gain", "removed") for end in ("", "_low", "_high")]
        writer.writerow([*columns, *ranges, "gain_of_last"])
        for _, group in itertools.groupby(sorted(lines, key=key), key):
            same = list(group)
            first = same[0]
            gains = [100 * (line.kept - line.frozen) for line in same]
            removed = [  # a head without an error has nothing to remove
                (line.kept - line.frozen) / max(1 - line.frozen, 1 / line.n_scored) for line in same
            ]
            writer.writerow(
                [
                    *(first.backbone, first.blocks, first.data, first.trial),
                    *(len(same), first.n_scored, first.epochs),
                    round(mean(line.train_s for line in same), 1),
                    round(mean(line.frozen for line in same), 3),
                    sum(line.kept_epoch > 0 for line in same),
                    *(round(value, 2) for value in (mean(gains), min(gains), max(gains))),
                    *(round(value, 3) for value in (mean(removed), min(removed), max(removed))),
                    round(mean(100 * (line.last - line.frozen) for line in same), 2),
                ]
            )


def main() -> None:
    """Measure what the table lacks, and write its summary."""
    parser = build_parser(__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for caches, a GB")
    parser.add_argument("--table", type=Path, required=True, help="CSV to extend")
    parser.add_argument("--scratch", type=Path, help="folder for checkpoints, best in memory")
    parser.add_argument("--summary", type=Path, help="CSV to write")
    parser.add_argument("--backbone", choices=WEIGHTS, default="mobilenet_v2")
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--sets", nargs="+", default=[])
    parser.add_argument("--trials", nargs="+", default=["default"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    opened: dict[str, Data] = {}
    for seed, name, trial in itertools.product(arguments.seeds, arguments.sets, arguments.trials):
        is_done = (arguments.backbone, arguments.blocks, name, trial, seed)
        if is_done in {
            (line.backbone, line.blocks, line.data, line.trial, line.seed)
            for line in read_lines(arguments.table)
        }:
            continue
        source = name.split("-")[0].replace("dogs", "cifar")
        if source not in opened:
            opened[source] = open_data(source, arguments)
        line = measure(name, opened[source], arguments, seed=seed, trial=trial)
        is_new = not arguments.table.exists()
        with arguments.table.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(asdict(line)), lineterminator="\n")
            if is_new:
                writer.writeheader()
            writer.writerow(asdict(line))
        print(line, flush=True)
    if arguments.summary:
        write_summary(read_lines(arguments.table), arguments.summary)


if __name__ == "__main__":
    main()
