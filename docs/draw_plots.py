"""Draw the figure of `docs/how_to/plots.md`: CIFAR-10, and a fine-tuning on handwritten digits.

    featx extract cifar10-test.tar -o test.h5 --backbone mobilenet_v2
    python docs/draw_plots.py test.h5

A fifth of the 10,000 images fits the head and draws the learning curve, the others score the head.
The digits are those of scikit-learn, read by the bundled network lenet5.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_digits

import featx

PICTURE = Path(__file__).parent / "how_to" / "plots.png"
DPI = 80


def tune_digits(folder: Path) -> list[featx.Epoch]:
    """Fine-tune a small network on handwritten digits, and read its log."""
    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = folder / "digits" / ("val" if number % 3 == 0 else "train") / str(label)
        path.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15.9).astype(np.uint8)).resize((32, 32)).save(
            path / f"{number}.png"
        )
    cache, weights = folder / "digits.h5", folder / "tuned.safetensors"
    featx.extract(folder / "digits", cache, backbone="lenet5", progress=False)
    recipe = featx.Recipe(epochs=12)
    featx.fine_tune(folder / "digits", cache, weights, unfreeze=2, recipe=recipe, progress=False)
    return featx.read_log(folder / "tuned.log.csv")


def draw(cache: Path, folder: Path) -> None:
    """Draw all six figures into one."""
    copy = folder / "cifar.h5"
    shutil.copy(cache, copy)
    featx.split_cache(copy, val=0.8, overwrite=True)
    head = featx.fit_head(copy)
    scores = featx.evaluate(head, copy)
    figure: Any = Figure(figsize=(17, 11), layout="constrained")
    first, second, third, fourth, fifth, sixth = figure.subfigures(2, 3).ravel()
    featx.plot_confusion(scores, ax=first.subplots())
    featx.plot_classes(scores, ax=second.subplots())
    featx.plot_calibration(featx.measure_calibration_curve(head, copy), ax=third.subplots())
    featx.plot_learning_curve(featx.measure_learning_curve(copy), ax=fourth.subplots())
    featx.plot_map(featx.map_rows(copy, method="tsne", split="train"), ax=fifth.subplots())
    featx.plot_tuning(tune_digits(folder), axes=sixth.subplots(3, sharex=True))
    figure.savefig(PICTURE, dpi=DPI, metadata={"Software": "featx"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    with tempfile.TemporaryDirectory() as name:
        draw(parser.parse_args().cache, Path(name))
