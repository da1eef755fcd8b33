"""A top small enough to train in milliseconds, and what a trunk puts out in memory."""

from collections import OrderedDict
from dataclasses import astuple
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from featx.backbones.blocks import Block
from featx.finetune.cut import CutNetwork
from featx.finetune.recipe import Recipe
from featx.finetune.train import Examples, Training

SHAPE = (3, 6, 6)
N_TRAIN, N_HOLDOUT, N_CLASSES = 40, 16, 3
BATCH_SIZE = 8
N_STEPS = N_TRAIN // BATCH_SIZE
N_SCORED = N_HOLDOUT // BATCH_SIZE
PER_EPOCH = N_STEPS + N_SCORED
"""Batches read in an epoch; before the first one, ``N_SCORED`` are."""


def build_cut(*, top=None, folded=False):
    """Build two blocks with BatchNorm and dropout; folded: BatchNorm of mean 0 and variance 1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        low = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        high = nn.Sequential(
            nn.Conv2d(8, 8, 3, stride=2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.2),
        )
    if not folded:
        low[1].running_mean.fill_(0.1)
    top = nn.Sequential(OrderedDict(low=low, high=high)) if top is None else top
    blocks = tuple(
        Block(name, (), sum(tensor.numel() for tensor in part.parameters()))
        for name, part in reversed(list(top.named_children()))
    )
    return CutNetwork(top, SimpleNamespace(name="tiny"), top.eval(), blocks, SHAPE)


def build_classifier(dim=8):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Linear(dim, N_CLASSES)


def build_examples(y=None, n_holdout=N_HOLDOUT):
    """Build a holdout of the first images; the others are learnt from."""
    y = np.arange(N_TRAIN + n_holdout) % N_CLASSES if y is None else y
    return Examples(np.arange(n_holdout, len(y)), np.arange(n_holdout), y)


def draw_maps(y, n_views=0, noise=0.5):
    """Draw feature maps of images: one channel is brighter in each class. One array per view."""
    rng = np.random.default_rng(0)
    n_images = len(y)
    maps = rng.normal(scale=noise, size=(n_views + 1, n_images, *SHAPE))
    maps[:, np.arange(n_images), y] += 1
    return list(maps.reshape(n_views + 1, n_images, -1).astype(np.float32))


class ArrayFeatures:
    """Feature maps in memory; calls ``act(number)`` before each batch, counted through all epochs.

    What was asked for is kept in ``asked``: a view and an order each time.
    """

    def __init__(self, views, act=lambda number: None):
        self.views, self.act = views, act
        self.asked = []
        self.n_read = 0

    def iter_batches(self, order, batch_size, view):
        self.asked.append((view, order.tolist()))
        for start in range(0, len(order), batch_size):
            self.act(self.n_read)
            self.n_read += 1
            yield self.views[view][order[start : start + batch_size]]


def build_training(
    folder,
    *,
    act=lambda number: None,
    cut=None,
    classifier=None,
    examples=None,
    maps=None,
    plan=None,
    device="cpu",
    **recipe,
):
    """Build a training of 3 epochs; what is not named are changes to the recipe."""
    folder.mkdir(exist_ok=True)
    short = {"epochs": 3, "batch_size": BATCH_SIZE, "lr": 0.01, "warmup": 0.0}
    recipe = Recipe(**(short | recipe))
    examples = examples or build_examples()
    maps = draw_maps(examples.y, recipe.views) if maps is None else maps
    return Training(
        cut or build_cut(),
        classifier or build_classifier(),
        ArrayFeatures(maps, act),
        examples,
        recipe,
        device=device,
        folder=folder,
        plan=plan or {"images": "these"},
    )


def train(folder, *, resume=False, **options):
    """Build a training and run it."""
    training = build_training(folder, **options)
    training.run(resume=resume, progress=False)
    return training


def read_state(module):
    """Return all bytes of a module's parameters and statistics."""
    return {
        name: tensor.cpu().contiguous().numpy().tobytes()
        for name, tensor in module.state_dict().items()
    }


def read_history(training):
    """Return all that the history says, but for times; NaN as text, for it equals nothing."""
    return [tuple(map(str, astuple(line)[:5])) for line in training.history]


def read_result(training):
    """Return all that two equal runs have in common, to the last bit."""
    return (
        read_state(training.learner),
        read_history(training),
        training.best_epoch,
        training.stopped,
    )


def read_checkpoint(folder):
    return torch.load(folder / "checkpoint.pt", weights_only=True)
