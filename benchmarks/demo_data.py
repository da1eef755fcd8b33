"""Measure on which images `featx demo` can show what a pretrained network adds.

Three tasks, all made of what scikit-learn brings along, its 1,797 handwritten digits:

* as they are: 8 × 8 pixels;
* anywhere: at a random place, size and angle of a black image of 64 × 64 pixels, as in the demo;
* on scenes: the same, over a random patch of scikit-learn's two sample images, at half brightness.

Heads are fitted on a few labels per class and scored on all other images: on mini's embedding, on
that of the same network with random weights, and on the gray pixels. All see the same draws of
rows, so that gains are paired; their interval is Student's t over the draws.

    python benchmarks/demo_data.py

It prints a table in Markdown. `--show FILE` writes a sheet of the images instead.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.stats import t
from sklearn.datasets import load_digits, load_sample_images

import featx
from featx.core.typing import Array
from featx.demo import SIDE, draw_digits

SEEDS = 3
"""Number of networks with random weights."""

DRAWS = 5
"""Number of draws of labelled rows."""

LABELS = (3, 10, 36)
"""Labels per class; the demo has 36."""


def draw_scenes() -> Array:
    """Draw the digits over patches of the sample images, uint8 ``(1797, 64, 64, 3)``."""
    generator = np.random.default_rng(0)
    scenes = load_sample_images().images
    images = []
    for digit in draw_digits():
        scene = scenes[generator.integers(len(scenes))]
        y, x = (int(generator.integers(n - 2 * SIDE)) for n in scene.shape[:2])
        patch = Image.fromarray(scene[y : y + 2 * SIDE, x : x + 2 * SIDE])
        patch = patch.resize((SIDE, SIDE), Image.Resampling.BOX)
        alpha = digit[:, :, None] / 255
        images.append(np.asarray(patch) / 2 * (1 - alpha) + 255 * alpha)
    return np.round(images).astype(np.uint8)


def draw_tasks() -> dict[str, Array]:
    """Draw the images of all tasks."""
    digits = np.round(load_digits().images * (255 / 16)).astype(np.uint8)
    return {"as they are": digits, "anywhere": draw_digits(), "on scenes": draw_scenes()}


def score(X: Array, y: Array, n_labels: int) -> Array:
    """Return the accuracy of each draw on the rows that it leaves, ``(DRAWS,)``."""
    accuracies = []
    for draw in range(DRAWS):
        order = np.random.default_rng(draw).permutation(len(y))
        rows = np.concatenate([order[y[order] == label][:n_labels] for label in np.unique(y)])
        rest = np.setdiff1d(order, rows)
        head = featx.HeadClassifier().fit(X[rows], y[rows])
        accuracies.append(np.mean(head.predict(X[rest]) == y[rest]))
    return np.array(accuracies)


def embed(images: Array, weights: str) -> Array:
    """Embed images with mini or with its untrained twin."""
    return featx.embed(list(images), backbone="mini", weights=weights, progress=False)


def measure(task: str, images: Array, y: Array) -> None:
    """Print a line per number of labels."""
    mini = embed(images, "DEFAULT")
    untrained = [embed(images, f"random:{seed}") for seed in range(SEEDS)]
    gray = images.mean(axis=3) if images.ndim == 4 else images
    pixels = gray.reshape(len(gray), -1).astype(np.float32)
    for n_labels in LABELS:
        own, raw = score(mini, y, n_labels), score(pixels, y, n_labels)
        seeds = np.stack([score(X, y, n_labels) for X in untrained])  # (SEEDS, DRAWS)
        gains = own - seeds.mean(axis=0)
        reach = t.ppf(0.975, DRAWS - 1) * gains.std(ddof=1) / DRAWS**0.5
        means = seeds.mean(axis=1)
        print(
            f"| {task} | {n_labels} | {own.mean():.3f} | {means.mean():.3f} ({means.min():.3f} – "
            f"{means.max():.3f}) | {raw.mean():.3f} | {gains.mean():+.3f} "
            f"({gains.mean() - reach:+.3f} – {gains.mean() + reach:+.3f}) |",
            flush=True,
        )


def show(path: Path) -> None:
    """Write a sheet with 16 images of each task."""
    sheet = Image.new("RGB", (16 * SIDE, 3 * SIDE))
    for row, images in enumerate(draw_tasks().values()):
        for column, image in enumerate(images[:16]):
            tile = Image.fromarray(image).convert("RGB").resize((SIDE, SIDE))
            sheet.paste(tile, (column * SIDE, row * SIDE))
    sheet.save(path)


def main() -> None:
    """Measure all tasks, or show their images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--show", type=Path, help="write a sheet of the images to this file")
    options = parser.parse_args()
    if options.show:
        show(options.show)
        return
    y = load_digits().target.astype(str)
    print("| task | labels per class | mini | random weights | gray pixels | gain |")
    print("|---|---|---|---|---|---|")
    for task, images in draw_tasks().items():
        measure(task, images, y)


if __name__ == "__main__":
    main()
