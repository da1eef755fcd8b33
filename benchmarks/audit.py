"""Measure what an audit finds: flipped labels beside cleanlab's own default, and false alarms.

1. Hymenoptera and 5,000 images of CIFAR-10, with the embeddings of both weights that `--data`
   holds: 5 % of the labels are flipped at random, over several seeds, and none. In each run the
   same labels go to featx and to cleanlab, as its tutorial uses it: `LogisticRegression` of
   scikit-learn, `cross_val_predict` in five folds, the ranking by self-confidence, and the list of
   `find_label_issues`.
2. Simulated embeddings of 2 to 50 classes, near and far, with and without heavy tails: clean, 6 %
   flipped to any class, 6 % to the next class, and labels that say nothing.
3. Outliers: usual rows that are listed, simulated, at the stated rate of 1 in 1,000.

    python benchmarks/audit.py 1 2 3

What is extracted lies in a temporary folder.
"""

from __future__ import annotations

import sys
import tarfile
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from cleanlab.filter import find_label_issues  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, precision_recall_curve
from sklearn.model_selection import cross_val_predict

import featx
from featx.analytics.label_errors import LabelErrors, LabelledRows, find_label_errors
from featx.analytics.outliers import Outliers, find_outliers
from featx.core.typing import Array, BoolArray, Float64Array, IntArray
from featx.heads.units import find_units

sys.path.insert(0, str(Path(__file__).parents[1] / "pipelines"))
from shared import build_parser

WEIGHTS = {
    "mobilenet_v2": "weights/mobilenet_v2-imagenet-backbone.pth",
    "squeezenet1_1": "weights/squeezenet1_1-imagenet.pth",
}
RATE = 0.05
RECALL = 0.7
PER_CLASS = 500

SIMULATED = (
    (100, 2, 2.5), (100, 2, 5.0), (200, 5, 2.5), (200, 5, 5.0), (400, 2, 2.5), (400, 2, 5.0),
    (400, 20, 5.0), (1000, 10, 5.0), (1500, 50, 5.0),
)  # fmt: skip
"""Rows, classes, and the distance of the classes from their middle."""

KINDS = ("clean", "any class", "next class", "random")


def main() -> None:
    """Measure the parts that are named."""
    parser = build_parser(__doc__)
    parser.add_argument("parts", nargs="*", type=int, default=[1, 2, 3], help="Parts to measure.")
    parser.add_argument("--seeds", type=int, default=5, help="Runs with flipped labels.")
    arguments = parser.parse_args()
    if 1 in arguments.parts:
        measure_images(arguments.data, arguments.seeds)
    if 2 in arguments.parts:
        simulate(arguments.seeds)
    if 3 in arguments.parts:
        simulate_outliers(arguments.seeds)


def measure_images(data: Path, n_seeds: int) -> None:
    """Flip labels of images, and find them by featx and by cleanlab."""
    print("data, weights, seed: AP cleanlab, AP featx (all rows; its own ranking);")
    print("  precision of featx at a recall of 0.7;")
    print("  cleanlab lists, of which flipped; featx lists, of which flipped, says (interval)")
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "cifar"
        take_cifar(data / "data" / "cifar10-train.tar", images)
        for name, source in (
            ("hymenoptera", data / "data" / "hymenoptera_data"),
            ("cifar", images),
        ):
            for backbone, weights in WEIGHTS.items():
                cache = Path(folder) / f"{name}-{backbone}.h5"
                size = 224 if name == "cifar" else None
                path = str(data / weights)
                featx.extract(source, cache, backbone=backbone, weights=path, size=size)
                with featx.open_cache(cache) as opened:
                    X, y = opened.read_arrays()
                    units = find_units(opened.groups, opened.read_column("digest"))
                codes = np.unique(y.astype(str), return_inverse=True)[1].astype(np.int64)
                for seed in range(-1, n_seeds):
                    compare(f"{name} {backbone} {seed}", X, codes, units=units, seed=seed)


def take_cifar(archive: Path, folder: Path) -> None:
    """Write the first images of each class into folders."""
    counts: Counter[str] = Counter()
    with tarfile.open(archive) as tar:
        for member in tar:
            label = Path(member.name).parent.name
            if member.isfile() and counts[label] < PER_CLASS:
                counts[label] += 1
                path = folder / label / Path(member.name).name
                path.parent.mkdir(parents=True, exist_ok=True)
                extracted = tar.extractfile(member)
                assert extracted is not None
                path.write_bytes(extracted.read())


def compare(title: str, X: Array, codes: IntArray, *, units: IntArray | None, seed: int) -> None:
    """Flip labels with a seed, or none with -1, and print what both find."""
    given, wrong = flip(codes, RATE if seed >= 0 else 0.0, seed=max(seed, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it does not converge in the 100 steps of its default
        plain = cross_val_predict(LogisticRegression(), X, given, cv=5, method="predict_proba")
    issues = find_label_issues(given, plain, n_jobs=1)
    found = judge(X, given, units)
    assert isinstance(found, LabelErrors)
    listed = found.rows[: found.n_listed]
    own = 1 - found.probabilities[np.arange(len(given)), given]
    scores = np.zeros(len(given))
    scores[found.rows] = found.scores
    ranked = average(wrong, own), average(wrong, scores)
    theirs = average(wrong, 1 - plain[np.arange(len(given)), given])
    low, high = found.n_wrong_ci95
    at_recall = float("nan")
    if wrong.any():
        precision, recall, _ = precision_recall_curve(wrong, own)
        at_recall = float(precision[recall >= RECALL].max())
    print(
        f"{title}: AP {theirs:.3f}, {ranked[0]:.3f} ({ranked[1]:.3f}); {at_recall:.2f}; "
        f"{issues.sum()}, "
        f"{(issues & wrong).sum()}; {found.n_listed}, {wrong[listed].sum()}, "
        f"{found.n_wrong:.0f} ({low} to {high}) of {wrong.sum()}",
        flush=True,
    )


def average(wrong: BoolArray, scores: Float64Array) -> float:
    """Return the average precision; NaN if nothing is wrong."""
    return float(average_precision_score(wrong, scores)) if wrong.any() else float("nan")


def flip(
    codes: IntArray, rate: float, *, seed: int, to_next: bool = False
) -> tuple[IntArray, BoolArray]:
    """Replace a share of labels by others; return them, and which are wrong."""
    rng = np.random.default_rng(seed)
    n_classes = int(codes.max()) + 1
    chosen = rng.choice(len(codes), round(rate * len(codes)), replace=False)
    steps = 1 if to_next else rng.integers(1, n_classes, len(chosen))
    given = codes.copy()
    given[chosen] = (codes[chosen] + steps) % n_classes
    return given, given != codes


def judge(X: Array, codes: IntArray, units: IntArray | None = None) -> LabelErrors | str:
    """Find label errors of rows."""
    labels = np.array([f"{code:03d}" for code in codes], object)
    rows = LabelledRows(
        numbers=np.arange(len(codes)), X=X, labels=labels, units=units,
        learnt=np.zeros(len(codes), bool),
    )  # fmt: skip
    return find_label_errors(rows)


def simulate(n_seeds: int) -> None:
    """Count alarms and findings on embeddings whose truth is known."""
    print("rows, classes, distance, tails: by kind of noise, share of all rows that is listed,")
    print("  share of the list that is wrong (as said), share that is found, intervals that hold")
    for n_rows, n_classes, distance in SIMULATED:
        for has_tails in (False, True):
            told = []
            for kind in KINDS:
                figures = [
                    run(n_rows, n_classes, distance, (has_tails, kind, seed))
                    for seed in range(n_seeds)
                ]
                listed, right, said, wrong, holds = np.sum(figures, axis=0)
                share = listed / (n_rows * n_seeds)
                more = ""
                if wrong:
                    more = (
                        f" wrong {right / max(listed, 1):.2f} ({said / max(listed, 1):.2f}) found "
                        f"{right / wrong:.2f} holds {holds:.0f}/{n_seeds}"
                    )
                told.append(f"{kind}: {share:.4f}{more}")
            tails = "heavy" if has_tails else "normal"
            print(f"{n_rows} {n_classes} {distance} {tails}: {'; '.join(told)}", flush=True)


def run(
    n_rows: int, n_classes: int, distance: float, how: tuple[bool, str, int]
) -> tuple[float, float, float, float, float]:
    """Draw one data set; return the numbers of rows listed, right, said, wrong, and held."""
    has_tails, kind, seed = how
    rng = np.random.default_rng([seed, n_rows, n_classes])
    codes = np.arange(n_rows) % n_classes
    means = rng.normal(size=(n_classes, 32))
    means *= distance / np.linalg.norm(means, axis=1, keepdims=True)
    noise = rng.normal(size=(n_rows, 32))
    if has_tails:
        noise *= np.exp(0.4 * rng.normal(size=(n_rows, 1)))
    X = (means[codes] + noise).astype(np.float32)
    given, wrong = flip(
        codes, 0.0 if kind in ("clean", "random") else 0.06, seed=seed, to_next=kind == "next class"
    )
    if kind == "random":
        given = rng.permutation(codes)
    found = judge(X, given)
    if isinstance(found, str):
        return 0.0, 0.0, 0.0, float(wrong.sum()), 1.0
    right = int(wrong[found.rows[: found.n_listed]].sum())
    low, high = found.n_wrong_ci95
    return found.n_listed, right, found.n_wrong, float(wrong.sum()), low <= right <= high


def simulate_outliers(n_seeds: int) -> None:
    """Count usual rows that are listed."""
    print("rows, dimensions, classes: share of usual rows that is listed; stated 0.001")
    for n_rows, dim, n_classes in ((100, 16, 2), (100, 256, 2), (400, 64, 5), (2000, 64, 10)):
        n_listed = 0
        for seed in range(4 * n_seeds):
            rng = np.random.default_rng(seed)
            codes = np.arange(n_rows) % n_classes
            scales = np.linspace(0.2, 2, dim)
            X = (
                rng.normal(size=(n_rows, dim)) * scales
                + 3 * rng.normal(size=(n_classes, dim))[codes]
            )
            found = find_outliers(X, codes, None, np.arange(n_rows))
            assert isinstance(found, Outliers)
            n_listed += len(found)
        print(f"{n_rows} {dim} {n_classes}: {n_listed / (4 * n_seeds * n_rows):.5f}", flush=True)


if __name__ == "__main__":
    main()
