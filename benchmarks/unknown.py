"""Measure what `unknown` and conformal sets promise, on images and on simulated embeddings.

1. Strangers: a head that tells ants from bees, fitted on the 244 training images, against images of
   CIFAR-10, digits, noise and flat colours. Beside the distance stands the largest probability.
2. Near strangers: a head for eight classes of CIFAR-10, against the two that were left out.
3. Sets: a head for ten classes of CIFAR-10; how many sets hold the class, in all and by class.
4. False alarms: the rate on fresh rows of the same kind, simulated, at a promised rate of 0.01.
5. Several classes per image, simulated: which means to measure the distance from.

    python benchmarks/unknown.py

The images are those that `--data` holds; what is extracted lies in a temporary folder.
"""

from __future__ import annotations

import sys
import tarfile
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

import featx
from featx.core.typing import Array, Float64Array

sys.path.insert(0, str(Path(__file__).parents[1] / "pipelines"))
from shared import build_parser

WEIGHTS = "weights/mobilenet_v2-imagenet-backbone.pth"
LEFT_OUT = ("frog", "truck")
COVERAGE = 0.9

SIMULATED = (
    (100, 64, 2, 1),
    (100, 1280, 2, 1),
    (300, 256, 5, 1),
    (300, 1280, 10, 1),
    (1000, 1280, 20, 1),
    (1000, 256, 4, 10),
    (2000, 256, 20, 1),
    (5000, 64, 2, 1),
)
"""Rows, dimensions, classes, rows of a unit."""

SEVERAL = ((300, 64), (1000, 64), (400, 256), (1000, 1280))
"""Rows, dimensions."""


def main() -> None:
    """Measure all five."""
    parser = build_parser(__doc__)
    parser.add_argument("--per-class", type=int, default=100, help="Strangers of each class.")
    parser.add_argument("--rows", type=int, default=300, help="Rows of each class to fit on.")
    parser.add_argument("--trials", type=int, default=10, help="Simulated data sets of a kind.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = arguments.data / "data"
        weights = str(arguments.data / WEIGHTS)
        write_strangers(data, folder / "strangers", arguments.per_class)
        for source, cache, size in (
            (data / "hymenoptera_data", "insects.h5", None),
            (folder / "strangers", "strangers.h5", None),
            (data / "cifar10-test.tar", "cifar10.h5", 224),
        ):
            featx.extract(
                source, folder / cache, backbone="mobilenet_v2", weights=weights, size=size
            )
        compare_strangers(folder)
        measure_cifar10(folder / "cifar10.h5", arguments.rows)
    simulate(arguments.trials)
    simulate_several(arguments.trials)


def write_strangers(data: Path, folder: Path, n_per_class: int) -> None:
    """Write images that show neither ants nor bees."""
    written: Counter[str] = Counter()
    (folder / "cifar10").mkdir(parents=True)
    with tarfile.open(data / "cifar10-test.tar") as archive:
        for member in archive:
            class_name = member.name.split("/")[0]
            if not member.isfile() or written[class_name] == n_per_class:
                continue
            written[class_name] += 1
            content = archive.extractfile(member)
            assert content is not None
            name = member.name.replace("/", "-")
            (folder / "cifar10" / name).write_bytes(content.read())
    random = np.random.default_rng(0)
    n_images = {"digits": 250, "noise": 125, "flat": 125}
    digits = (load_digits().images * 15.9).astype(np.uint8)
    for kind, count in n_images.items():
        (folder / kind).mkdir()
        for number in range(count):
            pixels: Array = {
                "digits": np.repeat(digits[number][:, :, None], 3, axis=2),
                "noise": random.integers(0, 256, (64, 64, 3), dtype=np.uint8),
                "flat": np.full((64, 64, 3), random.integers(0, 256, 3), dtype=np.uint8),
            }[kind]
            Image.fromarray(pixels).save(folder / kind / f"{number}.png")


def compare_strangers(folder: Path) -> None:
    """Print how well distance and probability tell strangers from the val images."""
    head = featx.fit_head(folder / "insects.h5", split="train", progress=False)
    with featx.open_cache(folder / "insects.h5") as cache:
        known, _ = cache.read_arrays(split="val")
    with featx.open_cache(folder / "strangers.h5") as cache:
        X, kinds = cache.read_arrays()
    print_title("Strangers", "ants or bees")
    for kind in ("cifar10", "digits", "noise", "flat"):
        print_line(kind, head, known, X[kinds == kind])
    print_line("all", head, known, X)
    accepted = 1 - find_unknown(head, X).mean()
    print(
        f"at a promised rate of 0.01: {find_unknown(head, known).mean():.3f} of {len(known)} val "
        f"images are unknown, {accepted:.4f} of the strangers are not\n"
    )


def measure_cifar10(path: Path, n_rows: int) -> None:
    """Print near strangers, and the coverage of sets."""
    with featx.open_cache(path) as cache:
        X, y = cache.read_arrays()
    order = np.random.default_rng(0).permutation(len(y))
    X, y = X[order], y[order]
    number = np.zeros(len(y), dtype=np.int64)  # of a row within its class
    for label in np.unique(y):
        number[y == label] = np.arange((y == label).sum())
    fitted = number < n_rows
    is_far = np.isin(y, LEFT_OUT)
    head = fit_rows(path, order[fitted & ~is_far])
    print_title("Near strangers", f"CIFAR-10 without {' and '.join(LEFT_OUT)}")
    print_line(" and ".join(LEFT_OUT), head, X[~fitted & ~is_far], X[is_far])
    rate = find_unknown(head, X[~fitted & ~is_far]).mean()
    print(f"at a promised rate of 0.01: {rate:.4f} of the fresh rows are unknown\n")
    head = fit_rows(path, order[fitted])
    fresh, truth = X[~fitted], y[~fitted]
    assert head.conformal is not None
    inside = head.conformal.find_sets(head.predict_proba(fresh), COVERAGE)
    held = inside[np.arange(len(truth)), np.searchsorted(head.classes, truth)]
    by_class = {label: float(held[truth == label].mean()) for label in head.classes}
    worst = min(by_class, key=lambda label: by_class[label])
    print(f"Sets at {COVERAGE}: CIFAR-10, fitted on {fitted.sum()} rows, {len(truth)} fresh rows")
    print(
        f"coverage {held.mean():.4f}, of the worst class ({worst}) {by_class[worst]:.4f}; "
        f"{inside.sum(axis=1).mean():.2f} classes a set, {(~inside.any(axis=1)).mean():.4f} empty; "
        f"accuracy {(head.predict(fresh) == truth).mean():.4f}\n"
    )


def fit_rows(path: Path, rows: Array) -> featx.Head:
    """Fit a head on some rows of a cache, which get the split train; others have none."""
    with featx.open_cache(path) as cache:
        ids = cache.read_column("id")[np.sort(rows)].to_list()
    featx.label_cache(path, dict.fromkeys(ids, "train"), field="split", author="benchmark")
    return featx.fit_head(path, split="train", progress=False)


def find_unknown(head: featx.Head, X: Array) -> Array:
    """Find the rows that a head does not know, at the usual rate."""
    assert head.unknown is not None
    return head.unknown.find_unknown(X)


def print_title(title: str, what: str) -> None:
    """Print the header of a table."""
    print(f"{title}: {what}")
    print(
        f"{'':18} {'images':>6}  {'AUROC':>7} {'accepted':>9}   AUROC and accepted by probability"
    )


def print_line(kind: str, head: featx.Head, known: Array, strangers: Array) -> None:
    """Print how well strangers are told, by the distance and by the largest probability.

    Accepted are the strangers that lie no farther away than 99 % of the known images.
    """
    assert head.unknown is not None
    cells = []
    for measure in (head.unknown.measure_distances, lambda X: -head.predict_proba(X).max(axis=1)):
        near, far = measure(known), measure(strangers)
        truth = np.repeat([0, 1], [len(near), len(far)])
        cells += [
            float(roc_auc_score(truth, np.concatenate([near, far]))),
            float((far <= np.quantile(near, 0.99)).mean()),
        ]
    print(
        f"{kind:18} {len(strangers):6}  {cells[0]:7.4f} {cells[1]:9.4f}   "
        f"{cells[2]:7.4f} {cells[3]:9.4f}"
    )


def simulate(n_trials: int) -> None:
    """Print the rate of false alarms on fresh rows, where 0.01 and 0.05 are promised."""
    print("False alarms on fresh rows, simulated: mean over data sets, and its standard error")
    print("  rows   dim classes  unit    at 0.01           at 0.05")
    for case in SIMULATED:
        n_rows, dim, n_classes, n_unit = case
        rates = np.array([measure_alarms(seed, case) for seed in range(n_trials)])
        means, errors = rates.mean(axis=0), rates.std(axis=0) / np.sqrt(n_trials)
        cells = [f"{one:.4f} ± {error:.4f}" for one, error in zip(means, errors, strict=True)]
        print(f"{n_rows:6} {dim:5} {n_classes:7} {n_unit:5}    {'   '.join(cells)}")


def measure_alarms(seed: int, case: tuple[int, int, int, int]) -> tuple[float, float]:
    """Measure the rates on fresh rows of one simulated data set."""
    n_rows, dim, n_classes, n_unit = case
    random = np.random.default_rng(seed)
    scales = (1 + np.arange(dim)) ** -0.5  # as the variances of embeddings fall
    means = random.normal(size=(n_classes, dim)) * scales + 0.3 * abs(random.normal(size=dim))

    def draw(n_units: int) -> tuple[Float64Array, Array]:
        codes = (np.arange(n_units) % n_classes).repeat(n_unit)
        shared = random.normal(size=(n_units, dim)).repeat(n_unit, axis=0)
        own = random.normal(size=(len(codes), dim))
        share = 0.7 if n_unit > 1 else 0.0
        rows = means[codes] + (np.sqrt(share) * shared + np.sqrt(1 - share) * own) * scales
        return rows, codes

    X, codes = draw(n_rows // n_unit)
    detector = featx.UnknownDetector.fit(X, codes, np.arange(len(X)) // n_unit)
    assert detector is not None
    fresh, _ = draw(5000 // n_unit)
    return (
        float(detector.find_unknown(fresh, 0.01).mean()),
        float(detector.find_unknown(fresh, 0.05).mean()),
    )


def simulate_several(n_trials: int) -> None:
    """Print how well means of several kinds tell rows of other classes, and at which rate."""
    print(
        "Several classes, simulated: AUROC of rows of other classes, alarms on fresh rows at 0.01"
    )
    print("  rows   dim  means              AUROC   found  alarms")
    for n_rows, dim in SEVERAL:
        found = [measure_several(seed, n_rows, dim) for seed in range(n_trials)]
        for name, cells in zip(
            found[0], np.mean([[*one.values()] for one in found], 0), strict=True
        ):
            print(f"{n_rows:6} {dim:5}  {name:18} {'  '.join(f'{cell:6.4f}' for cell in cells)}")


def measure_several(seed: int, n_rows: int, dim: int) -> dict[str, list[float]]:
    """Measure AUROC, share of strangers found and false alarms of one simulated data set."""
    random = np.random.default_rng(seed)
    scales = (1 + np.arange(dim)) ** -0.5
    base, known, others = 2 * random.normal(size=dim), *random.normal(size=(2, 5, dim))

    def draw(n: int, effects: Array) -> tuple[Array, Array]:
        flags = random.random((n, 5)) < 0.3
        return (base + flags @ effects + random.normal(size=(n, dim))) * scales, flags

    (X, flags), (fresh, _) = draw(n_rows, known), draw(2000, known)
    strangers = draw(1000, others)[0]
    order = np.argsort(flags.sum(axis=0))
    rarest = np.where(flags.any(axis=1), np.argmax(flags[:, order], axis=1), 5)
    results = {}
    for name, codes in (
        ("of all rows", np.zeros(n_rows, int)),
        ("of rarest classes", np.unique(rarest, return_inverse=True)[1]),
        ("of sets of classes", np.unique(flags, axis=0, return_inverse=True)[1].ravel()),
    ):
        detector = featx.UnknownDetector.fit(X, codes)
        assert detector is not None
        distances = [detector.measure_distances(rows) for rows in (fresh, strangers)]
        results[name] = [
            float(roc_auc_score(np.repeat([0, 1], [2000, 1000]), np.concatenate(distances))),
            float(detector.find_unknown(strangers, 0.01).mean()),
            float(detector.find_unknown(fresh, 0.01).mean()),
        ]
    return results


if __name__ == "__main__":
    main()
