"""Does `featx.suggest` beat random choice? Accuracy against the number of labels, over seeds.

Both arms begin without a label, spend the same budgets, and are scored by the same heads on the
same rows, which neither may choose. The rows are chosen by the functions of `featx.suggest`.

    python benchmarks/suggest.py --train train.h5 --test test.h5 --small ants_bees.h5 \
        --table suggest.csv
    python benchmarks/suggest.py --table suggest.csv --plot docs/how_to/suggest.png

``--train`` and ``--test`` are caches of CIFAR-10, ``--small`` is one of ants and bees with train
and val. A set is a pool of 4,000 rows at most: ``cifar``; ``imbalanced``, in which each class has
0.6 of the rows of the one before it; ``cats-dogs``; ``ants-bees``; and generated ones, ``blobs``
and ``rare``, in which each class has half of the rows of the one before it. The 95 % intervals are
those of a paired t test over seeds, which draw other pools. ``--stop`` asks instead what the rule
for when to stop says after each batch of 50, and what 100 more labels then gain.
"""

from __future__ import annotations

import argparse
import csv
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from scipy.stats import t as student

import featx
from featx.analytics.choosing import choose_strategy, choose_typical, choose_uncertain, is_sure
from featx.analytics.gain import LabellingGain
from featx.analytics.kmeans import project
from featx.core.typing import Array, BoolArray, Float32Array, IntArray, StrArray
from featx.heads.compare import compare_predictions

SETS = ("cifar", "imbalanced", "cats-dogs", "ants-bees", "blobs", "rare")
BUDGETS = (10, 20, 40, 80, 160, 320, 640)
STOP_BUDGETS = tuple(range(50, 1001, 50))
N_POOL, N_SCORED = 4000, 2000
HEADS = ("logreg", "nearest-mean")
"""Kinds of heads that score both arms."""

MANY_DIMS, STRENGTH = 1000, 0.01
"""Length of embeddings from which logistic regressions have one C, which is a good one there, so
that 1,000 fits take minutes. On generated data, each chooses its C."""

TITLES = {
    "cifar": "CIFAR-10",
    "imbalanced": "CIFAR-10, imbalanced",
    "cats-dogs": "cats and dogs of CIFAR-10",
    "ants-bees": "ants and bees",
    "blobs": "8 generated classes",
    "rare": "8 generated classes, imbalanced",
}


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Rows to choose from, and rows to score on."""

    X: Float32Array
    y: StrArray
    scored_rows: Float32Array
    scored_y: StrArray


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the table: one head, fitted on what one arm has labelled so far."""

    data: str
    seed: int
    arm: str
    head: str
    n_labels: int
    accuracy: float


def read(path: Path, split: str | None = None) -> tuple[Float32Array, StrArray]:
    """Read the vectors and labels of a cache."""
    with featx.open_cache(path) as cache:
        X, y = cache.read_arrays(split)
    return np.asarray(X, np.float32), y.astype(str)


class Problems:
    """Draw problems from caches that are read once."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._read: dict[str, tuple[Float32Array, StrArray]] = {}

    def _get(self, name: str, split: str | None = None) -> tuple[Float32Array, StrArray]:
        key = f"{name} {split}"
        if key not in self._read:
            self._read[key] = read(getattr(self._arguments, name), split)
        return self._read[key]

    def draw(self, name: str, seed: int) -> Problem:
        """Draw the rows of one seed."""
        rng = np.random.default_rng(1000 + seed)
        if name in ("blobs", "rare"):
            return generate(rng, ratio=1.0 if name == "blobs" else 0.5)
        if name == "ants-bees":
            (X, y), (scored_rows, scored_y) = self._get("small", "train"), self._get("small", "val")
            rows = rng.permutation(len(X))[: int(0.8 * len(X))]
            return Problem(X=X[rows], y=y[rows], scored_rows=scored_rows, scored_y=scored_y)
        (X, y), (scored_rows, scored_y) = self._get("train"), self._get("test")
        scored = rng.permutation(len(scored_rows))
        if name == "cats-dogs":
            rows = rng.permutation(np.flatnonzero(np.isin(y, CATS_DOGS)))[:N_POOL]
            scored = scored[np.isin(scored_y[scored], CATS_DOGS)]
        elif name == "imbalanced":
            parts = [
                rng.permutation(np.flatnonzero(y == label))[: int(1500 * 0.6**rank)]
                for rank, label in enumerate(rng.permutation(np.unique(y)))
            ]
            rows = np.concatenate(parts)
        else:
            rows = rng.permutation(len(X))[:N_POOL]
        scored = scored[:N_SCORED]
        return Problem(
            X=X[rows], y=y[rows], scored_rows=scored_rows[scored], scored_y=scored_y[scored]
        )


CATS_DOGS = ("cat", "dog", "3", "5")
"""Names of both classes, as words or as the numbers of CIFAR-10."""


def generate(rng: np.random.Generator, *, ratio: float) -> Problem:
    """Generate eight classes that overlap, each with `ratio` of the rows of the one before it."""
    centres = 0.9 * rng.normal(size=(8, 32))
    shares = ratio ** np.arange(8)
    codes = rng.choice(8, N_POOL + N_SCORED, p=shares / shares.sum())
    X = (centres[codes] + rng.normal(size=(len(codes), 32))).astype(np.float32)
    y = np.array([f"class {code}" for code in codes])
    return Problem(X=X[:N_POOL], y=y[:N_POOL], scored_rows=X[N_POOL:], scored_y=y[N_POOL:])


def choose(
    arm: str, problem: Problem, labelled: BoolArray, *, n_wanted: int, seed: int
) -> IntArray:
    """Choose rows as an arm does."""
    rng = np.random.default_rng(seed)
    is_open = np.flatnonzero(~labelled)
    if arm == "random":
        return rng.permutation(is_open)[:n_wanted]
    n_classes = len(np.unique(problem.y[labelled]))
    strategy = choose_strategy(int(labelled.sum()), n_classes) if arm == "suggest" else arm
    if strategy == "typical" or n_classes < 2:
        return choose_typical(project(problem.X, rng), labelled, n_wanted, rng).rows
    head = featx.HeadClassifier().fit(problem.X[labelled], problem.y[labelled])
    X = problem.X[is_open]
    probabilities = head.predict_proba(X)
    if arm == "suggest" and is_sure(probabilities):
        return choose_typical(project(problem.X, rng), labelled, n_wanted, rng).rows
    return is_open[choose_uncertain(project(X, rng), probabilities, n_wanted, rng).rows]


def predict(head: str, problem: Problem, labelled: BoolArray) -> StrArray:
    """Predict the scored rows by a head that is fitted on the labelled ones."""
    y = problem.y[labelled]
    if len(np.unique(y)) < 2:
        return np.full(len(problem.scored_y), y[0])
    is_fixed = head == "logreg" and problem.X.shape[1] >= MANY_DIMS
    classifier = featx.HeadClassifier(head, C=STRENGTH if is_fixed else "auto")
    return classifier.fit(problem.X[labelled], y).predict(problem.scored_rows)


def spend(
    arm: str, problem: Problem, budgets: Sequence[int], seed: int
) -> Iterator[tuple[int, BoolArray]]:
    """Spend the budgets one after the other; yield which rows are labelled."""
    labelled = np.zeros(len(problem.X), bool)
    for budget in budgets:
        if budget > 0.9 * len(labelled):
            return
        n_wanted = budget - int(labelled.sum())
        labelled[choose(arm, problem, labelled, n_wanted=n_wanted, seed=seed + budget)] = True
        yield budget, labelled


def measure(arguments: argparse.Namespace) -> None:
    """Add the lines to the table that it lacks."""
    problems = Problems(arguments)
    table: Path = arguments.table
    known = (
        {(one.data, one.seed, one.arm) for one in read_table(table)} if table.exists() else set()
    )
    with table.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, [one.name for one in fields(Line)], lineterminator="\n")
        if not known:
            writer.writeheader()
        for data in arguments.sets:
            for seed in range(arguments.seeds):
                problem = problems.draw(data, seed)
                for arm in arguments.arms:
                    if (data, seed, arm) in known:
                        continue
                    for budget, labelled in spend(arm, problem, BUDGETS, 10_000 * seed):
                        for head in HEADS:
                            right = predict(head, problem, labelled) == problem.scored_y
                            line = Line(
                                data=data,
                                seed=seed,
                                arm=arm,
                                head=head,
                                n_labels=budget,
                                accuracy=round(float(right.mean()), 4),
                            )
                            writer.writerow(asdict(line))
                    stream.flush()


def read_table(path: Path) -> list[Line]:
    """Read the lines of a table."""
    with path.open(newline="") as stream:
        return [
            Line(
                data=one["data"],
                seed=int(one["seed"]),
                arm=one["arm"],
                head=one["head"],
                n_labels=int(one["n_labels"]),
                accuracy=float(one["accuracy"]),
            )
            for one in csv.DictReader(stream)
        ]


def build_curves(lines: Sequence[Line], data: str, arm: str, head: str) -> tuple[list[int], Array]:
    """Build the accuracies of an arm, ``(n_seeds, n_budgets)``, and the budgets."""
    chosen = [one for one in lines if (one.data, one.arm, one.head) == (data, arm, head)]
    budgets = sorted({one.n_labels for one in chosen})
    seeds = sorted({one.seed for one in chosen})
    values = {(one.seed, one.n_labels): one.accuracy for one in chosen}
    return budgets, np.array([[values[seed, budget] for budget in budgets] for seed in seeds])


def find_interval(differences: Array) -> tuple[float, float, float]:
    """Return the mean of paired differences and its 95 % interval."""
    n_seeds = len(differences)
    mean = float(differences.mean())
    half = float(student.ppf(0.975, n_seeds - 1) * differences.std(ddof=1) / np.sqrt(n_seeds))
    return mean, mean - half, mean + half


def summarise(lines: Sequence[Line]) -> None:
    """Print how much more than random choice each arm has, by set and head.

    The area is that under the curve of accuracy over the logarithm of the labels.
    """
    for data in dict.fromkeys(one.data for one in lines):
        for head in HEADS:
            budgets, random = build_curves(lines, data, "random", head)
            for arm in dict.fromkeys(one.arm for one in lines if one.arm != "random"):
                _, curve = build_curves(lines, data, arm, head)
                if curve.shape != random.shape:
                    continue
                gains = curve - random
                area, low, high = find_interval(gains.mean(axis=1))
                print(f"{data}, {head}, {arm}: area {area:+.4f} ({low:+.4f} to {high:+.4f})")
                for number, budget in enumerate(budgets):
                    gain, low, high = find_interval(gains[:, number])
                    verdict = "better" if low > 0 else "WORSE" if high < 0 else "-"
                    means = random[:, number].mean(), curve[:, number].mean()
                    print(
                        f"  {budget:4d}  {means[0]:.3f} -> {means[1]:.3f}  {gain:+.4f} "
                        f"({low:+.4f} to {high:+.4f})  {verdict}"
                    )


def study_stopping(arguments: argparse.Namespace) -> None:
    """Print what the rule says after each batch, and what the next two batches then gain."""
    problems = Problems(arguments)
    print("held-out,advice,n,mean_next_gain,share_above_0.02,mean_labels")
    found: dict[tuple[int, str], list[tuple[float, int]]] = {}
    for seed in range(arguments.seeds):
        problem = problems.draw("cifar", seed)
        predicted = [
            predict("logreg", problem, labelled)
            for _, labelled in spend("suggest", problem, STOP_BUDGETS, 10_000 * seed)
        ]
        right = np.array([one == problem.scored_y for one in predicted])
        for n_held_out in (200, 500, 1000):
            # The other rows tell what is really gained.
            truth = right[:, 1000:].mean(axis=1)
            for now in range(2, len(predicted) - 2):
                held_out = slice(0, n_held_out)
                scores = compare_predictions(
                    problem.scored_y[held_out],
                    predicted[now - 2][held_out],
                    predicted[now][held_out],
                )
                advice = LabellingGain(n_more=100, scores=scores).next_step
                gain = float(truth[now + 2] - truth[now])
                found.setdefault((n_held_out, advice), []).append((gain, STOP_BUDGETS[now]))
    for (n_held_out, said), values in sorted(found.items()):
        gains = np.array([gain for gain, _ in values])
        spent = np.mean([labels for _, labels in values])
        print(
            f"{n_held_out},{said},{len(values)},{gains.mean():+.4f},"
            f"{(gains > 0.02).mean():.2f},{spent:.0f}"
        )


def plot(lines: Sequence[Line], path: Path) -> None:
    """Draw accuracy against labels: the mean of the seeds, and its 95 % interval."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 3, figsize=(11, 6.4), layout="constrained")
    for axis, data in zip(axes.flat, SETS, strict=True):
        for arm, colour, mark in (("suggest", "#117733", "o"), ("random", "#888888", "s")):
            budgets, curves = build_curves(lines, data, arm, "logreg")
            mean = curves.mean(axis=0)
            half = student.ppf(0.975, len(curves) - 1) * curves.std(axis=0, ddof=1)
            half = half / np.sqrt(len(curves))
            axis.plot(budgets, mean, color=colour, marker=mark, markersize=4, label=arm)
            axis.fill_between(budgets, mean - half, mean + half, color=colour, alpha=0.2, lw=0)
        axis.set(xscale="log", title=TITLES[data], xlabel="labels spent", ylabel="accuracy")
        axis.set_xticks(budgets, [str(one) for one in budgets])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0, 0].legend(frameon=False)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, summarise, plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, help="table to read, and to add lines to")
    parser.add_argument("--train", type=Path)
    parser.add_argument("--test", type=Path)
    parser.add_argument("--small", type=Path)
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--arms", nargs="+", default=("random", "suggest"))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--stop", action="store_true")
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", featx.FeatxWarning)
    if arguments.stop:
        study_stopping(arguments)
        return
    if arguments.plot is None:
        measure(arguments)
        summarise(read_table(arguments.table))
        return
    plot(read_table(arguments.table), arguments.plot)


if __name__ == "__main__":
    main()
