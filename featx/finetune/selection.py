"""Model selection: decide which epoch wins, and when training ends early.

The functions and classes of this module work on numbers only, not on networks or files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from featx.core.typing import BoolArray, Float64Array, IntArray, Measure
from featx.finetune.log import Epoch
from featx.heads.gains import compute_p_value, find_strata, sum_units, weigh_rows

Rank = tuple[float, float]
"""Sort key of an epoch: the largest key is the best."""

MIN_IMAGES = 2
"""Smallest number of images that is a gain: one more may be chance."""

TINY = 1e-9
"""Largest sum of gains that is taken for 0."""

ONE_ERROR = 0.16
"""Probability that a normal variable exceeds its mean by one standard error."""


def rank(epoch: Epoch, measure: Measure) -> Rank:
    """Return the sort key of an epoch on the holdout: the epoch with the largest key is the best.

    Epochs are ordered by the measure of the final comparison, and not by loss: the loss of a
    network that becomes more confident rises while the network still learns. Epochs of equal
    scores, which are frequent on small holdouts, are ordered by loss.

    Parameters
    ----------
    epoch : Epoch
        Measurements of the epoch.
    measure : {"accuracy", "balanced_accuracy"}
        Score by which the head was chosen.

    Returns
    -------
    tuple
        Score, and the negative loss.
    """
    # Sums in another order differ in the last bits: such scores are equal.
    return round(epoch.get_score(measure), 9), -epoch.holdout_loss


def is_sure(gains: Float64Array) -> bool:
    """Tell whether an epoch is better than another by more than one standard error.

    On a small holdout, one epoch in six looks better by chance. If an epoch were as good as the
    other, each gain might as well have been a loss of the same size, so that the variance of their
    sum is the sum of their squares. For an accuracy, the sum in standard errors, squared, is
    McNemar's statistic. For a balanced accuracy, an image of a rare class weighs more. If few
    images weigh most, their sum is not normal, and random signs must agree.

    Parameters
    ----------
    gains : ndarray of float64
        ``(n_units,)``, gain of each image in the score, or of each unit of images that belong
        together; negative for a loss.

    Returns
    -------
    bool
        True if the gains add up to more than one standard error.
    """
    gain, variance = float(gains.sum()), float(np.square(gains).sum())
    if gain <= 0 or gain**2 <= variance * (1 + 1e-9):
        return False
    are_equal = len(np.unique(np.abs(gains[gains != 0]))) == 1
    return are_equal or compute_p_value(gains) / 2 < ONE_ERROR


def measure_holdout(correct: BoolArray, y: IntArray) -> tuple[float, float]:
    """Compute accuracy and balanced accuracy.

    Parameters
    ----------
    correct : ndarray of bool
        Shape ``(n_holdout,)``: images that are predicted correctly.
    y : ndarray of int64
        Shape ``(n_holdout,)``: their class codes.

    Returns
    -------
    accuracy, balanced_accuracy : float
        Share of the images, and mean over the classes of the share of their images.
    """
    counts = np.bincount(y)
    n_right = np.bincount(y[correct], minlength=len(counts))
    return float(correct.mean()), float((n_right[counts > 0] / counts[counts > 0]).mean())


class ModelSelection:
    """Choose between the head and the last epoch.

    The best of many epochs on a small holdout is often one that was lucky there, and is worse on
    other images than the last, at whose end the learning rates are lowest.

    Parameters
    ----------
    y : ndarray of int64
        Shape ``(n_holdout,)``: class codes of the images of the holdout.
    units : ndarray of int64
        Shape ``(n_holdout,)``: images of one unit belong together.
    measure : {"accuracy", "balanced_accuracy"}
        Score by which the head was chosen.
    """

    def __init__(self, y: IntArray, units: IntArray, measure: Measure) -> None:
        self._weights, self._units = weigh_rows(find_strata(y, measure)), units
        self._epoch = 0
        self._head_correct: BoolArray = np.zeros(len(y), bool)
        self._correct: BoolArray = np.zeros(len(y), bool)
        self._head_loss = self._loss = math.inf

    def update(self, epoch: int, correct: BoolArray, *, loss: float) -> None:
        """Record one epoch.

        Parameters
        ----------
        epoch : int
            Number of the epoch. The first call is with epoch 0, the head.
        correct : ndarray of bool
            Shape ``(n_holdout,)``: images of the holdout that the epoch predicts correctly.
        loss : float
            Mean loss of the epoch on the holdout.
        """
        if epoch == 0:
            self._head_correct, self._head_loss = correct, loss
        self._epoch, self._correct, self._loss = epoch, correct, loss

    def choose_winner(self) -> int:
        """Return the number of the epoch whose weights are kept.

        A gain within one standard error counts if it is of `MIN_IMAGES` and the loss is lower too:
        by their classes alone, 200 images miss one true gain of seven points in nine.

        Returns
        -------
        int
            The last epoch if it is better than the head, else 0.
        """
        changes = self._weights * (self._correct.astype(np.int64) - self._head_correct)
        gains = sum_units(changes, self._units)
        is_gain = gains.sum() > TINY and np.sign(gains).sum() >= MIN_IMAGES
        is_better = is_sure(gains) or (is_gain and self._loss < self._head_loss)
        return self._epoch if is_better else 0

    def state_dict(self) -> dict[str, Any]:
        """Return the state in plain values."""
        return {
            "epoch": self._epoch,
            "head_correct": self._head_correct.tolist(),
            "correct": self._correct.tolist(),
            "head_loss": self._head_loss,
            "loss": self._loss,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        self._epoch = state["epoch"]
        self._head_correct = np.array(state["head_correct"], bool)
        self._correct = np.array(state["correct"], bool)
        self._head_loss, self._loss = state["head_loss"], state["loss"]


class EarlyStopping:
    """Count the epochs in a row that were not better on the holdout than the best before them.

    Only epochs that end with low learning rates count: while rates are high, the holdout says
    little of where the training will end.

    Parameters
    ----------
    patience : int or None
        Number of such epochs that ends training; None to run all epochs.
    n_epochs : int
        Number of epochs after which training ends anyway.
    measure : {"accuracy", "balanced_accuracy"}
        Score by which the head was chosen.

    Attributes
    ----------
    reason : str
        Sentence that says why training ended early; empty if all epochs were run.
    """

    def __init__(self, patience: int | None, n_epochs: int, measure: Measure) -> None:
        self.patience, self.n_epochs = patience, n_epochs
        self._measure: Measure = measure
        self.n_waited = 0
        self.reason = ""
        self._best: Rank | None = None

    def update(self, epoch: Epoch, *, is_low: bool) -> None:
        """Record one epoch.

        Parameters
        ----------
        epoch : Epoch
            Measurements of the epoch.
        is_low : bool
            True if the epoch ended with low learning rates, as `featx.Recipe.is_low` says.
        """
        found = rank(epoch, self._measure)
        is_best = self._best is None or found > self._best
        if is_best:
            self._best = found
        self.n_waited = 0 if is_best or not is_low else self.n_waited + 1
        is_last = epoch.epoch >= self.n_epochs
        if self.patience is not None and self.patience <= self.n_waited and not is_last:
            epochs = f"{self.n_waited} epoch{'s' if self.n_waited > 1 else ''}"
            self.reason = (
                f"after epoch {epoch.epoch} of {self.n_epochs}, because {epochs} at low learning "
                "rates brought nothing better on the holdout"
            )

    def stop(self, reason: str) -> None:
        """End training for another reason."""
        self.reason = reason

    def state_dict(self) -> dict[str, Any]:
        """Return the state in plain values."""
        return {"n_waited": self.n_waited, "reason": self.reason, "best": self._best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        self.n_waited, self.reason = state["n_waited"], state["reason"]
        best = state["best"]
        self._best = None if best is None else (best[0], best[1])
