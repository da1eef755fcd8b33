"""Model selection: decide which epoch wins, and when training ends early.

The functions and classes of this module work on numbers only, not on networks or files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from featx.core.typing import BoolArray
from featx.finetune.log import Epoch

Rank = tuple[bool, float, float]
"""Sort key of an epoch: the largest key wins."""


def rank(epoch: Epoch, *, sure: bool) -> Rank:
    """Return the sort key of an epoch: the epoch with the largest key wins.

    Epochs are ordered by accuracy, because the final comparison is by accuracy: the loss of a
    network that becomes more confident rises while the network still learns. Epochs of equal
    accuracy, which are frequent on small holdouts, are ordered by loss.

    Parameters
    ----------
    epoch : Epoch
        Measurements of the epoch.
    sure : bool
        Result of `is_sure`: an epoch that is surely better than the head precedes all others.

    Returns
    -------
    tuple
        Certainty, accuracy, and the negative loss.
    """
    return sure, epoch.holdout_accuracy, -epoch.holdout_loss


def is_sure(correct: BoolArray, head_correct: BoolArray) -> bool:
    """Tell whether an epoch is better than the head by more than one standard error.

    On a small holdout, one epoch in ten looks better by chance. McNemar's statistic is the square
    of the difference in standard errors.

    Parameters
    ----------
    correct, head_correct : ndarray of bool
        Shape ``(n_holdout,)``: True for the images that the epoch, or the head, predicts correctly.

    Returns
    -------
    bool
        True if the epoch gains more than one standard error.
    """
    gained = int((correct & ~head_correct).sum())
    lost = int((head_correct & ~correct).sum())
    return gained > lost and (gained - lost) ** 2 > gained + lost


class ModelSelection:
    """Remember the best epoch so far.

    Attributes
    ----------
    best_epoch : int
        Number of the best epoch; 0 is the head before any step.
    """

    def __init__(self) -> None:
        self.best_epoch = 0
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
        found = rank(epoch, sure=is_sure(correct, self._head_correct))
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
