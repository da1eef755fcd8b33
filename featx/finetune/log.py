"""What each epoch came to, and the files that are written on the way."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.core.errors import TuningError
from featx.core.files import replacing

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Epoch:
    """One line of the log.

    Attributes
    ----------
    epoch : int
        From 1; 0 is the fitted head, before any step.
    train_loss : float
        Mean over the epoch, in nats, with label smoothing; NaN for epoch 0.
    holdout_loss, holdout_accuracy : float
        After the epoch, without label smoothing.
    lr : float
        The topmost block's at the end of the epoch.
    seconds : float
    images_per_s : float
        Of training alone.
    """

    epoch: int
    train_loss: float
    holdout_loss: float
    holdout_accuracy: float
    lr: float
    seconds: float
    images_per_s: float


def rank(line: Epoch, *, sure: bool) -> tuple[bool, float, float]:
    """Return what puts epochs in order: the largest is whose weights are kept.

    By accuracy, which is what is compared in the end: the loss of a network that becomes surer of
    itself rises while it still learns. Small holdouts often have equals; then by the loss.

    Parameters
    ----------
    line : Epoch
    sure : bool
        See `is_sure`: no other epoch takes the place of one that is.
    """
    return sure, line.holdout_accuracy, -line.holdout_loss


def is_sure(right: Tensor, head_right: Tensor) -> bool:
    """Tell whether an epoch is better than the head by more than one standard error.

    Of ten epochs one looks better on a small holdout, whatever was learnt. McNemar's statistic is
    the square of the difference in standard errors.

    Parameters
    ----------
    right, head_right : Tensor of bool
        ``(n_holdout,)``: which images each of them gets right.
    """
    gained, lost = int((right & ~head_right).sum()), int((head_right & ~right).sum())
    return gained > lost and (gained - lost) ** 2 > gained + lost


def write_log(path: Path, history: Sequence[Epoch]) -> None:
    """Write one line per epoch, as CSV.

    Raises
    ------
    TuningError
        If the disk is full or the like.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([one.name for one in fields(Epoch)])
    writer.writerows(astuple(line) for line in history)
    write_whole(path, stream.getvalue().encode())


def write_whole(path: Path, data: Any) -> None:
    """Write a file whole, or leave the one that is there.

    Raises
    ------
    TuningError
        If the disk is full or the like.
    """
    with replacing(path, error=TuningError) as partial:
        partial.write_bytes(data)
