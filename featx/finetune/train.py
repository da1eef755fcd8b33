"""The training loop: plain steps over what the trunk puts out, and a checkpoint each epoch."""

from __future__ import annotations

import io
import math
import signal
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from featx.core.errors import DeviceError, TuningError
from featx.core.files import remove_drafts
from featx.finetune.cut import CutNetwork
from featx.finetune.learner import Learner
from featx.finetune.log import Epoch, is_sure, rank, write_log, write_whole
from featx.finetune.optimizer import build_optimizer
from featx.finetune.recipe import Recipe
from featx.finetune.trunk import Features

Array = np.ndarray[Any, Any]

CHECKPOINT = "checkpoint.pt"
LOG = "log.csv"
CAUGHT = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Examples:
    """Which images are learnt from, and which tell when to stop.

    Attributes
    ----------
    train, holdout : ndarray of int
        Numbers of images, as `Features` takes them.
    y : ndarray of int
        Class codes, by number.
    """

    train: Array
    holdout: Array
    y: Array


@dataclass
class _State:
    """Where a training stands: everything that a checkpoint must hold beside the tensors."""

    epoch: int = 1
    step: int = 0
    loss_sum: float = 0.0
    n_seen: int = 0
    seconds: float = 0.0
    best_epoch: int = 0
    is_sure: bool = False
    stopped: str = ""
    history: list[Epoch] = field(default_factory=list)


class Training:
    """Trains the upper part of a network and its classifier.

    Parameters
    ----------
    cut : CutNetwork
        Its modules are trained in place.
    classifier : nn.Linear
        Trained in place.
    features : Features
    examples : Examples
    recipe : Recipe
    device : str
    folder : Path
        Of checkpoint and log, there already.
    plan : dict
        What else decides the result, in JSON's types: a run goes on only with the same.

    Attributes
    ----------
    history : list of Epoch
    best_epoch : int
        Whose weights are kept; 0 where no epoch was surely better than the head.
    stopped : str
        Why training ended before its last epoch; empty if it did not.
    """

    def __init__(
        self,
        cut: CutNetwork,
        classifier: nn.Linear,
        features: Features,
        examples: Examples,
        recipe: Recipe,
        *,
        device: str,
        folder: Path,
        plan: dict[str, Any],
    ) -> None:
        self.cut, self.classifier, self.features = cut, classifier, features
        self.examples, self.recipe, self.folder = examples, recipe, folder
        self.device = torch.device(device)
        self.plan = plan | asdict(recipe)
        self.learner = Learner(cut, classifier, recipe, self.device)
        self.optimizer = build_optimizer(recipe, cut.top, classifier, cut.blocks)
        self._y = torch.from_numpy(examples.y)
        self._state = _State()
        self._start = self._copy_weights()
        self._best: dict[str, torch.Tensor] = {}
        self._head_right = torch.empty(0, dtype=torch.bool)
        self._signal = 0
        self._before: dict[int, Any] = {}

    @property
    def history(self) -> list[Epoch]:
        """The epochs that were finished."""
        return self._state.history

    @property
    def best_epoch(self) -> int:
        """Whose weights are kept."""
        return self._state.best_epoch

    @property
    def stopped(self) -> str:
        """Why training ended early."""
        return self._state.stopped

    def run(self, *, resume: bool = False, progress: bool | None = None) -> None:
        """Train, and put the best weights in place.

        Parameters
        ----------
        resume : bool
            Go on after the folder's checkpoint, if there is one.
        progress : bool, optional
            Show a progress bar on standard error. Default: where that is a terminal.

        Raises
        ------
        TuningError
            If the checkpoint is of another run, or cannot be written; the one before it is whole.
        DeviceError
            If its memory is too small for a batch.
        """
        for name in (CHECKPOINT, LOG):
            remove_drafts(self.folder / name)
        total = self.recipe.epochs * len(self.examples.train)
        bar = tqdm(total=total, unit=" images", disable=None if progress is None else not progress)
        with self._catch_signals(), bar:
            try:
                if resume and self._load():
                    # The run may have been ended before it wrote the last line.
                    write_log(self.folder / LOG, self.history)
                else:
                    self._finish_epoch(0, math.nan)
                bar.update(self._count_done())
                while self._state.epoch <= self.recipe.epochs and not self._state.stopped:
                    self._run_epoch(bar)
            except torch.OutOfMemoryError as error:
                raise DeviceError(
                    f"{self.device}: expected memory for batches of {self.recipe.batch_size}, got "
                    "none left. Pass a smaller --batch-size."
                ) from error
            self._choose_weights()
        self.learner.requires_grad_(False).eval().cpu()

    def predict(self, numbers: Array) -> torch.Tensor:
        """Return the logits of images, in the pictures as they are: float32 ``(n, n_classes)``."""
        with closing(self._iter_features(numbers, view=0)) as batches:
            return torch.cat([self.learner.predict(maps) for maps in batches])

    def _iter_features(self, numbers: Array, view: int) -> Generator[torch.Tensor]:
        batch_size = self.recipe.batch_size
        with closing(self.features.iter_batches(numbers, batch_size, view)) as batches:
            for batch in batches:
                yield torch.from_numpy(batch)

    def _run_epoch(self, bar: Any) -> None:
        """Train one epoch, from wherever it was left."""
        state, recipe = self._state, self.recipe
        order = np.random.default_rng([recipe.seed, state.epoch]).permutation(self.examples.train)
        view = (state.epoch - 1) % recipe.views + 1 if recipe.views else 0
        n_steps = math.ceil(len(order) / recipe.batch_size)
        start, before = time.perf_counter(), state.seconds
        rest = order[state.step * recipe.batch_size :]
        with closing(self._iter_features(rest, view)) as batches:
            for maps in batches:
                first = state.step * recipe.batch_size
                y = self._y[order[first : first + len(maps)]]
                loss = self._step(maps, y, (state.epoch - 1) * n_steps + state.step, n_steps)
                if not math.isfinite(loss):
                    state.stopped = (
                        f"the loss or its gradient was not finite in epoch {state.epoch}, step "
                        f"{state.step + 1}. Try a smaller lr"
                    )
                    self._save()
                    return
                state.step += 1
                state.loss_sum += loss * len(maps)
                state.n_seen += len(maps)
                state.seconds = before + time.perf_counter() - start
                bar.update(len(maps))
                if self._signal:
                    self._save()
                    self._raise_signal()
        self._finish_epoch(state.epoch, state.loss_sum / state.n_seen)
        last = self.history[-1]
        bar.set_postfix_str(f"holdout loss {last.holdout_loss:.3f}, {last.holdout_accuracy:.3f}")

    def _step(self, maps: torch.Tensor, y: torch.Tensor, step: int, n_steps: int) -> float:
        """Learn from one batch; return its loss."""
        scale = self.recipe.scale_rate(step, n_steps * self.recipe.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = group["lr_peak"] * scale
        loss = self.learner.compute_gradients(maps, y, step=step)
        norm = nn.utils.clip_grad_norm_(self.learner.parameters(), self.recipe.clip_norm)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return math.nan
        self.optimizer.step()
        return loss

    def _finish_epoch(self, epoch: int, train_loss: float) -> None:
        """Score the holdout, keep what is best, and write down where training stands."""
        state = self._state
        logits = self.predict(self.examples.holdout)
        y = self._y[self.examples.holdout]
        loss = float(functional.cross_entropy(logits, y))
        right = logits.argmax(1) == y
        accuracy = float(right.float().mean())
        lr = self.optimizer.param_groups[0]["lr"] if epoch else 0.0
        rate = state.n_seen / state.seconds if state.seconds else 0.0
        line = Epoch(epoch, train_loss, loss, accuracy, lr, state.seconds, rate)
        if not epoch:
            self._head_right = right
        sure = is_sure(right, self._head_right)
        best = self.history[state.best_epoch] if self.history else None
        if best is None or rank(line, sure=sure) > rank(best, sure=state.is_sure):
            state.best_epoch, state.is_sure = epoch, sure
            self._best = self._copy_weights()
        self.history.append(line)
        if epoch - state.best_epoch >= self.recipe.patience and epoch < self.recipe.epochs:
            state.stopped = (
                f"no epoch after epoch {state.best_epoch} was better on the holdout, for "
                f"{self.recipe.patience} epochs"
            )
        state.epoch, state.step = epoch + 1, 0
        state.loss_sum, state.n_seen, state.seconds = 0.0, 0, 0.0
        self._save()
        write_log(self.folder / LOG, self.history)

    def _choose_weights(self) -> None:
        """Put the best weights in place; those of the head, where they seem so by chance."""
        if self._state.is_sure:
            self.learner.load_state_dict(self._best)
        else:
            self._state.best_epoch = 0
            self.learner.load_state_dict(self._start)

    def _copy_weights(self) -> dict[str, torch.Tensor]:
        state = self.learner.state_dict()
        return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}

    def _count_done(self) -> int:
        n_train = len(self.examples.train)
        return (self._state.epoch - 1) * n_train + self._state.step * self.recipe.batch_size

    def _save(self) -> None:
        """Write the checkpoint: whole, or the one before it stays."""
        state = asdict(self._state) | {"history": [astuple(line) for line in self.history]}
        content = {
            "plan": self.plan,
            "state": state,
            "learner": self.learner.state_dict(),
            "best": self._best,
            "head_right": self._head_right,
            "place": self.device.type,
            "n_parts": self.learner.n_parts,
            "optimizer": self.optimizer.state_dict(),
        }
        buffer = io.BytesIO()  # torch turns a full disk into an error of its own
        torch.save(content, buffer)
        write_whole(self.folder / CHECKPOINT, buffer.getbuffer())

    def _load(self) -> bool:
        """Take up the checkpoint; False where there is none."""
        path = self.folder / CHECKPOINT
        if not path.is_file():
            return False
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # pickle and zip raise kinds with no common base
            raise TuningError(
                f"{path}: expected a whole checkpoint, got {type(error).__name__}. "
                "Begin anew with --overwrite."
            ) from error
        differing = [key for key in self.plan if content["plan"].get(key) != self.plan[key]]
        if differing:
            raise TuningError(
                f"{path}: expected a checkpoint of the same run, got one with another "
                f"{', '.join(differing)}. Pass what that run was given, or begin anew with "
                "--overwrite."
            )
        history = [Epoch(*line) for line in content["state"].pop("history")]
        self._state = _State(**content["state"], history=history)
        self._best, self._head_right = content["best"], content["head_right"]
        if content["place"] == self.device.type:  # though the cores be others
            self.learner.set_parts(content["n_parts"])
        self.learner.load_state_dict(content["learner"])
        self.optimizer.load_state_dict(content["optimizer"])
        return True

    @contextmanager
    def _catch_signals(self) -> Iterator[None]:
        """Let a step that is under way end before Ctrl-C or SIGTERM takes effect."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, _frame: object) -> None:
            self._signal = number

        self._before = {number: signal.signal(number, note) for number in CAUGHT}
        try:
            yield
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)
        if self._signal:
            signal.raise_signal(self._signal)

    def _raise_signal(self) -> None:
        """Do what the signal would have done."""
        number, self._signal = self._signal, 0
        signal.signal(number, self._before[number])
        signal.raise_signal(number)
