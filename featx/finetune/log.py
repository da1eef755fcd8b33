"""The log of epochs, and writing a small file whole."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from featx.core.errors import TuningError
from featx.core.files import replacing
from featx.core.typing import Measure


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """The measurements of one epoch: one line of the log.

    Attributes
    ----------
    epoch : int
        Number of the epoch, from 1; 0 is the fitted head before any step.
    train_loss : float
        Mean cross-entropy over the images of the epoch, in nats, with label smoothing, and with the
        class weights of the head if it has some; NaN for epoch 0.
    holdout_loss : float
        The same over the holdout after the epoch, without label smoothing.
    holdout_accuracy : float
        Share of the holdout that is predicted correctly after the epoch.
    holdout_balanced_accuracy : float
        Mean recall of the classes that have images in the holdout.
    lr : float
        Learning rate of the topmost block in the last step of the epoch.
    seconds : float
        Seconds of training, without the scoring of the holdout.
    images_per_s : float
        Number of training images per second.

    See Also
    --------
    TuningReport : Holds the epochs of one run.
    """

    epoch: int
    train_loss: float
    holdout_loss: float
    holdout_accuracy: float
    holdout_balanced_accuracy: float
    lr: float
    seconds: float
    images_per_s: float

    def get_score(self, measure: Measure) -> float:
        """Return a score of the holdout.

        Parameters
        ----------
        measure : {"accuracy", "balanced_accuracy"}
            The score.
        """
        balanced = measure == "balanced_accuracy"
        return self.holdout_balanced_accuracy if balanced else self.holdout_accuracy


def write_log(path: Path, history: Sequence[Epoch], *, overwrite: bool) -> None:
    """Write one line per epoch, as CSV.

    Parameters
    ----------
    path : Path
        File to write.
    history : sequence of Epoch
        Epochs in their order.
    overwrite : bool
        Whether to replace an existing file.

    Raises
    ------
    TuningError
        If the file cannot be written. The previous file stays.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([column.name for column in fields(Epoch)])
    writer.writerows(astuple(epoch) for epoch in history)
    write_whole(path, stream.getvalue().encode(), overwrite=overwrite)


def write_whole(path: Path, data: bytes | memoryview, *, overwrite: bool) -> None:
    """Write a whole file; if this fails, the previous file stays.

    Parameters
    ----------
    path : Path
        File to write.
    data : bytes or memoryview
        Content of the file.
    overwrite : bool
        Whether to replace an existing file.

    Raises
    ------
    TuningError
        If the file cannot be written, for example because the disk is full.
    """
    with replacing(path, error=TuningError, overwrite=overwrite) as draft:
        draft.write_bytes(data)
