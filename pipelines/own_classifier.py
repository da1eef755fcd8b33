"""Can the original classifier be reused? What SqueezeNet 1.1 says itself, and what heads on it say.

Ants and bees, which are two of the 1,000 classes of ImageNet: the network's own answers for the 153
val images, its logits of these two classes alone, and heads fitted on the 245 train images: on the
embedding, and on the 1,000 logits. Digits, which are none of the classes: the names that they get
most often, each name taken for the digit that has it most often in train, and the same two heads.
Run it with ``python pipelines/own_classifier.py``; a minute on two cores.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.stats import binomtest
from shared import build_parser, check_there
from sklearn.datasets import load_digits

import featx

BACKBONE = "squeezenet1_1"
NAMES = {"ants": "ant", "bees": "bee"}
"""Class of ImageNet by the name of a folder."""

N_CLASSES = 1000
LAYERS = {"penultimate": "embedding", "logits": "1,000 logits"}


def write_digits(folder: Path) -> None:
    """Write scikit-learn's digits as 8 × 8 PNGs, one folder for each digit."""
    digits = load_digits()
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
    for number, (image, label) in enumerate(zip(pixels, digits.target, strict=True)):
        path = folder / str(label) / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


def count_share(is_right: Sequence[bool]) -> dict[str, Any]:
    """Return a share with the ends of its 95 % interval (Wilson)."""
    n_right, n_rows = sum(is_right), len(is_right)
    interval = binomtest(n_right, n_rows).proportion_ci(method="wilson")
    return {"n_right": n_right, "n_rows": n_rows, "ci95": [interval.low, interval.high]}


def predict_val(head: featx.Head, cache: Path) -> dict[str, bool]:
    """Return whether a head is right, by the id of each val row."""
    return {
        one.id: one.label == one.true_label
        for one in featx.predict(head, cache)
        if one.split == "val"
    }


def fit_heads(source: Path, weights: str, folder: Path) -> dict[str, dict[str, bool]]:
    """Fit a head on each layer; return whether it is right, by the id of each val row."""
    right = {}
    for layer, name in LAYERS.items():
        cache = folder / f"{source.name}-{layer}.h5"
        featx.extract(source, cache, backbone=BACKBONE, weights=weights, layers=[layer])
        with featx.open_cache(cache) as opened:
            has_splits = "val" in opened.list_splits()
        if not has_splits:
            featx.split_cache(cache, val=0.2)
        right[f"head on the {name}"] = predict_val(featx.fit_head(cache), cache)
    return right


def compare_photos(photos: Path, weights: str, folder: Path) -> dict[str, Any]:
    """Score the network's own answers and two heads on the val images of ants and bees."""
    own: dict[str, dict[str, bool]] = {"top-1 is the class": {}, "one of the top-5": {}}
    pair: dict[str, bool] = {}
    for one in featx.classify(photos / "val", backbone=BACKBONE, weights=weights, top=N_CLASSES):
        assert one.error is None, one
        scores, wanted = dict(one.top), NAMES[one.true_label or ""]
        key = f"val/{one.id}"
        own["top-1 is the class"][key] = one.label == wanted
        own["one of the top-5"][key] = wanted in [name for name, _ in one.top[:5]]
        pair[key] = all(scores[wanted] >= scores[name] for name in NAMES.values())
    heads = fit_heads(photos, weights, folder)
    found = own | {"its logits of ant and bee alone": pair} | heads
    assert all(right.keys() == pair.keys() for right in found.values())
    better = heads[f"head on the {LAYERS['penultimate']}"]
    return {
        "rows": {name: count_share([*right.values()]) for name, right in found.items()},
        "only_the_head_is_right": sum(better[key] and not pair[key] for key in pair),
        "only_the_two_logits_are_right": sum(pair[key] and not better[key] for key in pair),
    }


def compare_digits(digits: Path, weights: str, folder: Path) -> dict[str, Any]:
    """Count the names of digits; score the names as a code for them, and two heads."""
    heads = fit_heads(digits, weights, folder)
    val = {*next(iter(heads.values()))}
    found = featx.classify(digits, backbone=BACKBONE, weights=weights, top=1)
    names: dict[str, Counter[str]] = {}
    for one in found:
        if one.id not in val:
            names.setdefault(one.label or "", Counter())[one.true_label or ""] += 1
    code = {name: counts.most_common(1)[0][0] for name, counts in names.items()}
    as_code = [code.get(one.label or "") == one.true_label for one in found if one.id in val]
    shares = {name: count_share([*right.values()]) for name, right in heads.items()}
    return {
        "n_images": len(found),
        "n_names": len({one.label for one in found}),
        "names": Counter(one.label for one in found).most_common(6),
        "mean_score": sum(one.score or 0 for one in found) / len(found),
        "rows": {"its top-1 name, as a code": count_share(as_code)} | shares,
    }


def print_rows(title: str, rows: dict[str, dict[str, Any]]) -> None:
    """Print a Markdown table of shares."""
    print(f"\n| {title} | right | share (95 % interval) |\n|---|---|---|")
    for name, row in rows.items():
        share, (low, high) = row["n_right"] / row["n_rows"], row["ci95"]
        right = f"{row['n_right']} of {row['n_rows']}"
        print(f"| {name} | {right} | {share:.3f} ({low:.3f} – {high:.3f}) |")


def main() -> None:
    """Compare, and print Markdown tables and JSON."""
    arguments = build_parser(__doc__).parse_args()
    photos = check_there(arguments.data / "data" / "hymenoptera_data")
    weights = str(check_there(arguments.data / "weights" / "squeezenet1_1-imagenet.pth"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_digits(folder / "digits")
        result = {
            "photos": compare_photos(photos, weights, folder),
            "digits": compare_digits(folder / "digits", weights, folder),
        }
    print_rows("ants and bees", result["photos"]["rows"])
    print_rows("digits", result["digits"]["rows"])
    print(f"\n{json.dumps(result, indent=2)}")


if __name__ == "__main__":
    main()
