"""The training loop: plain steps over the output of the trunk."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from featx.core.bar import Bar
from featx.core.endings import ENDINGS
from featx.core.errors import DeviceError
from featx.core.notes import note
from featx.core.progress import open_bar, show_progress, stage
from featx.core.signals import HeldSignals, hold_signals
from featx.core.typing import IntArray
from featx.finetune.checkpoint import Checkpoint, TrainingIdentity
from featx.finetune.cut import CutNetwork
from featx.finetune.learner import Learner
from featx.finetune.log import Epoch, write_log
from featx.finetune.optimizer import build_optimizer
from featx.finetune.paths import CHECKPOINT, LOG
from featx.finetune.progress import Progress
from featx.finetune.recipe import Recipe
from featx.finetune.selection import EarlyStopping, ModelSelection, measure_holdout
from featx.finetune.trunk import Features

HELD = tuple(ENDINGS)
"""Signals that wait for the end of a step."""


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Images to learn from, and images of the holdout, which decide when to stop.

    Attributes
    ----------
    train, holdout : ndarray of int
        Numbers of images, as `Features` takes them.
    y : ndarray of int
        Class code of every image, in the order of the numbers.
    units : ndarray of int
        Unit of every image: images of one unit belong together.
    """

    train: IntArray
    holdout: IntArray
    y: IntArray
    units: IntArray


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """Everything that one training needs.

    Attributes
    ----------
    cut : CutNetwork
        Network whose upper part is trained in place.
    classifier : nn.Linear
        Last layer, trained in place.
    features : Features
        Output of the trunk, image by image.
    examples : Examples
        Images to learn from, and images of the holdout.
    identity : TrainingIdentity
        Everything that decides the result, including the recipe.
    device : str
        Device to train on, such as ``"cuda:0"``.
    folder : Path
        Existing folder for the checkpoint and the log.
    """

    cut: CutNetwork
    classifier: nn.Linear
    features: Features
    examples: Examples
    identity: TrainingIdentity
    device: str
    folder: Path

    @property
    def recipe(self) -> Recipe:
        """The numbers of the training."""
        return self.identity.recipe


class Training:
    """The training of the upper part of a network and of its classifier.

    Parameters
    ----------
    request : TrainingRequest
        Everything that the training needs.

    Attributes
    ----------
    n_epochs : int
        Number of epochs of the whole training.
    progress : Progress
        The point that the training has reached.
    selection : ModelSelection
        Choice between the head and the last epoch.
    stopping : EarlyStopping
        Rule that decides when the training ends early.
    """

    def __init__(self, request: TrainingRequest) -> None:
        self.request, self.recipe = request, request.recipe
        self.device = torch.device(request.device)
        cut, classifier = request.cut, request.classifier
        identity, examples = request.identity, request.examples
        self._class_weights = (
            torch.tensor(identity.class_weights) if identity.class_weights else None
        )
        self.learner = Learner(
            cut, classifier, self.recipe, self.device, class_weights=self._class_weights
        )
        self.optimizer = build_optimizer(self.recipe, cut.top, classifier, cut.blocks)
        n_train, holdout = len(examples.train), examples.holdout
        self.n_epochs = self.recipe.count_epochs(n_train)
        self._n_steps = self.recipe.count_steps(n_train)
        self.progress = Progress()
        self.selection = ModelSelection(
            examples.y[holdout], examples.units[holdout], identity.measure
        )
        self.stopping = EarlyStopping(self.recipe.patience, self.n_epochs, identity.measure)
        self._checkpoint = Checkpoint(request.folder / CHECKPOINT, identity)
        self._y = torch.from_numpy(examples.y)
        self._start = self._copy_weights()
        self._last: dict[str, torch.Tensor] = {}

    @property
    def history(self) -> list[Epoch]:
        """The finished epochs."""
        return self.progress.history

    @property
    def best_epoch(self) -> int:
        """Number of the epoch whose weights are kept; 0 for the head before any step."""
        return self.selection.choose_winner()

    @property
    def stopped(self) -> str:
        """Sentence that says why training ended early; empty if it did not."""
        return self.stopping.reason

    @property
    def is_cut_short(self) -> bool:
        """Whether training ended before its learning rate had come down."""
        return bool(self.stopped) and not self._is_low(self.history[-1].epoch)

    def run(self, *, resume: bool = False, progress: bool | None = None) -> None:
        """Train, and load the chosen weights into the network.

        Parameters
        ----------
        resume : bool
            Continue from the checkpoint in the folder, if there is one.
        progress : bool, optional
            Whether to show progress on standard error. Default: bars on a terminal and in a
            notebook; elsewhere a line now and then.

        Raises
        ------
        TuningError
            If the checkpoint belongs to another training, or cannot be written; the checkpoint
            that was there stays whole.
        DeviceError
            If the memory of the device is too small for a batch.
        """
        with hold_signals(HELD) as signals:
            try:
                with show_progress(progress), stage("measuring the head on the holdout"):
                    self._begin(resume=resume)
                total = self.n_epochs * len(self.request.examples.train)
                with open_bar(
                    "training", total, unit="images", done=self._count_done(), show=progress
                ) as bar:
                    while self.progress.epoch <= self.n_epochs and not self.stopped:
                        self._run_epoch(bar, signals)
            except torch.OutOfMemoryError as error:
                raise DeviceError(
                    subject=f"device {self.device}",
                    expected=f"memory for batches of {self.recipe.train_batch_size} images",
                    got="no memory left",
                    remedy="Pass a smaller train_batch_size.",
                ) from error
            self.learner.load_state_dict(self._last if self.best_epoch else self._start)
        self.learner.requires_grad_(False).eval().cpu()

    def predict(self, numbers: IntArray) -> torch.Tensor:
        """Compute the logits of images as they are, without augmentation.

        Parameters
        ----------
        numbers : ndarray of int
            Numbers of the images.

        Returns
        -------
        Tensor
            float32 ``(n, n_classes)``, on the CPU.
        """
        with closing(self._iter_features(numbers, view=0)) as batches:
            return torch.cat([self.learner.predict(maps) for maps in batches])

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a checkpoint must hold: tensors and plain values."""
        return {
            "progress": self.progress.state_dict(),
            "selection": self.selection.state_dict(),
            "stopping": self.stopping.state_dict(),
            "learner": self.learner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "last": self._last,
            "device": self.device.type,
            "n_parts": self.learner.n_parts,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        self.progress.load_state_dict(state["progress"])
        self.selection.load_state_dict(state["selection"])
        self.stopping.load_state_dict(state["stopping"])
        if state["device"] == self.device.type:  # even if the number of cores has changed
            self.learner.set_parts(state["n_parts"])
        self.learner.load_state_dict(state["learner"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._last = state["last"]

    def _begin(self, *, resume: bool) -> None:
        """Load the checkpoint, or score the head as epoch 0."""
        state = self._checkpoint.read() if resume else None
        folder = self.request.folder
        if state is None:
            if resume:
                note(f"{folder}: no unfinished run, so that training begins anew")
            self._finish_epoch(math.nan)
        else:
            self.load_state_dict(state)
            note(f"{folder}: training goes on after {self.progress.describe()}")
            # The run may have ended before it wrote the last line.
            write_log(self.request.folder / LOG, self.history, overwrite=True)

    def _run_epoch(self, bar: Bar, signals: HeldSignals) -> None:
        """Train one epoch, or the rest of it, and score the holdout."""
        progress, recipe = self.progress, self.recipe
        name = f"epoch {progress.epoch} of {self.n_epochs}"
        bar.rename(name, self._describe_last())
        train = self.request.examples.train
        order = np.random.default_rng([recipe.seed, progress.epoch]).permutation(train)
        view = (progress.epoch - 1) % recipe.views + 1 if recipe.views else 0
        start, before = time.perf_counter(), progress.seconds
        rest = order[progress.step * recipe.train_batch_size :]
        with closing(self._iter_features(rest, view)) as batches:
            for maps in batches:
                first = progress.step * recipe.train_batch_size
                loss = self._step(maps, self._y[order[first : first + len(maps)]])
                if not math.isfinite(loss):
                    self.stopping.stop(
                        "the loss or its gradient was not finite in epoch "
                        f"{progress.epoch}, step {progress.step + 1}; a smaller lr may help"
                    )
                    self._checkpoint.write(self.state_dict())
                    return
                progress.step += 1
                progress.loss_sum += loss * len(maps)
                progress.n_seen += len(maps)
                progress.seconds = before + time.perf_counter() - start
                bar.update(len(maps))
                if signals.is_pending:
                    self._checkpoint.write(self.state_dict())
                    signals.deliver()
        self._finish_epoch(progress.loss_sum / progress.n_seen)
        bar.rename(f"{name}, stopped early" if self.stopped else name, self._describe_last())

    def _describe_last(self) -> str:
        """Describe the last finished epoch; epoch 0 is the head."""
        last = self.history[-1]
        return f"holdout loss {last.holdout_loss:.3f}, accuracy {last.holdout_accuracy:.3f}"

    def _step(self, maps: torch.Tensor, y: torch.Tensor) -> float:
        """Take one step along the gradient; return the loss, NaN if one of them is not finite."""
        recipe, progress = self.recipe, self.progress
        step = (progress.epoch - 1) * self._n_steps + progress.step
        scale = recipe.scale_rate(step, self.n_epochs * self._n_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = group["lr_peak"] * scale
        loss = self.learner.compute_gradients(maps, y, step=step)
        norm = nn.utils.clip_grad_norm_(self.learner.parameters(), recipe.clip_norm)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return math.nan
        self.optimizer.step()
        return loss

    def _finish_epoch(self, train_loss: float) -> None:
        """Score the holdout, keep the weights, and write the checkpoint and the log."""
        progress = self.progress
        number = progress.epoch if self.history else 0
        holdout = self.request.examples.holdout
        logits, y = self.predict(holdout), self._y[holdout]
        correct = (logits.argmax(1) == y).numpy()
        accuracy, balanced_accuracy = measure_holdout(correct, y.numpy())
        epoch = Epoch(
            epoch=number,
            train_loss=train_loss,
            holdout_loss=float(functional.cross_entropy(logits, y, weight=self._class_weights)),
            holdout_accuracy=accuracy,
            holdout_balanced_accuracy=balanced_accuracy,
            lr=self.optimizer.param_groups[0]["lr"] if number else 0.0,
            seconds=progress.seconds,
            images_per_s=progress.n_seen / progress.seconds if progress.seconds else 0.0,
        )
        self.selection.update(number, correct, loss=epoch.holdout_loss)
        self._last = self._copy_weights()
        self.stopping.update(epoch, is_low=self._is_low(number))
        progress.finish_epoch(epoch)
        self._checkpoint.write(self.state_dict())
        write_log(self.request.folder / LOG, self.history, overwrite=True)

    def _is_low(self, epoch: int) -> bool:
        """Tell whether an epoch ended with low learning rates."""
        n_steps = self.n_epochs * self._n_steps
        return epoch > 0 and self.recipe.is_low(epoch * self._n_steps - 1, n_steps)

    def _iter_features(self, numbers: IntArray, view: int) -> Generator[torch.Tensor]:
        batch_size = self.recipe.train_batch_size
        features = self.request.features
        with closing(features.iter_batches(numbers, batch_size, view)) as batches:
            for batch in batches:
                yield torch.from_numpy(batch)

    def _copy_weights(self) -> dict[str, torch.Tensor]:
        state = self.learner.state_dict()
        return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}

    def _count_done(self) -> int:
        """Count the images of the epochs and steps that are done."""
        n_train = len(self.request.examples.train)
        done = self.progress.step * self.recipe.train_batch_size
        return (self.progress.epoch - 1) * n_train + done
