"""The first command of a newcomer: every step of featx on data that is already on the machine."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.ndimage import affine_transform
from sklearn.datasets import load_digits

from featx.cache.joined import open_cache
from featx.core.progress import stage
from featx.core.signals import explain_end
from featx.core.typing import Float64Array, UInt8Array
from featx.heads.classifier import HeadClassifier
from featx.heads.evaluate import Evaluation, score_predictions
from featx.images.decode import encode_image

SIDE = 64
"""Side of an image in pixels: what mini reads."""

MAX_ANGLE = 20
"""Largest angle by which a digit is turned, in degrees."""

SIZES = (20, 40)
"""Smallest and largest side of a digit in pixels."""


def run_demo(folder: Path, run: Callable[[list[str]], object]) -> Path:
    """Classify handwritten digits at random places of black images, and write a report.

    The digits are the 1,797 that come with scikit-learn (Alpaydin and Kaynak 1998, UCI). They are
    written as PNG files into class folders, like a user's own images, and go through the commands.
    One image in five is labelled. Two controls on the same rows stand beside the result: the same
    head on the same network with random weights, and on raw pixels.

    Parameters
    ----------
    folder : Path
        Folder of all output; files of an earlier demo are replaced.
    run : callable
        Function that runs a featx command, given as a list of words.

    Returns
    -------
    Path
        Path of the report.
    """
    with explain_end(lambda: f"{folder} is unfinished; run the same again to begin anew"):
        return _run_demo(folder, run)


def _run_demo(folder: Path, run: Callable[[list[str]], object]) -> Path:
    images, cache, page = folder / "digits", folder / "digits.h5", folder / "demo.html"
    head, random_head = folder / "mini.joblib", folder / "random.joblib"
    print("1,797 handwritten digits from scikit-learn, each at a random place, size and angle of a")
    print(f"black image, become PNGs in {images}/0 … {images}/9\n")
    with stage("writing images"):
        write_digits(images)

    def show(*words: object) -> None:
        """Print a command, then run it."""
        texts = [str(word) for word in words]
        print(f"$ featx {shlex.join(texts)}")
        run(texts)
        print()

    show("extract", images, "-o", cache, "--backbone", "mini", "--overwrite")
    print("Labels are few: one image in five is to learn from, the others are held out.\n")
    show("split", cache, "--val", "0.8")
    show("fit-head", cache, "-o", head, "--overwrite")
    show("evaluate", head, cache)
    with open_cache(cache) as opened:
        some = opened.paths[opened.select_rows("val")][::240]
    show("predict", head, *some, "--top", "2")

    print("What does the pretrained network add? The same network with random weights:\n")
    weights = ("--weights", "random:0", "--embedding", "random")
    show("extract", images, "-o", cache, "--backbone", "mini", *weights)
    show("fit-head", cache, "-o", random_head, "--embedding", "random", "--overwrite")
    show("compare", head, random_head, "--cache", cache)
    with stage("raw pixels"):
        pixels = evaluate_pixels(cache)
    low, high = pixels.accuracy_ci95
    print(f"raw pixels, the same kind of head: {pixels.accuracy:.3f} ({low:.3f} to {high:.3f})\n")

    show("report", cache, head, random_head, "-o", page, "--map-method", "tsne", "--no-audit")
    print(f"Open this page in a browser: {page}")
    print("\nNow your own folder of images, with a folder per class:")
    print("  featx extract photos/ -o photos.h5 --backbone mini      # works anywhere")
    print("  featx extract photos/ -o photos.h5 --backbone resnet50  # better; fetches its weights")
    print("  featx split photos.h5 --val 0.2 && featx fit-head photos.h5 -o head.joblib")
    print("  featx report photos.h5 head.joblib -o report.html")
    return page


def draw_digits() -> UInt8Array:
    """Draw scikit-learn's digits in white at random places of black images.

    Returns
    -------
    ndarray of uint8
        Images ``(1797, 64, 64)``, the same in every call.
    """
    generator = np.random.default_rng(0)
    images = [_place(digit, generator) for digit in load_digits().images]
    return np.round(np.stack(images) * (255 / 16)).astype(np.uint8)


def _place(digit: Float64Array, generator: np.random.Generator) -> Float64Array:
    """Draw a digit ``(8, 8)`` at a random place, size and angle of an image ``(64, 64)``."""
    side = generator.uniform(*SIZES)
    angle = np.deg2rad(generator.uniform(-MAX_ANGLE, MAX_ANGLE))
    # So far from the border, a turned digit stays whole, with the half pixel in which it fades.
    margin = side * (1 + 1 / len(digit)) / 2 * (np.cos(angle) + np.sin(abs(angle)))
    centre = generator.uniform(margin, SIDE - 1 - margin, 2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn * len(digit) / side  # from the image to the digit
    offset = (len(digit) - 1) / 2 - matrix @ centre
    drawn: Float64Array = affine_transform(
        digit, matrix, offset, output_shape=(SIDE, SIDE), order=1, mode="grid-constant"
    )
    return drawn


def write_digits(folder: Path) -> None:
    """Write the drawn digits as PNGs, one folder per class."""
    for number, (image, label) in enumerate(zip(draw_digits(), load_digits().target, strict=True)):
        path = folder / str(label) / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(image))


def evaluate_pixels(cache: Path) -> Evaluation:
    """Fit and score the same kind of head on raw pixels, on the same rows as in a cache."""
    with open_cache(cache) as opened:
        splits, labels = opened.splits, opened.labels
        numbers = [int(Path(path).stem) for path in opened.paths]
    X = draw_digits()[numbers].reshape(len(numbers), -1)  # (1797, 4096)
    train, val = splits == "train", splits == "val"
    classifier = HeadClassifier(progress=None).fit(X[train], labels[train])
    return score_predictions(labels[val], classifier.predict(X[val]), classes=classifier.classes_)
