"""Model selection: decide which epoch wins, and when training ends early.

The functions and classes of this module work on numbers only, not on networks or files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from featx.core.typing import BoolArray, Float64Array, IntArray, Measure
from featx.finetune.log import Epoch
from featx.heads.compare import compute_p_value, find_strata, sum_units, weigh_rows

Rank = tuple[bool, float, float]
"""Sort key of an epoch: the largest key wins."""

ONE_ERROR = 0.16
"""Probability that a normal variable exceeds its mean by one standard error."""


def rank(epoch: Epoch, measure: Measure, *, sure: bool) -> Rank:
    """Return the sort key of an epoch: the epoch with the largest key wins.

    Epochs are ordered by the measure of the final comparison, and not by loss: the loss of a
    network that becomes more confident rises while the network still learns. Epochs of equal
    scores, which are frequent on small holdouts, are ordered by loss.

    Parameters
    ----------
    epoch : Epoch
        Measurements of the epoch.
    measure : {"accuracy", "balanced_accuracy"}
        Score by which the head was chosen.
    sure : bool
        Result of `is_sure`: an epoch that is surely better than the head precedes all others.

    Returns
    -------
    tuple
        Certainty, score, and the negative loss.
    """
    # Sums in another order differ in the last bits: such scores are equal.
    return sure, round(epoch.get_score(measure), 9), -epoch.holdout_loss


def is_sure(gains: Float64Array) -> bool:
    """Tell whether an epoch is better than the head by more than one standard error.

    On a small holdout, one epoch in ten looks better by chance. If an epoch were as good as the
    head, each gain might as well have been a loss of the same size, so that the variance of their
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
    """Remember the best epoch so far.

    Parameters
    ----------
    y : ndarray of int64
        Shape ``(n_holdout,)``: class codes of the images of the holdout.
    units : ndarray of int64
        Shape ``(n_holdout,)``: images of one unit belong together.
    measure : {"accuracy", "balanced_accuracy"}
        Score by which the head was chosen.

    Attributes
    ----------
    best_epoch : int
        Number of the best epoch; 0 is the head before any step.
    """

    def __init__(self, y: IntArray, units: IntArray, measure: Measure) -> None:
        self.best_epoch = 0
        self._measure: Measure = measure
        self._weights, self._units = weigh_rows(find_strata(y, measure)), units
        self._best_rank: Rank | None = None
        self._head_correct: BoolArray = np.zeros(0, bool)

    def update(self, epoch: Epoch, correct: BoolArray) -> bool:
        """Record one epoch.

        Parameters
        ----------
        epoch : Epoch
            Measurements of the epoch. The first call is with epoch 0, the head.
        correct : ndarray of bool
            Shape ``(n_holdout,)``: images of the holdout that the epoch predicts correctly.

        Returns
        -------
        bool
            True if the epoch is the best so far.
        """
        if self._best_rank is None:
            self._head_correct = correct
        gains = self._weights * (correct.astype(np.int64) - self._head_correct)
        found = rank(epoch, self._measure, sure=is_sure(sum_units(gains, self._units)))
        if self._best_rank is not None and not found > self._best_rank:
            return False
        self.best_epoch, self._best_rank = epoch.epoch, found
        return True

    def choose_winner(self) -> int:
        """Return the number of the epoch whose weights are kept.

        Returns
        -------
        int
            The best epoch if it is surely better than the head, else 0.
        """
        sure = self._best_rank is not None and self._best_rank[0]
        return self.best_epoch if sure else 0

    def state_dict(self) -> dict[str, Any]:
        """Return the state in plain values."""
        return {
            "best_epoch": self.best_epoch,
            "best_rank": self._best_rank,
            "head_correct": self._head_correct.tolist(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        self.best_epoch = state["best_epoch"]
        best_rank = state["best_rank"]
        self._best_rank = None if best_rank is None else (best_rank[0], best_rank[1], best_rank[2])
        self._head_correct = np.array(state["head_correct"], bool)


class EarlyStopping:
    """Count the epochs in a row that were not better than the best one before them.

    Parameters
    ----------
    patience : int
        Number of such epochs that ends training.
    n_epochs : int
        Number of epochs after which training ends anyway.

    Attributes
    ----------
    reason : str
        Sentence that says why training ended early; empty if it did not end early.
    """

    def __init__(self, patience: int, n_epochs: int) -> None:
        self.patience, self.n_epochs = patience, n_epochs
        self.n_waited = 0
        self.reason = ""

    def update(self, epoch: int, *, is_best: bool) -> None:
        """Record one epoch.

        Parameters
        ----------
        epoch : int
            Number of the epoch.
        is_best : bool
            True if the epoch was better than all epochs before it.
        """
        self.n_waited = 0 if is_best else self.n_waited + 1
        if self.n_waited >= self.patience and epoch < self.n_epochs:
            self.reason = (
                f"no epoch after epoch {epoch - self.n_waited} was better on the holdout, for "
                f"{self.patience} epochs"
            )

    def stop(self, reason: str) -> None:
        """End training for another reason."""
        self.reason = reason

    def state_dict(self) -> dict[str, Any]:
        """Return the state in plain values."""
        return {"n_waited": self.n_waited, "reason": self.reason}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        self.n_waited, self.reason = state["n_waited"], state["reason"]
