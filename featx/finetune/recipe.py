"""How to train: every number of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from featx.core.errors import TuningError, suggest

OPTIMIZERS = ("adamw", "sgd")

MIN_WARMUP = 50
"""Steps. AdamW's first ones change every weight by the whole rate, whatever its gradient: on forty
images, a step per epoch, three of them unlearnt what the head knew."""


@dataclass(frozen=True)
class Recipe:
    """How the top blocks are trained.

    Attributes
    ----------
    optimizer : {"adamw", "sgd"}
        AdamW (Loshchilov and Hutter 2019), or SGD with a Nesterov momentum of 0.9.
    lr : float
        Of the topmost block and the classifier.
    lr_decay : float
        What each block below has of the rate of the one above it (Howard and Ruder 2018).
    weight_decay : float
        Of matrices and kernels; biases and normalisations have none.
    epochs : int
        At most.
    warmup : float
        Share of all steps in which the rates rise, but at least 50 steps, unless it is 0; then they
        fall by a cosine (Loshchilov and Hutter 2017).
    batch_size : int
    clip_norm : float
        Largest norm of the gradient.
    label_smoothing : float
        Share of each label that is given to all classes alike.
    patience : int
        Epochs without a better holdout after which training ends.
    views : int
        Augmented readings of each image, taken in turn, one an epoch; 0: the images as they are.
    train_batchnorm : bool
        Let normalisations in the top blocks go on learning their statistics.
    precision : {"fp32", "bf16"} or None
        Of the arithmetic; None: bf16 on a GPU that has it, else fp32.
    seed : int
        Of holdout, order, views and dropout.
    """

    optimizer: str = "adamw"
    lr: float = 1e-3
    lr_decay: float = 0.8
    weight_decay: float = 0.05
    epochs: int = 10
    warmup: float = 0.1
    batch_size: int = 64
    clip_norm: float = 1.0
    label_smoothing: float = 0.1
    patience: int = 5
    views: int = 0
    train_batchnorm: bool = False
    precision: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise TuningError(
                f"optimizer: expected {' or '.join(OPTIMIZERS)}, got {self.optimizer!r}. "
                f"{suggest(self.optimizer, OPTIMIZERS)}"
            )
        if self.precision not in (None, "fp32", "bf16"):
            raise TuningError(
                f"precision: expected fp32 or bf16 to train in, got {self.precision!r}. Fix it."
            )
        at_least = {"epochs": 1, "batch_size": 1, "patience": 1, "views": 0, "seed": 0}
        for name, least in at_least.items():
            if getattr(self, name) < least:
                raise TuningError(
                    f"{name}: expected at least {least}, got {getattr(self, name)}. Pass more."
                )
        ranges = {
            "lr": (0, 1_000_000),  # far beyond use; the optimizers fail on what is no float32
            "lr_decay": (0, 1),
            "weight_decay": (0, 1_000_000),
            "warmup": (0, 1),
            "clip_norm": (0, math.inf),
            "label_smoothing": (0, 1),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            may_be_zero = name in ("weight_decay", "warmup", "label_smoothing")
            if not (low <= value <= high) or (value == low and not may_be_zero):
                above = "at least" if may_be_zero else "above"
                raise TuningError(
                    f"{name}: expected a number {above} {low}, and at most {high}, got {value}. "
                    "Fix it."
                )

    def scale_rate(self, step: int, n_steps: int) -> float:
        """Return what a step has of the largest learning rate: warm-up, then a cosine."""
        n_warmup = max(MIN_WARMUP, round(self.warmup * n_steps)) if self.warmup else 0
        if step < n_warmup:
            return (step + 1) / (n_warmup + 1)
        done = (step - n_warmup) / max(1, n_steps - n_warmup)
        return 0.5 * (1 + math.cos(math.pi * done))
