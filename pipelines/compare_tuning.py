"""Compare ways to fine-tune on your own images: optimizers, or numbers of unfrozen blocks.

``optimizers`` trains with AdamW, Adam and SGD from the same head, over the same output of the trunk
and with the same holdout. Each gets a few learning rates, of which the holdout, a part of train,
chooses one; the chosen runs are compared pairwise on val (or test), which chose nothing.
``blocks`` trains 0 blocks (the frozen head), the top block and more of them: what does each gain?

    python pipelines/compare_tuning.py optimizers photos/ --unfreeze 2 --work work
    python pipelines/compare_tuning.py blocks photos/ --blocks 0 1 2 4 auto --work work

Runs are kept in ``--work``: the same command again trains only what is missing. It writes
``optimizers.csv`` or ``blocks.csv`` there, and prints Markdown. Without a source, it takes the ants
and bees in ``--data``; ``--cifar N`` takes N images per class of CIFAR-10.
"""

from __future__ import annotations

import argparse
import csv
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from itertools import combinations
from pathlib import Path
from statistics import mean

from fine_tune_cifar import list_images, unpack
from shared import build_parser, check_there

import featx

OPTIMIZERS: dict[str, tuple[float, tuple[float, ...]]] = {
    "adamw": (0.05, (3e-4, 1e-3, 3e-3)),
    "adam": (1e-4, (3e-4, 1e-3, 3e-3)),
    "sgd": (1e-4, (1e-2, 3e-2, 1e-1)),
}
"""Weight decay and learning rates of each optimizer. The decay of Adam and SGD is in the gradient,
where 1e-4 is usual; AdamW's is beside it."""

HEAD, FROZEN = "frozen.joblib", "frozen"

ALPHA = 0.05
"""Probability below which chance is no explanation."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """The gain of one network over another on the same images, with its 95 % interval."""

    gain: float
    low: float
    high: float
    p_value: float

    @property
    def sign(self) -> int:
        """1 or -1 for a gain or a loss that chance does not explain, else 0."""
        is_sure = self.p_value < ALPHA and (self.low > 0 or self.high < 0)
        return (1 if self.gain > 0 else -1) if is_sure else 0

    def __str__(self) -> str:
        return f"{100 * self.gain:+.1f} ({100 * self.low:+.1f} to {100 * self.high:+.1f})"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training: a line of the table."""

    way: str
    seed: int
    lr: float
    n_train: int
    n_holdout: int
    holdout_accuracy: float
    holdout_loss: float
    best_epoch: int
    n_test: int
    frozen: float
    accuracy: float
    low: float
    high: float
    gain: float
    gain_low: float
    gain_high: float
    p_value: float
    trunk_s: float
    train_s: float
    chosen: bool = True

    @property
    def over_head(self) -> Gain:
        """The gain over the frozen head."""
        return Gain(gain=self.gain, low=self.gain_low, high=self.gain_high, p_value=self.p_value)

    @property
    def shown_gain(self) -> str:
        """The gain over the frozen head, for the table."""
        return str(self.over_head) if self.best_epoch else "0: the head was kept"


@dataclass(frozen=True)
class Study:
    """The images, their cache and head, and the numbers that all trainings share."""

    source: Path
    arguments: argparse.Namespace

    @property
    def cache(self) -> Path:
        """Cache with the frozen embedding, and those of the tuned networks that are compared."""
        return Path(self.arguments.work / "images.h5")

    def prepare(self) -> None:
        """Extract, split and fit a head, unless that is done."""
        given = self.arguments
        given.work.mkdir(parents=True, exist_ok=True)
        featx.extract(
            self.source,
            self.cache,
            backbone=given.backbone,
            weights=given.weights,
            size=given.size,
            embedding=FROZEN,
        )
        with featx.open_cache(self.cache) as cache:
            is_split = {"val", "test"} & set(cache.splits)
        if not is_split:
            featx.split_cache(self.cache, val=0.2, test=0)
        featx.fit_head(self.cache, given.work / HEAD, embedding=FROZEN, overwrite=True)

    def train(self, way: str, n_blocks: int, recipe: featx.Recipe) -> Run:
        """Train once; a finished run of the same plan is read again."""
        report = featx.fine_tune(
            self.source,
            self.cache,
            self.name_weights(way, recipe),
            head=self.arguments.work / HEAD,
            embedding=FROZEN,
            unfreeze=n_blocks,
            recipe=recipe,
            trunk=self.arguments.work / f"trunk-{n_blocks}.h5",
            resume=True,
        )
        scores, last = report.scores, report.history[-1]
        run = Run(
            way=way,
            seed=recipe.seed,
            lr=recipe.lr,
            n_train=report.n_train,
            n_holdout=report.n_holdout,
            holdout_accuracy=last.holdout_accuracy,
            holdout_loss=last.holdout_loss,
            best_epoch=report.best_epoch,
            n_test=scores.n_rows,
            frozen=scores.first,
            accuracy=scores.second,
            low=scores.second_ci95[0],
            high=scores.second_ci95[1],
            gain=scores.gain,
            gain_low=scores.gain_ci95[0],
            gain_high=scores.gain_ci95[1],
            p_value=scores.p_value,
            trunk_s=report.trunk_s,
            train_s=report.train_s,
        )
        print(f"seed {run.seed}, {way}, lr {run.lr:g}: {report.verdict}", flush=True)
        return run

    def name_weights(self, way: str, recipe: featx.Recipe) -> Path:
        """Name the tuned weights of a run."""
        return Path(self.arguments.work / f"{way}-{recipe.lr:g}-{recipe.seed}.safetensors")

    def build_recipe(self, seed: int, **numbers: object) -> featx.Recipe:
        """Build a recipe with the numbers that all runs share."""
        given = self.arguments
        shared = {"epochs": given.epochs, "train_batch_size": given.train_batch_size}
        return featx.Recipe(**shared | {"seed": seed} | numbers)

    def compare(self, first: Path, second: Path) -> Gain:
        """Compare two tuned networks on the same rows: the gain of the second."""
        heads = {str(path): path.with_suffix(".joblib") for path in (first, second)}
        found = featx.compare_heads(heads, self.cache)
        behind = next(one for one in found.candidates[1:] if not one.is_control)
        assert behind.gain is not None
        assert behind.gain_ci95 is not None
        assert behind.p_value is not None
        sign = 1 if behind.name == str(second) else -1
        low, high = sorted(sign * end for end in behind.gain_ci95)
        return Gain(gain=sign * behind.gain, low=low, high=high, p_value=behind.p_value)

    def embed(self, weights: Path) -> None:
        """Add the embedding of a tuned network to the cache, for the comparison."""
        given = self.arguments
        featx.extract(
            self.source,
            self.cache,
            backbone=given.backbone,
            weights=str(weights),
            embedding=weights.stem,
        )


def compare_optimizers(study: Study) -> list[Run]:
    """Choose a rate for each optimizer on the holdout, and compare the optimizers pairwise."""
    given = study.arguments
    runs: list[Run] = []
    pairs: dict[tuple[str, str], list[Gain]] = {}
    for seed in given.seeds:
        chosen = {}
        for name, (decay, rates) in OPTIMIZERS.items():
            recipes = [
                study.build_recipe(seed, optimizer=name, weight_decay=decay, lr=rate)
                for rate in rates
            ]
            tried = [study.train(name, given.unfreeze, recipe) for recipe in recipes]
            best = max(tried, key=lambda run: (run.holdout_accuracy, -run.holdout_loss))
            runs += [Run(**asdict(run) | {"chosen": run is best}) for run in tried]
            chosen[name] = study.name_weights(name, recipes[tried.index(best)])
            if best.best_epoch:  # otherwise, the network is the frozen one
                study.embed(chosen[name])
        for first, second in combinations(chosen, 2):
            found = study.compare(chosen[first], chosen[second])
            pairs.setdefault((first, second), []).append(found)
    rows = [
        [
            run.way,
            run.seed,
            f"{run.lr:g}{'' if 0 < _find_rate(run) < 2 else ' (end of the grid)'}",
            f"{run.holdout_accuracy:.3f}",
            f"{run.accuracy:.3f} ({run.low:.3f} to {run.high:.3f})",
            run.shown_gain,
            f"{run.train_s:.0f}",
        ]
        for run in runs
        if run.chosen
    ]
    names = ["optimizer", "seed", "rate", "holdout", "accuracy", "gain over the head", "seconds"]
    print_table(names, rows)
    lines = [
        [f"{second} over {first}", *found, judge(found)] for (first, second), found in pairs.items()
    ]
    print_table(["pair", *(f"seed {seed}" for seed in given.seeds), "verdict"], lines)
    return runs


def _find_rate(run: Run) -> int:
    return OPTIMIZERS[run.way][1].index(run.lr)


def judge(gains: Sequence[Gain]) -> str:
    """Say which of two is better: only if each seed says the same."""
    signs = {gain.sign for gain in gains}
    return {1: "better", -1: "worse"}.get(signs.pop() if len(signs) == 1 else 0, "cannot tell")


def compare_blocks(study: Study) -> list[Run]:
    """Train several numbers of blocks; 0 stands for the frozen head."""
    given = study.arguments
    runs: list[Run] = []
    for seed in given.seeds:
        numbers = {int(text) for text in given.blocks if text != "auto"}
        if "auto" in given.blocks:
            advice = featx.advise(study.cache, embedding=FROZEN, seed=seed)
            print(f"seed {seed}, auto: {advice.verdict}", flush=True)
            numbers.add(advice.unfreeze)
        recipe = study.build_recipe(seed)
        runs += [study.train(str(number), number, recipe) for number in sorted(numbers - {0})]
    if not runs:
        raise SystemExit("--blocks: 0 is the frozen head, with which others are compared; name one")
    frozen = f"{mean(run.frozen for run in runs):.3f}"
    rows: list[list[object]] = [["0 (frozen head)", frozen, *["-"] * (len(given.seeds) + 2)]]
    for way in sorted({run.way for run in runs}, key=int):
        by_seed = {run.seed: run for run in runs if run.way == way}
        own = list(by_seed.values())
        gains = [by_seed[seed].shown_gain if seed in by_seed else "-" for seed in given.seeds]
        accuracy, seconds = mean(run.accuracy for run in own), mean(run.train_s for run in own)
        verdict = judge([run.over_head for run in own])
        rows.append([way, f"{accuracy:.3f}", *gains, verdict, f"{seconds:.0f}"])
    columns = [f"gain over the head, seed {seed}" for seed in given.seeds]
    print_table(["blocks", "mean accuracy", *columns, "verdict", "seconds"], rows)
    return runs


def print_table(names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print Markdown."""
    print()
    for line in (names, ["---"] * len(names), *rows):
        print(f"| {' | '.join(map(str, line))} |")


def write(runs: Sequence[Run], path: Path) -> None:
    """Write a line per run."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [one.name for one in fields(Run)], lineterminator="\n")
        writer.writeheader()
        for run in runs:
            values = asdict(run).items()
            writer.writerow({k: round(v, 5) if isinstance(v, float) else v for k, v in values})
    print(f"\n{path}: {len(runs)} runs")


def find_source(arguments: argparse.Namespace) -> Path:
    """Return the source; write a table of CIFAR-10 if that is asked for."""
    if arguments.cifar is None:
        return arguments.source or check_there(arguments.data / "data" / "hymenoptera_data")
    arguments.work.mkdir(parents=True, exist_ok=True)
    images, table = unpack(arguments.data, arguments.work), arguments.work / "cifar.csv"
    lines = list_images(images, arguments.cifar, n_test=arguments.n_test, seed=0)
    with table.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("path", "label", "split"), *lines])
    return Path(table)


def main() -> None:
    """Train, compare, print and write."""
    parser = build_parser(__doc__)
    parser.add_argument("what", choices=["optimizers", "blocks"])
    parser.add_argument("source", nargs="?", type=Path, help="your images, as featx extract takes")
    parser.add_argument("--work", type=Path, required=True, help="folder for all files")
    parser.add_argument("--cifar", type=int, metavar="N", help="N train images per class")
    parser.add_argument(
        "--n-test", type=int, default=100, help="test images per class, of CIFAR-10"
    )
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--weights", help="default: the file for the backbone in --data")
    parser.add_argument("--size", type=int, help="pixels per side")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, help="default: 10, or as many as make 400 steps")
    parser.add_argument("--train-batch-size", type=int, default=featx.Recipe.train_batch_size)
    parser.add_argument("--unfreeze", type=int, default=2, help="blocks that optimizers train")
    parser.add_argument("--blocks", nargs="+", default=["0", "1", "2", "4", "auto"])
    arguments = parser.parse_args()
    arguments.work = arguments.work.resolve()  # paths in a table are those of its folder, else
    if arguments.weights is None:
        found = sorted((arguments.data / "weights").glob(f"{arguments.backbone}-*"))
        arguments.weights = str(found[0]) if found else "DEFAULT"
    warnings.simplefilter("ignore", featx.FeatxWarning)
    study = Study(find_source(arguments), arguments)
    study.prepare()
    compare = {"optimizers": compare_optimizers, "blocks": compare_blocks}[arguments.what]
    write(compare(study), arguments.work / f"{arguments.what}.csv")


if __name__ == "__main__":
    main()
