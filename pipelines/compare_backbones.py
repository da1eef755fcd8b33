"""Compare small backbones on photos and on digits, with two controls: one run, one table.

Ants and bees: 245 photos to fit on, 153 to test. Digits: the 1,797 of scikit-learn, ten stratified
80/20 splits, C chosen within each training part. The controls are raw pixels and ``mini`` with
random weights. Run it with ``python pipelines/compare_backbones.py``; a few minutes on two cores.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t
from shared import build_parser, check_there
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import featx

N_SEEDS = 10

Array = np.ndarray[Any, Any]


def score_photos(name: str, weights: str, photos: Path, folder: Path) -> dict[str, Any]:
    """Extract the photos, fit on train, evaluate on val."""
    cache = folder / "photos.h5"
    report = featx.extract(photos, cache, backbone=name, weights=weights, overwrite=True)
    scores = featx.evaluate(featx.fit_head(cache), cache, split="val")
    return {
        "images_per_s": report.n_rows / report.elapsed_s,
        "photos": scores.accuracy,
        "photos_ci95": scores.accuracy_ci95,
    }


def score_digits(X: Array, y: Array) -> dict[str, Any]:
    """Return the mean accuracy over the seeds, and the t interval of that mean."""
    accuracies = []
    for seed in range(N_SEEDS):
        parts = train_test_split(X, y, test_size=0.2, stratify=y, random_state=seed)
        classifier = featx.HeadClassifier(random_state=seed).fit(parts[0], parts[2])
        accuracies.append(float(np.mean(classifier.predict(parts[1]) == parts[3])))
    mean, error = np.mean(accuracies), np.std(accuracies, ddof=1) / N_SEEDS**0.5
    low, high = t.interval(0.95, N_SEEDS - 1, mean, error)
    return {"digits": float(mean), "digits_ci95": (float(low), float(high))}


def format_accuracy(record: dict[str, Any], what: str) -> str:
    """Format an accuracy with its interval."""
    if what not in record:
        return "–"
    low, high = record[f"{what}_ci95"]
    return f"{record[what]:.3f} ({low:.3f} – {high:.3f})"


def main() -> None:
    """Compare, and print a Markdown table and JSON."""
    arguments = build_parser(__doc__).parse_args()
    photos = check_there(arguments.data / "data" / "hymenoptera_data")
    files = check_there(arguments.data / "weights")
    backbones = {
        "lenet5": ("lenet5", "DEFAULT"),
        "mini": ("mini", "DEFAULT"),
        "mini, random weights": ("mini", "random:0"),
        "squeezenet1_1": ("squeezenet1_1", str(files / "squeezenet1_1-imagenet.pth")),
        "mobilenet_v2": ("mobilenet_v2", str(files / "mobilenet_v2-imagenet-backbone.pth")),
    }
    records: dict[str, dict[str, Any]] = {}
    bunch = load_digits()
    order = np.argsort(bunch.target, kind="stable")
    y = bunch.target[order].astype(str)
    digits = list(np.round(bunch.images[order] * (255 / 16)).astype(np.uint8))  # 8 × 8
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for title, (name, weights) in backbones.items():
            X = featx.embed(digits, backbone=name, weights=weights)
            records[title] = {"dim": X.shape[1]} | score_photos(name, weights, photos, folder)
            records[title] |= score_digits(X, y)
    records["raw pixels"] = {"dim": 64} | score_digits(bunch.data[order], y)
    print("| features | dim | images/s | ants or bees | digits |\n|---|---|---|---|---|")
    for title, record in records.items():
        rate = f"{record['images_per_s']:.0f}" if "images_per_s" in record else "–"
        photos_text, digits_text = (format_accuracy(record, w) for w in ("photos", "digits"))
        print(f"| {title} | {record['dim']} | {rate} | {photos_text} | {digits_text} |")
    print(json.dumps(records))


if __name__ == "__main__":
    main()
