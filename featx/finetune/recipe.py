"""The numbers that decide how the top blocks are trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

from featx.core.errors import TuningError
from featx.core.typing import OptimizerName, TrainPrecision, check_choice

N_EPOCHS = 10
"""Number of epochs that a training has by default, if they make `MIN_STEPS` steps."""

MIN_STEPS = 400
"""Number of steps that a training has at least by default: with few images, ten epochs are too few
steps to learn anything. `benchmarks/tuning_recipes.py` measures it."""

LOW_RATE = 1 / 3
"""Learning rate, relative to the largest one, from which `Recipe.patience` is counted. While rates
are high, the holdout gets worse before it gets better."""

LEAST_COUNTS = {"train_batch_size": 1, "epochs": 1, "patience": 1, "views": 0, "seed": 0}

RANGES = {
    "lr": (0, 1_000_000),  # far above useful values; the optimizers fail on values beyond float32
    "lr_decay": (0, 1),
    "weight_decay": (0, 1_000_000),
    "warmup": (0, 0.5),  # no schedule ends while rates rise
    "clip_norm": (0, math.inf),
    "label_smoothing": (0, 1),
}

MAY_BE_ZERO = ("weight_decay", "warmup", "label_smoothing")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The numbers that decide how the top blocks are trained.

    Parameters
    ----------
    optimizer : {"adamw", "adam", "sgd"}
        Rule that turns gradients into steps: AdamW (Loshchilov and Hutter 2019), Adam (Kingma and
        Ba 2015), or SGD with a Nesterov momentum of 0.9.
    lr : float
        Largest learning rate of the topmost block and of the classifier.
    lr_decay : float
        Learning rate of a block, relative to the block above it (Howard and Ruder 2018).
    weight_decay : float
        Weight decay of matrices and kernels; biases and normalisations have none. AdamW
        shrinks a weight by ``lr * weight_decay`` of itself in each step. Adam and SGD add
        ``weight_decay`` times the weight to its gradient (an L2 penalty). Adam then divides both by
        the usual size of the gradient, so that the same number does something else there.
    epochs : int, optional
        Number of epochs. Default: 10, or as many as make 400 steps.
    warmup : float
        Share of all steps in which the learning rates rise, at most a half; 0 for no warm-up.
        After the warm-up, the rates fall to 0 by a cosine (Loshchilov and Hutter 2017).
    train_batch_size : int
        Number of images in one step.
    clip_norm : float
        Largest norm of the gradient; longer gradients are shortened to this norm.
    label_smoothing : float
        Share of each label that is spread evenly over all classes.
    patience : int, optional
        Number of epochs in a row without improvement on the holdout after which training ends. They
        are counted from where the learning rates have fallen to a third. Default: all epochs are
        run.
    views : int
        Number of augmented views of each image; epochs take the views in turn. 0 trains on the
        images as they are.
    train_batchnorm : bool
        Update the statistics of BatchNorm layers in the top blocks.
    precision : {"fp32", "bf16"}, optional
        Arithmetic of training. Default: bf16 on a GPU that supports it, else fp32.
    seed : int
        Seed of the holdout, the order of images, the views and dropout.

    Raises
    ------
    TuningError
        If a value is out of its range.

    See Also
    --------
    fine_tune : Trains by a recipe.

    Examples
    --------
    >>> recipe = featx.Recipe(epochs=20, views=4)
    >>> recipe.epochs, recipe.lr
    (20, 0.001)
    """

    optimizer: OptimizerName = "adamw"
    lr: float = 1e-3
    lr_decay: float = 0.8
    weight_decay: float = 0.05
    epochs: int | None = None
    warmup: float = 0.1
    train_batch_size: int = 64
    clip_norm: float = 1.0
    label_smoothing: float = 0.1
    patience: int | None = None
    views: int = 0
    train_batchnorm: bool = False
    precision: TrainPrecision | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("optimizer", self.optimizer, OptimizerName, error=TuningError)
        if self.precision is not None:
            check_choice("precision", self.precision, TrainPrecision, error=TuningError)
        for name, least in LEAST_COUNTS.items():
            count = getattr(self, name)
            if count is not None and count < least:
                raise TuningError(
                    subject=name,
                    expected=f"at least {least}",
                    got=str(count),
                    remedy=f"Pass {least} or more.",
                )
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            may_be_zero = name in MAY_BE_ZERO
            if not (low <= value <= high) or (value == low and not may_be_zero):
                above = "of at least" if may_be_zero else "above"
                raise TuningError(
                    subject=name,
                    expected=f"a number {above} {low} and at most {high}",
                    got=str(value),
                    remedy=f"Pass such a number; the default is {getattr(type(self), name)}.",
                )

        self._check_effect()

    def _check_effect(self) -> None:
        """Refuse values that can do nothing."""
        if self.label_smoothing == 1:
            raise TuningError(
                subject="label_smoothing",
                expected="a share below 1",
                got=f"{self.label_smoothing}, which leaves nothing of the labels",
                remedy=f"Pass a smaller share; the default is {type(self).label_smoothing}.",
            )
        if self.train_batchnorm and self.train_batch_size < 2:
            raise TuningError(
                subject="train_batchnorm",
                expected="batches of at least 2 images, because one image has no variance",
                got=f"train_batch_size={self.train_batch_size}",
                remedy="Pass a larger train_batch_size, or leave train_batchnorm out.",
            )

    def count_steps(self, n_images: int) -> int:
        """Count the steps of one epoch.

        Parameters
        ----------
        n_images : int
            Number of images to learn from.

        Returns
        -------
        int
            Number of batches; the last one may be smaller.
        """
        return math.ceil(n_images / self.train_batch_size)

    def count_epochs(self, n_images: int) -> int:
        """Count the epochs of a training.

        Parameters
        ----------
        n_images : int
            Number of images to learn from.

        Returns
        -------
        int
            The given number, or by default the number that makes enough steps.
        """
        if self.epochs is not None:
            return self.epochs
        return max(N_EPOCHS, math.ceil(MIN_STEPS / self.count_steps(n_images)))

    def count_warmup(self, n_steps: int) -> int:
        """Count the steps in which the learning rates rise.

        Parameters
        ----------
        n_steps : int
            Number of steps of the whole training.

        Returns
        -------
        int
            The share `warmup` of the steps, rounded.
        """
        return round(self.warmup * n_steps)

    def scale_rate(self, step: int, n_steps: int) -> float:
        """Return the learning rate of a step, relative to the largest one.

        Parameters
        ----------
        step : int
            Number of the step, from 0.
        n_steps : int
            Number of steps of the whole training.

        Returns
        -------
        float
            Above 0 and at most 1: a linear warm-up, then a cosine.
        """
        n_warmup = self.count_warmup(n_steps)
        if step < n_warmup:
            return (step + 1) / (n_warmup + 1)
        done = (step - n_warmup) / max(1, n_steps - n_warmup)
        return 0.5 * (1 + math.cos(math.pi * done))

    def is_low(self, step: int, n_steps: int) -> bool:
        """Tell whether the learning rates have fallen so far that patience counts.

        Parameters
        ----------
        step : int
            Number of the step, from 0.
        n_steps : int
            Number of steps of the whole training.

        Returns
        -------
        bool
            True if the rate of the step is a third of the largest one or less, after the warm-up.
        """
        is_falling = step >= self.count_warmup(n_steps)
        return is_falling and self.scale_rate(step, n_steps) <= LOW_RATE

    def describe_schedule(self, n_images: int) -> str:
        """Describe the epochs, the steps and the learning rate of a training.

        Parameters
        ----------
        n_images : int
            Number of images to learn from.

        Returns
        -------
        str
            A sentence without a full stop.
        """
        n_epochs, n_steps = self.count_epochs(n_images), self.count_steps(n_images)
        total = n_epochs * n_steps
        epochs = f"{n_epochs} {'epoch' if n_epochs == 1 else 'epochs'}"
        if self.epochs is None and n_epochs > N_EPOCHS:
            epochs += f", for at least {MIN_STEPS} steps,"
        return (
            f"{epochs} of {n_steps} {'step' if n_steps == 1 else 'steps'}: the learning rate rises "
            f"for {self.count_warmup(total)} of {total} steps to {self.lr:g}, then falls to 0"
        )
