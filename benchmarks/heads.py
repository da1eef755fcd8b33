"""How fast heads are fitted, and how good they are; each part prints one table.

    python benchmarks/heads.py speed --cache few.h5 train.h5 --old ../featx-before
    python benchmarks/heads.py cv --cache train.h5 --test test.h5
    python benchmarks/heads.py kinds --cache train.h5 --test test.h5
    python benchmarks/heads.py growth --plot docs/how_to/heads.png
    python benchmarks/heads.py optimum
    python benchmarks/heads.py auto --cache hymenoptera.h5
    python benchmarks/heads.py calibration

speed        the command fit-head of an older clone beside this one's, in processes of their own
cv           the search of logistic regression beside scikit-learn's LogisticRegressionCV
kinds        all kinds of heads on the same rows
growth       seconds by rows, dimensions and classes, on generated embeddings
optimum      the fitted heads beside scikit-learn's solvers at a tolerance of 1e-8
auto         the kind auto beside logreg on repeated splits
calibration  the mean score beside the accuracy, where classes are easy to tell

The caches are written by `featx extract`, for example

    featx extract cifar10-train.tar -o train.h5 --backbone mobilenet_v2 --size 224

and few.h5, 3,235 rows, by the same command with `-o parts --part 1/16`.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import logsumexp
from scipy.stats import t
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

import featx
from featx.core.typing import Array, Float64Array
from featx.heads.kinds import KINDS

HERE = Path(__file__).resolve().parents[1]

LONG_SECONDS = 60.0
"""Seconds beyond which a command is run once: its noise is small beside them."""

MANY_ROWS = 10_000
"""Number of rows beyond which liblinear's SVMs, those of an old clone, take hours."""

CV_VALUES = np.logspace(-6, 0, 45)
"""Values of C. With larger ones, scikit-learn's search takes an hour: its fits do not converge."""

SORTS = ("plain", "ill-conditioned", "separable", "imbalanced", "duplicated", "wide")
"""Sorts of problems that make solvers fail."""

EASY = ((100, 512, 6.0, 2), (200, 512, 8.0, 4), (400, 1280, 10.0, 10))
"""Rows, dimensions, distance of the classes from the origin, and classes, of easy tasks."""

GROWTH: dict[str, list[tuple[int, int, int]]] = {
    "rows": [(n_rows, 512, 10) for n_rows in (500, 2000, 8000, 32_000)],
    "dimensions": [(4000, dim, 10) for dim in (128, 512, 2048)],
    "classes": [(10_000, 512, n_classes) for n_classes in (2, 10, 100, 1000)],
}
"""Rows, dimensions and classes by what grows."""

AXES = ("rows", "dims", "classes")


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(required=True, metavar="PART")

    def add(name: str, run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        part = parts.add_parser(name, help=run.__doc__)
        part.set_defaults(run=run)
        return part

    part = add("speed", measure_speed)
    part.add_argument("--cache", type=Path, nargs="+", required=True)
    part.add_argument("--old", type=Path, required=True, help="clone of the older commit")
    part.add_argument("--kinds", nargs="+", default=["logreg", "linear-svm"])
    part.add_argument("--rounds", type=int, default=3)
    part.add_argument("--skip-old-large", action="store_true", help="fit many rows with this only")
    part.add_argument("--skip-old-svm", action="store_true", help="no linear-svm of the old clone")
    part = add("cv", measure_cv)
    part.add_argument("--cache", type=Path, required=True)
    part.add_argument("--test", type=Path, required=True)
    part.add_argument("--rows", type=int, default=5000)
    part.add_argument("--rounds", type=int, default=3, help="rounds of featx; the other runs once")
    part = add("kinds", compare_kinds)
    part.add_argument("--cache", type=Path, required=True)
    part.add_argument("--test", type=Path, required=True)
    part.add_argument("--rows", type=int, help="rows to fit on (default: all)")
    part.add_argument("--kinds", nargs="+", default=[*(kind.name for kind in KINDS), "auto"])
    part = add("growth", measure_growth)
    part.add_argument("--kinds", nargs="+", default=["logreg", "linear-svm", "ridge"])
    part.add_argument("--most", type=float, default=math.inf, help="largest rows × dims × classes")
    part.add_argument("--rounds", type=int, default=1)
    part.add_argument("--plot", type=Path, help="draw the table to this file (needs matplotlib)")
    part = add("optimum", compare_optimum)
    part.add_argument("--seeds", type=int, default=12, help="problems of each sort")
    part = add("auto", compare_auto)
    part.add_argument("--cache", type=Path, required=True)
    part.add_argument("--splits", type=int, default=10)
    part.add_argument("--share", type=float, default=0.6, help="share of the rows to fit on")
    part = add("calibration", measure_calibration)
    part.add_argument("--kinds", nargs="+", default=["logreg"])
    part.add_argument("--seeds", type=int, default=5, help="data sets of each task")
    part.add_argument("--tasks", type=int, default=len(EASY), help="the first tasks only")
    arguments = parser.parse_args()
    arguments.run(arguments)


def measure_speed(arguments: argparse.Namespace) -> None:
    """Time the command fit-head, older code and this, with the start of the process."""
    clones = {"old": arguments.old.resolve(), "new": HERE}
    print_line("rows", "kind", "rounds", *(f"{one} (s)" for one in clones), "ratio",
               *(f"{one} CPU (s)" for one in clones), "ratio CPU")  # fmt: skip
    print_line(*["---"] * 9)
    for cache in arguments.cache:
        with featx.open_cache(cache) as opened:
            n_rows = len(opened)
        for kind in arguments.kinds:
            if n_rows > MANY_ROWS:
                is_slow = arguments.skip_old_large or kind == "linear-svm"
            else:
                is_slow = arguments.skip_old_svm and kind == "linear-svm"
            sides = {side: code for side, code in clones.items() if side == "new" or not is_slow}
            with tempfile.TemporaryDirectory() as folder:
                words = ["fit-head", cache.resolve(), "-o", Path(folder) / "head.joblib"]
                times = time_commands(
                    sides,
                    [*words, "--kind", kind, "--split", "all", "--overwrite"],
                    n_rounds=arguments.rounds,
                )
            cells = []
            for measure in (0, 1):
                medians = {
                    side: statistics.median(one[measure] for one in found)
                    for side, found in times.items()
                }
                old = medians.get("old", math.nan)
                cells += [old, medians["new"], old / medians["new"]]
            rounds = "/".join(str(len(found)) for found in times.values())
            print_line(f"{n_rows:,}", kind, rounds, *cells)


def time_commands(
    sides: dict[str, Path], words: Sequence[object], *, n_rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """Return wall and CPU seconds of a command by side, in interleaved rounds.

    A command that takes more than a minute is run once.
    """
    times: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
    for number in range(n_rounds):
        for side in [*sides] if number % 2 else [*sides][::-1]:
            found = times[side]
            if found and found[-1][0] > LONG_SECONDS:
                continue
            if not number:  # the first start compiles, and fills the caches of the disk
                run_featx(sides[side], ["--version"])
            before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            run_featx(sides[side], words)
            wall = time.perf_counter() - start
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            found.append((wall, cpu))
            print(f"  {side}: {wall:.1f} s, CPU {cpu:.1f} s", file=sys.stderr, flush=True)
    return times


def run_featx(code: Path, words: Sequence[object]) -> None:
    """Run the command line of a clone, in its folder: Python looks there first."""
    done = subprocess.run(
        [sys.executable, "-m", "featx.cli", *map(str, words)],
        cwd=code, env=os.environ | {"PYTHONPATH": str(code)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{code}: exit code {done.returncode}\n{done.stderr}")


def measure_cv(arguments: argparse.Namespace) -> None:
    """Time the search of C beside LogisticRegressionCV, 45 values on 5 folds."""
    X, y = draw_rows(arguments.cache, arguments.rows)
    T, truth = draw_rows(arguments.test, None)
    print_line("", "seconds", "CPU (s)", "C", "test accuracy")
    print_line(*["---"] * 5)
    ours = [
        time_call(featx.HeadClassifier("logreg", cv=5).fit, X, y) for _ in range(arguments.rounds)
    ]
    wall, cpu = (statistics.median(one[number] for one in ours) for number in (0, 1))
    accuracy = float((ours[0][2].predict(T) == truth).mean())
    print_line("featx", wall, cpu, f"{ours[0][2].C_:.2g}", f"{accuracy:.4f}")
    search = LogisticRegressionCV(Cs=CV_VALUES, cv=5, scoring="accuracy")
    with silent(ConvergenceWarning), silent(FutureWarning):  # of its own defaults
        theirs = time_call(make_pipeline(StandardScaler(), search).fit, X, y)
    other = float((theirs[2].predict(T) == truth).mean())
    print_line("scikit-learn", *theirs[:2], f"{np.ravel(theirs[2][-1].C_)[0]:.2g}", f"{other:.4f}")
    print_line("ratio", theirs[0] / wall, theirs[1] / cpu, "", f"{accuracy - other:+.4f}")


def compare_kinds(arguments: argparse.Namespace) -> None:
    """Compare all kinds of heads on the same rows."""
    print_line("kind", "test accuracy", "95 % interval", "calibration error", "mean score",
               "log loss", "seconds", "CPU (s)", "parameter", "held-out accuracy")  # fmt: skip
    print_line(*["---"] * 10)
    with tempfile.TemporaryDirectory() as name:
        cache = arguments.cache
        if arguments.rows:
            cache = shutil.copyfile(cache, Path(name) / "few.h5")
            record_train(cache, arguments.rows)
        for kind in arguments.kinds:
            split = "train" if arguments.rows else "all"
            with silent(featx.FeatxWarning):
                wall, cpu, head = time_call(
                    featx.fit_head, cache, kind=kind, split=split, progress=False
                )
                scores = featx.evaluate(head, arguments.test, split="all")
            assert head.cross_validation is not None
            held_out = head.cross_validation.scores.accuracy
            low, high = scores.accuracy_ci95
            found = ", ".join(f"{key} {value:.3g}" for key, value in head.params.items()) or "-"
            print_line(
                kind if kind == head.kind else f"{kind}: {head.kind}",
                f"{scores.accuracy:.4f}", f"{low:.3f} to {high:.3f}",
                f"{scores.calibration_error:.4f}", f"{scores.mean_score:.4f}",
                f"{scores.log_loss:.4f}", wall, cpu, found, f"{held_out:.4f}",
            )  # fmt: skip


def measure_growth(arguments: argparse.Namespace) -> None:
    """Time HeadClassifier by rows, dimensions and classes, on generated embeddings."""
    print_line("grows", *AXES, *(f"{kind} (s)" for kind in arguments.kinds))
    print_line(*["---"] * (4 + len(arguments.kinds)))
    seconds: dict[tuple[int, int, int], list[float]] = {}
    for name, shapes in GROWTH.items():
        for shape in shapes:
            if math.prod(shape) > arguments.most:
                continue
            if shape not in seconds:
                X, y = generate(*shape)
                rounds = [
                    [time_call(featx.HeadClassifier(kind).fit, X, y)[0] for kind in arguments.kinds]
                    for _ in range(arguments.rounds)
                ]
                seconds[shape] = np.median(rounds, axis=0).tolist()
            print_line(name, *(f"{one:,}" for one in shape), *seconds[shape])
    if arguments.plot:
        draw(seconds, arguments.kinds, arguments.plot)


def generate(n_rows: int, dim: int, n_classes: int) -> tuple[Array, Array]:
    """Generate embeddings and class codes: rectified, as the features of most convnets are."""
    rng = np.random.default_rng(0)
    y = np.arange(n_rows) % n_classes
    means = (3 / math.sqrt(dim)) * rng.standard_normal((n_classes, dim), dtype=np.float32)
    X = means[y] + rng.standard_normal((n_rows, dim), dtype=np.float32)
    return np.maximum(X, 0), y


def draw(
    seconds: dict[tuple[int, int, int], list[float]], kinds: Sequence[str], path: Path
) -> None:
    """Draw seconds by what grows, a panel each."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 3, figsize=(9, 3.2), sharey=True, layout="constrained")
    for number, (panel, (name, shapes)) in enumerate(zip(panels, GROWTH.items(), strict=True)):
        there = [shape for shape in shapes if shape in seconds]
        for place, kind in enumerate(kinds):
            panel.loglog(
                [shape[number] for shape in there],
                [seconds[shape][place] for shape in there],
                marker="o",
                label=kind,
            )
        sizes = [f"{size:,} {what}" for size, what in zip(shapes[0], AXES, strict=True)]
        panel.set_title(", ".join(sizes[:number] + sizes[number + 1 :]), fontsize="medium")
        panel.set_xlabel(name)
        panel.set_xticks([shape[number] for shape in there], [f"{s[number]:,}" for s in there])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    panels[0].yaxis.set_major_formatter("{x:g}")
    panels[0].set_ylabel("seconds to fit, with the search")
    panels[0].legend(frameon=False)
    figure.savefig(path, dpi=120)


def compare_optimum(arguments: argparse.Namespace) -> None:
    """Compare fitted heads with scikit-learn's solvers on random problems."""
    print_line("kind", "problems", "scikit-learn converged", "largest relative difference there",
               "largest excess of all", "equal predictions")  # fmt: skip
    print_line(*["---"] * 6)
    for kind in ("logreg", "linear-svm"):
        gaps, is_done, n_equal, n_rows = [], [], 0, 0
        for sort in SORTS:
            for seed in range(arguments.seeds):
                X, y, C = draw_problem(sort, seed)
                head = featx.HeadClassifier(kind, C=C).fit(X, y)
                scaled = head.pipeline_[:-1].transform(X).astype(np.float64)
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always", ConvergenceWarning)
                    best = build_reference(kind, C).fit(scaled, y)
                is_done.append(not caught)
                ours, theirs = (
                    C * sum_losses(one, scaled, y) + (one.coef_.astype(np.float64) ** 2).sum() / 2
                    for one in (head.pipeline_[-1], best)
                )
                gaps.append((ours - theirs) / theirs)
                n_equal += int((head.predict(X) == best.predict(scaled)).sum())
                n_rows += len(y)
        largest = np.abs(gaps)[is_done].max()
        print_line(kind, len(gaps), sum(is_done), f"{largest:.1e}", f"{max(gaps):.1e}",
                   f"{n_equal / n_rows:.5f}")  # fmt: skip


def draw_problem(sort: str, seed: int) -> tuple[Array, Array, float]:
    """Draw rows, class codes and C of a problem."""
    rng = np.random.default_rng([SORTS.index(sort), seed])
    n_rows, dim, n_classes = (int(rng.integers(*ends)) for ends in ((60, 400), (3, 60), (2, 8)))
    codes = rng.permutation(np.arange(n_rows) % n_classes)
    if sort == "wide":
        dim = 4 * n_rows
    X = rng.normal(size=(n_rows, dim))
    if sort == "ill-conditioned":
        turned = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
        X = X * 10.0 ** rng.uniform(-3, 3, dim) @ turned
    if sort == "imbalanced":
        codes = np.where(rng.random(n_rows) < 0.9, 0, codes)
        codes[:n_classes] = np.arange(n_classes)
    distance = {"separable": 5.0, "wide": 0.1}.get(sort, 0.5)
    X = X + distance * X.std() * rng.normal(size=(n_classes, dim))[codes]
    if sort == "duplicated":
        X = np.concatenate([X, X, X[:, :1]], axis=1)
    return X.astype(np.float32), codes, 10.0 ** rng.uniform(-3, 2)


def build_reference(kind: str, C: float) -> Any:
    """Build scikit-learn's classifier; its SVM penalises the intercept, here by next to nothing."""
    if kind == "logreg":
        return LogisticRegression(C=C, tol=1e-8, max_iter=100_000)
    return LinearSVC(C=C, tol=1e-8, max_iter=1000, dual=False, intercept_scaling=100)


def sum_losses(fitted: Any, rows: Array, codes: Array) -> float:
    """Return the sum of the losses of a linear classifier, in float64."""
    scores = rows @ fitted.coef_.astype(np.float64).T + fitted.intercept_
    is_logistic = isinstance(fitted, LogisticRegression)
    if is_logistic and scores.shape[1] > 1:
        return float((logsumexp(scores, axis=1) - scores[np.arange(len(codes)), codes]).sum())
    positive = np.array([1]) if scores.shape[1] == 1 else np.arange(scores.shape[1])
    margins = np.where(codes[:, None] == positive, scores, -scores)
    losses = np.logaddexp(0, -margins) if is_logistic else np.maximum(1 - margins, 0) ** 2
    return float(losses.sum())


def compare_auto(arguments: argparse.Namespace) -> None:
    """Compare auto with logreg on repeated splits of the same rows."""
    X, y = draw_rows(arguments.cache, None)
    splitter = StratifiedShuffleSplit(arguments.splits, train_size=arguments.share, random_state=0)
    print_line("split", "rows to fit on", "test rows", "logreg", "auto", "auto chose")
    print_line(*["---"] * 6)
    found = []
    for number, (fitted, tested) in enumerate(splitter.split(X, y), start=1):
        heads = [
            featx.HeadClassifier(kind).fit(X[fitted], y[fitted]) for kind in ("logreg", "auto")
        ]
        found.append([float((head.predict(X[tested]) == y[tested]).mean()) for head in heads])
        print_line(
            number, len(fitted), len(tested), *(f"{one:.4f}" for one in found[-1]), heads[1].kind_
        )
    gains = np.array(found) @ [-1, 1]
    half = estimate_half(gains, ratio=len(tested) / len(fitted))
    print_line("mean", "", "", *(f"{one:.4f}" for one in np.mean(found, axis=0)), "")
    print(
        f"\nauto - logreg: {gains.mean():+.4f} (95 % interval {gains.mean() - half:+.4f} to "
        f"{gains.mean() + half:+.4f}, corrected for rows that the splits share)"
    )


def estimate_half(gains: Float64Array, ratio: float) -> float:
    """Return half the width of the interval of a mean over repeated splits.

    Nadeau and Bengio, Inference for the generalization error, Machine Learning 52 (2003).
    """
    variance = gains.var(ddof=1) * (1 / len(gains) + ratio)
    return float(t.ppf(0.975, len(gains) - 1) * math.sqrt(variance))


def measure_calibration(arguments: argparse.Namespace) -> None:
    """Measure the mean score beside the accuracy on fresh rows of easy tasks."""
    print_line("rows × dims, classes", "kind", "accuracy", "mean score", "difference",
               "largest of a data set", "log loss")  # fmt: skip
    print_line(*["---"] * 7)
    for task in EASY[: arguments.tasks]:
        for kind in arguments.kinds:
            found = np.array([score_easy(kind, task, seed) for seed in range(arguments.seeds)])
            right, score, loss = found.mean(axis=0)
            largest = np.abs(found[:, 1] - found[:, 0]).max()
            print_line(f"{task[0]} × {task[1]:,}, {task[3]}", kind, f"{right:.4f}", f"{score:.4f}",
                       f"{score - right:+.4f}", f"{largest:.4f}", f"{loss:.4f}")  # fmt: skip


def score_easy(kind: str, task: tuple[int, int, float, int], seed: int) -> list[float]:
    """Return accuracy, mean score and log loss on fresh rows of one data set."""
    n_rows, dim, gap, n_classes = task
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(n_classes, dim))
    means *= gap / np.linalg.norm(means, axis=1, keepdims=True)

    def draw_clouds(count: int) -> tuple[Array, Array]:
        y = rng.integers(0, n_classes, count)
        return (rng.normal(size=(count, dim)) + means[y]).astype(np.float32), y

    head = featx.HeadClassifier(kind).fit(*draw_clouds(n_rows))
    X, y = draw_clouds(3000)
    probabilities = head.predict_proba(X)
    right = probabilities.argmax(axis=1) == y
    loss = -np.log(probabilities[np.arange(len(y)), y]).mean()
    return [float(right.mean()), float(probabilities.max(axis=1).mean()), float(loss)]


def record_train(cache: Path, n_rows: int) -> None:
    """Record random rows of a cache as train, and all others as test."""
    with featx.open_cache(cache) as opened:
        ids = opened.ids.tolist()
    chosen = np.zeros(len(ids), dtype=bool)
    chosen[np.random.default_rng(0).permutation(len(ids))[:n_rows]] = True
    splits = np.where(chosen, "train", "test").tolist()
    featx.label_cache(cache, dict(zip(ids, splits, strict=True)), field="split", author="benchmark")


def draw_rows(cache: Path, n_rows: int | None) -> tuple[Array, Array]:
    """Read vectors and labels of random rows; of all if None."""
    with featx.open_cache(cache) as opened:
        X, y = opened.read_arrays()
    chosen = np.random.default_rng(0).permutation(len(y))[:n_rows]
    return X[chosen], y[chosen]


def time_call(call: Callable[..., Any], *values: Any, **options: Any) -> tuple[float, float, Any]:
    """Return wall and CPU seconds of a call, and its result."""
    start, before = time.perf_counter(), time.process_time()
    found = call(*values, **options)
    return time.perf_counter() - start, time.process_time() - before, found


@contextmanager
def silent(category: type[Warning]) -> Any:
    """Hide warnings of a category."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category)
        yield


def print_line(*cells: object) -> None:
    """Print a line of a Markdown table."""
    shown: Iterable[str] = (
        ("-" if math.isnan(one) else f"{one:.2f}") if isinstance(one, float) else str(one)
        for one in cells
    )
    print(f"| {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    main()
