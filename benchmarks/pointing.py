"""Measure whether the maximum of a class map lies on the object: the pointing test.

Images of CIFAR-10's test set are pasted at random places into a black canvas. The map is that of
the class in the name of the folder, and its maximum is the middle of the cell with the largest
value. Beside the maps stand two guesses that do not look: the centre of the canvas, and a random
place.

1. One object: 64 or 96 pixels wide on a canvas of 224 pixels, 128 on one of 448. A cell of
   mobilenet_v2's maps is 32 pixels wide.
2. Two objects of different classes, 128 pixels wide on 448: is the maximum on the one whose class
   was asked for? On a black canvas all that is not black draws the maximum; two objects ask for the
   class.

Three heads, logistic regressions on the same images of the training set: pasted like the test
images; pasted, with shuffled labels, which is a control; and as they are, for the canvas of 224
pixels. Nothing is chosen by the test images.

    python benchmarks/pointing.py

The images are those that `--data` holds; what is extracted lies in a temporary folder.
"""

from __future__ import annotations

import argparse
import io
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import featx
from featx.core.typing import Approximation
from featx.heads.intervals import estimate_interval

sys.path.insert(0, str(Path(__file__).parents[1] / "pipelines"))
from shared import build_parser

WEIGHTS = "weights/mobilenet_v2-imagenet-backbone.pth"
SETTINGS = ((224, (64, 96)), (448, (128,)))
"""Widths of a canvas, and of the one object on it."""

TWO = (448, 128)
"""Widths of the canvas with two objects, and of each."""

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels."""


def main() -> None:
    """Measure both."""
    parser = build_parser(__doc__)
    parser.add_argument("--images", type=int, default=200, help="Test images.")
    parser.add_argument("--rows", type=int, default=1000, help="Training images to fit on.")
    arguments = parser.parse_args()
    rng = np.random.default_rng(1)
    test = read_images(arguments.data / "data" / "cifar10-test.tar", arguments.images, rng)
    print("| object | head | maps | maximum on it | 95 % | ms per image |")
    print("| --- | --- | --- | --- | --- | --- |")
    for canvas, sides in SETTINGS:
        with tempfile.TemporaryDirectory() as name:
            heads = fit_heads(arguments, Path(name), canvas, sides)
        for side in sides:
            measure_one(heads, test, canvas, side)
        if canvas == TWO[0]:
            measure_two(heads, test)


def measure_one(
    heads: dict[str, featx.Head], test: Sequence[tuple[str, Image.Image]], canvas: int, side: int
) -> None:
    """Measure whether the maximum lies on the only object."""
    rng = np.random.default_rng(side)
    shown = f"{side} of {canvas} px"
    boxes = [place(rng, canvas, side) for _ in test]
    images = [paste(canvas, [(image, box)]) for (_, image), box in zip(test, boxes, strict=True)]
    labels = [label for label, _ in test]
    for name, head in heads.items():
        for method in ("exact", "grad-cam"):
            peaks, ms = find_peaks(head, images, labels, method)
            hits = [is_inside(peak, box) for peak, box in zip(peaks, boxes, strict=True)]
            report(shown, name, method, hits, ms=ms)
    middle = [is_inside((canvas // 2, canvas // 2), box) for box in boxes]
    report(shown, "-", "centre guess", middle)
    anywhere = [is_inside(rng.integers(0, canvas, 2).tolist(), box) for box in boxes]
    report(shown, "-", "random guess", anywhere)


def fit_heads(
    arguments: argparse.Namespace, folder: Path, canvas: int, sides: Sequence[int]
) -> dict[str, featx.Head]:
    """Fit the heads for one size of the canvas."""
    rng = np.random.default_rng(0)
    images = read_images(arguments.data / "data" / "cifar10-train.tar", arguments.rows, rng)
    kinds = ("pasted", "plain") if canvas == SETTINGS[0][0] else ("pasted",)
    for number, (label, image) in enumerate(images):
        box = place(rng, canvas, int(rng.choice(sides)))
        for kind in kinds:
            path = folder / kind / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            (image if kind == "plain" else paste(canvas, [(image, box)])).save(path)
    heads = {}
    for kind in kinds:
        featx.extract(
            folder / kind,
            folder / f"{kind}.h5",
            backbone="mobilenet_v2",
            weights=str(arguments.data / WEIGHTS),
            size=canvas,
            progress=False,
        )
        heads[kind] = featx.fit_head(folder / f"{kind}.h5", progress=False)
    with featx.open_cache(folder / "pasted.h5") as cache:
        shuffled = rng.permutation(cache.labels.astype(str))
        estimator = heads["pasted"].refit(cache.read_vectors(), shuffled)
    heads["labels shuffled"] = replace(heads["pasted"], estimator=estimator)
    return heads


def read_images(
    tar: Path, n_images: int, rng: np.random.Generator
) -> list[tuple[str, Image.Image]]:
    """Read a random sample of a tar whose folders are classes, the same number of each class."""
    with tarfile.open(tar) as archive:
        members = [one for one in archive.getmembers() if one.isfile()]
        classes = sorted({one.name.split("/")[0] for one in members})
        chosen = []
        for label in classes:
            own = [one for one in members if one.name.split("/")[0] == label]
            numbers = rng.choice(len(own), n_images // len(classes), replace=False)
            chosen += [(label, own[number]) for number in sorted(numbers)]
        found = []
        for label, member in chosen:
            stream = archive.extractfile(member)
            assert stream is not None
            found.append((label, Image.open(io.BytesIO(stream.read())).convert("RGB")))
    return found


def place(rng: np.random.Generator, canvas: int, side: int) -> Box:
    """Choose a random place for an object."""
    left, top = (int(one) for one in rng.integers(0, canvas - side + 1, 2))
    return left, top, left + side, top + side


def paste(canvas: int, objects: Sequence[tuple[Image.Image, Box]]) -> Image.Image:
    """Paste objects into a black canvas."""
    whole = Image.new("RGB", (canvas, canvas))
    for image, (left, top, right, bottom) in objects:
        resized = image.resize((right - left, bottom - top), Image.Resampling.BICUBIC)
        whole.paste(resized, (left, top))
    return whole


def find_peaks(
    head: featx.Head, canvases: Sequence[Image.Image], labels: Sequence[str], method: str
) -> tuple[list[tuple[int, int] | None], float]:
    """Find the maximum of the map of each canvas, and the milliseconds that a map took."""
    approximation: Approximation | None = None if method == "exact" else "grad-cam"
    with featx.Explainer(head, approximation=approximation, progress=False) as explainer:
        explainer.explain(canvases[:8])
        start = time.perf_counter()
        maps = explainer.explain(canvases, [[label] for label in labels])
        ms = (time.perf_counter() - start) / len(canvases) * 1e3
    return [one.find_peak() for one in maps], ms


def is_inside(peak: Sequence[int] | None, box: Box) -> bool:
    """Return whether a maximum lies on an object; a map without any evidence does not."""
    if peak is None:
        return False
    left, top, right, bottom = box
    return left <= peak[0] < right and top <= peak[1] < bottom


def report(
    shown: str, head: str, maps: str, hits: Sequence[bool], *, ms: float | None = None
) -> None:
    """Print a line of the table."""
    low, high = estimate_interval(np.array(hits))
    took = "-" if ms is None else f"{ms:.0f}"
    print(
        f"| {shown} | {head} | {maps} | {np.mean(hits):.3f} | {low:.3f} to {high:.3f} | {took} |",
        flush=True,
    )


def measure_two(heads: dict[str, featx.Head], test: Sequence[tuple[str, Image.Image]]) -> None:
    """Measure whether the maximum lies on the object whose class is asked for."""
    rng = np.random.default_rng(2)
    canvas, side = TWO
    others = [find_other(test, label, rng) for label, _ in test]
    pairs = [place_two(rng) for _ in test]
    images = [
        paste(canvas, [(image, first), (other, second)])
        for (_, image), other, (first, second) in zip(test, others, pairs, strict=True)
    ]
    labels = [label for label, _ in test]
    for name, head in heads.items():
        peaks, ms = find_peaks(head, images, labels, "exact")
        for number, which in enumerate(("its own", "the other")):
            hits = [is_inside(peak, both[number]) for peak, both in zip(peaks, pairs, strict=True)]
            report(f"two of {side} px: {which}", name, "exact", hits, ms=ms)


def find_other(
    test: Sequence[tuple[str, Image.Image]], label: str, rng: np.random.Generator
) -> Image.Image:
    """Choose an image of another class."""
    while True:
        other, image = test[int(rng.integers(len(test)))]
        if other != label:
            return image


def place_two(rng: np.random.Generator) -> tuple[Box, Box]:
    """Choose places for two objects that do not overlap."""
    canvas, side = TWO
    while True:
        first, second = place(rng, canvas, side), place(rng, canvas, side)
        if any(abs(first[axis] - second[axis]) >= side for axis in (0, 1)):
            return first, second


if __name__ == "__main__":
    main()
