"""Choose how mini is pretrained and read, by CIFAR-10's training images alone.

Networks are trained for a few epochs on six classes, then judged by what a linear classifier makes
of their features in tasks they were not trained for:

- ``classes``: the four other classes, 100 images of each to fit on, 750 to test, three draws;
- ``coarse``: the same in gray at 8 x 8 pixels;
- ``shapes``: 40 pictures of these classes as 40 classes, each bent, turned, shifted and scaled 30
  times, in 17 shades of gray at 8 x 8 pixels; half of them to fit on.

The two last rows are the controls: the network with random weights, and the pixels. ::

    python pipelines/pretraining_study.py
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from augmentation import Augmentation, to_gray
from cifar10 import Images, read_images
from pretrain_mini import (
    MODELS,
    STRONG,
    Recipe,
    hide_quarters,
    make_generator,
    make_optimizer,
    normalise,
    resize,
    split_images,
    train_epoch,
)
from shared import build_parser
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional

from featx.backbones.bundled.mini import Mini

HELD_OUT = ("automobile", "bird", "frog", "horse")
N_TRAIN, N_EPOCHS = 20_000, 5
N_FIT, N_TEST, N_DRAWS = 100, 750, 3
N_SHAPES, N_BENT = 40, 30
STRENGTHS = (1e-3, 1e-2, 1e-1)
READINGS = ("whole", "quarters", "both")

Array = np.ndarray[Any, Any]


def coarsen(gray: Tensor) -> Tensor:
    """Reduce to 8 x 8 pixels, three equal channels."""
    return functional.interpolate(gray, (8, 8), mode="area").expand(-1, 3, -1, -1)


def bend(images: Images) -> tuple[Tensor, Array]:
    """Make the pictures and classes of the task ``shapes``."""
    generator = make_generator(0, 1000)
    gray = to_gray(images.pixels[:N_SHAPES]).repeat_interleave(N_BENT, 0)
    count = len(gray)

    def draw(width: float) -> Tensor:
        return width * (2 * torch.rand(count, generator=generator) - 1)

    turn, tall, wide, shear = draw(0.35), 1 + draw(0.25), 1 + draw(0.25), draw(0.25)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = wide * turn.cos(), shear - wide * turn.sin()
    theta[:, 1, 0], theta[:, 1, 1] = tall * turn.sin(), tall * turn.cos()
    theta[:, 0, 2], theta[:, 1, 2] = draw(0.15), draw(0.15)
    grid = functional.affine_grid(theta, [count, 1, 32, 32], align_corners=False)
    field = 0.12 * torch.randn(count, 2, 5, 5, generator=generator)
    field = functional.interpolate(field, (32, 32), mode="bicubic").permute(0, 2, 3, 1)
    bent = functional.grid_sample(gray, grid + field, padding_mode="border", align_corners=False)
    shades = coarsen(bent) * (1 + draw(0.3)).view(-1, 1, 1, 1)
    classes = np.repeat(np.arange(N_SHAPES), N_BENT)
    return (shades / 16).round().clamp(0, 16) * 15.9, classes


@torch.inference_mode()
def read_features(model: Mini, pixels: Tensor, size: int) -> dict[str, Array]:
    """Read the two parts of the embedding, and both."""
    model.eval()
    parts: list[Tensor] = []
    hook = model.fc.register_forward_pre_hook(lambda _, inputs: parts.append(inputs[0]))
    for start in range(0, len(pixels), 250):
        model(normalise(resize(pixels[start : start + 250].float(), size)))
    hook.remove()
    both = torch.cat(parts).numpy()
    cut = model.n_quarters
    return {"whole": both[:, cut:], "quarters": both[:, :cut], "both": both}


def score(features: Array, y: Array, folds: list[tuple[Array, Array]]) -> float:
    """Measure the mean accuracy of logistic regression, with the best of three strengths."""
    means = []
    for strength in STRENGTHS:
        classifier = make_pipeline(
            StandardScaler(), LogisticRegression(C=strength, max_iter=200, tol=1e-3)
        )
        means.append(
            np.mean([classifier.fit(features[a], y[a]).score(features[b], y[b]) for a, b in folds])
        )
    return float(max(means))


def build_tasks(held: Images) -> dict[str, tuple[Tensor, Array, list[tuple[Array, Array]]]]:
    """Build pictures, classes and folds of each task."""
    shapes, classes = bend(held)
    start = N_DRAWS * N_FIT
    by_class = [torch.where(held.labels == label)[0] for label in np.unique(held.labels.numpy())]
    held = held.subset(torch.cat([index[: start + N_TEST] for index in by_class]))
    y = held.labels.numpy()
    places = np.arange(len(y)).reshape(len(by_class), -1)
    folds = [
        (places[:, n * N_FIT : (n + 1) * N_FIT].ravel(), places[:, start:].ravel())
        for n in range(N_DRAWS)
    ]
    is_fit = np.arange(len(classes)) % N_BENT < N_BENT // 2
    halves = [(np.flatnonzero(is_fit), np.flatnonzero(~is_fit))]
    return {
        "classes": (held.pixels, y, folds),
        "coarse": (coarsen(to_gray(held.pixels)), y, folds),
        "shapes": (shapes, classes, halves),
    }


def train(images: Images, recipe: Recipe, *, seed: int, hidden: bool) -> Mini:
    """Train a network; hidden: its classifier sees only the last part of the embedding."""
    torch.manual_seed(seed)
    model = Mini(len(images.classes)).to(memory_format=torch.channels_last)
    release = hide_quarters(model) if hidden else None
    optimizer = make_optimizer(model, recipe)
    for epoch in range(1, recipe.epochs + 1):
        train_epoch(
            model, optimizer, images, recipe, epoch=epoch, seed=seed, device=torch.device("cpu")
        )
    if release is not None:
        release.remove()
    return model


def part_classes(images: Images) -> tuple[Images, Images]:
    """Part the classes to train on, numbered anew, from those held out."""
    is_held = torch.isin(
        images.labels, torch.tensor([images.classes.index(name) for name in HELD_OUT])
    )
    rest = images.subset(torch.where(~is_held)[0][:N_TRAIN])
    numbers, labels = np.unique(rest.labels.numpy(), return_inverse=True)
    names = tuple(images.classes[number] for number in numbers)
    return Images(rest.pixels, torch.from_numpy(labels), names), images.subset(
        torch.where(is_held)[0]
    )


def iter_networks(images: Images, seed: int) -> Iterator[tuple[str, Mini]]:
    """Train each way."""
    recipe = replace(MODELS["mini"][1], epochs=N_EPOCHS)
    variants: dict[str, tuple[Augmentation, bool]] = {
        "classifier on the whole": (Augmentation(), True),
        "classifier on both": (Augmentation(), False),
        "whole, more augmentation": (STRONG, True),
    }
    for name, (augmentation, hidden) in variants.items():
        tried = replace(recipe, augmentation=augmentation)
        yield name, train(images, tried, seed=seed, hidden=hidden)
    torch.manual_seed(seed)
    yield "random weights", Mini(len(images.classes))


def main() -> None:
    """Print a table, one line per network and reading."""
    parser = build_parser(__doc__)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message="lbfgs failed to converge")
    images, _ = split_images(
        read_images(options.data / "data" / "cifar10-train.tar"), 0, None, options.seed
    )
    train_images, held = part_classes(images)
    tasks = build_tasks(held)
    size = MODELS["mini"][1].size
    print("| network | reading | " + " | ".join(tasks) + " |\n|---|---|" + "---|" * len(tasks))

    def print_line(name: str, reading: str, features: dict[str, Array]) -> None:
        cells = [f"{score(features[task], *tasks[task][1:]):.3f}" for task in tasks]
        print(f"| {name} | {reading} | {' | '.join(cells)} |", flush=True)

    for name, model in iter_networks(train_images, options.seed):
        found = {task: read_features(model, tasks[task][0], size) for task in tasks}
        for reading in READINGS:
            print_line(name, reading, {task: found[task][reading] for task in tasks})
    pixels = {task: coarsen(to_gray(tasks[task][0]))[:, 0].flatten(1).numpy() for task in tasks}
    print_line("pixels", "8 x 8 gray", pixels)


if __name__ == "__main__":
    main()
