"""A top that trains in milliseconds, and the output of a trunk in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from featx.backbones.backbone import Backbone
from featx.backbones.blocks import Block
from featx.core.typing import Float32Array, IntArray
from featx.finetune.checkpoint import TrainingIdentity
from featx.finetune.cut import CutNetwork
from featx.finetune.recipe import Recipe
from featx.finetune.train import Examples, Training, TrainingRequest

SHAPE = (3, 6, 6)
N_TRAIN, N_HOLDOUT, N_CLASSES = 40, 16, 3
BATCH_SIZE = 8
N_STEPS = N_TRAIN // BATCH_SIZE
N_SCORED = N_HOLDOUT // BATCH_SIZE
PER_EPOCH = N_STEPS + N_SCORED
"""Number of batches that are read in an epoch; before the first epoch, ``N_SCORED`` are read."""

Act = Callable[[int], object]


def pass_by(number: int) -> None:
    """Do nothing at a batch."""


def build_cut(*, top: nn.Module | None = None, folded: bool = False) -> CutNetwork:
    """Build two blocks with BatchNorm and dropout; folded BatchNorm has mean 0 and variance 1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        norm = nn.BatchNorm2d(8)
        low = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), norm, nn.ReLU())
        high = nn.Sequential(
            nn.Conv2d(8, 8, 3, stride=2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.2),
        )
    if not folded:
        assert norm.running_mean is not None
        norm.running_mean.fill_(0.1)
    top = nn.Sequential(OrderedDict(low=low, high=high)) if top is None else top
    blocks = tuple(
        Block(name, (), sum(tensor.numel() for tensor in part.parameters()))
        for name, part in reversed(list(top.named_children()))
    )
    trunk = cast("Backbone", SimpleNamespace(name="tiny"))
    return CutNetwork(network=top, trunk=trunk, top=top.eval(), blocks=blocks, shape=SHAPE)


def build_classifier(dim: int = 8) -> nn.Linear:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Linear(dim, N_CLASSES)


def build_examples(y: IntArray | None = None, n_holdout: int = N_HOLDOUT) -> Examples:
    """Build a holdout of the first images; the others are for learning."""
    y = np.arange(N_TRAIN + n_holdout) % N_CLASSES if y is None else y
    return Examples(
        train=np.arange(n_holdout, len(y)),
        holdout=np.arange(n_holdout),
        y=y,
        units=np.arange(len(y)),
    )


def draw_maps(y: IntArray, n_views: int = 0, noise: float = 0.5) -> list[Float32Array]:
    """Draw feature maps, one array per view: in each class, one channel is brighter."""
    rng = np.random.default_rng(0)
    n_images = len(y)
    maps = rng.normal(scale=noise, size=(n_views + 1, n_images, *SHAPE))
    maps[:, np.arange(n_images), y] += 1
    return list(maps.reshape(n_views + 1, n_images, -1).astype(np.float32))


class ArrayFeatures:
    """Feature maps in memory.

    `act` is called before each batch with the number of the batch, counted through all epochs.
    `asked` collects the view and the order of each request.
    """

    def __init__(self, views: Sequence[Float32Array], act: Act = pass_by) -> None:
        self.views, self.act = views, act
        self.asked: list[tuple[int, list[int]]] = []
        self.n_read = 0

    def iter_batches(self, order: IntArray, batch_size: int, view: int) -> Generator[Float32Array]:
        self.asked.append((view, order.tolist()))
        for start in range(0, len(order), batch_size):
            self.act(self.n_read)
            self.n_read += 1
            yield self.views[view][order[start : start + batch_size]]


def build_recipe(**numbers: Any) -> Recipe:
    """Build a recipe of 3 short epochs."""
    short = {"epochs": 3, "train_batch_size": BATCH_SIZE, "lr": 0.01, "warmup": 0.0}
    return Recipe(**short | numbers)


def build_identity(recipe: Recipe | None = None, **changes: Any) -> TrainingIdentity:
    fields: dict[str, Any] = {
        "backbone": "tiny",
        "weights": "w" * 64,
        "preprocessing": {"kind": "image-classification/1", "resize": 40},
        "blocks": ("high", "low"),
        "classes": ("a", "b", "c"),
        "class_weights": (),
        "measure": "accuracy",
        "images": "these",
        "labels": "l",
        "holdout": "h",
        "head": "d",
        "recipe": recipe or build_recipe(),
    }
    return TrainingIdentity(**fields | changes)


def build_training(
    folder: Path,
    *,
    act: Act = pass_by,
    cut: CutNetwork | None = None,
    classifier: nn.Linear | None = None,
    examples: Examples | None = None,
    maps: Sequence[Float32Array] | None = None,
    identity: Mapping[str, Any] | None = None,
    device: str = "cpu",
    **numbers: Any,
) -> Training:
    """Build a training of 3 epochs; the other keywords are numbers of its recipe."""
    folder.mkdir(exist_ok=True)
    recipe = build_recipe(**numbers)
    examples = examples or build_examples()
    maps = draw_maps(examples.y, recipe.views) if maps is None else maps
    return Training(
        TrainingRequest(
            cut=cut or build_cut(),
            classifier=classifier or build_classifier(),
            features=ArrayFeatures(maps, act),
            examples=examples,
            identity=build_identity(recipe, **identity or {}),
            device=device,
            folder=folder,
        )
    )


def train(folder: Path, *, resume: bool = False, **options: Any) -> Training:
    """Build a training and run it."""
    training = build_training(folder, **options)
    training.run(resume=resume, progress=False)
    return training


def get_features(training: Training) -> ArrayFeatures:
    features = training.request.features
    assert isinstance(features, ArrayFeatures)
    return features


def read_state(module: nn.Module) -> dict[str, bytes]:
    """Return all bytes of the parameters and statistics of a module."""
    return {
        name: tensor.cpu().contiguous().numpy().tobytes()
        for name, tensor in module.state_dict().items()
    }


def read_history(training: Training) -> list[tuple[str, ...]]:
    """Return the history without times, as text: NaN equals nothing."""
    return [tuple(map(str, astuple(epoch)[:5])) for epoch in training.history]


def read_result(training: Training) -> tuple[object, ...]:
    """Return everything that two equal runs have in common, to the last bit."""
    return (
        read_state(training.learner),
        read_history(training),
        training.best_epoch,
        training.stopped,
    )


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """Read the state in a checkpoint."""
    content = torch.load(folder / "checkpoint.pt", weights_only=True)
    state: dict[str, Any] = content["state"]
    return state
